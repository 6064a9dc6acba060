"""``psyctl extract.steering``: from the pairs of a dataset to a vector's file."""

from __future__ import annotations

import logging
import os
import re
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from psyctl_core.errors import UsageError
from psyctl_core.figures import counted
from psyctl_core.terminal import say, visible
from psyctl_steering import shown
from psyctl_steering.choices import BIPO, NAMES, POSITIONS, check_installed

if TYPE_CHECKING:
    from psyctl_core import StoredDataset
    from psyctl_core.local_models import LentModel
    from psyctl_steering.states import Progress
    from psyctl_steering.vector import SteeringVector

log = logging.getLogger("psyctl")

SUFFIX = ".safetensors"
DTYPES = "auto, bfloat16, float16 or float32; bipo needs float32, and takes it."


def extract_steering(
    model: Annotated[str, typer.Option(help="The model: a Hub name, a folder, a GGUF file or 'embedded'.")],
    dataset: Annotated[Path, typer.Option(help="The pairs: a dataset file, or a folder: then its newest dataset.")],
    output: Annotated[
        Path, typer.Option(help=f"The vector's file, ending in {SUFFIX}; or a folder, for a file for each trait.")
    ],
    position: Annotated[
        str, typer.Option(help=f"Which states to read: {', '.join(POSITIONS)}; choice in both orders.")
    ] = POSITIONS[0],
    method: Annotated[str, typer.Option(help=f"{', '.join(NAMES)}.")] = NAMES[0],
    layer: Annotated[
        list[str] | None,
        typer.Option(
            help="A layer, such as 13, model.layers[13].mlp.down_proj or model.layers[*]; may be given again "
            "(default: every block; with bipo the one near 0.6 of the depth)."
        ),
    ] = None,
    normalize: Annotated[bool, typer.Option("--normalize", help="Scale each direction to length 1.")] = False,
    held_out: Annotated[
        int,
        typer.Option(help="Pairs to keep back, spread evenly: how the sides come apart is measured on them.", min=0),
    ] = 0,
    trait: Annotated[str, typer.Option(help="Only this trait's dataset, where there are several.")] = "",
    batch_size: Annotated[
        int | None, typer.Option(help="Answers computed together; by default by their length.", min=1)
    ] = None,
    device: Annotated[str, typer.Option("--device", "--hf-device", help="auto, cuda, cuda:1, mps or cpu.")] = "auto",
    dtype: Annotated[str, typer.Option("--dtype", "--hf-dtype", help=DTYPES)] = "auto",
    seed: Annotated[int, typer.Option(help="Of the order in which bipo takes pairs.")] = 0,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Extract a steering vector from a dataset's pairs: what a model's states have more of where the trait speaks.

    Both answers of each pair are computed once, in batches; sums are in float32. The file holds a direction for each
    layer, under the layer's name, and what it was made from.
    """
    del debug  # read where errors become text
    check_installed()
    from psyctl_core import lent_model

    datasets = _datasets(dataset, trait)
    files = _files(output.expanduser(), datasets)
    _check_place(files[0].parent)
    if method == BIPO and dtype == "auto":
        dtype = "float32"
    from psyctl_steering.extraction import extract

    with lent_model(model, options={"device": device, "dtype": dtype}) as lent:
        for file, stored in zip(files, datasets, strict=True):
            spent = _Spent()
            with shown.progress("pairs") as tell:
                vector = extract(
                    lent, stored, layers=layer or (), position=position, method=method, held_out=held_out,
                    normalize=normalize, seed=seed, batch_size=batch_size, progress=spent.noting(tell),
                )  # fmt: skip
            vector.save(file)
            _show(lent, vector, file, stored, spent)
    say(_next(model, files[0]))


def _datasets(path: Path, trait: str) -> list[StoredDataset]:
    """What to extract from; what is odd about it is told."""
    from psyctl_core import open_dataset, stored_datasets

    found = [open_dataset(path, trait)] if trait else stored_datasets(path)
    for note in (note for each in found for note in each.state()):
        log.warning("%s", note)
    return found


class _Spent:
    """Tokens computed, and the time since the beginning."""

    def __init__(self) -> None:
        self._tokens = 0
        self._began = time.monotonic()

    def noting(self, tell: Progress | None) -> Progress:
        """Progress that is noted and passed on."""

        def note(done: int, total: int, tokens: int) -> None:
            self._tokens = tokens
            if tell:
                tell(done, total, tokens)

        return note

    def __str__(self) -> str:
        seconds = time.monotonic() - self._began
        return f"{counted(self._tokens, 'token')} in {seconds:.1f} s, {self._tokens / seconds:,.0f} tokens/s"


def _files(output: Path, datasets: list[StoredDataset]) -> list[Path]:
    """Where each dataset's vector goes."""
    traits = [each.trait for each in datasets]
    if output.suffix.lower() == SUFFIX and not output.is_dir():
        if len(datasets) > 1:
            raise UsageError(
                f"There are datasets of {counted(len(traits), 'trait')}: {', '.join(traits)}.",
                f"Choose one with --trait, or let --output name a folder, for a file each: {output.with_suffix('')}",
            )
        return [output]
    if output.suffix and not output.is_dir():
        raise UsageError(f"'{output}' is no name for a vector.", f"Let it end in {SUFFIX}, or name a folder.")
    return [output / f"{slug(trait)}{SUFFIX}" for trait in traits]


def _check_place(folder: Path) -> None:
    """See that vectors can be written there, before a model is loaded. Raises UsageError."""
    there = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    if not there.is_dir():
        raise UsageError(f"'{there}' is not a folder, so no vector can be written there.", "Choose another --output.")
    if not os.access(there, os.W_OK):
        raise UsageError(f"The folder '{there}' cannot be written.", "Give access to it, or choose another --output.")


def slug(trait: str) -> str:
    """A trait's name as part of a file's."""
    return re.sub(r"[^\w-]+", "_", trait.casefold())


def _show(lent: LentModel, vector: SteeringVector, file: Path, stored: StoredDataset, spent: _Spent) -> None:
    from rich.console import Console
    from rich.table import Table

    from psyctl_steering.extraction import sureness
    from psyctl_steering.layers import default_layer

    facts = vector.facts
    held_out = f", {facts.held_out} more held out" if facts.held_out else ""
    say(f"{facts.trait}: {counted(facts.pairs, 'pair')}{held_out}, from {stored.location}")
    say(f"Read in {facts.model}: {facts.method} at {facts.position}; {spent}")
    best = default_layer(list(vector.directions), lent.model)
    table = Table(box=None, pad_edge=False)
    table.add_column("layer", no_wrap=True)
    for name in ("norm of states", "length", "coherence", "split-half", "separation"):
        table.add_column(name, justify="right")
    for layer, known in vector.layers.items():
        length = f"{float(vector.directions[layer].norm()):.2f}"
        figures = (_figure(known.coherence), _figure(known.split_half), _figure(known.separation))
        mark = " *" if layer == best and len(vector.layers) > 1 else ""
        table.add_row(visible(layer) + mark, f"{known.norm:.1f}", length, *figures)
    Console(highlight=False, soft_wrap=True).print(table)
    say()
    if len(vector.layers) > 1:
        say("* where steering takes place unless another layer is named")
    sure = sureness(vector.layers[best].split_half)
    if sure is not None:
        say(f"At {best} its cosine with the direction of endless such pairs is about {sure:.2f}.")
    say(f"Wrote {file}")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _next(model: str, file: Path) -> str:
    given = f"--model {shlex.quote(model)} --vector {shlex.quote(str(file))}"
    return f"See what it does with: psyctl steering.try {given}\nMeasure it with: psyctl steering.measure {given}"
