"""What is under way, as one value: told to a callback after every answer, every scenario and every change of phase."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from psyctl_core._engine.dataset import Dataset
from psyctl_core.records import Usage

MIN_ANSWERS = 20
"""Fewer say nothing about how long the rest takes: the first ones pay for what all share."""

Phase = Literal["starting", "loading", "describing", "generating", "saving"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How a run is doing, as its callback is told.

    Attributes:
        phase: ``starting``, ``loading`` (the backend makes ready), ``describing`` (personas), ``generating``
            (answers) or ``saving``.
        pairs: Records in all datasets together.
        wanted: Records wanted in all of them, or ``None`` for all the source gives.
        rejected: Scenarios that gave no pair, by reason, over all datasets.
        skipped: Rows that held no scenario, by reason, over all datasets.
        answers: Answers that this process received.
        rate: New records a second of generating, or ``None`` where there are none yet.
        eta: Seconds to go at the rate at which answers come, or ``None`` where that cannot be told yet.
        cost: US dollars so far, or ``None`` where unknown.
        seconds: Wall time this process spent generating; loading and personas are left out.
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


Callback: TypeAlias = Callable[[Progress], None]


class Meter:
    """Knows the phase and how long generating has taken, and tells the callback.

    Args:
        datasets: All datasets of the run, opened.
        limit: Records wanted in each, or ``None``.
        usage: What the run has used, kept up to date by others.
        callback: Who is told; an error that it raises ends the run as its own.
        clock: Seconds, never going back.
    """

    def __init__(
        self,
        datasets: Sequence[Dataset],
        limit: int | None,
        usage: Usage,
        callback: Callback | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._datasets = datasets
        self._wanted = None if limit is None else limit * len(datasets)
        self._usage = usage
        self._callback = callback
        self._clock = clock
        self._phase: Phase = "starting"
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
            self._enter(outer, quietly=True)

    @property
    def seconds(self) -> float:
        """Wall time spent generating so far."""
        return self._seconds + (0.0 if self._since is None else self._clock() - self._since)

    @property
    def requests(self) -> int:
        """Answers that this process received."""
        return self._usage.requests - self._before

    def tell(self) -> None:
        """Call the callback with how the run is doing now."""
        if self._callback is not None:
            self._callback(self.now())

    def now(self) -> Progress:
        """How the run is doing now."""
        pairs = sum(dataset.num_generated for dataset in self._datasets)
        new = pairs - sum(dataset.found_records for dataset in self._datasets)
        answers, seconds = self._usage.requests - self._asked_before, self.seconds
        eta = None
        if self._wanted is not None and answers >= MIN_ANSWERS:
            traits = len(self._datasets)
            to_go = (self._wanted - pairs) * (traits + 1) / traits - self.held
            eta = max(0.0, to_go) * seconds / answers
        return Progress(
            phase=self._phase,
            pairs=pairs,
            wanted=self._wanted,
            rejected=sum((dataset.rejected for dataset in self._datasets), Counter()),
            skipped=sum((dataset.skipped for dataset in self._datasets), Counter()),
            answers=self.requests,
            rate=new / seconds if new and seconds else None,
            eta=eta,
            cost=self._usage.cost,
            seconds=seconds,
        )

    def _enter(self, phase: Phase, *, quietly: bool = False) -> None:
        self._seconds, self._since = self.seconds, None
        if phase == "generating":
            if not self._seconds:
                self._asked_before = self._usage.requests
            self._since = self._clock()
        self._phase = phase
        if not quietly:
            self.tell()
