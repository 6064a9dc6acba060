"""Keeps requests flowing: servers, retries, waiting, the breaker and the budget.

All decisions are taken in the thread that iterates. Worker threads do one exchange at a time and report
back through a queue, so nothing but the queues is shared and nothing needs a lock.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import queue
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from psyctl_core.components import BackendState
from psyctl_core.errors import BackendError
from psyctl_core.figures import counted
from psyctl_core.records import ChatRequest, Completion
from psyctl_openrouter.jobs import Job, Run
from psyctl_openrouter.money import Spending
from psyctl_openrouter.outcome import EMPTY, LOADING, RESUME, Outcome
from psyctl_openrouter.retrying import LASTING_WAIT, LIMITED_FACTOR, FailureStreak, RetryPolicy, backoff
from psyctl_openrouter.servers import MAYBE_ITS_OWN, Server, Servers

log = logging.getLogger("psyctl")


MAX_BLAMED = 2
"""Scenarios that fail before anything was answered, after which the fault is taken for everybody's."""

MAX_REFUSED_IN_A_ROW = 20
"""The same once something was answered; it may have been a request of another form."""


OTHERS_WAIT = 0.05
"""Seconds after which to look again whether another server than the one that refused a request has room."""

LOOK_SECONDS = 0.25
"""How long is waited at a time: Ctrl-C takes effect behind it."""


