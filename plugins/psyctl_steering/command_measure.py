"""``psyctl steering.measure``: whether a vector does anything, how surely, and at what damage."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from psyctl_core.errors import UsageError
from psyctl_core.terminal import NOTICE, say, say_json
from psyctl_steering import told
from psyctl_steering.choices import CONTROLS, DAMAGE, DOSES, check_installed

if TYPE_CHECKING:
    from psyctl_core.local_models import LentModel
    from psyctl_steering.items import ItemSet
    from psyctl_steering.measuring import Measurement
    from psyctl_steering.subject import Subject

log = logging.getLogger("psyctl")

NOT_WORKING = 3
"""The exit code where the verdict is another than that it works."""

MOST = 100
"""Statements that are measured on where nobody says how many."""

DTYPES = "auto, bfloat16, float16 or float32; effects are small differences of large numbers."

HELD_OUT = "Pairs to measure on (default: 30, and a quarter at most)."

OWN = ("statements", "pairs", "ipip", "ipip-answers")
TYPED_DOSES = ",".join(f"{dose:g}" for dose in DOSES)


def steering_measure(
    model: Annotated[str, typer.Option(help="The model: a Hub name, a folder, a GGUF file or 'embedded'.")],
    vector: Annotated[Path | None, typer.Option(help="The vector's file, from extract.steering.")] = None,
    dataset: Annotated[
        Path | None,
        typer.Option(help="A dataset: without --vector one is extracted from a part of it, and measured on the rest."),
    ] = None,
    trait: Annotated[str, typer.Option(help="Which trait's dataset, where there are several.")] = "",
    item: Annotated[
        list[str] | None,
        typer.Option(
            "--items",
            help="statements, pairs, ipip, ipip-answers, or statements of your own: a file, or a data set on the Hub "
            "with its file (NAME:FILE). May be given again; the verdict goes by the first (default: the shipped "
            "statements, and pairs where there are any).",
        ),
    ] = None,
    max_items: Annotated[int, typer.Option(help="At most so many statements of a file.", min=2)] = MOST,
    held_out: Annotated[int | None, typer.Option(help=HELD_OUT, min=0)] = None,
    layer: Annotated[
        list[str] | None, typer.Option(help="Where to steer; of several the best is chosen on one half of the items.")
    ] = None,
    doses: Annotated[str, typer.Option(help="Comma-separated shares of the states' median norm.")] = TYPED_DOSES,
    damage: Annotated[
        float, typer.Option(help="At which damage effects are compared: nats per token of neutral text.")
    ] = DAMAGE,
    controls: Annotated[int, typer.Option(help="Random and label-shuffled vectors, of each so many.")] = CONTROLS,
    output: Annotated[
        Path | None,
        typer.Option(help=f"Where to write the figures (default: {told.NAME} in the dataset's run folder)."),
    ] = None,
    device: Annotated[str, typer.Option("--device", "--hf-device", help="auto, cuda, cuda:1, mps or cpu.")] = "auto",
    dtype: Annotated[str, typer.Option("--dtype", "--hf-dtype", help=DTYPES)] = "float32",
    seed: Annotated[int, typer.Option(help="Of whatever is drawn.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Measure what a vector does to a model, beside vectors of no use at the same damage.

    Leaves with exit code 3 where the verdict is not that it works.
    """
    del debug  # read where errors become text
    if vector is None and dataset is None:
        raise UsageError("There is nothing to measure.", "Give --vector FILE, or --dataset FOLDER, or both.")
    wanted = doses_typed(doses)
    check_installed()
    from psyctl_core import lent_model
    from psyctl_steering.measuring import measure
    from psyctl_steering.subject import subject

    with (
        lent_model(model, options={"device": device, "dtype": dtype}) as lent,
        subject(lent, vector, dataset, trait=trait, layers=layer or (), held_out=held_out) as what,
    ):
        found = measure(
            lent, what.vector, item_sets(what, item or (), max_items), differences=what.differences, layers=layer or (),
            doses=wanted, damage=damage, controls=controls, seed=seed, stage=_say_stage,
        )  # fmt: skip
        _tell(found, lent, what, output, as_json)


def _tell(found: Measurement, lent: LentModel, what: Subject, output: Path | None, as_json: bool) -> None:
    """Show and write what was found, and leave with the exit code that says whether the vector works."""
    figures = told.as_json(found, lent)
    if as_json:
        say_json(figures)
    else:
        told.show(found, what.name)
    file = output or (what.dataset.run_folder / told.NAME if what.dataset and what.dataset.run else None)
    if file is not None:
        told.write(figures, file)
        say(f"Wrote {file}", err=as_json)
    if found.verdict.word != "works":
        raise typer.Exit(NOT_WORKING)


def item_sets(what: Subject, named: Sequence[str], most: int) -> list[ItemSet]:
    """The items to measure on.

    Args:
        what: The vector, with the pairs that it was not made from.
        named: What was asked for; for none the shipped statements and the pairs, as far as there are any.
        most: At most so many statements of a file, evenly from all over, as many of each side.

    Raises:
        UsageError: What was asked for is not there.
    """
    from psyctl_steering import items

    trait = what.vector.facts.trait
    own = {each.name: each for each in (*items.shipped(trait), *items.questionnaire(trait))}
    if what.held_out:
        own["pairs"] = items.pairs(what.held_out)
    if not named and "statements" not in own:
        log.log(NOTICE, "There are no shipped statements of %s, but of: %s.", trait, ", ".join(items.TRAITS))
    found = []
    for name in dict.fromkeys(named or [name for name in OWN[:2] if name in own]):
        if name in own:
            found.append(own[name])
        elif name in OWN:
            raise _lacking(name, trait)
        else:
            found.append(items.statements(items.some_of(items.read_statements(name), most), name))
    return found


def _lacking(name: str, trait: str) -> UsageError:
    from psyctl_steering.items import FACTORS, TRAITS

    if name == "pairs":
        return UsageError(
            "There are no pairs to measure on that the vector was not extracted from.",
            "Give --dataset, and --held-out above 0.",
        )
    hint = "Give --items FILE with statements of the trait, or --items pairs."
    if name == "statements":
        return UsageError(f"There are no shipped statements of {trait}, but of: {', '.join(TRAITS)}.", hint)
    factors = ", ".join(FACTORS.values())
    return UsageError(f"The questionnaire has no factor for {trait}: its factors are {factors}.", hint)


def doses_typed(typed: str) -> list[float]:
    """The doses of a comma-separated list.

    Raises:
        UsageError: One is no number.
    """
    try:
        return [float(part) for part in typed.replace(",", " ").split()]
    except ValueError as error:
        raise UsageError(f"'{typed}' is no list of doses.", f"Give numbers, such as --doses={TYPED_DOSES}") from error


def _say_stage(text: str) -> None:
    say(f"{text} …", err=True)
