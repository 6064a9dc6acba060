"""Looks a plugin over without running a job: its import, hooks, components, options, and a few real items."""

from __future__ import annotations

import contextlib
import difflib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import importlib_metadata

from psyctl_core import hookspecs
from psyctl_core._plugins.blame import blamed
from psyctl_core._plugins.flags import flags_of
from psyctl_core._plugins.guard import (
    GuardedComponent,
    GuardedExporter,
    GuardedJudge,
    GuardedPrompter,
    GuardedRunner,
    GuardedSink,
    GuardedSource,
)
from psyctl_core._plugins.registry import HOOKS, BrokenPlugin, Entry, Registered, RegisteredCheck, Registry, make
from psyctl_core._plugins.selection import config_of
from psyctl_core.checks import CheckedPair, CheckFacts
from psyctl_core.components import Context, ExportTarget, InferenceBackend, RunnerTarget, SinkTarget
from psyctl_core.errors import PluginError, PsyctlError, UsageError, did_you_mean
from psyctl_core.figures import counted
from psyctl_core.records import (
    CHARACTER,
    NEUTRAL,
    CaaRecord,
    ChatRequest,
    Completion,
    ContrastivePair,
    Message,
    Scenario,
    SkippedRow,
)

ITEMS = 20
"""How many items of a source are looked at."""

PAIRS = tuple(
    CheckedPair(
        f"pair {number}",
        f"I would like to see what is behind door {number}.",
        f"Door {number} is over there.",
        situation=f"Robin and Kim stand in a corridor, before door {number}.\nKim: Which one is it?",
        character="Robin",
        positive_is_first=bool(number % 2),
    )
    for number in range(40)
)
"""What a check is tried on."""


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
    entries = entries_of(name, registry)
    if not entries:
        known = sorted({word for e in registry.entries for word in (e.origin.distribution, e.origin.name)})
        raise UsageError(
            f"No plugin named '{name}' is installed.",
            f"{did_you_mean(name, known)}Name a distribution or a component that `psyctl plugins.list` shows; "
            "a distribution must have an entry point in the group 'psyctl'.",
        )
    theirs = {flag.spelling for e in entries if isinstance(e, Registered) for flag in flags_of(e.component)}
    if foreign := sorted(given.keys() - theirs):
        raise UsageError(
            f"{foreign[0]} belongs to no component of '{name}'.",
            f"It has: {', '.join(sorted(theirs)) or 'no options'}.",
        )
    for distribution in sorted({entry.origin.distribution for entry in entries}):
        yield from _hooks(distribution)
    for entry in entries:
        yield from _entry(entry, given)


def entries_of(name: str, registry: Registry) -> list[Entry]:
    """What a distribution offers, or what has a name of its own."""
    return [entry for entry in registry.entries if name in (entry.origin.distribution, entry.origin.name)]


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


def _entry(entry: Entry, given: Mapping[str, Any]) -> Iterator[Finding]:
    if isinstance(entry, BrokenPlugin):
        yield Finding("problem", f"{entry.origin}: {entry.problem}")
    elif isinstance(entry, Registered):
        yield from _component(entry, given)
    elif isinstance(entry, RegisteredCheck):
        yield _check(entry)
    else:
        yield Finding("ok", f"{entry.origin}: {entry.command.summary}")


def _check(entry: RegisteredCheck) -> Finding:
    """A check is run on a few pairs of ordinary speech."""
    try:
        found = entry.made()(PAIRS, CheckFacts("Openness"))
    except PluginError as error:
        return Finding("problem", error.message)
    except PsyctlError as error:
        return Finding("note", f"{entry.origin}: not tried: {error.message.rstrip('.')}.")
    return Finding("ok", f"{entry.origin}: says of {counted(len(PAIRS), 'pair')}: {found.text}")


def _component(found: Registered, given: Mapping[str, Any]) -> Iterator[Finding]:
    origin = found.origin
    if found.rivals:
        yield Finding("problem", f"{origin}: its name is taken more than once, by {found.rivals}")
    flags = flags_of(found.component)
    shown = ", ".join(flag.spelling for flag in flags if not flag.hidden)
    values = {flag.field: given[flag.spelling] for flag in flags if flag.spelling in given}
    yield Finding("ok", f"{origin}: options {shown or 'none'}")
    try:
        with blamed(origin):
            config = config_of(found, values)
        made = make(found, config, Context())
        if isinstance(made, GuardedComponent):
            made.identity()
        yield Finding("ok", f"{origin}: made with {'what was given' if values else 'its defaults'}")
        if try_it := TRIALS.get(origin.kind):
            yield try_it(made)
    except PluginError as error:
        yield Finding("problem", error.message)
    except PsyctlError as error:
        why = f"{origin}: not tried further: {error.message.rstrip('.')}."
        yield (
            Finding("problem", why) if values else Finding("note", f"{why} Give its options to this command to try it.")
        )


