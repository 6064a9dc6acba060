"""The one way to ask: from the journal first, then through the runner; books, keeps and counts every answer."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from psyctl_core._engine.blocks import Asked, Block
from psyctl_core._engine.progress import Meter
from psyctl_core._engine.stopping import Stop
from psyctl_core._plugins.guard import GuardedPool
from psyctl_core._store.journal import PERSONA, Journal
from psyctl_core.budget import Budget
from psyctl_core.components import NextBlock
from psyctl_core.errors import PsyctlError
from psyctl_core.records import ChatRequest, Completion, Usage


@dataclass(slots=True)
class _UnderWay:
    """A block that was handed out: when, how many requests it has, and how many are not answered yet."""

    began: float
    requests: int
    left: int


class Answerer:
    """Answers requests, each only once over all processes of a run.

    The iterators that it hands to a backend never raise: what goes wrong on psyctl's side ends them, and is
    raised once ``generate`` has returned, so that no plugin can swallow it or be blamed for it.

    Args:
        pool: Who answers; started before the first request.
        folder: The run's folder, for whatever the pool keeps.
        journal: Where answers are kept until their scenario is committed.
        usage: Where requests, tokens and cost are added up.
        budget: What may be spent.
        meter: Where answers are counted.
        stop: Whether the user wants to stop.
        is_recorded: Whether the answers lie in a finished dataset: they are not asked for, so neither counted nor kept.
    """

    def __init__(
        self,
        pool: GuardedPool,
        folder: Path,
        journal: Journal,
        usage: Usage,
        budget: Budget,
        meter: Meter,
        stop: Stop,
        *,
        is_recorded: bool = False,
    ) -> None:
        self._pool = pool
        self._folder = folder
        self._journal = journal
        self._usage = usage
        self._budget = budget
        self._meter = meter
        self._stop = stop
        self._safe = 0
        self._is_recorded = is_recorded
        self._asked: dict[str, Asked] = {}
        self._found: deque[Completion] = deque()
        self._rest: Iterator[Asked] | None = None
        self._error: Exception | None = None
        self._blocks: dict[str, _UnderWay] = {}
        self._rate: float | None = None

    def ask(self, request: ChatRequest) -> Completion:
        """Ask one thing, such as what a prompter wants to know.

        Raises:
            PsyctlError: There is no answer to be had.
        """
        blocks = iter([iter([Asked(request, PERSONA)])])  # no list: one answer says nothing of a block's speed
        (completion,) = self.answers(lambda: next(blocks, None))
        return completion

    def forget_personas(self) -> None:
        """Let the next process ask anew what a prompter could make nothing of."""
        self._journal.forget_personas()

    def answers(self, next_block: Callable[[], Block | None]) -> Generator[Completion, None, None]:
        """Answer block after block until there is nothing to ask.

        Args:
            next_block: Called whenever there is room for another block, and every answer that came was taken.

        Raises:
            PsyctlError: No more answers can be had, the budget is reached, or opening a request failed.
            KeyboardInterrupt: The user stopped the run, and what was under way has arrived.
        """
        self.start()
        while True:
            try:
                with self._draining(), closing(self._run(next_block)) as completions:
                    for completion in completions:
                        self._book(completion)
                        yield completion
                        yield from self._taken()
            except PsyctlError as error:
                raise self._error or error from error
            self._leave()
            if not self._found and self._rest is None:
                return
            yield from self._taken()

    def _run(self, next_block: Callable[[], Block | None]) -> Generator[Completion, None, None]:
        return self._pool.run(self._prepared(next_block), lambda: self._stop.requested)

    @contextmanager
    def _draining(self) -> Iterator[None]:
        """A first signal waits for answers that may be paid for, but only while there can be any."""
        self._stop.drain(None if self._pool.block else self._pool.stop)
        try:
            yield
        finally:
            self._stop.drain(None)

    def start(self) -> None:
        """Make the backend ready, once."""
        if not self._pool.is_started:
            with self._meter.phase("loading"):
                self._pool.start(self._budget, self._folder)

    def speed(self) -> float | None:
        """Requests a second of one backend: as seen in the last block, or else as it expects."""
        return self._rate or self._pool.speed()

    def _prepared(self, next_block: Callable[[], Block | None]) -> NextBlock:
        def prepared() -> Iterator[ChatRequest] | None:
            if self._found or self._error or self._stop.requested:
                return None
            block, self._rest = self._rest or next_block(), None
            if block is None:
                return None
            if not self._budget.allows(0):
                self._error = self._budget.refusal()
                return None
            if isinstance(block, Sequence):
                block = self._without_neutral(block)
                kept = [self._journal.get(asked.request) for asked in block]
                if all(kept):  # which requests are computed together may decide the answers: all or none
                    self._found.extend(completion for completion in kept if completion)
                    return None
                self._blocks |= dict.fromkeys(
                    (asked.request.id for asked in block), _UnderWay(time.monotonic(), len(block), len(block))
                )
                return self._requests(iter(block), look_up=False)
            return self._requests(block, look_up=True)

        return prepared

    def _without_neutral(self, block: Sequence[Asked]) -> Sequence[Asked]:
        """The block without the neutral answers that were kept for it when another trait's pairs were made."""
        known = {asked.request.id: self._journal.neutral(asked.request) for asked in block}
        self._found.extend(completion for completion in known.values() if completion)
        return [asked for asked in block if known[asked.request.id] is None]

    def _requests(self, block: Iterator[Asked], *, look_up: bool) -> Iterator[ChatRequest]:
        while not self._stop.requested:
            try:
                asked = next(block, None)
                if asked is None:
                    return
                completion = self._known(asked.request) if look_up else None
                if look_up and completion is None and not self._budget.allows(len(self._asked)):
                    self._rest = chain([asked], block)  # once what is under way has told its price
                    return
            except Exception as error:
                self._error = error
                return
            if completion is not None:
                self._found.append(completion)
            else:
                self._asked[asked.request.id] = asked
                self._note_under_way()
                yield asked.request

    def _known(self, request: ChatRequest) -> Completion | None:
        return self._journal.get(request) or self._journal.neutral(request)

    def _book(self, completion: Completion) -> None:
        with self._stop.deferred():
            asked = self._asked.pop(completion.id)
            if self._is_recorded:
                return
            self._note_speed(completion.id)
            if asked.offset != PERSONA or completion.finish_reason != "error":
                self._journal.put(asked.request, asked.offset, completion, is_free=self._pool.is_free)
            self._usage.add(completion, is_free=self._pool.is_free)
            self._budget.note(completion.cost, self._usage.likely_cost())
            self._note_under_way()
        self._meter.answered()

    def _note_under_way(self) -> None:
        if not self._pool.is_free:
            self._journal.under_way(max(0, len(self._asked) - self._safe))

    def note_safe(self, requests: int) -> None:
        """Note how many of the requests that the backend has would be found again after a kill."""
        self._safe = requests
        self._note_under_way()

    def _taken(self) -> Iterator[Completion]:
        while self._found:
            yield self._found.popleft()

    def _note_speed(self, id: str) -> None:
        """Once a block is answered: how fast that went."""
        if (block := self._blocks.pop(id, None)) is not None:
            block.left -= 1
            if not block.left:
                self._rate = block.requests / max(time.monotonic() - block.began, 1e-3)

    def _leave(self) -> None:
        """Raise what ended the requests early."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        self._stop.leave_if_requested()
