"""Ends exchanges that take too long: a read timeout starts again with each byte, a deadline does not."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any


class Deadlines:
    """Cuts the connection of a thread whose exchange is not over in time.

    Each read of a socket has a timeout of its own, which a server that sends a byte now and then, in the
    headers or in the body, never meets. So one thread looks at all exchanges under way.

    Args:
        timeout: Seconds for an exchange.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._lock = threading.Lock()
        self._exchanges: dict[int, _Exchange] = {}
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def exchange(self, timeout: float | None = None) -> Iterator[_Exchange]:
        """The calling thread's exchange with the server, from now on."""
        exchange = _Exchange(time.monotonic() + (self._timeout if timeout is None else timeout))
        with self._lock:
            self._exchanges[threading.get_ident()] = exchange
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._watch, name="psyctl-deadlines", daemon=True)
                self._thread.start()
        try:
            yield exchange
        finally:
            with self._lock:
                self._exchanges.pop(threading.get_ident(), None)

    def uses(self, connection: Any) -> None:
        """The calling thread goes on over this connection."""
        exchange = self._exchanges.get(threading.get_ident())
        if exchange is not None:
            exchange.connection = connection

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(2.0)

    def _watch(self) -> None:
        pause = min(max(self._timeout / 10, 0.01), 0.25)
        while not self._closed.wait(pause):
            now = time.monotonic()
            with self._lock:
                late = [exchange for exchange in self._exchanges.values() if now > exchange.deadline]
                for exchange in late:
                    exchange.expired = True
                    cut(exchange.connection)  # again each time: it may just have been connecting


class _Exchange:
    """One exchange under way.

    Attributes:
        deadline: When it is to be over, by the monotonic clock.
        connection: What it goes over, once known.
        expired: Whether it was cut.
    """

    __slots__ = ("connection", "deadline", "expired")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.connection: Any = None
        self.expired = False


def cut(connection: Any) -> None:
    """Shut a connection's socket down; whoever reads from it sees its end."""
    # http.client lets go of a socket whose answer ends with the connection, while the answer is still read.
    sock = getattr(connection, "sock", None) or getattr(connection, "last_sock", None)
    with contextlib.suppress(OSError):
        if isinstance(sock, socket.socket):
            # Not SSLSocket's own method: it would take the TLS layer away from the reading thread.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
        elif sock is not None:
            sock.shutdown(socket.SHUT_RDWR)
