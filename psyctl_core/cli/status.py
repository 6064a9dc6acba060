"""``psyctl dataset.status``: every run in a folder, how far it is, and what does not fit together."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from psyctl_core._plugins.registry import Registry
from psyctl_core.terminal import say, say_json

if TYPE_CHECKING:
    from psyctl_core._engine.status import RunStatus

WATCH_SECONDS = 2.0
PLAIN_WATCH_SECONDS = 30.0


def command(registry: Registry) -> Callable[..., None]:
    """The command for what is installed."""

    def dataset_status(
        output: Annotated[Path, typer.Argument(help="The folder that --output named.")],
        details: Annotated[
            bool, typer.Option("--details", help="Show settings, reasons, scores and personas too.")
        ] = False,
        watch: Annotated[
            bool,
            typer.Option("--watch", help="Show it anew until nothing runs; from any machine that sees the folder."),
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    ) -> None:
        """Show every run in a folder: pairs, wanted, rate, time to go, cost, whether it can go on. Locks nothing."""
        from psyctl_core._engine.status import status
        from psyctl_core.cli import render

        found = status(output, registry)
        if as_json:
            say_json([run.as_json() for run in found])
            return
        if watch:
            found = _watched(lambda: status(output, registry), found)
        render.statuses(found, details=details)

    return dataset_status


def _watched(look: Callable[[], list[RunStatus]], found: list[RunStatus]) -> list[RunStatus]:
    """Show what runs until nothing does: in place on a terminal, elsewhere a line now and then; what there is then."""
    from psyctl_core.cli import live, render

    in_place = live.can_stay_in_place(sys.stdout)
    with live.drawn_anew() if in_place else nullcontext() as draw:
        while any(each.is_running for each in found):
            running = render.by_run([each for each in found if each.is_running])
            if draw is not None:
                draw([render.run_view(each) for each in running])
            else:
                for each in running:
                    say(render.run_line(each))
            time.sleep(WATCH_SECONDS if in_place else PLAIN_WATCH_SECONDS)
            found = look()
    return found
