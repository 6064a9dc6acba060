"""Runs many scenarios' tasks at once and yields what became of each, in the source's order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeAlias

from psyctl_core._caa.contrast import Rejected, Task
from psyctl_core._engine.blocks import Asked, Block
from psyctl_core._engine.eligibility import Lane
from psyctl_core.records import ChatRequest, Completion, ContrastivePair, Scenario, SkippedRow

MAX_OPEN = 10_000
"""Rows read and not committed yet, at most: bounds memory while one answer is late."""


Answers: TypeAlias = Callable[[Callable[[], "Block | None"]], Generator[Completion, None, None]]
"""Answers block after block; see :meth:`~psyctl_core._engine.answering.Answerer.answers`."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """How a judge is asked in turns with the writer.

    Attributes:
        answers: Who answers it.
        block: How many of its requests are computed together at most; 0 where they flow.
        begin_at: How many of them wait before the writer pauses for them.
    """

    answers: Answers
    block: int
    begin_at: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A scenario whose record an earlier process wrote."""


Result: TypeAlias = "ContrastivePair | Rejected | SkippedRow | Kept"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one row of the source.

    Attributes:
        offset: The row's offset.
        results: What came of it, by the id of each dataset that it was for.
        is_boundary: Whether a run may go on from behind this row: nothing before it is open.
    """

    offset: int
    results: Mapping[str, Result]
    is_boundary: bool


@dataclass(slots=True, eq=False)
class _Running:
    """A dataset's task for a scenario, and what it waits for."""

    task: Task
    requests: Sequence[ChatRequest] = ()
    has_begun: bool = False


@dataclass(slots=True, eq=False)
class _Open:
    """A scenario that is not committed yet.

    Attributes:
        scenario: The scenario.
        eligible: The datasets that it could give a pair to.
        known: What an earlier process made of it, by the dataset's id.
        claimed: The datasets that count on it.
        running: Their tasks.
        answers: The answers so far, by request id; tasks that ask the same share them.
        results: What the tasks came to.
        is_committed: Whether it was yielded; what still arrives for it was only asked for its block's sake.
    """

    scenario: Scenario
    eligible: list[Lane]
    known: dict[str, bool]
    claimed: list[Lane] = field(default_factory=list)
    running: dict[str, _Running] = field(default_factory=dict)
    answers: dict[str, Completion | None] = field(default_factory=dict)
    results: dict[str, ContrastivePair | Rejected] = field(default_factory=dict)
    is_committed: bool = False

    def answers_to(self, requests: Sequence[ChatRequest]) -> list[Completion] | None:
        """The answers to these requests, or ``None`` while one is missing."""
        answers = [answer for request in requests if (answer := self.answers[request.id]) is not None]
        return answers if len(answers) == len(requests) else None

    @property
    def is_decided(self) -> bool:
        """Whether every dataset that still lacks a pair knows what it gets from this scenario."""
        return all(
            lane.id in self.known or lane.id in self.results or (lane not in self.claimed and not lane.lacks)
            for lane in self.eligible
        )


