"""``psyctl source.preview``: what a source understood, its first scenarios as the model will see them, its skips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any

import typer

from psyctl_core._caa.prompts import answer_request
from psyctl_core._plugins.guard import GuardedSource
from psyctl_core._plugins.kinds import KINDS
from psyctl_core._plugins.problems import scenario_as_json
from psyctl_core._plugins.registry import Registry
from psyctl_core._plugins.selection import choose, resolve
from psyctl_core.cli.build import COMPONENTS, component_parameters, typed, with_parameters
from psyctl_core.cli.completion import components
from psyctl_core.components import Context
from psyctl_core.figures import counted
from psyctl_core.records import Persona, Scenario, SkippedRow
from psyctl_core.terminal import say, say_json

PERSONA = Persona("", "(Here stands the description of the personality.)")
"""Takes the place of what a prompter writes: a preview asks no model."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What was seen of a source.

    Attributes:
        source: Its component and who supplies it.
        description: What its ``describe()`` says it understood, by heading; empty where it has none.
        scenarios: The first ones.
        rows: How many rows were looked at.
        found: How many of them hold a scenario.
        skipped: The others, by reason.
    """

    source: str
    description: Mapping[str, str]
    scenarios: tuple[Scenario, ...]
    rows: int
    found: int
    skipped: Mapping[str, int]


def look(source: GuardedSource, *, rows: int, count: int) -> Preview:
    """Read a source's first rows.

    Args:
        source: The source.
        rows: How many rows to look at.
        count: How many scenarios to keep.

    Raises:
        PsyctlError: The source cannot be read, or yields something unusable.
    """
    scenarios: list[Scenario] = []
    skipped: Counter[str] = Counter()
    found = 0
    with closing(source.scenarios(0)) as items:
        for item in islice(items, rows):
            if isinstance(item, SkippedRow):
                skipped[item.reason] += 1
                continue
            found += 1
            if len(scenarios) < count:
                scenarios.append(item)
    return Preview(str(source.origin), source.describe(), tuple(scenarios), found + skipped.total(), found, skipped)


def prompt(scenario: Scenario) -> str:
    """The user's turn of the request that asks for the character's answer, and how the answer is begun."""
    request = answer_request(scenario, PERSONA, scenario.id, max_tokens=1, temperature=0.0, seed=0)
    return f"{request.messages[-1].content}\n\n{request.prefill}"


def command(registry: Registry) -> Callable[..., None]:
    """The command with the flags of the sources that are installed."""

    def preview(
        source: Annotated[
            str | None,
            typer.Option(
                help=f"{KINDS['source'].help} (default: {KINDS['source'].default}); `psyctl plugins.list` shows all.",
                rich_help_panel=COMPONENTS,
                autocompletion=components("source"),
            ),
        ] = None,
        count: Annotated[int, typer.Option(help="How many scenarios to show.", min=1)] = 3,
        rows: Annotated[int, typer.Option(help="How many rows to look at.", min=1)] = 200,
        seed: Annotated[int, typer.Option(help="The run's seed, for sources that shuffle.")] = 0,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
        debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
        **flags: Any,
    ) -> None:
        """Show what a source understands of its rows, without calling any model."""
        from psyctl_core.cli.live import logging_to_stderr

        given = typed(flags, spellings)
        selection = choose(registry, {"source": source} if source else {}, given, ("source",))["source"]
        with logging_to_stderr(quiet=False, debug=debug):
            made = resolve(registry, "source", selection).make(Context(seed=seed))
            seen = look(made, rows=rows, count=count)
        if as_json:
            say_json(_row(seen))
        else:
            say(_text(seen))

    extra, spellings = component_parameters(registry, "source")
    return with_parameters(preview, extra)


def _row(seen: Preview) -> dict[str, Any]:
    return {
        "source": seen.source,
        "description": dict(seen.description),
        "scenarios": [{**scenario_as_json(scenario), "prompt": prompt(scenario)} for scenario in seen.scenarios],
        "rows": seen.rows,
        "found": seen.found,
        "skipped": dict(seen.skipped),
    }


def _text(seen: Preview) -> str:
    skipped = ", ".join(f"{reason}: {count}" for reason, count in Counter(seen.skipped).most_common())
    facts = {
        "Source": seen.source,
        **seen.description,
        "Looked at": f"{counted(seen.rows, 'row')}, {seen.found:,} of them with a scenario",
        "Skipped": f"{sum(seen.skipped.values())} ({skipped})" if skipped else "0",
    }
    width = max(map(len, facts)) + 2
    parts = ["\n".join(f"{name:<{width}}{value}" for name, value in facts.items())]
    for number, scenario in enumerate(seen.scenarios, 1):
        parts.append(f"--- Scenario {number} ({scenario.id}): {scenario.character} answers\n{prompt(scenario)}")
    if not seen.scenarios:
        parts.append("No row holds a scenario: check the source's options against the reasons above.")
    parts.append("Nothing was asked of any model.")
    return "\n\n".join(parts)
