"""``psyctl dataset.show``: a dataset's pairs, readable, whichever sink wrote them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from psyctl_core._plugins.registry import Registry
from psyctl_core.terminal import say


def command(registry: Registry) -> Callable[..., None]:
    """The command for what is installed."""

    def show(
        output: Annotated[Path, typer.Argument(help="A dataset file, or a folder: then its newest datasets.")],
        count: Annotated[int, typer.Option(help="How many pairs.", min=1)] = 3,
        personas: Annotated[bool, typer.Option("--personas", help="Show who answered, before the pairs.")] = False,
    ) -> None:
        """Show the first pairs of a dataset, the answer with the trait and the neutral one."""
        from psyctl_core._engine.personas import stored_personas
        from psyctl_core._engine.reading import find_datasets

        for dataset in find_datasets(output, registry):
            if personas:
                for who, description in stored_personas(dataset.run):
                    say(f"{who}: {description}\n")
            number = 0
            for number, record in enumerate(islice(dataset, count), 1):
                say(f"{number}. {record.situation}")
                say(f"   {record.character}, {record.trait} {record.positive}): {record.positive_text}")
                other = record.metadata.get("contrast", "neutral")
                say(f"   {record.character}, {other} {record.neutral}): {record.neutral_text}\n")
            if not number:
                say(f"There are no pairs in {dataset.location} yet.")

    return show
