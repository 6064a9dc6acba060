"""What is under way, as one value: told to a callback after every answer, every scenario and every change of phase."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from psyctl_core._engine.dataset import Dataset
from psyctl_core._plugins.guard import GuardedPool
from psyctl_core.figures import counted, duration, money, number, rate
from psyctl_core.records import JsonValue, Usage

history = logging.getLogger("psyctl.history")
"""What only logs are told: phases, waits, how far the run is, and how it ended."""

history.propagate = False
history.setLevel(logging.INFO)

MIN_ANSWERS = 20
"""Fewer say nothing about how long the rest takes: the first ones pay for what all share."""

MIN_SECONDS = 10.0
"""Fewer seconds of generating say nothing about it either."""

MIN_ROUNDS = 2
"""Times that the first answer took, before the rate tells: requests begun at once all come late."""

Phase = Literal["starting", "loading", "describing", "reading", "generating", "saving"]


@dataclass(frozen=True, slots=True)
class TraitProgress:
    """How far one trait's dataset is: ``rejected`` counts its scenarios that gave no pair."""

    trait: str
    pairs: int
    wanted: int | None
    rejected: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How a run is doing, as its callback is told.

    Attributes:
        phase: ``starting``, ``loading`` (the backend makes ready), ``describing`` (personas), ``reading`` (the source
            comes to its first scenario), ``generating`` (answers) or ``saving``.
        pairs: Records in all datasets together.
        wanted: Records wanted in all of them, or ``None`` for all the source gives.
        rejected: Scenarios that gave no pair, by reason, over all datasets.
        skipped: Rows that held no scenario, by reason, over all datasets.
        answers: Answers that this process received.
        rate: New records a second of generating, or ``None`` where there are none yet.
        eta: Seconds to go at the rate at which answers come, or ``None`` where that cannot be told yet.
        cost: US dollars so far over all resumes, or ``None`` where unknown, or where nothing costs money.
        seconds: Wall time this process spent generating: loading, personas and the source's first row are left out.
        phase_seconds: Wall time since the phase began.
        silent_seconds: Wall time since the last answer came or the phase began, whichever was later.
        waiting: What a backend waits for, such as ``rate limited``, or nothing.
        waiting_seconds: For how long.
        retries: How often a backend asked again in this process.
        workers: How many processes answer now, or ``None`` where this one does.
        traits: How far each dataset is, in the order of the traits.
    """

    phase: Phase
    pairs: int = 0
    wanted: int | None = None
    rejected: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    answers: int = 0
    rate: float | None = None
    eta: float | None = None
    cost: float | None = None
    seconds: float = 0.0
    phase_seconds: float = 0.0
    silent_seconds: float = 0.0
    waiting: str = ""
    waiting_seconds: float = 0.0
    retries: int = 0
    workers: int | None = None
    traits: tuple[TraitProgress, ...] = ()

    def as_json(self) -> dict[str, JsonValue]:
        """The values by their names, times to a tenth of a second; see the schema ``progress``."""
        row: dict[str, JsonValue] = {name: getattr(self, name) for name in self.__slots__}
        row |= {"rejected": dict(self.rejected), "skipped": dict(self.skipped)}
        row["traits"] = [dataclasses.asdict(trait) for trait in self.traits]
        for name, value in row.items():
            if isinstance(value, float) and name not in ("rate", "cost"):
                row[name] = round(value, 1)
        return row


def progress_of(row: Mapping[str, Any]) -> Progress:
    """A progress from its JSON values; what it does not know is left out."""
    values = {each.name: row[each.name] for each in dataclasses.fields(Progress) if each.name in row}
    traits = tuple(
        TraitProgress(*(each[name] for name in TraitProgress.__slots__)) for each in values.pop("traits", ())
    )
    return Progress(**values, traits=traits)


PHASES: Mapping[Phase, str] = {
    "starting": "getting ready",
    "loading": "loading the model or checking the server",
    "describing": "describing personas",
    "reading": "reading the source",
    "generating": "generating",
    "saving": "saving",
}
"""What each phase of a run is called in front of a person."""

SILENT_SECONDS = 60.0
"""How long no answer may come before that is worth a word: a block of a local model takes half of it."""


def in_parts(p: Progress) -> list[str]:
    """Progress as a person reads it, what matters most first: count, rate, time to go, rejected, cost, phase.

    Where nothing comes, what is waited for and since when takes the place of the time to go.
    """
    count = counted(p.pairs, "pair") if p.wanted is None else f"{number(p.pairs)}/{number(p.wanted)} pairs"
    if p.phase != "generating":
        since = f" for {duration(p.phase_seconds)}" if p.phase_seconds >= 1 else ""
        return [*([count] if p.pairs else []), f"{PHASES[p.phase]}{since}"]
    parts = [count]
    if p.rate is not None:
        parts.append(rate(p.rate))
    if p.waiting:
        parts.append(f"{p.waiting}: waiting for {duration(p.waiting_seconds)}")
    elif p.silent_seconds >= SILENT_SECONDS:
        parts.append(f"no answer for {duration(p.silent_seconds)}")
    elif p.eta is not None:
        parts.append(f"{duration(p.eta)} to go")
    if p.workers is not None:
        parts.append(counted(p.workers, "worker"))
    parts.append(f"{number(sum(p.rejected.values()))} rejected")
    if p.cost is not None:
        parts.append(money(p.cost))
    return [*parts, PHASES[p.phase]]


Callback: TypeAlias = Callable[[Progress], None]


class Meter:
    """Knows the phase and how long generating has taken, and tells the callback.

    Args:
        datasets: All datasets of the run, opened.
        limit: Records wanted in each, or ``None``.
        usage: What the run has used, kept up to date by others.
        callback: Who is told; an error that it raises ends the run as its own.
        clock: Seconds, never going back.
        pools: Whose waiting and trying again is told.
    """

    def __init__(
        self,
        datasets: Sequence[Dataset],
        limit: int | None,
        usage: Usage,
        callback: Callback | None,
        clock: Callable[[], float] = time.monotonic,
        pools: Sequence[GuardedPool] = (),
    ) -> None:
        self._datasets = datasets
        self._limit = limit
        self._usage = usage
        self._callback = callback
        self._clock = clock
        self._telling = threading.RLock()
        self._pools = pools
        self._phase: Phase = "starting"
        self._phase_began = self._answered = clock()
        self._waits: tuple[str, float] = "", 0.0
        self._before = usage.requests
        self._asked_before = usage.requests
        self._seconds = 0.0
        self._since: float | None = None
        self._first: float | None = None
        self.held = 0

    @contextmanager
    def phase(self, phase: Phase, *, quietly: bool = False) -> Iterator[None]:
        """Something else is under way for as long as the block runs; ``quietly`` where another one begins at once."""
        outer = self._phase
        self._enter(phase, quietly=quietly)
        try:
            yield
        finally:
            self._enter(outer, quietly=outer == "starting")

    @property
    def seconds(self) -> float:
        """Wall time spent generating so far."""
        since = self._since
        return self._seconds + (0.0 if since is None else self._clock() - since)

    @property
    def requests(self) -> int:
        """Answers that this process received."""
        return self._usage.requests - self._before

    @property
    def persona_requests(self) -> int:
        """Those among them that came before generating began: personas', and a judge's guides."""
        return (self._asked_before if self._seconds or self._since else self._usage.requests) - self._before

    def answered(self) -> None:
        """An answer came."""
        self._answered = self._clock()
        if self._first is None and self._since is not None:
            self._first = self.seconds
        self.tell()

    def tell(self, callback: Callback | None = None) -> None:
        """Call the callback, or another one, with how the run is doing now: no thread tells what is older already."""
        told = callback or self._callback
        if told is not None:
            with self._telling:
                told(self.now())

    def now(self) -> Progress:
        """How the run is doing now; may be called from another thread."""
        while True:
            try:
                return self._now()
            except RuntimeError:  # a reason was counted for the first time while another thread went through them
                continue

    def _now(self) -> Progress:
        pairs, wanted = sum(dataset.num_generated for dataset in self._datasets), self._wanted
        new = pairs - sum(dataset.found_records for dataset in self._datasets)
        seconds, clock = self.seconds, self._clock()
        waiting, retries, workers = self._pools_state(clock)
        return Progress(
            phase=self._phase,
            pairs=pairs,
            wanted=wanted,
            rejected=sum((Counter(dataset.rejected) for dataset in self._datasets), Counter()),
            skipped=sum((Counter(dataset.skipped) for dataset in self._datasets), Counter()),
            answers=self.requests,
            rate=new / seconds if new and seconds else None,
            eta=None if wanted is None else self._eta(wanted - pairs, new, seconds),
            cost=self._usage.cost,
            seconds=seconds,
            phase_seconds=clock - self._phase_began,
            silent_seconds=clock - max(self._answered, self._phase_began),
            waiting=waiting,
            waiting_seconds=clock - self._waits[1] if waiting else 0.0,
            retries=retries,
            workers=workers,
            traits=tuple(
                TraitProgress(each.trait.name, each.num_generated, self._limit, sum(each.rejected.values()))
                for each in self._datasets
            ),
        )

    @property
    def _wanted(self) -> int | None:
        """Records wanted in all; a dataset that has more, from a higher limit of before, lacks none."""
        if self._limit is None:
            return None
        return sum(max(self._limit, dataset.found_records) for dataset in self._datasets)

    def _eta(self, lacking: int, new: int, seconds: float) -> float | None:
        """Seconds to go: as many answers a pair as were seen, judged and rejected ones included."""
        answers = self._usage.requests - self._asked_before
        if answers < MIN_ANSWERS or seconds < max(MIN_SECONDS, MIN_ROUNDS * (self._first or 0.0)):
            return None
        traits = len(self._datasets)
        each = (answers - self.held) / new if new >= MIN_ANSWERS else (traits + 1) / traits
        return max(0.0, lacking * each - self.held) * seconds / answers

    def _pools_state(self, clock: float) -> tuple[str, int, int | None]:
        """What the pools wait for, how often they asked again, and who answers; notes since when they wait."""
        states = [pool.state() for pool in self._pools]
        waiting = next((state.waiting for state in states if state.waiting), "")
        if bool(waiting) != bool(self._waits[0]):
            self._waits = waiting, clock
        workers = [state.workers for state in states if state.workers is not None]
        return waiting, sum(state.retries for state in states), sum(workers) if workers else None

    def _enter(self, phase: Phase, *, quietly: bool = False) -> None:
        self._seconds, self._since = self.seconds, None
        self._phase_began = self._clock()
        if phase == "generating":
            if not self._seconds:
                self._asked_before = self._usage.requests
            self._since = self._phase_began
        self._phase = phase
        if not quietly:
            history.info("%s%s", PHASES[phase][:1].upper(), PHASES[phase][1:])
            self.tell()
