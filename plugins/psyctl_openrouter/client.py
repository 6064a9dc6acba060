"""The HTTP client under both backends: sends one request, returns what came back, never raises, never retries."""

from __future__ import annotations

import re
import threading
import weakref
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter

from psyctl_openrouter import network
from psyctl_openrouter.deadlines import Deadlines, cut

CONNECT_TIMEOUT = 10.0
"""Seconds to wait for a connection: far less than for an answer, because nothing is being computed yet."""

MAX_BODY = 6 * 2**20
"""Bytes of an answer that are read: a thousand times as many as it needs, unpacked ones counted."""

_PIECE = 2**16

_KEY_LIKE = re.compile(r"\b(?:sk|hf)[-_][\w*.…-]{6,}")


@dataclass(frozen=True, slots=True)
class Reply:
    """What one exchange gave.

    Attributes:
        status: The HTTP status, or 0 where no whole answer came.
        body: The whole body.
        headers: The answer's headers, by name in any case.
        trouble: Why there is no whole answer, in :mod:`~psyctl_openrouter.network`'s words; else empty.
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
        base_url: Without a slash at the end; a query stays behind each path.
        key: Sent as a bearer token, and as Azure wants it where the address is Azure's; empty sends none.
        connections: Kept open at most.
        timeout: Seconds for an answer, from the connection to its last byte.
        session: What the server shall group the calls under, or ``""``.

    Attributes:
        proxy: The proxy that the environment names for the address, without its password; else empty.
    """

    def __init__(self, base_url: str, key: str, *, connections: int, timeout: float, session: str = "") -> None:
        self._base_url = base_url
        self._timeout = timeout
        with requests.Session() as plain:
            environment = plain.merge_environment_settings(base_url, {}, False, None, None)
        self.proxy = _shown_proxy(requests.utils.select_proxy(base_url, environment["proxies"]))
        self._settings: dict[str, Any] = {**environment, "stream": True}
        self._deadlines = Deadlines(timeout)
        self._adapter = _TrackingAdapter(connections, self._deadlines)
        headers = {"User-Agent": "psyctl", "Accept": "application/json", "Accept-Encoding": "identity"}
        self._plain = _prepared("GET", address(base_url, "/models"), headers)
        headers["Content-Type"] = "application/json"
        if session:  # not in the body, so that the same request stays the same
            headers["X-Session-Id"] = session
        if key:
            headers["Authorization"] = f"Bearer {key}"
            if is_azure(base_url):
                headers["api-key"] = key
        self._chat = _prepared("POST", address(base_url, "/chat/completions"), headers)

    def chat(self, body: bytes) -> Reply:
        """POST a chat completion's JSON body."""
        request = self._chat.copy()
        request.body = body
        request.headers["Content-Length"] = str(len(body))
        return self._exchange(request, self._timeout)

    def get(self, path: str, *, authorized: bool, timeout: float | None = None) -> Reply:
        """GET a path below the base URL, with the key or without, in so many seconds."""
        request = (self._chat if authorized else self._plain).copy()
        request.method = "GET"
        request.url = address(self._base_url, path)
        return self._exchange(request, min(timeout or self._timeout, self._timeout))

    def send(
        self, method: str, url: str, body: bytes = b"", *, kind: str = "application/json", timeout: float,
        most: int = MAX_BODY,
    ) -> Reply:  # fmt: skip
        """Send something else than a chat completion, with the key.

        Args:
            method: The HTTP method.
            url: The whole address.
            body: What is sent.
            kind: Its Content-Type.
            timeout: Seconds for all of it.
            most: Bytes of the answer that are read.
        """
        request = self._chat.copy()
        request.method, request.url = method, url
        if body:
            request.body = body
            request.headers["Content-Type"] = kind
            request.headers["Content-Length"] = str(len(body))
        return self._exchange(request, timeout, most)

    def abort(self) -> None:
        """Cut every connection, so that threads waiting for an answer return at once."""
        self._adapter.cut()

    def close(self) -> None:
        """Close the connections that are idle."""
        self._deadlines.close()
        self._adapter.close()

    def _exchange(self, request: requests.PreparedRequest, timeout: float, most: int = MAX_BODY) -> Reply:
        # Whatever is raised below holds the request, and with it the key. So it is turned into plain words
        # here and never chained or logged.
        with self._deadlines.exchange(timeout) as exchange:
            reply = self._send(request, timeout, most)
            # Cut in the middle, an answer without a length looks whole.
            return Reply(trouble=network.TIMED_OUT) if exchange.expired else reply

    def _send(self, request: requests.PreparedRequest, timeout: float, most: int) -> Reply:
        # The adapter is called directly: a session would look up proxies, CA bundle, cookies and redirects
        # again for every request, which costs as much time as all the rest.
        try:
            response = self._adapter.send(request, **self._settings, timeout=(CONNECT_TIMEOUT, timeout))
        except Exception as error:
            trouble, detail, sent = network.trouble_of(error)
            return Reply(trouble=trouble, detail=detail, sent=sent)
        try:
            body = _body(response, most)
            if body is None:
                return Reply(trouble=network.TOO_MUCH)
            return Reply(response.status_code, bytes(body), response.headers)
        except Exception as error:
            trouble, detail, _ = network.trouble_of(error, reading=True)
            return Reply(trouble=trouble, detail=detail)
        finally:
            response.close()


