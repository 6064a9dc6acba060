"""The servers that answer: which has room, which is out, and when one that is out is tried again."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from psyctl_core.figures import counted
from psyctl_core.records import ChatRequest
from psyctl_openrouter import network
from psyctl_openrouter.jobs import Job
from psyctl_openrouter.outcome import FORBIDDEN, LOADING, REFUSED, TOO_LONG, Outcome
from psyctl_openrouter.retrying import ConcurrencyLimit, RetryPolicy, backoff

log = logging.getLogger("psyctl")

OUT_AFTER = 5
"""Failures in a row after which one of several servers is taken out: a single one may be the request's fault."""

MAYBE_ITS_OWN = (REFUSED, FORBIDDEN, TOO_LONG)
"""Refusals that may be due to one server's settings, and not to the request."""

_GONE = (network.CANNOT_CONNECT, LOADING)
"""What says at the first time that a server takes no requests now."""


class Server:
    """One server: its queue and worker threads, how many requests it may have, and whether it is up.

    Args:
        send: One exchange with it; called in a worker thread.
        workers: Requests in flight at most.
        name: Its address, for messages where there are several.

    Attributes:
        look: Called in a thread while it is out: ``None`` where it can be used again, else why not, in words, or
            ``""`` where it is still not there.
        in_flight: Requests that it has now, those in its queue included.
        asked: How many it was ever given.
        answered: How many it answered.
        failures: How many it failed since its last answer.
        paused_until: When it may have requests again.
        is_out: Whether it gets no requests because it failed.
        tries: How often it was taken out or looked at in vain since its last answer.
        try_at: When to look at it again.
        told: Why it stays out, as last said.
    """

    def __init__(self, send: Callable[[ChatRequest], Outcome], workers: int, name: str = "") -> None:
        self._send = send
        self.look: Callable[[], str | None] = lambda: None
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._looker: threading.Thread | None = None
        self._seen: list[str | None] = []
        self.name = name
        self.limit = ConcurrencyLimit(workers)
        self.in_flight = self.asked = self.answered = self.failures = self.tries = 0
        self.is_out = False
        self.paused_until = self.try_at = -math.inf
        self.told = ""

    @property
    def places(self) -> int:
        """How many may be in flight, with a few ready for workers that become free while nobody iterates."""
        workers = self.limit.workers
        return workers + workers // 4 if self.limit.is_full_size else self.limit.size

    def is_free(self, now: float) -> bool:
        """Whether it may have another request."""
        return not self.is_out and self.in_flight < self.places and self.paused_until <= now

    def put(self, job: Job) -> None:
        """Hand it a request; the answer comes to the job's run."""
        self.in_flight += 1
        self.asked += 1
        if self.in_flight > len(self._threads) < self.limit.workers:
            self._threads.append(_started(self._work, f"psyctl-{len(self._threads) + 1}"))
        self._jobs.put(job)

    def take_back(self) -> Iterator[Job]:
        """The jobs that no worker has begun."""
        try:
            while (job := self._jobs.get_nowait()) is not None:
                self.in_flight -= 1
                self.asked -= 1
                yield job
        except queue.Empty:
            pass

    def begin_look(self) -> None:
        """Have a thread see whether it is up again, unless one is at it."""
        if self._looker is None:
            self._looker = _started(lambda: self._seen.append(self.look()), "psyctl-look")

    def seen(self) -> tuple[str | None] | None:
        """What was found, once; ``None`` before."""
        if not self._seen:
            return None
        self._looker = None
        return (self._seen.pop(),)

    def end(self) -> None:
        """Have the worker threads end after what they are at."""
        for _ in self._threads:
            self._jobs.put(None)  # last: nothing takes jobs back after this

    def join(self, abort: Callable[[], None], deadline: float) -> None:
        """Wait for the threads, cutting connections again and again: one may just have been connecting."""
        threads = [*self._threads, *([self._looker] if self._looker else [])]
        while threads and time.monotonic() < deadline:
            threads[-1].join(timeout=0.05)
            if threads[-1].is_alive():
                abort()
            else:
                threads.pop()
        self._threads.clear()

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


