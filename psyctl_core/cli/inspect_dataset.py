"""``psyctl dataset.show``: a dataset's pairs, readable."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from psyctl_core import schema
from psyctl_core.errors import OutputError, UsageError


def show(
    output: Annotated[Path, typer.Argument(help="A dataset file, or a folder: then its newest dataset.")],
    count: Annotated[int, typer.Option(help="How many pairs.", min=1)] = 3,
) -> None:
    """Show the first pairs of a JSON Lines dataset, the answer with the trait and the neutral one."""
    for path in _newest(output) if output.is_dir() else [output]:
        _show_file(path, count)


def _show_file(path: Path, count: int) -> None:
    if not path.is_file():
        raise UsageError(f"There is no dataset at '{path}'.", "Give the folder that --output named, or a .jsonl file.")
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(islice(file, count), 1):
            try:
                record = json.loads(line)
                wrong = schema.problem("caa-record", record)
            except ValueError as error:
                wrong = str(error)
            if wrong:
                raise OutputError(f"Line {number} of {path} is no CAA record: {wrong}.", "Give a psyctl dataset.")
            typer.echo(f"{number}. {record['situation']}")
            typer.echo(f"   {record['character']}, {record['trait']} {record['positive']}): {record['positive_text']}")
            typer.echo(f"   {record['character']}, neutral {record['neutral']}): {record['neutral_text']}\n")


def _newest(folder: Path) -> list[Path]:
    """The newest dataset in a folder, or the newest of each trait where a run made several."""
    from psyctl_core.run import PREFIX

    files = sorted(folder.rglob(f"{PREFIX}_*.jsonl"))
    if not files:
        raise UsageError(
            f"The folder '{folder}' holds no dataset in JSON Lines.",
            "Give the folder that --output named. `psyctl dataset.status` shows runs whose sink writes something else.",
        )
    newest = max(path.name for path in files)
    return [path for path in files if path.name == newest]