class _Drained(Exception):  # noqa: N818 - not an error: it ends a run in place of one
    """The user wants to stop."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the flow has its time from.

    Attributes:
        clock: Seconds, never going back.
        sleep: Waits so many seconds.
        jitter: A number from 0 to 1.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random


class Flow:
    """Answers requests through the servers' worker threads, which live as long as the flow.

    Args:
        servers: Who answers; at least one.
        abort: Makes exchanges under way return at once.
        policy: How patient to be.
        spending: What may be spent.
        name: Who answers, for messages.
        timing: Its clock.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        *,
        abort: Callable[[], None],
        policy: RetryPolicy,
        spending: Spending,
        name: str,
        timing: Timing | None = None,
    ) -> None:
        self._servers = Servers(servers, policy)
        self._workers = sum(server.limit.workers for server in servers)
        self._abort = abort
        self._policy = policy
        self._spending = spending
        self._name = name
        self._timing = timing or Timing()
        self._numbers = itertools.count()
        self._streak = FailureStreak()
        self._answered = 0
        self._slow_because = ""
        self._told_at = -math.inf
        self._told_slow = False
        self._retries = 0
        self._waiting = ""
        self._told_failures: set[str] = set()
        self._blamed: set[str] = set()
        self._draining = False
        self._current: Run | None = None

    def run(self, requests: Iterable[ChatRequest]) -> Iterator[Completion]:
        """Answer every request once, in the order in which answers come.

        Raises:
            BackendError: Nothing more will be answered; what had been answered was yielded before.
        """
        if self._current:
            self._cancel(self._current)  # left unfinished by whoever iterated over it
        run = self._current = Run(iter(requests))
        try:
            while True:
                if run.cancelled:
                    raise RuntimeError("this run was ended by close() or by a newer one")
                if self._draining:
                    self._stop(run, _Drained())
                wake = self._dispatch(run)
                if not run.in_flight and (run.stop or (run.exhausted and not run.waiting)):
                    break
                if run.stop and self._timing.clock() >= run.stop_by:
                    break
                arrived = self._receive(run, wake)
                if arrived is not None:
                    completions = self._settle(run, *arrived)
                    self._dispatch(run)  # before the consumer takes its time
                    yield from completions
            if not run.stop:
                yield from self._last_blamed(run)
            elif not isinstance(run.stop, _Drained):
                raise run.stop
        except KeyboardInterrupt:
            self._cancel(run)
            yield from self._already_answered(run)
            raise
        finally:
            self._cancel(run)
            for job in list(run.in_flight):
                self._landed(run, job)
                self._spending.settle(job.reserved, None)

    def take_out(self, server: Server, why: str) -> None:
        """Do without a server until it is up."""
        self._servers.take_out(server, why, self._timing.clock())

    def drain(self) -> None:
        """Send nothing more, and end with what is under way; may be called from a signal handler."""
        self._draining = True

    def state(self) -> BackendState:
        """What is waited for, and how often something was asked again; may be called from any thread."""
        many = self._servers.all if len(self._servers.all) > 1 else ()
        return BackendState(self._waiting, self._retries, answered={server.name: server.answered for server in many})

    def close(self) -> None:
        """Stop everything and let the threads end; called once."""
        if self._current:
            self._cancel(self._current)
        for server in self._servers:
            server.end()
        deadline = time.monotonic() + 2.0
        for server in self._servers:
            server.join(self._abort, deadline)

    # What goes out.

    def _dispatch(self, run: Run) -> float:
        """Send what may be sent now; return when more may be, whatever comes back until then."""
        self._servers.look_after(self._timing.clock())
        while run.stop is None:
            if run.blamed and self._is_everybodys():  # what is under way may still show that it is not
                if not run.in_flight:
                    self._stop(run, _error_of(run.blamed[-1][1]))
                return run.stop_by
            now = self._timing.clock()
            server = self._servers.free(now)
            if server is None:
                return min(run.stop_by, self._servers.free_at())
            job = self._next(run)
            if job is None:
                break
            if job.refused_by is server and len(self._servers.up) > 1:
                server = self._servers.free(now, but=server)
                if server is None:
                    heapq.heappush(run.waiting, (now + OTHERS_WAIT, next(self._numbers), job))
                    continue
            reserved = self._spending.reserve(job.request)
            if reserved is None:
                heapq.heappush(run.waiting, (-math.inf, next(self._numbers), job))
                if not run.in_flight:
                    self._stop(run, self._spending.refusal())
                break
            job.reserved = reserved
            job.sent_at = now
            run.in_flight[job] = server
            server.put(job)
        else:
            return run.stop_by  # stopping
        if run.waiting and run.waiting[0][0] > -math.inf:
            return run.waiting[0][0]
        return run.stop_by

    def _next(self, run: Run) -> Job | None:
        """A retry that is due, or else a new request."""
        if run.waiting and run.waiting[0][0] <= self._timing.clock():
            return heapq.heappop(run.waiting)[2]
        # While many wait for another try, new ones would only join them.
        if run.exhausted or len(run.open) >= 2 * self._workers + 8:
            return None
        try:
            request = next(run.source, None)
        except Exception as error:  # the source's fault, told as it is once everything under way is settled
            self._stop(run, error)
            return None
        if request is None:
            run.exhausted = True
            return None
        job = Job(request, run, answered_then=self._answered)
        run.open.add(job)
        return job

    # What comes back.

    def _receive(self, run: Run, wake: float) -> tuple[Job, Outcome | BaseException] | None:
        """The next result, or ``None`` when it is time to look whether something can be sent."""
        now = self._timing.clock()
        self._tell(run, now)
        pause = max(0.0, min(wake - now, LOOK_SECONDS))
        if not run.in_flight:
            self._timing.sleep(pause)
            return None
        try:
            return run.results.get(timeout=pause)
        except queue.Empty:
            return None

    def _settle(self, run: Run, job: Job, outcome: Outcome | BaseException) -> list[Completion]:
        """Take in one result; return the completions that it decides."""
        server = self._landed(run, job)
        if isinstance(outcome, BaseException):
            self._spending.settle(job.reserved, None)
            self._stop(run, outcome)
            return []
        self._spending.settle(job.reserved, outcome.cost)
        job.book(outcome)
        if outcome.kind == "answer":
            self._servers.answered(server)
            return self._succeed(run, job, outcome)
        if self._servers.is_to_blame(server, outcome, self._timing.clock(), self._timing.jitter()):
            self._take_back(run, server)
            return self._again(run, job)
        if outcome.reason in MAYBE_ITS_OWN and job.refused_by is None and len(self._servers.up) > 1:
            job.refused_by = server
            return self._again(run, job)
        if outcome.kind == "request_error":
            return [self._fail(run, job, outcome)]
        if outcome.kind == "refused":
            return self._blame(run, job, outcome)
        if outcome.kind == "fatal":
            self._stop(run, _error_of(outcome))
            return []
        return self._retry(run, job, server, outcome)

    def _again(self, run: Run, job: Job) -> list[Completion]:
        """Have another server asked, before all that waits."""
        if run.stop is None:
            heapq.heappush(run.waiting, (job.sent_at, next(self._numbers), job))
        return []

    def _landed(self, run: Run, job: Job) -> Server:
        """A request is no longer under way; the server that had it."""
        server = run.in_flight.pop(job)
        server.in_flight -= 1
        return server

    def _succeed(self, run: Run, job: Job, outcome: Outcome) -> list[Completion]:
        self._answered += 1
        self._streak.end()
        run.open.discard(job)
        self._blamed.clear()
        completions = [job.answered(outcome)]
        # The same kind of request is answered, so it was the content of these.
        completions += [self._fail(run, blamed, why) for blamed, why in run.blamed]
        run.blamed.clear()
        return completions

    def _fail(self, run: Run, job: Job, outcome: Outcome, reason: str = "") -> Completion:
        """Give one request up; the first time for each reason the user is told in the server's words."""
        run.open.discard(job)
        name = self._name[:1].upper() + self._name[1:]
        said = outcome.message or (f"{name} said: {outcome.detail}." if outcome.detail else "")
        if said and outcome.reason not in self._told_failures:
            self._told_failures.add(outcome.reason)
            log.warning("One request failed (%s). %s", outcome.reason, said)
        return job.failed(reason or outcome.reason, said)

    def _blame(self, run: Run, job: Job, outcome: Outcome) -> list[Completion]:
        """What no retry mends is the scenario's own fault if others are answered, else the fault of all.

        Before the first answer that is open; a second scenario decides it. Scenarios count, not requests: each
        is asked about several times.
        """
        run.open.discard(job)
        self._blamed.add(job.scenario)
        if self._answered and not self._is_everybodys():
            return [self._fail(run, job, outcome)]
        run.blamed.append((job, outcome))
        return []

    def _is_everybodys(self) -> bool:
        return len(self._blamed) >= (MAX_REFUSED_IN_A_ROW if self._answered else MAX_BLAMED)

    def _last_blamed(self, run: Run) -> list[Completion]:
        """Give up what failed where nothing is left to ask.

        Raises:
            BackendError: It was a single request, so nothing tells that it is not the fault of all.
        """
        outcome = next((outcome for _, outcome in run.blamed if outcome.reason != EMPTY), None)
        if outcome is not None and len(run.blamed) == 1:
            raise _error_of(outcome)
        return [self._fail(run, job, outcome) for job, outcome in run.blamed]

    def _retry(self, run: Run, job: Job, server: Server, outcome: Outcome) -> list[Completion]:
        """Have a request tried again later, or give it or everything up."""
        if run.stop:
            return []
        now = self._timing.clock()
        if outcome.kind == "empty":
            job.empties += 1
            if job.empties >= self._policy.empty_tries:
                return self._blame(run, job, outcome)
        else:
            self._count_failure(run, job, server, outcome, now)
            if error := self._reason_to_stop(outcome, now):
                self._stop(run, error)
                return []
            answered_then, job.answered_then = job.answered_then, self._answered
            if self._is_hopeless(job) and (self._answered > answered_then or self._is_last(run)):
                if outcome.message and not self._answered:
                    self._stop(run, _error_of(outcome))
                    return []
                return [self._fail(run, job, outcome, f"no answer after retries: {outcome.reason}")]
        wait = outcome.wait
        if wait is not None and wait > self._policy.max_asked_wait:
            self._stop(run, self._too_long(wait, outcome.reason))
            return []
        if wait is not None:
            # Asked of this request, but meant for all that this server would have.
            self._slow_because = outcome.reason
            server.paused_until = max(server.paused_until, now + wait)
            self._take_back(run, server)
            wait = wait if len(self._servers.up) == 1 else 0.0
        self._retries += 1
        tries = job.failures + job.limited + job.empties + job.loading
        pause = backoff(tries, self._policy, self._timing.jitter())
        if outcome.message and not self._answered:
            pause = min(pause, LASTING_WAIT)
        due = now + (wait or 0.0) + pause
        heapq.heappush(run.waiting, (due, next(self._numbers), job))
        return []

    def _count_failure(self, run: Run, job: Job, server: Server, outcome: Outcome, now: float) -> None:
        """Note a failure, and send fewer at a time where it is a limit or there are many."""
        limited = outcome.kind == "limited"
        if outcome.reason == LOADING:  # no number of tries is too many while that goes on
            job.loading += 1
        else:
            job.limited += limited
            job.failures += not limited
        lasting = bool(outcome.message)
        self._streak.add(now, outcome.reason, outcome.detail, limited=limited, lasting=lasting)
        if limited or server.failures >= server.limit.size:
            self._slow_because = outcome.reason
            server.limit.lower(job.sent_at, now)
            self._take_back(run, server)

    # When to give up.

    def _reason_to_stop(self, outcome: Outcome, now: float) -> BackendError | None:
        """The error to end with where nothing but failures came for too long."""
        if not self._answered and self._streak.is_lasting(now):
            return _error_of(outcome)
        if not self._streak.is_outage(now, self._policy):
            return None
        return _error_of(outcome) if outcome.message and not self._answered else self._outage()

    def _is_hopeless(self, job: Job) -> bool:
        return job.failures > self._policy.retries or job.limited > LIMITED_FACTOR * (self._policy.retries + 1)

    def _is_last(self, run: Run) -> bool:
        """Whether nothing is left whose answer could tell an outage from the fault of the requests.

        Otherwise a request fails only where another one was answered since it last failed, for in an
        outage all would fail, and the run shall stop instead.
        """
        return (
            run.exhausted
            and self._streak.failures < self._policy.outage_failures
            and all(map(self._is_hopeless, run.open))
        )

    def _outage(self) -> BackendError:
        last = f"{self._streak.reason}: {self._streak.detail}" if self._streak.detail else self._streak.reason
        return BackendError(
            f"Stopped: {self._name} failed {counted(self._streak.total, 'time')} in a row (last: {last}).",
            f"Everything answered is saved. Wait until {self._name} answers again, {RESUME}",
            later=True,
        )

    def _too_long(self, wait: float, reason: str) -> BackendError:
        return BackendError(
            f"Stopped: {self._name} asks to wait {counted(math.ceil(wait / 60), 'minute')} ({reason}).",
            f"Everything answered is saved. Wait as long, {RESUME}",
            later=True,
        )

    def _stop(self, run: Run, error: BaseException) -> None:
        """Send nothing more; what is on its way is still waited for, for a while."""
        if run.stop is not None:
            return
        run.stop = error
        run.stop_by = self._timing.clock() + self._policy.grace
        self._take_back(run, *self._servers)
        run.waiting.clear()
        if run.in_flight:
            log.info("stopping: %d more on their way are waited for", len(run.in_flight))

    def _take_back(self, run: Run, *servers: Server) -> None:
        """Take jobs that no worker has begun out of the queues; they wait in front of everything else."""
        for server in servers:
            for job in server.take_back():
                self._spending.settle(job.reserved, 0.0)
                run.in_flight.pop(job, None)
                heapq.heappush(run.waiting, (job.sent_at, next(self._numbers), job))

    def _cancel(self, run: Run) -> None:
        """End a run at once; does nothing to one that has ended."""
        if run.cancelled:
            return
        run.cancelled = True
        self._take_back(run, *self._servers)
        if self._current is run:
            self._current = None
        if run.in_flight:
            self._abort()

    def _already_answered(self, run: Run) -> Iterator[Completion]:
        """What had arrived when the run was cancelled: it is paid for."""
        try:
            while True:
                job, outcome = run.results.get_nowait()
                if isinstance(outcome, Outcome) and outcome.kind == "answer":
                    self._landed(run, job)
                    self._spending.settle(job.reserved, outcome.cost)
                    job.book(outcome)
                    yield job.answered(outcome)
        except queue.Empty:
            pass

    def _tell(self, run: Run, now: float) -> None:
        """Note that and why it goes slowly, now and then; and once that it no longer does."""
        up = self._servers.up
        wait = min(server.paused_until for server in up) - now
        if wait <= 0 and not run.in_flight and run.waiting:
            wait = run.waiting[0][0] - now
        reason = self._streak.reason or self._slow_because
        if self._streak.failures > 2:
            reason += f" ({counted(self._streak.total, 'time')} in a row)"
        if wait >= 1 or not self._streak.total:
            self._waiting = reason if wait >= 1 else ""
        if run.stop is not None or now - self._told_at < self._policy.tell:
            return
        places = f"{sum(s.limit.size for s in up)} of {counted(sum(s.limit.workers for s in up), 'worker')}"
        is_full_size = all(server.limit.is_full_size for server in up)
        if wait >= 1:
            log.info("%s: waiting %d s, %s", reason, math.ceil(wait), places)
        elif not is_full_size:
            log.info("slower (%s): %s", reason, places)
        elif self._told_slow:
            log.info("back to full speed: %s", places)
        else:
            return
        self._told_at = now
        self._told_slow = wait >= 1 or not is_full_size


def _error_of(outcome: Outcome) -> BackendError:
    return BackendError(outcome.message, outcome.hint, later=outcome.later)
