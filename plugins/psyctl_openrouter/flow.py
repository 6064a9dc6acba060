"""Keeps requests flowing: workers, retries, waiting, the breaker and the budget.

All decisions are taken in the thread that iterates. Worker threads do one exchange at a time and report
back through a queue, so nothing but the two queues is shared and nothing needs a lock.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import queue
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from psyctl_core.errors import BackendError
from psyctl_core.records import ChatRequest, Completion, FinishReason
from psyctl_openrouter.money import Spending
from psyctl_openrouter.outcome import RESUME, Outcome
from psyctl_openrouter.pace import LIMITED_FACTOR, Pace, Room, Streak, backoff

log = logging.getLogger("psyctl")


@dataclass(slots=True, eq=False)
class _Job:
    """A request on its way, and what its tries came to so far.

    Attributes:
        answered_then: How many requests had been answered at its last failure, or when it began.
        sent_at: When its present try went out.
        reserved: US dollars set aside for that.
    """

    request: ChatRequest
    run: _Run
    failures: int = 0
    limited: int = 0
    empties: int = 0
    answered_then: int = 0
    sent_at: float = 0.0
    reserved: float = 0.0
    cost: float | None = None
    unpriced: bool = False
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    def book(self, outcome: Outcome) -> None:
        """Add up what this try took."""
        if outcome.cost is None:
            self.unpriced = True
        else:
            self.cost = (self.cost or 0.0) + outcome.cost
        if outcome.prompt_tokens is not None:
            self.prompt_tokens = (self.prompt_tokens or 0) + outcome.prompt_tokens
        if outcome.completion_tokens is not None:
            self.completion_tokens = (self.completion_tokens or 0) + outcome.completion_tokens

    def failed(self, reason: str) -> Completion:
        """The completion of a request that failed alone."""
        return self._completion("", "error", reason)

    def answered(self, outcome: Outcome) -> Completion:
        """The completion of a request that was answered."""
        return self._completion(outcome.text, outcome.finish_reason)

    def _completion(self, text: str, reason: FinishReason, error: str = "") -> Completion:
        read, made = self.prompt_tokens, self.completion_tokens
        return Completion(self.request.id, text, reason, read, made, self.cost, error, self.unpriced)


@dataclass(slots=True, eq=False)
class _Run:
    """One call of :meth:`Flow.run`: where its results go, and what is open."""

    source: Iterator[ChatRequest]
    results: queue.SimpleQueue[tuple[_Job, Outcome | BaseException]] = field(default_factory=queue.SimpleQueue)
    open: set[_Job] = field(default_factory=set)
    in_flight: set[_Job] = field(default_factory=set)
    waiting: list[tuple[float, int, _Job]] = field(default_factory=list)
    refused: list[tuple[_Job, Outcome]] = field(default_factory=list)
    exhausted: bool = False
    cancelled: bool = False
    stop: BaseException | None = None
    stop_by: float = math.inf


class Flow:
    """Answers requests through worker threads, which live as long as the flow.

    Args:
        send: One exchange: called in a worker thread.
        abort: Makes exchanges under way return at once.
        workers: Requests in flight at most.
        pace: How patient to be.
        spending: What may be spent.
        name: Who answers, for messages.
        clock: Seconds, never going back.
        sleep: Waits so many seconds.
        jitter: A number from 0 to 1.
    """

    def __init__(
        self,
        send: Callable[[ChatRequest], Outcome],
        *,
        abort: Callable[[], None],
        workers: int,
        pace: Pace,
        spending: Spending,
        name: str,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._send = send
        self._abort = abort
        self._pace = pace
        self._spending = spending
        self._name = name
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._numbers = itertools.count()
        self._room = Room(workers)
        self._streak = Streak()
        self._paused_until = -math.inf
        self._answered = 0
        self._slow_because = ""
        self._told_at = -math.inf
        self._told_slow = False
        self._current: _Run | None = None

    def run(self, requests: Iterable[ChatRequest]) -> Iterator[Completion]:
        """Answer every request once, in the order in which answers come.

        Raises:
            BackendError: Nothing more will be answered; what had been answered was yielded before.
        """
        if self._current:
            self._cancel(self._current)  # left unfinished by whoever iterated over it
        run = self._current = _Run(iter(requests))
        try:
            while True:
                if run.cancelled:
                    raise RuntimeError("this run was ended by close() or by a newer one")
                wake = self._dispatch(run)
                if not run.in_flight and (run.stop or (run.exhausted and not (run.waiting or run.refused))):
                    break
                if run.stop and self._clock() >= run.stop_by:
                    break
                arrived = self._receive(run, wake)
                if arrived is not None:
                    completions = self._settle(run, *arrived)
                    self._dispatch(run)  # before the consumer takes its time
                    yield from completions
            if run.stop:
                raise run.stop
        except KeyboardInterrupt:
            self._cancel(run)
            yield from self._already_answered(run)
            raise
        finally:
            self._cancel(run)
            for job in run.in_flight:
                self._spending.settle(job.reserved, None)
            run.in_flight.clear()

    def close(self) -> None:
        """Stop everything and let the threads end; called once."""
        if self._current:
            self._cancel(self._current)
        for _ in self._threads:
            self._jobs.put(None)  # last: nothing takes jobs back after this
        deadline = time.monotonic() + 2.0
        while self._threads and time.monotonic() < deadline:
            self._threads[-1].join(timeout=0.05)
            if self._threads[-1].is_alive():
                self._abort()  # again: it may just have been connecting
            else:
                self._threads.pop()
        self._threads.clear()

    # What goes out.

    def _dispatch(self, run: _Run) -> float:
        """Send what may be sent now; return when more may be, whatever comes back until then."""
        while run.stop is None and len(run.in_flight) < self._places():
            if self._clock() < self._paused_until:
                return self._paused_until
            job = self._next(run)
            if job is None:
                break
            reserved = self._spending.reserve(job.request)
            if reserved is None:
                heapq.heappush(run.waiting, (-math.inf, next(self._numbers), job))
                if not run.in_flight:
                    self._stop(run, self._spending.refusal())
                break
            job.reserved = reserved
            job.sent_at = self._clock()
            run.in_flight.add(job)
            if len(run.in_flight) > len(self._threads) < self._room.workers:
                self._start_thread()
            self._jobs.put(job)
        else:
            return run.stop_by  # full, or stopping
        if run.refused and run.exhausted and not run.in_flight and not run.waiting:
            self._stop_refused(run)
        if run.waiting and run.waiting[0][0] > -math.inf:
            return max(run.waiting[0][0], self._paused_until)
        return run.stop_by

    def _places(self) -> int:
        """How many may be in flight, with a few ready for workers that become free while nobody iterates."""
        workers = self._room.workers
        return workers + workers // 4 if self._room.is_full_size else self._room.size

    def _next(self, run: _Run) -> _Job | None:
        """A retry that is due, or else a new request."""
        if run.waiting and run.waiting[0][0] <= self._clock():
            return heapq.heappop(run.waiting)[2]
        # While many wait for another try, new ones would only join them.
        if run.exhausted or len(run.open) >= 2 * self._room.workers + 8:
            return None
        try:
            request = next(run.source, None)
        except Exception as error:  # the source's fault, told as it is once everything under way is settled
            self._stop(run, error)
            return None
        if request is None:
            run.exhausted = True
            return None
        job = _Job(request, run, answered_then=self._answered)
        run.open.add(job)
        return job

    def _start_thread(self) -> None:
        # Daemons, because one may wait for its connection when the interpreter ends.
        thread = threading.Thread(target=self._work, name=f"psyctl-{len(self._threads) + 1}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _work(self) -> None:
        """A worker thread: one exchange after the other."""
        while (job := self._jobs.get()) is not None:
            run = job.run
            if run.cancelled:
                continue
            try:
                outcome: Outcome | BaseException = self._send(job.request)
            except BaseException as error:
                outcome = error
            run.results.put((job, outcome))
            del job, run, outcome  # or the last answer would be kept until the next job

    # What comes back.

    def _receive(self, run: _Run, wake: float) -> tuple[_Job, Outcome | BaseException] | None:
        """The next result, or ``None`` when it is time to look whether something can be sent."""
        now = self._clock()
        self._tell(run, now)
        pause = max(0.0, min(wake - now, 1.0))  # now and then for the notes, and for Ctrl-C on Windows
        if not run.in_flight:
            self._sleep(pause)
            return None
        try:
            return run.results.get(timeout=pause)
        except queue.Empty:
            return None

    def _settle(self, run: _Run, job: _Job, outcome: Outcome | BaseException) -> list[Completion]:
        """Take in one result; return the completions that it decides."""
        run.in_flight.discard(job)
        if isinstance(outcome, BaseException):
            self._spending.settle(job.reserved, None)
            self._stop(run, outcome)
            return []
        self._spending.settle(job.reserved, outcome.cost)
        job.book(outcome)
        if outcome.kind == "answer":
            return self._succeed(run, job, outcome)
        if outcome.kind == "alone":
            run.open.discard(job)
            return [job.failed(outcome.reason)]
        if outcome.kind == "refused":
            return self._refuse(run, job, outcome)
        if outcome.kind == "fatal":
            self._stop(run, BackendError(outcome.message, outcome.hint))
            return []
        return self._retry(run, job, outcome)

    def _succeed(self, run: _Run, job: _Job, outcome: Outcome) -> list[Completion]:
        self._answered += 1
        self._streak.end()
        self._room.widen()
        run.open.discard(job)
        completions = [job.answered(outcome)]
        # The same kind of request is answered, so it was the content of these that was refused.
        completions += [refused.failed(why.reason) for refused, why in run.refused]
        run.refused.clear()
        return completions

    def _refuse(self, run: _Run, job: _Job, outcome: Outcome) -> list[Completion]:
        """A refusal is this request's own fault if others are answered, else the fault of all.

        Before the first answer that is open; a second refused request decides it, or that none is left.
        """
        run.open.discard(job)
        if self._answered:
            return [job.failed(outcome.reason)]
        run.refused.append((job, outcome))
        if len(run.refused) > 1:
            self._stop_refused(run)
        return []

    def _stop_refused(self, run: _Run) -> None:
        outcome = run.refused[-1][1]
        self._stop(run, BackendError(outcome.message, outcome.hint))

    def _retry(self, run: _Run, job: _Job, outcome: Outcome) -> list[Completion]:
        if run.stop:
            return []
        now = self._clock()
        if outcome.kind == "empty":
            job.empties += 1
            if job.empties >= self._pace.empty_tries:
                run.open.discard(job)
                return [job.failed(outcome.reason)]
        else:
            limited = outcome.kind == "limited"
            job.limited += limited
            job.failures += not limited
            self._streak.add(now, outcome.reason, limited=limited)
            if limited or self._streak.failures >= self._room.size:
                self._slow_because = outcome.reason
                self._room.lower(job.sent_at, now)
                self._take_back(run)
            if self._streak.is_outage(now, self._pace):
                self._stop(run, self._outage())
                return []
            answered_then, job.answered_then = job.answered_then, self._answered
            if self._is_hopeless(job) and (self._answered > answered_then or self._is_last(run)):
                run.open.discard(job)
                return [job.failed(f"no answer after retries: {outcome.reason}")]
        wait = outcome.wait
        if wait is not None and wait > self._pace.longest:
            self._stop(run, self._too_long(wait, outcome.reason))
            return []
        if wait is not None:
            # Asked of this request, but meant for all that would meet the same limit.
            self._slow_because = outcome.reason
            self._paused_until = max(self._paused_until, now + wait)
            self._take_back(run)
        tries = job.failures + job.limited + job.empties
        due = now + (wait or 0.0) + backoff(tries, self._pace, self._jitter())
        heapq.heappush(run.waiting, (due, next(self._numbers), job))
        return []

    # When to give up.

    def _is_hopeless(self, job: _Job) -> bool:
        return job.failures > self._pace.retries or job.limited > LIMITED_FACTOR * (self._pace.retries + 1)

    def _is_last(self, run: _Run) -> bool:
        """Whether nothing is left whose answer could tell an outage from the fault of the requests.

        Otherwise a request fails only where another one was answered since it last failed, for in an
        outage all would fail, and the run shall stop instead.
        """
        return run.exhausted and self._streak.failures < self._pace.enough and all(map(self._is_hopeless, run.open))

    def _outage(self) -> BackendError:
        return BackendError(
            f"Stopped: {self._name} failed {self._streak.total} times in a row (last: {self._streak.reason}).",
            f"Everything answered is saved. Wait until {self._name} answers again, {RESUME}",
        )

    def _too_long(self, wait: float, reason: str) -> BackendError:
        return BackendError(
            f"Stopped: {self._name} asks to wait {math.ceil(wait / 60)} minutes ({reason}).",
            f"Everything answered is saved. Wait as long, {RESUME}",
        )

    def _stop(self, run: _Run, error: BaseException) -> None:
        """Send nothing more; what is on its way is still waited for, for a while."""
        if run.stop is not None:
            return
        run.stop = error
        run.stop_by = self._clock() + self._pace.grace
        self._take_back(run)
        run.waiting.clear()
        if run.in_flight:
            log.info("stopping: %d more on their way are waited for", len(run.in_flight))

    def _take_back(self, run: _Run) -> None:
        """Take jobs that no worker has begun out of the queue; they wait in front of everything else."""
        try:
            while (job := self._jobs.get_nowait()) is not None:
                self._spending.settle(job.reserved, 0.0)
                run.in_flight.discard(job)
                heapq.heappush(run.waiting, (job.sent_at, next(self._numbers), job))
        except queue.Empty:
            pass

    def _cancel(self, run: _Run) -> None:
        """End a run at once; does nothing to one that has ended."""
        if run.cancelled:
            return
        run.cancelled = True
        self._take_back(run)
        if self._current is run:
            self._current = None
        if run.in_flight:
            self._abort()

    def _already_answered(self, run: _Run) -> Iterator[Completion]:
        """What had arrived when the run was cancelled: it is paid for."""
        try:
            while True:
                job, outcome = run.results.get_nowait()
                if isinstance(outcome, Outcome) and outcome.kind == "answer":
                    run.in_flight.discard(job)
                    self._spending.settle(job.reserved, outcome.cost)
                    job.book(outcome)
                    yield job.answered(outcome)
        except queue.Empty:
            pass

    def _tell(self, run: _Run, now: float) -> None:
        """Note that and why it goes slowly, now and then; and once that it no longer does."""
        if run.stop is not None or now - self._told_at < self._pace.tell:
            return
        places = f"{self._room.size} of {self._room.workers} workers"
        wait = self._paused_until - now
        if wait <= 0 and not run.in_flight and run.waiting:
            wait = run.waiting[0][0] - now
        reason = self._streak.reason or self._slow_because
        if self._streak.failures > 2:
            reason += f" ({self._streak.total} times in a row)"
        if wait >= 1:
            log.info("%s: waiting %d s, %s", reason, math.ceil(wait), places)
        elif not self._room.is_full_size:
            log.info("slower (%s): %s", reason, places)
        elif self._told_slow:
            log.info("back to full speed: %s", places)
        else:
            return
        self._told_at = now
        self._told_slow = wait >= 1 or not self._room.is_full_size
