"""The HTTP client under both backends: sends one request, returns what came back, never raises, never retries."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter

CONNECT_TIMEOUT = 10.0
"""Seconds to wait for a connection: far less than for an answer, because nothing is being computed yet."""

CANNOT_CONNECT = "cannot connect"
CERTIFICATE = "certificate not accepted"
TIMED_OUT = "timed out"
LOST = "connection lost"
CUT_OFF = "answer cut off"

_KEY_LIKE = re.compile(r"\b(?:sk|hf)[-_][\w*.…-]{6,}")


@dataclass(frozen=True, slots=True)
class Reply:
    """What one exchange gave.

    Attributes:
        status: The HTTP status, or 0 where no whole answer came.
        body: The whole body.
        headers: The answer's headers, by name in any case.
        trouble: Why there is no whole answer, in stable words; empty where there is one.
        detail: What the system said about the trouble.
        sent: Whether the server may have seen the request, and so may have charged for it.
    """

    status: int = 0
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    trouble: str = ""
    detail: str = ""
    sent: bool = True


class Client:
    """Connections to one API, shared by all threads.

    Proxies and CA bundles come from the environment as ``requests`` reads it, once. The ``.netrc`` file
    is not read: it would replace the key.

    Args:
        base_url: Without a slash at the end.
        key: Sent as a bearer token; empty sends none.
        connections: Kept open at most.
        timeout: Seconds for an answer.
    """

    def __init__(self, base_url: str, key: str, *, connections: int, timeout: float) -> None:
        self._base_url = base_url
        self._timeout = timeout
        with requests.Session() as session:
            environment = session.merge_environment_settings(base_url, {}, False, None, None)
        self._settings: dict[str, Any] = {**environment, "timeout": (CONNECT_TIMEOUT, timeout), "stream": True}
        self._adapter = _TrackingAdapter(connections)
        headers = {"User-Agent": "psyctl", "Accept": "application/json", "Accept-Encoding": "identity"}
        self._plain = _prepared("GET", f"{base_url}/models", headers)
        headers["Content-Type"] = "application/json"
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._chat = _prepared("POST", f"{base_url}/chat/completions", headers)

    def chat(self, body: bytes) -> Reply:
        """POST a chat completion's JSON body."""
        request = self._chat.copy()
        request.body = body
        request.headers["Content-Length"] = str(len(body))
        return self._exchange(request)

    def get(self, path: str, *, authorized: bool) -> Reply:
        """GET a path below the base URL, with the key or without."""
        request = (self._chat if authorized else self._plain).copy()
        request.method = "GET"
        request.url = f"{self._base_url}{path}"
        return self._exchange(request)

    def abort(self) -> None:
        """Cut every connection, so that threads waiting for an answer return at once."""
        self._adapter.cut()

    def close(self) -> None:
        """Close the connections that are idle."""
        self._adapter.close()

    def _exchange(self, request: requests.PreparedRequest) -> Reply:
        # Whatever is raised below holds the request, and with it the key. So it is turned into plain words
        # here and never chained or logged.
        try:
            return self._send(request)
        except Exception as error:
            return _trouble(error)

    def _send(self, request: requests.PreparedRequest) -> Reply:
        # The adapter is called directly: a session would look up proxies, CA bundle, cookies and redirects
        # again for every request, which costs as much time as all the rest.
        deadline = time.monotonic() + self._timeout
        response = self._adapter.send(request, **self._settings)
        try:
            parts: list[bytes] = []
            for part in response.iter_content(None):
                # The read timeout starts again with each piece, and servers keep connections alive with blanks.
                if parts and time.monotonic() > deadline:
                    return Reply(trouble=TIMED_OUT)
                parts.append(part)
            return Reply(response.status_code, b"".join(parts), response.headers)
        finally:
            response.close()


def scrub(text: str, key: str) -> str:
    """Take the key, and whatever looks like one, out of a text that a server or the system wrote.

    The text also becomes one line of at most 300 characters that a terminal can show.
    """
    text = " ".join("".join(ch if ch.isprintable() else " " for ch in text).split())
    text = text.replace(key, "[key]") if key else text
    text = _KEY_LIKE.sub("[key]", text)
    return text if len(text) <= 300 else f"{text[:299]}…"


