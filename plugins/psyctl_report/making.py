"""What made a dataset and what it took, as rows of text out of its run.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from psyctl_core.figures import counted
from psyctl_core.records import Usage

Rows = list[tuple[str, str]]

STATUS = {
    "complete": "finished",
    "stopped": "not finished: it was stopped, and the command that began it goes on",
    "running": "not finished: it is going on, or was killed; then the command that began it goes on",
}
SHOWN_ELSEWHERE = ("personas", "guides", "statistics")
"""Parts of run.json that have a place of their own on the page."""


def status_of(run: Mapping[str, Any]) -> str:
    """Whether the run is finished, in words."""
    return STATUS.get(str(run.get("status")), "not known")


def made_by(run: Mapping[str, Any]) -> Rows:
    """Who and what made the dataset, in short: its components with those of their options that are set."""
    if not run:
        return []
    rows = [("run", status_of(run)), ("begun", _second(run["created"])), ("last written", _second(run["updated"]))]
    job = {name: value for name, value in run["settings"].items() if not isinstance(value, Mapping)}
    for name, part in run["settings"].items():
        if isinstance(part, Mapping) and "component" in part:
            options = _listed(part.get("settings", {}))
            rows.append((name.replace("_", " "), f"{part['component']}{f' ({options})' if options else ''}"))
    return [*rows, ("job", _listed(job)), ("versions", _listed(run["versions"]))]


def everything(run: Mapping[str, Any]) -> Rows:
    """Each value in run.json under its dotted name, but for those with a place of their own."""
    rest = {name: value for name, value in run.items() if name not in SHOWN_ELSEWHERE}
    return list(_flat(rest, ""))


def personas_of(run: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Each persona: its side and whom it describes, the description, and its keywords."""
    return [
        (f"{side} ({persona['trait']})", persona["description"], ", ".join(persona["keywords"]))
        for side, persona in run.get("personas", {}).items()
    ]


def used(run: Mapping[str, Any], cost_before: float | None = None) -> Rows:
    """Requests, tokens, time and cost of the whole run, and what the datasets cost which it made this one of."""
    found = run.get("statistics", {})
    if not found:
        return []
    usage = Usage(**{name: found[name] for name in Usage.__slots__ if name in found})
    before = [("cost of what it was made of", f"${cost_before:,.4f}")] if cost_before else []
    return [
        ("requests", f"{usage.requests:,}{f', {usage.failed_requests:,} failed' if usage.failed_requests else ''}"),
        ("tokens read", f"{usage.prompt_tokens:,}"),
        ("tokens written", f"{usage.completion_tokens:,}"),
        ("time spent generating", f"{usage.seconds:,.0f} s"),
        ("cost", cost_of(usage)),
        *before,
    ]


def cost_of(usage: Usage) -> str:
    """What was paid as far as told, and what was not told."""
    if usage.cost is not None:
        text = f"${usage.cost:,.4f}"
        if usage.unpriced_requests:
            text += f"; the price of {counted(usage.unpriced_requests, 'answer')} was not told"
    else:
        text = (
            "not known: no answer told its price" if usage.unpriced_requests else "none: nothing that was asked costs"
        )
    if usage.lost_requests:
        text += f"; {counted(usage.lost_requests, 'lost request')} may have cost something"
    return text


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_text(value)}" for name, value in values.items() if value not in (None, ""))


def _second(time: object) -> str:
    """A time of ISO 8601 to the second."""
    return str(time).partition(".")[0].replace("T", " ", 1)


def _flat(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, _text(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
