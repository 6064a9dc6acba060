"""``psyctl dataset.show``: a dataset's pairs and personas, readable, whichever sink wrote them."""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from psyctl_core._plugins.registry import Registry
from psyctl_core.errors import UsageError
from psyctl_core.terminal import say, visible

log = logging.getLogger("psyctl")

if TYPE_CHECKING:
    from psyctl_core._engine.reading import StoredDataset
    from psyctl_core.records import CaaRecord


def command(registry: Registry) -> Callable[..., None]:
    """The command for what is installed."""

    def show(
        output: Annotated[Path, typer.Argument(help="A dataset file, or a folder: then those of its newest run.")],
        count: Annotated[int, typer.Option(help="How many pairs.", min=1)] = 3,
        sample: Annotated[
            bool, typer.Option("--sample", help="Show pairs drawn at random, not the first ones.")
        ] = False,
        trait: Annotated[str, typer.Option(help="Show the datasets of these traits only, comma-separated.")] = "",
        personas: Annotated[bool, typer.Option("--personas/--no-personas", help="Show who answered.")] = True,
    ) -> None:
        """Show pairs of a dataset, the answer with the trait and the other one, and who answered."""
        from psyctl_core._engine.personas import stored_personas
        from psyctl_core._engine.reading import find_datasets

        for dataset in _of_traits(find_datasets(output, registry), trait, output):
            say(f"=== {dataset.trait}: {dataset.location}\n")
            for problem in dataset.problems():
                log.warning("%s", problem)
            if personas:
                for who, description in stored_personas(dataset.run):
                    _say_wrapped(f"{who}: {description}")
                    say()
            shown = _sampled(dataset, count) if sample else list(enumerate(islice(dataset, count), 1))
            for number, record in shown:
                _say_pair(number, record)
            if not shown:
                say(f"There are no pairs in {dataset.location} yet.")

    return show


def _of_traits(found: Sequence[StoredDataset], names: str, output: Path) -> list[StoredDataset]:
    """The datasets of some traits. Raises UsageError."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    there = {dataset.trait.casefold() for dataset in found}
    for name in wanted:
        if name.casefold() not in there:
            others = ", ".join(dict.fromkeys(dataset.trait for dataset in found))
            raise UsageError(f"'{output}' holds no dataset of {name}.", f"There are: {others}.")
    folded = {name.casefold() for name in wanted} or there
    return [dataset for dataset in found if dataset.trait.casefold() in folded]


def _sampled(dataset: StoredDataset, count: int) -> list[tuple[int, CaaRecord]]:
    """Pairs drawn at random with their numbers, in the order of the dataset."""
    records = list(enumerate(dataset, 1))
    drawn = random.sample(records, min(count, len(records)))
    return sorted(drawn, key=lambda pair: pair[0])


def _say_pair(number: int, record: CaaRecord) -> None:
    _say_wrapped(f"{number}. {record.situation}")
    other = record.metadata.get("contrast", "neutral")
    _say_wrapped(f"{record.character}, {record.trait} {record.positive}): {record.positive_text}", indent=3)
    _say_wrapped(f"{record.character}, {other} {record.neutral}): {record.neutral_text}", indent=3)
    say()


def _say_wrapped(text: str, *, indent: int = 0) -> None:
    """Print a text, on a terminal broken at its blanks."""
    if not sys.stdout.isatty():
        say(" " * indent + text)
        return
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    Console(highlight=False).print(Padding(Text(visible(text)), (0, 0, 0, indent)))
