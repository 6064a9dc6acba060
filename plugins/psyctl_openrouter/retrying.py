"""How fast to go, how long to wait and when to stop: plain rules without threads or network."""

from __future__ import annotations

import math
from dataclasses import dataclass

LIMITED_FACTOR = 4
"""A rate limit is no fault of the request's: it takes so many times as many as failures to give up."""

LIMITED_TIMEOUT_FACTOR = 10
"""Limits pass by waiting, so they may last so many times as long as failures."""

MIN_LASTING = 3
"""Failures of a kind that waiting does not mend, after which a run stops that never had an answer."""

LASTING_TIMEOUT = 3.0
"""Seconds that they must have gone on for: a gateway that was just restarted may answer by then."""

LASTING_WAIT = 1.0
"""Seconds between two of them at most, so that it is known soon."""

SLOWER = 0.7
"""What a limit multiplies the number in flight by, once for all that were in flight together."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patient to be; times in seconds.

    Attributes:
        retries: Failures after which a request is tried no more, where others are answered.
        outage_timeout: How long nothing but failures may last.
        min_failures: How many failures in a row it takes at least to stop.
        first: The longest wait after a first failure; it doubles with each further one.
        ceiling: The longest wait that nobody asked for.
        max_asked_wait: The longest wait asked for by the server that is waited for; above it, the run stops.
        empty_tries: Empty answers after which a request is tried no more.
        grace: How long answers on their way are waited for when the run stops.
        tell: The shortest time between two notes about waiting.
    """

    retries: int = 5
    outage_timeout: float = 60.0
    min_failures: int = 20
    first: float = 0.5
    ceiling: float = 30.0
    max_asked_wait: float = 900.0
    empty_tries: int = 3
    grace: float = 20.0
    tell: float = 5.0

    @property
    def outage_failures(self) -> int:
        """Failures in a row that cannot be the fault of a few requests."""
        return max(self.min_failures, LIMITED_FACTOR * (self.retries + 1))


def backoff(tries: int, policy: RetryPolicy, jitter: float) -> float:
    """Seconds to wait after so many tries: exponential with full jitter, and a ceiling.

    Args:
        tries: From 1.
        policy: Tells the first wait and the ceiling.
        jitter: A random number from 0 to 1.
    """
    return jitter * min(policy.ceiling, policy.first * 2.0 ** min(tries - 1, 30))


class ConcurrencyLimit:
    """How many requests may be in flight: fewer after a limit, little by little more again.

    Args:
        workers: The most there may be.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._size = float(workers)
        self._lowered_at = -math.inf

    @property
    def size(self) -> int:
        """How many may be in flight."""
        return int(self._size)

    @property
    def is_full_size(self) -> bool:
        """Whether nothing is held back."""
        return self._size >= self.workers

    def lower(self, sent_at: float, now: float) -> None:
        """A request met a limit; does nothing if it went out before the size was last lowered."""
        if sent_at >= self._lowered_at:
            self._size = max(1.0, self._size * SLOWER)
            self._lowered_at = now

    def widen(self) -> None:
        """A request was answered: one more place for as many answers as there are places."""
        if self._size < self.workers:
            self._size = min(self.workers, self._size + 1 / self._size)


@dataclass(slots=True)
class FailureStreak:
    """Failures since the last answer, over all requests.

    Attributes:
        failures: Those that are not limits.
        limited: Those that are.
        since: When the first of them came.
        reason: Why the last one failed, in stable words.
        detail: What the server said about it.
        lasting: How many of them, one after the other up to now, were such as waiting does not mend.
    """

    failures: int = 0
    limited: int = 0
    since: float = 0.0
    reason: str = ""
    detail: str = ""
    lasting: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.failures + self.limited

    def add(self, now: float, reason: str, detail: str = "", *, limited: bool, lasting: bool = False) -> None:
        """Count one."""
        if not self.total:
            self.since = now
        self.reason, self.detail = reason, detail
        self.lasting = self.lasting + 1 if lasting else 0
        if limited:
            self.limited += 1
        else:
            self.failures += 1

    def end(self) -> None:
        """A request was answered."""
        self.failures = self.limited = self.lasting = 0
        self.reason = self.detail = ""

    def is_outage(self, now: float, policy: RetryPolicy) -> bool:
        """Whether to stop instead of going on hoping."""
        lasted = now - self.since
        if self.failures >= policy.outage_failures and lasted >= policy.outage_timeout:
            return True
        return self.total >= policy.outage_failures and lasted >= LIMITED_TIMEOUT_FACTOR * policy.outage_timeout

    def is_lasting(self, now: float) -> bool:
        """Whether nothing came but what waiting does not mend, for long enough that it was no hiccup."""
        return self.lasting == self.total >= MIN_LASTING and now - self.since >= LASTING_TIMEOUT
