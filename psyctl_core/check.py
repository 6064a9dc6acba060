"""Looks a plugin over without running a job: its import, hooks, components, options, and a few real items."""

from __future__ import annotations

import contextlib
import difflib
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import importlib_metadata

from psyctl_core import hookspecs, items
from psyctl_core.choice import config_of
from psyctl_core.components import PROTOCOLS, Context, OutputSink, PersonalityPrompter, ScenarioSource, SinkTarget
from psyctl_core.errors import PluginError, PsyctlError, UsageError
from psyctl_core.flags import flags_of
from psyctl_core.records import CHARACTER, NEUTRAL, Message, Scenario, SkippedRow
from psyctl_core.registry import HOOKS, Found, Registry, blamed, blamed_items, create

ITEMS = 20
"""How many items of a source are looked at."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: in order, not to be told without more, or wrong."""

    level: Literal["ok", "note", "problem"]
    text: str


def check_plugin(name: str, registry: Registry, given: Mapping[str, Any]) -> Iterator[Finding]:
    """Look over a distribution's plugins, or the components of one name.

    Args:
        name: A distribution, an entry point, or a component.
        registry: What is installed.
        given: Values for the components' options, by spelling.

    Raises:
        UsageError: Nothing of that name is installed, or it has no such option.
    """
    found = [f for f in registry.found if name in (f.distribution, f.name)]
    if not found:
        known = sorted({f.distribution for f in registry.found} | {f.name for f in registry.found})
        near = difflib.get_close_matches(name, known, n=1)
        guess = f"Did you mean '{near[0]}'? " if near else ""
        raise UsageError(
            f"No plugin named '{name}' is installed.",
            f"{guess}Name a distribution or a component that `psyctl plugins.list` shows; "
            "a distribution must have an entry point in the group 'psyctl'.",
        )
    theirs = {flag.spelling for f in found if f.component and not f.problem for flag in flags_of(f.component)}
    if foreign := sorted(given.keys() - theirs):
        raise UsageError(
            f"{foreign[0]} belongs to no component of '{name}'.",
            f"It has: {', '.join(sorted(theirs)) or 'no options'}.",
        )
    for distribution in sorted({f.distribution for f in found}):
        yield from _hooks(distribution)
    for item in found:
        yield from _component(item, given)


def _hooks(distribution: str) -> Iterator[Finding]:
    """Functions that look like hooks and are none; what cannot be imported is told with its component."""
    for point in importlib_metadata.entry_points(group=hookspecs.PROJECT):
        if point.dist is None or point.dist.name != distribution:
            continue
        module: object = None
        with contextlib.suppress(Exception, SystemExit):
            module = point.load()
        if module is None:
            continue
        for name in sorted(n for n in vars(module) if n.startswith("psyctl_") and callable(vars(module)[n])):
            if name not in HOOKS.values():
                near = difflib.get_close_matches(name, HOOKS.values(), n=1)
                guess = f"; did you mean {near[0]}?" if near else ""
                yield Finding("problem", f"{point.value}: there is no hook {name}{guess}")
            elif not getattr(vars(module)[name], f"{hookspecs.PROJECT}_impl", None):
                yield Finding("problem", f"{point.value}: {name} is not marked with @hookimpl, so it is never called")
            else:
                yield Finding("ok", f"{point.value}: hook {name}")


def _component(found: Found, given: Mapping[str, Any]) -> Iterator[Finding]:
    if found.problem or found.component is None or found.kind is None:
        yield Finding("problem", f"{found}: {found.problem}")
        return
    if found.rivals:
        yield Finding("problem", f"{found}: its name is taken more than once, by {found.rivals}")
    flags = flags_of(found.component)
    shown = ", ".join(flag.spelling for flag in flags if not flag.hidden)
    values = {flag.field: given[flag.spelling] for flag in flags if flag.spelling in given}
    yield Finding("ok", f"{found}: options {shown or 'none'}")
    try:
        with blamed(found):
            config = config_of(found, values)
        made = create(found, config, Context(), PROTOCOLS[found.kind])
        with blamed(found):
            made.identity()
        yield Finding("ok", f"{found}: made with {'what was given' if values else 'its defaults'}")
        if found.kind == "source":
            yield _items(found, made)
        if found.kind == "prompter":
            yield _persona(found, made)
        if found.kind == "sink":
            yield _sink(found, made)
    except PluginError as error:
        yield Finding("problem", error.message)
    except PsyctlError as error:
        why = f"{found}: not tried further: {error.message.rstrip('.')}."
        yield (
            Finding("problem", why) if values else Finding("note", f"{why} Give its options to this command to try it.")
        )


def _items(found: Found, source: ScenarioSource) -> Finding:
    place, scenarios = -1, 0
    skipped: Counter[str] = Counter()
    for item in blamed_items(found, islice(source.scenarios(0), ITEMS)):
        if wrong := items.problem(item, place):
            return Finding("problem", f"{found}: yielded something unusable: {wrong}")
        place = item.place
        scenarios += isinstance(item, Scenario)
        skipped.update([item.reason] if isinstance(item, SkippedRow) else [])
    seen = scenarios + skipped.total()
    text = f"{found}: {scenarios} scenarios in {'its first' if seen == ITEMS else 'all of its'} {seen} items"
    if skipped:
        text += f"; skipped: {', '.join(f'{reason}: {count}' for reason, count in skipped.most_common())}"
    return Finding("ok" if scenarios else "problem", text)


class _AskedError(PsyctlError):
    """The prompter asks the model, which is not done here."""


def _persona(found: Found, prompter: PersonalityPrompter) -> Finding:
    def ask(messages: tuple[Message, ...], *, max_tokens: int, prefill: str = "") -> str:
        raise _AskedError("a model is wanted")

    try:
        with blamed(found):
            persona = prompter.describe(NEUTRAL, ask)
    except _AskedError:
        return Finding("ok", f"{found}: asks the model to describe somebody")
    if wrong := items.persona_problem(persona):
        return Finding("problem", f"{found}: {wrong}")
    if CHARACTER not in persona.description:
        return Finding("problem", f"{found}: its neutral person is no Persona with {CHARACTER} in it: {persona!r}")
    return Finding("ok", f"{found}: describes the neutral person: {persona.description}")


def _sink(found: Found, sink: OutputSink) -> Finding:
    with tempfile.TemporaryDirectory() as folder, blamed(found):
        sink.open(SinkTarget(Path(folder), "check", "Openness"))
        ids = list(sink.record_ids(0))
        sink.close()
    return Finding("problem" if ids else "ok", f"{found}: opened, with {len(ids)} records in a new dataset")
