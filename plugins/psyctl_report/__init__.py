"""The command ``dataset.report``: what a run's files tell, as one page to look at."""

from __future__ import annotations

from collections.abc import Sequence

from psyctl_core.components import Command
from psyctl_core.hookspecs import hookimpl


@hookimpl
def psyctl_commands() -> Sequence[Command]:
    """Offer ``dataset.report``."""
    return [
        Command("dataset.report", "psyctl_report.command:report", "Write a page that shows a dataset and what is in it")
    ]
