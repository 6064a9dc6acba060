"""``psyctl steering.try``: what a vector does to a model's answers, to read with one's own eyes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from psyctl_core.errors import PsyctlError, UsageError
from psyctl_core.figures import counted
from psyctl_core.terminal import say, visible
from psyctl_steering.choices import check_installed

if TYPE_CHECKING:
    from psyctl_core.local_models import LentModel
    from psyctl_steering.trying import Answer
    from psyctl_steering.vector import SteeringVector

STRENGTHS = "-0.4,-0.2,0,0.2,0.4"
HELP = "Type a prompt; ':strength -0.1,0,0.1' and ':layer 12' change how it is steered, an empty line leaves."


def steering_try(
    model: Annotated[str, typer.Option(help="The model: a Hub name, a folder, a GGUF file or 'embedded'.")],
    vector: Annotated[Path, typer.Option(help="The vector's file, from extract.steering.")],
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="What to say to the model; may be given again. Without it prompts are read."),
    ] = None,
    strength: Annotated[
        str, typer.Option(help="Comma-separated, as shares of the median norm of the states there.")
    ] = STRENGTHS,
    layer: Annotated[
        list[str] | None, typer.Option(help="Where to steer; may be given again (default: near 0.6 of the depth).")
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="New tokens of each answer at most.", min=1)] = 60,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token.", min=0)] = 0.0,
    seed: Annotated[int, typer.Option(help="For sampling.")] = 0,
    device: Annotated[str, typer.Option("--device", "--hf-device", help="auto, cuda, cuda:1, mps or cpu.")] = "auto",
    dtype: Annotated[str, typer.Option("--dtype", "--hf-dtype", help="auto, bfloat16, float16 or float32.")] = "auto",
) -> None:
    """Show a model's answers at several strengths of a vector beside each other.

    Strength 0 is the model as it is; negative ones steer away from the trait. Without --prompt prompts are read from
    the terminal, or a line each from a pipe.
    """
    strengths, layers = _strengths(strength), list(layer or [])
    check_installed()
    from psyctl_core import lent_model
    from psyctl_steering.steering import check_fits, origin_note
    from psyctl_steering.trying import answers
    from psyctl_steering.vector import SteeringVector

    loaded = SteeringVector.load(vector)
    with lent_model(model, options={"device": device, "dtype": dtype}) as lent:
        for note in origin_note(lent, loaded):
            say(note, err=True)
        _head(lent, loaded, layers)

        def show(said: str) -> None:
            found = answers(
                lent, loaded, said, strengths, layers=layers, max_tokens=max_tokens, temperature=temperature, seed=seed
            )
            _show(said, found)

        def change(name: str, value: str) -> None:
            nonlocal strengths, layers
            if name == ":strength":
                strengths = _strengths(value)
            elif name == ":layer":
                check_fits(lent.model, loaded, value.split())
                layers = value.split()
                _head(lent, loaded, layers)
            else:
                say(HELP)

        for said in prompt or []:
            show(said)
        if not prompt:
            _read_on(show, change)


def _read_on(show: Callable[[str], None], change: Callable[[str, str], None]) -> None:
    """Answer what is typed until there is no more; what goes wrong with one prompt does not end it."""
    if sys.stdin.isatty():
        say(HELP)
    for line in _lines():
        name, _, value = line.partition(" ")
        try:
            if name.startswith(":"):
                change(name, value.strip())
            else:
                show(line)
        except PsyctlError as error:
            say(f"{error.message} {error.hint}".strip(), err=True)


def _lines() -> Iterator[str]:
    """What is typed, or comes through a pipe, line by line; ends at an empty line or the end."""
    is_typed = sys.stdin.isatty()
    if is_typed:
        import readline  # noqa: F401 - gives input() its history
    while True:
        try:
            line = input("> ") if is_typed else sys.stdin.readline()
        except EOFError:
            return
        if not line.strip():
            return
        yield line.strip()


def _strengths(typed: str) -> list[float]:
    try:
        found = [float(part) for part in typed.replace(",", " ").split()]
    except ValueError as error:
        raise UsageError(
            f"'{typed}' is no list of strengths.", f"Give numbers, such as --strength={STRENGTHS}"
        ) from error
    if not found or not all(abs(each) < float("inf") for each in found):
        raise UsageError(f"'{typed}' is no list of strengths.", f"Give numbers, such as --strength={STRENGTHS}")
    return found


def _head(lent: LentModel, vector: SteeringVector, layers: Sequence[str]) -> None:
    from psyctl_steering.steering import check_fits

    facts = vector.facts
    places = ", ".join(check_fits(lent.model, vector, layers))
    say(f"{facts.trait} in {lent.name}, steered at {places} ({facts.method} of {counted(facts.pairs, 'pair')}).")


def _show(prompt: str, found: Sequence[Answer]) -> None:
    """Print the answers, the strengths beside them."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 1, 0), show_header=False)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for each in found:
        table.add_row(f"{each.strength:+g}" if each.strength else "0", Text(visible(each.text + "…" * each.is_cut)))
    say(f"\n{prompt}\n")
    Console(highlight=False).print(table)
