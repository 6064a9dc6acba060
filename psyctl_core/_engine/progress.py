"""What is under way, as one value: told to a callback after every answer, every scenario and every change of phase."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from psyctl_core._engine.dataset import Dataset
from psyctl_core._plugins.guard import GuardedBackend
from psyctl_core.records import JsonValue, Usage

MIN_ANSWERS = 20
"""Fewer say nothing about how long the rest takes: the first ones pay for what all share."""

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
    traits: tuple[TraitProgress, ...] = ()

    def as_json(self) -> dict[str, JsonValue]:
        """The values by their names, times to a tenth of a second; see the schema ``progress``."""
        row = dataclasses.asdict(self) | {"rejected": dict(self.rejected), "skipped": dict(self.skipped)}
        row["traits"] = list(row["traits"])
        for name, value in row.items():
            if isinstance(value, float) and name not in ("rate", "cost"):
                row[name] = round(value, 1)
        return row


Callback: TypeAlias = Callable[[Progress], None]


class Meter:
    """Knows the phase and how long generating has taken, and tells the callback.

    Args:
        datasets: All datasets of the run, opened.
        limit: Records wanted in each, or ``None``.
        usage: What the run has used, kept up to date by others.
        callback: Who is told; an error that it raises ends the run as its own.
        clock: Seconds, never going back.
        backends: Whose waiting and trying again is told.
    """

    def __init__(
        self,
        datasets: Sequence[Dataset],
        limit: int | None,
        usage: Usage,
        callback: Callback | None,
        clock: Callable[[], float] = time.monotonic,
        backends: Sequence[GuardedBackend] = (),
    ) -> None:
        self._datasets = datasets
        self._limit = limit
        self._usage = usage
        self._callback = callback
        self._clock = clock
        self._backends = backends
        self._phase: Phase = "starting"
        self._phase_began = self._answered = clock()
        self._waits: tuple[str, float] = "", 0.0
        self._before = usage.requests
        self._asked_before = usage.requests
        self._seconds = 0.0
        self._since: float | None = None
        self.held = 0

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Something else is under way for as long as the block runs."""
        outer = self._phase
        self._enter(phase)
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

    def answered(self) -> None:
        """An answer came."""
        self._answered = self._clock()
        self.tell()

    def tell(self) -> None:
        """Call the callback with how the run is doing now."""
        if self._callback is not None:
            self._callback(self.now())

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
        waiting, retries = self._backends_state(clock)
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
        if answers < MIN_ANSWERS:
            return None
        traits = len(self._datasets)
        each = (answers - self.held) / new if new >= MIN_ANSWERS else (traits + 1) / traits
        return max(0.0, lacking * each - self.held) * seconds / answers

    def _backends_state(self, clock: float) -> tuple[str, int]:
        """What the backends wait for, and how often they asked again; notes since when."""
        states = [backend.state() for backend in self._backends]
        waiting = next((state.waiting for state in states if state.waiting), "")
        if bool(waiting) != bool(self._waits[0]):
            self._waits = waiting, clock
        return waiting, sum(state.retries for state in states)

    def _enter(self, phase: Phase, *, quietly: bool = False) -> None:
        self._seconds, self._since = self.seconds, None
        self._phase_began = self._clock()
        if phase == "generating":
            if not self._seconds:
                self._asked_before = self._usage.requests
            self._since = self._phase_began
        self._phase = phase
        if not quietly:
            self.tell()
