"""``psyctl dataset.report``: reads a run's files, and writes one page about them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from psyctl_core.errors import OutputError, UsageError
from psyctl_core.figures import counted
from psyctl_core.files import write_atomically
from psyctl_core.terminal import say

if TYPE_CHECKING:
    from psyctl_report.facts import TraitFacts

NAME = "report.html"
PAGES = (".html", ".htm")
"""How the file's name must end, so that no dataset is replaced by a slip of the keyboard."""


def report(
    output: Annotated[Path, typer.Argument(help="A dataset file, or a folder: then those of its newest run.")],
    html: Annotated[
        Path | None, typer.Option(help=f"The page to write; without it {NAME} in the dataset's folder.")
    ] = None,
) -> None:
    """Write one page that shows what is in a dataset: its making, checks, figures and pairs.

    Goes by the run's files alone, and asks no model.
    """
    output = output.expanduser()
    file = html.expanduser() if html else (output if output.is_dir() else output.parent) / NAME
    if file.suffix.lower() not in PAGES:
        raise UsageError(f"'{file}' is no name for a page.", f"Let it end in {PAGES[0]}.")
    from psyctl_core import stored_datasets
    from psyctl_report.facts import SHOWN, facts_of, told
    from psyctl_report.page import page_of

    datasets = stored_datasets(output)
    left_out = len(stored_datasets(output, older=True)) - len(datasets)
    traits = [facts_of(dataset, SHOWN // len(datasets)) for dataset in datasets]
    notes = [f"Older datasets in the folder are left out: {left_out}."] if left_out else []
    if all(each.is_unreadable for each in traits):
        raise OutputError(traits[0].problems[0], "`psyctl dataset.status` shows what lies there.")
    try:
        write_atomically(file, page_of(traits, notes))
    except OSError as error:
        raise OutputError(
            f"Cannot write {file}: {error.strerror or error}.", "Name a place with --html where you may write."
        ) from error
    for each in traits:
        for line in told(each.problems):
            say(line, err=True)
    say(f"Wrote {file}: {'; '.join(map(_shown, traits))}.")


def _shown(facts: TraitFacts) -> str:
    shown, total = len(facts.pairs), facts.total
    so_far = " so far" if facts.run and not facts.is_finished else ""
    part = f" ({shown} of them shown)" if shown < total else ""
    return f"{facts.trait}, {counted(total, 'pair')}{so_far}{part}"
