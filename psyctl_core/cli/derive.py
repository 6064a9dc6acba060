"""``psyctl dataset.split`` and ``psyctl dataset.merge``: datasets that are made from others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from psyctl_core._plugins.registry import Registry
from psyctl_core._plugins.selection import Selection, choose
from psyctl_core.cli.build import Debug, component_parameters, typed, with_parameters
from psyctl_core.errors import UsageError
from psyctl_core.figures import counted
from psyctl_core.terminal import say

if TYPE_CHECKING:
    from psyctl_core import DerivedReport

REST, HELD_OUT = "train", "held-out"
"""The parts that ``--held-out`` makes."""

Output = Annotated[Path, typer.Option(help="New folder to write to.")]
Sink = Annotated[str, typer.Option(help="Where records go; without it the sink that keeps the dataset.")]


def split_command(registry: Registry) -> Callable[..., None]:
    """The command with the flags of the sinks."""
    extra, spellings = component_parameters(registry, "sink")

    def split(
        dataset: Annotated[Path, typer.Argument(help="A dataset file, or a folder: then those of its newest run.")],
        output: Output,
        held_out: Annotated[
            str, typer.Option(help="Pairs of each dataset to keep back, or a share such as 0.2; the rest is 'train'.")
        ] = "",
        parts: Annotated[
            str,
            typer.Option(help="Parts with their sizes, such as train=0.8,test=0.2; one without a size is the rest."),
        ] = "",
        sink: Sink = "",
        debug: Debug = False,
        **flags: Any,
    ) -> None:
        """Split a dataset into parts, spread evenly, half of each with the positive answer first; no scene is in two.

        Each part is a dataset in a folder of its own, and its run.json says what it was made from.
        """
        del debug  # read where errors become text
        if bool(held_out) == bool(parts):
            raise UsageError(
                f"{'Both --held-out and --parts say' if parts else 'Nothing says'} how to split.",
                "Give one of them: --held-out 0.2, or --parts train=0.8,test=0.2.",
            )
        sizes = _parts(parts or f"{REST},{HELD_OUT}={held_out}")
        selection = _sink(registry, sink, spellings, flags)
        from psyctl_core import split_dataset

        _show(split_dataset(dataset, output, sizes, sink=selection))

    return with_parameters(split, extra)


def merge_command(registry: Registry) -> Callable[..., None]:
    """The command with the flags of the sinks."""
    extra, spellings = component_parameters(registry, "sink")

    def merge(
        datasets: Annotated[list[Path], typer.Argument(help="Dataset files, or folders: then their newest datasets.")],
        output: Output,
        renumber: Annotated[
            bool, typer.Option("--renumber", help="Keep different pairs of one id, the later ones as ID#2 and so on.")
        ] = False,
        sink: Sink = "",
        debug: Debug = False,
        **flags: Any,
    ) -> None:
        """Merge datasets into one for each trait: each pair once, half of them with the positive answer first.

        Its run.json says what it was made from.
        """
        del debug  # read where errors become text
        selection = _sink(registry, sink, spellings, flags)
        from psyctl_core import merge_datasets

        _show(merge_datasets(datasets, output, renumber=renumber, sink=selection))

    return with_parameters(merge, extra)


def _parts(text: str) -> dict[str, int | float | None]:
    """The sizes by the parts' names. Raises UsageError."""
    sizes: dict[str, int | float | None] = {}
    for each in text.split(","):
        part, given, size = (word.strip() for word in each.partition("="))
        if part in sizes:
            raise UsageError(f"The part '{part}' is named twice.", "Give each part a name of its own.")
        sizes[part] = _size(part, size) if given else None
    return sizes


def _size(part: str, text: str) -> int | float:
    try:
        return float(text) if "." in text else int(text)
    except ValueError as error:
        raise UsageError(
            f"The size '{text}' of the part '{part}' is no number.",
            "Give a number of pairs, such as 100, or a share of them, such as 0.2.",
        ) from error


def _sink(registry: Registry, name: str, spellings: dict[str, str], flags: dict[str, Any]) -> Selection | None:
    """The sink that is asked for, if one is. Raises UsageError."""
    given = typed(flags, spellings)
    if not name and not given:
        return None
    return choose(registry, {"sink": name} if name else {}, given, ["sink"])["sink"]


def _show(reports: Sequence[DerivedReport]) -> None:
    for report in reports:
        what = f"{report.part}, {report.trait}" if report.part else report.trait
        say(f"{what}: {counted(report.pairs, 'pair')}, {report.positive_first} with the positive answer first")
        say(f"  {report.location}")
    if turned := sum(report.turned for report in reports):
        say(f"Note: the options are the other way round than before in {counted(turned, 'pair')}, for the balance.")
    for note in dict.fromkeys(note for report in reports for note in report.notes):
        say(f"Note: {note}")