class Scheduler:
    """One pass over the scenarios for all datasets.

    Each dataset gets the first usable scenarios in the source's order, so which ones depends on the answers
    alone and never on when they arrive. A scenario is asked about ahead of time only while all that are open
    could be accepted without going over the limit; what an earlier scenario turns out to need in addition is
    asked for first.

    Args:
        items: The source's items from the earliest dataset's offset on, in order.
        lanes: The datasets that still lack records.
        task: Makes a scenario's task for the dataset of an id.
        answers: Answers the blocks that it is given; see :meth:`Answerer.answers`.
        block_scenarios: How many scenarios the block that begins at an offset is cut to; ``None`` where
            requests flow.
        judging: How the judge's requests are answered; ``None`` where they are in one flow with the others.
    """

    def __init__(
        self,
        items: Iterator[Scenario | SkippedRow],
        lanes: Sequence[Lane],
        task: Callable[[Scenario, str], Task],
        answers: Answers,
        block_scenarios: Callable[[int], int] | None = None,
        judging: Rounds | None = None,
    ) -> None:
        self._items = items
        self._lanes = lanes
        self._task = task
        self._answers = answers
        self._block_scenarios = block_scenarios
        self._judging = judging
        self._pending: deque[_Open | SkippedRow] = deque()
        self._in_flight: dict[str, _Open] = {}
        self._backlog: deque[Asked] = deque()
        self._to_judge: deque[Asked] = deque()
        self._block_starts: deque[int] = deque()
        self._in_judgement: dict[str, int] = {}
        self._unclaimed = 0
        self._next_offset = min((lane.start for lane in lanes), default=0)
        self.exhausted = False
        self.scenarios = 0
        self.held = 0

    def outcomes(self) -> Generator[Outcome, None, None]:
        """What became of each row, in order, until every dataset has what it lacks or the source has no more."""
        while self._wants_more() or self._pending:
            yield from self._round(self._answers, self._next_block)
            if self._judging is not None:
                yield from self._round(self._judging.answers, self._next_to_judge)
            yield from self._ready()

    def _round(self, answers: Answers, next_block: Callable[[], Block | None]) -> Iterator[Outcome]:
        with closing(answers(next_block)) as completions:
            for completion in completions:
                self._receive(completion)
                yield from self._ready()

    def lacking(self) -> list[str]:
        """The ids of the datasets that are not full."""
        return [lane.id for lane in self._lanes if lane.lacks]

    # What goes out.

    def _next_block(self) -> Block | None:
        if self._block_scenarios is None:
            flow = self._flow()
            first = next(flow, None)
            return None if first is None else chain([first], flow)
        return self._cut(self._block_scenarios) or None

    def _flow(self) -> Iterator[Asked]:
        """Requests for as long as there are any, for a backend that takes them as room appears."""
        while self._judging is None or self._may_write_on():
            self._claim_unclaimed()
            if self._backlog:
                yield self._backlog.popleft()
            elif opened := self._open_next():
                self._begin(opened, [lane for lane in opened.claimed if lane.id not in opened.known])
            else:
                return

    def _cut(self, block_scenarios: Callable[[int], int]) -> list[Asked]:
        """The requests of one block: the backlog, then the next scenarios, cut by offset alone.

        A block that an earlier process committed in part is asked again whole, because answers may depend on
        which requests are computed together; one that it committed wholly is not asked at all. What the last block
        gave is judged before the next one is begun. While other blocks are under way, a block is cut only if it is
        sure to be the one that would be cut after them.
        """
        is_ahead = len(self._in_flight) > len(self._backlog) + len(self._to_judge)
        if self._to_judge and not (is_ahead and self._may_write_on()):
            return []
        self._claim_unclaimed()
        block: list[_Open] = []
        if self._wants_more() and not (is_ahead and self._backlog):
            most = block_scenarios(self._next_offset)
            if is_ahead and not all(lane.has_room_for(most) for lane in self._lanes):
                return []
            if not self._backlog:
                self._block_starts.append(self._next_offset)
            most_rows = len(self._pending) + MAX_OPEN if is_ahead else MAX_OPEN
            while len(block) < most and (opened := self._open_next(most_rows)) is not None:
                block.append(opened)
        elif is_ahead:
            return []
        if any(lane.id not in opened.known for opened in block for lane in opened.claimed):
            for opened in block:
                self._begin(opened, opened.claimed)
        requests = list(self._backlog)
        self._backlog.clear()
        return requests

    def _may_write_on(self) -> bool:
        """Whether more is written before what waits is judged."""
        return self._judging is not None and len(self._to_judge) < self._judging.begin_at

    def _next_to_judge(self) -> Block | None:
        if not self._to_judge:
            return None
        if self._judging is not None and self._judging.block:
            return self._cut_to_judge(self._judging.block) or None
        return self._flow_to_judge()

    def _cut_to_judge(self, most: int) -> list[Asked]:
        """The judge's requests about pairs of one block, since answers may depend on what is judged together.

        Those about one block's pairs go one lot after the other: the judge may ask again.
        """
        under_way = set(self._in_judgement.values())
        waiting = {start for asked in self._to_judge if (start := self._block_of(asked)) not in under_way}
        if not waiting:
            return []
        first = min(waiting)
        cut = [asked for asked in self._to_judge if self._block_of(asked) == first][:most]
        self._in_judgement |= {asked.request.id: first for asked in cut}
        self._to_judge = deque(asked for asked in self._to_judge if asked.request.id not in self._in_judgement)
        return cut

    def _block_of(self, asked: Asked) -> int:
        """Where the block begins that a request's scenario is of; -1 where the writer's requests flow."""
        return max((start for start in self._block_starts if start <= asked.offset), default=-1)

    def _flow_to_judge(self) -> Iterator[Asked]:
        while self._to_judge:
            yield self._to_judge.popleft()

    def _wants_more(self, most_rows: int = MAX_OPEN) -> bool:
        return not self.exhausted and len(self._pending) < most_rows and any(lane.has_room for lane in self._lanes)

    def _open_next(self, most_rows: int = MAX_OPEN) -> _Open | None:
        """Take the next scenario off the source, with the rows before it that hold none."""
        while self._wants_more(most_rows):
            item = next(self._items, None)
            if item is None:
                self.exhausted = True
                return None
            self._next_offset = item.offset + 1
            if isinstance(item, Scenario):
                return self._opened(item)
            self._pending.append(item)
        return None

    def _opened(self, scenario: Scenario) -> _Open:
        self.scenarios += 1
        eligible = [lane for lane in self._lanes if scenario.offset >= lane.start]
        known = {lane.id: lane.known(scenario) for lane in eligible}
        opened = _Open(scenario, eligible, {id: was for id, was in known.items() if was is not None})
        self._pending.append(opened)
        self._unclaimed += len(eligible)
        for lane in eligible:
            self._claim(opened, lane)
        return opened

    def _claim(self, opened: _Open, lane: Lane) -> bool:
        if not lane.claim():
            return False
        opened.claimed.append(lane)
        self._unclaimed -= 1
        return True

    def _claim_unclaimed(self) -> None:
        """Let a dataset that lost a pair claim a scenario that is open already, before a new one is opened."""
        if not self._unclaimed or not any(lane.has_room for lane in self._lanes):
            return
        for opened in [item for item in self._pending if isinstance(item, _Open)]:
            for lane in opened.eligible:
                if lane not in opened.claimed and self._claim(opened, lane) and lane.id not in opened.known:
                    self._begin(opened, [lane])

    def _begin(self, opened: _Open, lanes: Sequence[Lane]) -> None:
        for lane in lanes:
            opened.running[lane.id] = _Running(self._task(opened.scenario, lane.id))
            self._advance(opened, lane.id)

    def _advance(self, opened: _Open, id: str) -> None:
        """Run a task until it waits for an answer or is done; what it newly asks goes into the backlog."""
        running = opened.running[id]
        while (answers := opened.answers_to(running.requests)) is not None:
            try:
                ask = running.task.send(answers) if running.has_begun else next(running.task)
            except StopIteration as done:
                del opened.running[id]
                opened.results[id] = done.value
                return
            running.has_begun = True
            running.requests = ask.requests
            backlog = self._to_judge if ask.by_judge and self._judging is not None else self._backlog
            for request in running.requests:
                if request.id not in opened.answers:
                    opened.answers[request.id] = None
                    self._in_flight[request.id] = opened
                    backlog.append(Asked(request, opened.scenario.offset))

    # What comes back.

    def _receive(self, completion: Completion) -> None:
        opened = self._in_flight.pop(completion.id)
        self._in_judgement.pop(completion.id, None)
        opened.answers[completion.id] = completion
        if opened.is_committed:
            return
        self.held += 1
        for id in list(opened.running):
            self._advance(opened, id)

    def _ready(self) -> Iterator[Outcome]:
        """Commit whatever stands first and is decided."""
        while self._pending:
            first = self._pending[0]
            if isinstance(first, SkippedRow):
                offset = first.offset
                results: dict[str, Result] = {
                    lane.id: first for lane in self._lanes if offset >= lane.start and lane.lacks
                }
            else:
                self._claim_unclaimed()
                if not first.is_decided:
                    return
                offset, results = first.scenario.offset, self._decide(first)
            self._pending.popleft()
            yield Outcome(offset, results, self._block_scenarios is None or self._ends_block(offset))

    def _ends_block(self, offset: int) -> bool:
        """Whether the row that was committed is the last of its block, with nothing of it left to ask."""
        starts = self._block_starts
        while len(starts) > 1 and starts[1] <= offset + 1:
            starts.popleft()
        return not self._pending or starts[0] == offset + 1

    def _decide(self, opened: _Open) -> dict[str, Result]:
        results: dict[str, Result] = {}
        for lane in opened.eligible:
            if lane.id in opened.known:
                results[lane.id] = Kept() if opened.known[lane.id] else Rejected(opened.scenario, "")
            elif lane.id in opened.results:
                results[lane.id] = opened.results[lane.id]
        opened.is_committed = True
        self._unclaimed -= len(opened.eligible) - len(opened.claimed)
        self.held -= sum(answer is not None for answer in opened.answers.values())
        for lane in opened.eligible:
            accepted = isinstance(results.get(lane.id), (Kept, ContrastivePair))
            lane.release(claimed=lane in opened.claimed, accepted=accepted)
        return results