def _items(source: GuardedSource) -> Finding:
    scenarios = 0
    skipped: Counter[str] = Counter()
    with contextlib.closing(source.scenarios(0)) as items:
        for item in islice(items, ITEMS):
            scenarios += isinstance(item, Scenario)
            skipped.update([item.reason] if isinstance(item, SkippedRow) else [])
    seen = scenarios + skipped.total()
    of = "its first" if seen == ITEMS else "all of its"
    text = f"{source.origin}: {counted(scenarios, 'scenario')} in {of} {counted(seen, 'item')}"
    if skipped:
        text += f"; skipped: {', '.join(f'{reason}: {count}' for reason, count in skipped.most_common())}"
    return Finding("ok" if scenarios else "problem", text)


class _AskedError(PsyctlError):
    """The prompter asks the model, which is not done here."""


def _persona(prompter: GuardedPrompter) -> Finding:
    def ask(messages: tuple[Message, ...], *, max_tokens: int, prefill: str = "") -> str:
        raise _AskedError("a model is wanted")

    try:
        persona = prompter.describe(NEUTRAL, ask)
    except _AskedError:
        return Finding("ok", f"{prompter.origin}: asks the model to describe somebody")
    if CHARACTER not in persona.description:
        return Finding(
            "problem", f"{prompter.origin}: its neutral person is not a Persona with {CHARACTER} in it: {persona!r}"
        )
    return Finding("ok", f"{prompter.origin}: describes the neutral person: {persona.description}")


def _judge(judge: GuardedJudge) -> Finding:
    scenario = Scenario("check", 0, "Robin and Kim wait for a bus.", "Kim")
    pair = ContrastivePair(scenario, "Extroversion", "Come along, all of you!", "It is the right bus.")
    requests = judge.requests(pair, "")
    return Finding("ok", f"{judge.origin}: asks {counted(len(requests), 'thing')} about a pair")


def _sink(sink: GuardedSink) -> Finding:
    with tempfile.TemporaryDirectory() as folder:
        writer = sink.open(SinkTarget(Path(folder), "check", "Openness"))
        ids = writer.record_ids(0)
        writer.close()
    return Finding(
        "problem" if ids else "ok", f"{sink.origin}: opened, with {counted(len(ids), 'record')} in a new dataset"
    )


def _runner(runner: GuardedRunner) -> Finding:
    """A runner is asked to open a pool; to start it might take a cluster."""
    pool = runner.open(RunnerTarget("backend 'none'", _Nobody(), _Nobody()))
    with contextlib.closing(pool):
        return Finding("ok", f"{runner.origin}: has a pool of {counted(pool.workers, 'worker')}, not started")


class _Nobody(InferenceBackend):
    """Answers nothing, and makes itself anew."""

    is_free = True

    def make(self, is_stopping: Callable[[], bool]) -> InferenceBackend:
        """Another one."""
        del is_stopping
        return _Nobody()

    def generate(self, requests: Iterator[ChatRequest]) -> Iterator[Completion]:
        """Nothing."""
        return iter(())


def _export(exporter: GuardedExporter) -> Finding:
    situation, answers = "Robin and Kim wait for a bus.", ("Come along, all of you!", "It is the right bus.")
    question = f"[Situation]\n{situation}\n[Question]\nWhat should Kim say?\n1. {answers[0]}\n2. {answers[1]}\n[Answer]"
    pair = CaaRecord(question, "(1", "(2", "check", "Openness", "Kim", situation, *answers)
    with tempfile.TemporaryDirectory() as folder:
        exported = exporter.export([pair], [], ExportTarget(Path(folder), "openness", "Openness", Path("export")))
    return Finding("ok", f"{exporter.origin}: wrote a pair as {', '.join(map(str, exported.files))}")


TRIALS: Mapping[str, Callable[[Any], Finding]] = {
    "source": _items, "prompter": _persona, "judge": _judge, "runner": _runner, "sink": _sink, "exporter": _export,
}  # fmt: skip
"""How a component is tried, by its kind; a backend would have to be asked something."""
