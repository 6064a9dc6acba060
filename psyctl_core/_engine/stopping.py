"""Ctrl-C and SIGTERM: finish the write in hand, save, leave; a second one leaves at once."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator

log = logging.getLogger("psyctl")

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether the user asked to stop, and how to."""

    def __init__(self) -> None:
        self._wind_down: Callable[[], None] | None = None
        self._signal: int | None = None
        self._deferred = False
        self._while_deferred = _Deferred(self)

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
        return self._signal is not None

    @property
    def draining(self) -> bool:
        """Whether answers under way are waited for (they may be paid for) instead of being dropped."""
        return self._wind_down is not None

    def drain(self, wind_down: Callable[[], None] | None) -> None:
        """From now on wait for answers under way, or with ``None`` leave at once.

        Args:
            wind_down: Called when a signal comes, so that nothing more is begun.
        """
        self._wind_down = wind_down

    def leave_if_requested(self) -> None:
        """Raise KeyboardInterrupt after Ctrl-C, SystemExit(143) after SIGTERM, nothing otherwise."""
        if self._signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self._signal is not None:
            raise SystemExit(128 + self._signal)

    def deferred(self) -> _Deferred:
        """Let what is being written be finished before a signal takes effect."""
        return self._while_deferred

    def handle(self, number: int, frame: object) -> None:
        """The signal handler: from now on the next signal ends the process at once."""
        del frame
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        self._signal = number
        if self._wind_down is not None:
            self._wind_down()
            log.warning("Stopping: waiting for the answers under way. Once more stops at once; nothing is lost.")
        elif not self._deferred:
            self.leave_if_requested()


class _Deferred:
    """What :meth:`Stop.deferred` gives; one is enough for all, since they are never nested."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def __enter__(self) -> None:
        self._stop._deferred = True

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._stop._deferred = False
        if error is None and not self._stop.draining:
            self._stop.leave_if_requested()


@contextlib.contextmanager
def stoppable() -> Iterator[Stop]:
    """Handle Ctrl-C and SIGTERM for as long as the block runs; in another thread than the main one, don't."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.handle) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