class _OneSend:
    """Mixed into a connection class: a request's headers and body go out in one piece.

    http.client sends them one after the other. That costs a second system call, and among many threads a
    second wait for the interpreter's lock, for each of thousands of small requests.
    """

    _pieces: list[bytes] | None = None

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Collect what would be sent, then send it."""
        self._pieces = []
        try:
            super().request(*args, **kwargs)  # type: ignore[misc]
        finally:
            pieces, self._pieces = self._pieces, None
        super().send(b"".join(pieces))  # type: ignore[misc]

    def send(self, data: bytes) -> None:
        """Send, or keep for later."""
        if self._pieces is None:
            super().send(data)  # type: ignore[misc]
        else:
            self._pieces.append(data)


class _TrackingAdapter(HTTPAdapter):
    """An adapter for one server that knows its connections, so that they can be cut while in use."""

    def __init__(self, connections: int) -> None:
        self._lock = threading.Lock()
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        self._pool: Any = None
        super().__init__(pool_connections=1, pool_maxsize=max(1, connections), max_retries=0)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """The pool of connections to the server; looked up once, because it is always the same."""
        with self._lock:
            if self._pool is None:
                self._pool = super().get_connection_with_tls_context(*args, **kwargs)
                self._pool.ConnectionCls = self._tracked(self._pool.ConnectionCls)
            return self._pool

    def cut(self) -> None:
        """Shut every connection's socket down; whoever reads from it sees its end."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            sock = getattr(connection, "sock", None)
            with contextlib.suppress(OSError):
                if isinstance(sock, socket.socket):
                    # Not SSLSocket's own method: it would take the TLS layer away from the reading thread.
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
                elif sock is not None:
                    sock.shutdown(socket.SHUT_RDWR)

    def _tracked(self, kind: type[Any]) -> Any:
        connection_class = type(kind.__name__, (_OneSend, kind), {})

        def make(*args: Any, **kwargs: Any) -> Any:
            connection = connection_class(*args, **kwargs)
            with self._lock:
                self._connections.add(connection)
            return connection

        return make


def _prepared(method: str, url: str, headers: Mapping[str, str]) -> requests.PreparedRequest:
    request = requests.PreparedRequest()
    request.prepare(method=method, url=url, headers=dict(headers))
    request.headers.pop("Content-Length", None)
    return request


def _trouble(error: Exception) -> Reply:
    """Sort what requests, urllib3 or the system raised."""
    chain = list(_chain(error))

    def met(*types: type[BaseException]) -> bool:
        return any(isinstance(link, types) for link in chain)

    detail = next((str(link.strerror) for link in chain if isinstance(link, OSError) and link.strerror), "")
    if type(error) is OSError:  # how requests says that the CA bundle it was told to use is not there
        return Reply(trouble=CERTIFICATE, detail=str(error), sent=False)
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):  # a proxy's
        return Reply(trouble=CANNOT_CONNECT, detail=str(error), sent=False)
    if met(ssl.SSLCertVerificationError):
        return Reply(trouble=CERTIFICATE, detail=detail, sent=False)
    if met(
        requests.exceptions.ConnectTimeout,
        requests.exceptions.ProxyError,
        urllib3.exceptions.NewConnectionError,
        urllib3.exceptions.ConnectTimeoutError,
    ):
        return Reply(trouble=CANNOT_CONNECT, detail=detail, sent=False)
    if met(requests.exceptions.Timeout, urllib3.exceptions.ReadTimeoutError, TimeoutError):
        return Reply(trouble=TIMED_OUT)
    if met(requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
        return Reply(trouble=CUT_OFF)
    if met(OSError, http.client.HTTPException, urllib3.exceptions.HTTPError):
        return Reply(trouble=LOST, detail=detail)
    return Reply(trouble=LOST, detail=type(error).__name__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and those it was made from; requests and urllib3 keep them in different places."""
    links: list[Any] = [error]
    for link in links:  # grows while it is walked
        yield link
        inner = [*link.args, getattr(link, "reason", None), link.__cause__, link.__context__]
        links.extend(i for i in inner if isinstance(i, BaseException) and i not in links)
