"""``psyctl dataset.status``: every run in a folder, how far it is, and what does not fit together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from psyctl_core._plugins.registry import Registry
from psyctl_core.terminal import say_json


def command(registry: Registry) -> Callable[..., None]:
    """The command for what is installed."""

    def dataset_status(
        output: Annotated[Path, typer.Argument(help="The folder that --output named.")],
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    ) -> None:
        """Show every run in a folder: settings, pairs, rejected, cost, whether it can go on."""
        from psyctl_core._engine.status import status
        from psyctl_core.cli.render import run_status

        found = status(output, registry)
        if as_json:
            say_json([run.as_json() for run in found])
        else:
            for run in found:
                run_status(run)

    return dataset_status
