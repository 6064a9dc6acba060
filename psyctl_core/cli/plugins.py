"""``psyctl plugins.list``: every component, who supplies it, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated

import typer

from psyctl_core.registry import Found, Registry


def command(registry: Registry) -> Callable[..., None]:
    """The command for what is installed."""

    def plugins_list(
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    ) -> None:
        """List every component: kind, name, distribution, version, summary and, where broken, why."""
        rows = [_row(found) for found in registry.found]
        if as_json:
            typer.echo(json.dumps(rows, ensure_ascii=False, indent=2))
            return
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table("Kind", "Name", "From", "What it is", box=None, pad_edge=False)
        for row in rows:
            what = Text(f"BROKEN: {row['problem']}", "red") if row["problem"] else Text(str(row["summary"]))
            origin = f"{row['distribution']} {row['version']}"
            table.add_row(Text(str(row["kind"] or "plugin")), Text(str(row["name"])), Text(origin), what)
        Console().print(table)

    return plugins_list


def _row(found: Found) -> dict[str, str | None]:
    problem = found.problem
    if not problem and found.rivals:
        problem = f"supplied by {found.rivals}; name one as {found.distribution}:{found.name}"
    return {
        "kind": found.kind,
        "name": found.name,
        "distribution": found.distribution,
        "version": found.version,
        "summary": found.component.summary if found.component else "",
        "problem": problem,
    }