class Servers:
    """All servers of a backend. One that fails is taken out while another is up, and tried again.

    The last one that is up is never taken out: its failures are then everybody's, as with a single server.

    Args:
        servers: At least one.
        policy: Tells when one that is out is tried again.
    """

    def __init__(self, servers: Sequence[Server], policy: RetryPolicy) -> None:
        self.all = tuple(servers)
        self._policy = policy

    def __iter__(self) -> Iterator[Server]:
        return iter(self.all)

    @property
    def up(self) -> list[Server]:
        """Those that are not out."""
        return [server for server in self.all if not server.is_out]

    def free(self, now: float, but: Server | None = None) -> Server | None:
        """The one that has room and the fewest requests in flight.

        Of several, one that did not fail of late, then the one that was asked least.
        """
        free = [server for server in self.all if server.is_free(now) and server is not but]
        return min(
            free, key=lambda server: (server.in_flight, server.failures + server.tries, server.asked), default=None
        )

    def free_at(self) -> float:
        """When a pause ends of one that has room; infinity where none has."""
        pauses = [server.paused_until for server in self.up if server.in_flight < server.places]
        return min(pauses, default=math.inf)

    def answered(self, server: Server) -> None:
        """Take in an answer."""
        server.answered += 1
        server.failures = server.tries = 0
        server.limit.widen()

    def is_to_blame(self, server: Server, outcome: Outcome, now: float, jitter: float) -> bool:
        """Take in a failure; whether it is the server's alone, so that another is to answer instead.

        A server that fails at once has always room. So that it does not draw requests away from those that
        answer, it gets none for a while from its second failure in a row on.
        """
        is_alone = all(other is server for other in self.up)
        server.failures += outcome.kind == "retry" or (
            outcome.kind == "refused" and outcome.reason in MAYBE_ITS_OWN and not is_alone
        )
        if is_alone or outcome.kind not in ("retry", "limited", "fatal", "refused"):
            return False
        if server.is_out:
            return True  # it was in flight there at the time
        is_long = (outcome.wait or 0.0) > self._policy.max_asked_wait
        is_gone = outcome.kind == "fatal" or outcome.reason in _GONE
        is_out = is_gone or is_long or server.failures >= OUT_AFTER
        if is_out:
            why = f"{outcome.reason}: {outcome.detail}" if outcome.detail else outcome.reason
            self.take_out(server, why, now, outcome.wait if is_long else None)
        elif server.failures > 1 and outcome.kind == "retry":
            pause = backoff(server.failures - 1, self._policy, jitter)
            server.paused_until = max(server.paused_until, now + pause)
        return is_out

    def take_out(self, server: Server, why: str, now: float, wait: float | None = None) -> None:
        """Ask a server nothing more until it is up again, and say so."""
        server.is_out = True
        server.tries += 1
        server.try_at = now + (backoff(server.tries, self._policy, 1.0) if wait is None else wait)
        server.told = ""
        log.warning(
            "%s is taken out (%s): %d of %s go on. It is tried again.",
            server.name, why, len(self.up), counted(len(self.all), "server"),
        )  # fmt: skip

    def look_after(self, now: float) -> None:
        """Look at those that are out when it is time, and let those come back that are up again."""
        for server in self.all:
            if not server.is_out:
                continue
            if (seen := server.seen()) is not None:
                self._take_in(server, seen[0], now)
            elif server.try_at <= now:
                server.begin_look()

    def _take_in(self, server: Server, why: str | None, now: float) -> None:
        if why is None:
            server.is_out, server.failures, server.paused_until = False, 0, now
            log.info("%s is back: %d of %s answer.", server.name, len(self.up), counted(len(self.all), "server"))
            return
        server.tries += 1
        server.try_at = now + backoff(server.tries, self._policy, 1.0)
        if why and why != server.told:
            server.told = why
            log.warning("%s stays out: %s", server.name, why)


def _started(target: Callable[[], None], name: str) -> threading.Thread:
    # Daemons, because one may wait for its connection when the interpreter ends.
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread
