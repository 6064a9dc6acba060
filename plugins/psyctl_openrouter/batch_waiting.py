"""Waits for batches: how long between two looks, when failures have gone on for too long, and whether to stop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from psyctl_core.errors import BackendError
from psyctl_openrouter.batch_apis import PassingError
from psyctl_openrouter.flow import Timing
from psyctl_openrouter.outcome import Service
from psyctl_openrouter.retrying import LIMITED_TIMEOUT_FACTOR, RetryPolicy

log = logging.getLogger("psyctl")

FIRST_LOOK = 2.0
"""Seconds until a batch is looked at for the first time; then half as long again each time."""

MOST_ASKED = 3_600.0
"""Seconds that are waited at most where a server asks for longer."""

FAILED_LOOKS = 3
"""Looks in vain, one after the other, that it takes at least to give up waiting."""

MOMENT = 0.25
"""Seconds between two looks whether the user wants to stop."""


class Stopping(Exception):  # noqa: N818 - not an error: the user wants to stop
    """Ends whatever is waited for."""


class Patience:
    """How long batches are waited for.

    Args:
        service: Who answers, as known now.
        policy: How patient to be.
        poll: Seconds between two looks at most.
        timing: The clock.

    Attributes:
        is_stopping: Whether the user wants to stop; may be set from a signal handler.
    """

    def __init__(self, service: Callable[[], Service], policy: RetryPolicy, poll: float, timing: Timing) -> None:
        self.is_stopping = False
        self._service = service
        self._policy = policy
        self._poll = poll
        self._timing = timing
        self._failures = 0
        self._failing_since = 0.0

    def succeeded(self) -> None:
        """The server told what it was asked."""
        self._failures = 0

    def failed(self, error: PassingError, what: str) -> None:
        """Count a failure. Raises BackendError where it has gone on for too long."""
        now = self._timing.clock()
        self._failing_since = self._failing_since if self._failures else now
        self._failures += 1
        log.info("%s: trying again", error)
        lasted = now - self._failing_since
        if self._failures >= FAILED_LOOKS and lasted >= LIMITED_TIMEOUT_FACTOR * self._policy.outage_timeout:
            self._failures = 0
            raise BackendError(
                f"Stopped: {self._service().name} {what} (last: {error}).",
                "Everything answered is saved, and batches that were made go on. Run the same command again later: it "
                "takes them up.",
                later=True,
            )

    def pause(self, seconds: float, asked: float | None = None) -> None:
        """Wait as long as the server asks, or else not longer than the user allows; not once they want to stop."""
        until = self._timing.clock() + min(asked or min(seconds, self._poll), MOST_ASKED)
        while (left := until - self._timing.clock()) > 0:
            self.leave_if_stopping()
            self._timing.sleep(min(left, MOMENT))
        self.leave_if_stopping()

    def leave_if_stopping(self) -> None:
        """Raise Stopping where the user wants to stop."""
        if self.is_stopping:
            raise Stopping


def moment(seconds: float) -> str:
    """A moment as people write it: the time, and the date where it is not today's."""
    then, now = time.localtime(seconds), time.localtime()
    return time.strftime("%H:%M" if then[:3] == now[:3] else "%Y-%m-%d %H:%M", then)
