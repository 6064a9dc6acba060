"""``psyctl plugins.list`` and ``plugins.check``: every component, who supplies it, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from psyctl_core._plugins.kinds import KINDS
from psyctl_core._plugins.registry import BrokenPlugin, Entry, Registered, RegisteredCheck, Registry
from psyctl_core.cli.build import component_parameters, typed, with_parameters
from psyctl_core.cli.completion import plugins
from psyctl_core.figures import counted
from psyctl_core.terminal import say, say_json, visible


def command(registry: Registry) -> Callable[..., None]:
    """The command for what is installed."""

    def plugins_list(
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    ) -> None:
        """List every component: kind, name, distribution, version, summary and, where broken, why."""
        rows = [_row(entry) for entry in registry.entries]
        if as_json:
            say_json(rows)
            return
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table("Kind", "Name", "From", "What it is", box=None, pad_edge=False)
        for row in rows:
            what, style = (f"BROKEN: {row['problem']}", "red") if row["problem"] else (row["summary"], "")
            cells = (row["kind"] or "plugin", row["name"], f"{row['distribution']} {row['version']}")
            table.add_row(*(Text(visible(str(cell))) for cell in cells), Text(visible(str(what)), style))
        Console().print(table)

    return plugins_list


def check_command(registry: Registry) -> Callable[..., None]:
    """The command that looks one plugin over."""

    def check(
        name: Annotated[
            str, typer.Argument(help="A distribution or a component.", show_default=False, autocompletion=plugins)
        ],
        debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
        **flags: Any,
    ) -> None:
        """Look a plugin over: import, hooks, components, options, and a few real items. Asks no model.

        Takes the options of the plugin's own components too, where their defaults do not suffice.
        """
        from psyctl_core._plugins.check import check_plugin, entries_of

        del debug  # read where errors become text
        wrong = untried = 0
        for finding in check_plugin(name, registry, typed(flags, spellings)):
            wrong += finding.level == "problem"
            untried += finding.level == "note"
            say(f"{finding.level:8}{finding.text}")
        if wrong:
            say(f"{counted(wrong, 'problem')}; the documentation's page on the plugin contract helps.")
            raise typer.Exit(1)
        found = "Nothing is wrong in what was tried; the notes say what was not." if untried else "Nothing is wrong."
        say(f"{found} {_next_test(entries_of(name, registry))}")

    extra, spellings = component_parameters(registry, *KINDS, hidden=True)
    return with_parameters(check, extra)


def _next_test(entries: Sequence[Entry]) -> str:
    """How a plugin's author tests what it offers."""
    kinds = dict.fromkeys(entry.origin.kind for entry in entries if isinstance(entry, Registered))
    if not kinds:
        return "Next, test its functions as any others: psyctl_core.testing has contracts for components only."
    return f"Next, test it with psyctl_core.testing: {', '.join(f'{kind.capitalize()}Contract' for kind in kinds)}."


def _row(entry: Entry) -> dict[str, str | None]:
    problem, summary = "", ""
    if isinstance(entry, BrokenPlugin):
        problem = entry.problem
    elif isinstance(entry, Registered):
        summary = entry.component.summary
        if entry.rivals:
            problem = f"supplied by {entry.rivals}; name one as {entry.full_name}"
    else:
        summary = (entry.check if isinstance(entry, RegisteredCheck) else entry.command).summary
    return {
        "kind": None if entry.origin.kind == "plugin" else entry.origin.kind,
        "name": entry.origin.name,
        "distribution": entry.origin.distribution,
        "version": entry.origin.version,
        "summary": summary,
        "problem": problem,
    }