def address(base_url: str, path: str) -> str:
    """A path below a base URL; the base URL's query stays at the end."""
    base, mark, query = base_url.partition("?")
    return f"{base}{path}{mark}{query}"


def is_azure(base_url: str) -> bool:
    """Whether the address is Azure's, whose key goes into a header of its own.

    Source: https://learn.microsoft.com/azure/ai-services/openai/reference, "Authentication".
    """
    parts = urlsplit(base_url)
    return (parts.hostname or "").endswith(".azure.com") or "api-version=" in parts.query


def scrub(text: str, key: str) -> str:
    """Take the key, and whatever looks like one, out of a text that a server or the system wrote.

    The text also becomes one line of at most 300 characters that a terminal can show.
    """
    text = text[:20_000]
    text = " ".join("".join(ch if ch.isprintable() else " " for ch in text).split())
    text = text.replace(key, "[key]") if key else text
    text = _KEY_LIKE.sub("[key]", text)
    return text if len(text) <= 300 else f"{text[:299]}…"


def _body(response: requests.Response, most: int) -> bytearray | None:
    """The body, unpacked, or ``None`` where it is longer than is read.

    Raises:
        OSError: And whatever else urllib3 and zlib raise where it ends early.
    """
    packed = response.headers.get("Content-Encoding", "").strip().lower() in ("gzip", "x-gzip", "deflate")
    # Unpacked here and not by urllib3, which would unpack a thousand times what it has read in one go.
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32) if packed else None
    body = bytearray()
    taken = 0
    while piece := response.raw.read(_PIECE, decode_content=False):
        taken += len(piece)
        body += unpacking.decompress(piece, most + 1 - len(body)) if unpacking else piece
        if max(taken, len(body)) > most:
            return None
    if unpacking and not unpacking.eof:
        raise OSError("the packed answer ends early")
    return body


class _OneSend:
    """Mixed into a connection class: a request's headers and body go out in one piece, and its socket is kept in mind.

    http.client sends them one after the other. That costs a second system call, and among many threads a
    second wait for the interpreter's lock, for each of thousands of small requests.
    """

    deadlines: Deadlines
    last_sock: Any = None
    _pieces: list[bytes] | None = None

    def connect(self) -> None:
        """Connect; the exchange's deadline holds for that too."""
        self.deadlines.uses(self)
        super().connect()  # type: ignore[misc]
        self.last_sock = self.sock  # type: ignore[attr-defined]

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Collect what would be sent, then send it."""
        self.deadlines.uses(self)
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

    def __init__(self, connections: int, deadlines: Deadlines) -> None:
        self._lock = threading.Lock()
        self._deadlines = deadlines
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
        """Shut every connection's socket down."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            cut(connection)

    def _tracked(self, kind: type[Any]) -> Any:
        connection_class = type(kind.__name__, (_OneSend, kind), {"deadlines": self._deadlines})

        def make(*args: Any, **kwargs: Any) -> Any:
            connection = connection_class(*args, **kwargs)
            with self._lock:
                self._connections.add(connection)
            return connection

        return make


def _shown_proxy(url: str | None) -> str:
    if not url:
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(not an address)"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")) or url


def _prepared(method: str, url: str, headers: Mapping[str, str]) -> requests.PreparedRequest:
    request = requests.PreparedRequest()
    request.prepare(method=method, url=url, headers=dict(headers))
    request.headers.pop("Content-Length", None)
    return request
