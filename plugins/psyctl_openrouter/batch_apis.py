"""How batches are made, looked at and read: OpenAI's files and OpenRouter's inline list.

Sources: OpenAI API reference, "Batch" and "Files" (https://platform.openai.com/docs/api-reference/batch);
OpenRouter's "Batch API Quickstart" (https://openrouter.ai/docs/batch-quickstart).
"""

from __future__ import annotations

import contextlib
import email.utils
import json
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from urllib3.filepost import encode_multipart_formdata

from psyctl_core.errors import BackendError
from psyctl_openrouter import storable
from psyctl_openrouter.batch_book import Batch
from psyctl_openrouter.client import Client, Reply, address, scrub
from psyctl_openrouter.outcome import Service
from psyctl_openrouter.refusals import words_of
from psyctl_openrouter.replies import parsed, sort_reply
from psyctl_openrouter.several import Endpoint
from psyctl_openrouter.words import Problem, error_of, wait_of

MAX_BYTES = 190 * 2**20
"""Bytes of its body at most: OpenAI takes 200 MB."""

CHAT = "/v1/chat/completions"
CALL_SECONDS = 60.0
"""How long a call may take that carries no batch."""

TRANSFER_SECONDS = 1_800.0
"""How long a whole batch may take to be sent or read."""

MAX_RESULTS = 2**30
"""Bytes of a batch's results that are read."""

MAX_PAGES = 100
"""Pages of a list that are looked through, newest first, each of a hundred batches."""

CLOCKS_DIFFER = 600.0
"""Seconds by which a server's clock may be behind this one, where it does not tell its time."""

TOLD_TIME_DIFFERS = 2.0
"""The same where it does: both of its times are cut to seconds."""

UNDER_WAY = ("validating", "in_progress", "finalizing", "cancelling")
ENDED = ("completed", "failed", "expired", "cancelled")
NOT_TRIED = ("batch_expired", "batch_cancelled")
"""Error codes of requests that a batch had no time for."""

VARIANT = ":batch"
"""What OpenRouter has at the end of a model's name where it takes no batch for the name alone."""

_ID = re.compile(r"[\w.:-]{1,200}")


class PassingError(Exception):
    """The server did not answer, and may later.

    Args:
        reason: In words.
        wait: Seconds that it asks to wait, or ``None``.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class UnsureError(Exception):
    """Whether the server has made a batch is not known."""


class GoneError(BackendError):
    """The server does not know the batch."""


class NoListError(Exception):
    """The server has no list of batches, or none in which one of them can be found."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a batch is doing.

    Attributes:
        state: One of :data:`UNDER_WAY` and :data:`ENDED`.
        done: Requests that are done, in whichever way.
        said: Why it failed, in the server's words, or ``""``.
        wait: Seconds that the server asks to wait until the next look, or ``None``.
        data: All that it said.
    """

    state: str
    done: int
    said: str
    wait: float | None
    data: Mapping[str, Any]

    @property
    def is_ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in ENDED


class BatchApi(Protocol):
    """One server's way to take batches.

    Attributes:
        has_model_in_body: Whether each request names the model, or the batch does for all.
    """

    has_model_in_body: bool

    def body(self, requests: Sequence[tuple[str, bytes]]) -> bytes:
        """The body of a batch of requests, each with its key."""
        ...

    def make(self, batch: Batch, body: bytes, about_to: Callable[[], None]) -> str:
        """Make a batch; its id.

        Args:
            batch: As it is in the book.
            body: Its body.
            about_to: Called right before what makes it is sent.

        Raises:
            PassingError: It was not made, and may be later.
            UnsureError: It may have been made.
            BackendError: It was not made, and will not be.
        """
        ...

    def find(self, batch: Batch, known: Collection[str]) -> str:
        """The id of a batch that may have been made, or ``""`` where it was not.

        Args:
            batch: As it is in the book.
            known: The ids of others.

        Raises:
            NoListError: Nobody can tell.
            PassingError: It can be told later.
        """
        ...

    def look(self, id: str) -> Look:
        """How a batch is doing. Raises PassingError, BackendError."""
        ...

    def results(self, look: Look) -> list[tuple[str, int, bytes]]:
        """Key, HTTP status and body of all that came of an ended batch. Raises PassingError, BackendError."""
        ...

    def how_to_cancel(self, id: str) -> str:
        """How a user ends a batch, in words."""
        ...


class _Api:
    """What both have in common: exchanges whose answer is JSON, or an error."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    @property
    def _service(self) -> Service:
        return self._endpoint.service

    @property
    def _client(self) -> Client:
        return self._endpoint.client

    def _get(self, url: str, *, most: int = 2**24, timeout: float = CALL_SECONDS) -> Reply:
        """GET something. Raises PassingError, BackendError."""
        return self._checked(self._client.send("GET", url, timeout=timeout, most=most), url)

    def _object(self, reply: Reply, url: str) -> Mapping[str, Any]:
        data = parsed(reply.body)
        if not isinstance(data, dict):
            raise PassingError(f"{url} answers with something that is no batch")
        return data

    def _checked(self, reply: Reply, url: str) -> Reply:
        """A reply that is an answer. Raises PassingError, BackendError."""
        if not reply.trouble and 200 <= reply.status < 300:
            return reply
        outcome = sort_reply(reply, self._service)
        said = self._said(reply)
        if reply.trouble or outcome.kind in ("retry", "limited") or reply.status >= 500:
            wait = wait_of(reply.headers, error_of(parsed(reply.body)) or Problem(), time.time())
            raise PassingError(f"{url}: {said}", wait)
        if reply.status in (401, 402, 403) and outcome.message:
            raise BackendError(outcome.message, outcome.hint, later=outcome.later)
        kind = GoneError if reply.status == 404 else BackendError
        raise kind(
            f"{self._service.name} refused {url}: {said}.",
            f"Leave {self._service.flag}-batch out, then run the same command again.",
        )

    def _said(self, reply: Reply) -> str:
        if reply.trouble:
            detail = scrub(reply.detail, self._service.key)
            return f"{reply.trouble} ({detail})" if detail else reply.trouble
        return words_of(reply, error_of(parsed(reply.body)) or Problem(), self._service)

    def _made(self, reply: Reply, url: str) -> str:
        """The id in the answer to what makes a batch. Raises PassingError, UnsureError, BackendError."""
        if reply.trouble:
            raise UnsureError(self._said(reply)) if reply.sent else PassingError(self._said(reply))
        if reply.status >= 500 and reply.status != 503:
            raise UnsureError(self._said(reply))
        data = parsed(self._checked(reply, url).body)
        id = data.get("id") if isinstance(data, dict) else None
        if not isinstance(id, str) or not _ID.fullmatch(id):
            raise UnsureError("the answer names no batch")
        return id

    def _look(self, url: str, id: str, timeout: float = CALL_SECONDS) -> Look:
        reply = self._get(f"{url}/{quote(id, safe='')}", most=MAX_RESULTS, timeout=timeout)
        data = self._object(reply, url)
        state = data.get("status")
        if state not in (*UNDER_WAY, *ENDED):
            raise PassingError(f"{url} tells no state of a batch")
        counts = data.get("request_counts")
        counts = counts if isinstance(counts, dict) else {}
        done = sum(storable.tokens(counts.get(name)) or 0 for name in ("completed", "failed"))
        problem = error_of({"error": data.get("error") or data.get("errors")}) if state == "failed" else None
        said = scrub(problem.message, self._service.key).rstrip(".") if problem else ""
        return Look(state, done, said, wait_of(reply.headers, Problem(), time.time()), data)

    def _listed(self, url: str, sent: float) -> Iterator[Mapping[str, Any]]:
        """The batches that a server lists which were made since then. Raises NoListError, PassingError."""
        after = ""
        for _ in range(MAX_PAGES):
            try:
                reply = self._get(f"{url}?limit=100{after}")
            except BackendError as error:
                raise NoListError(error.message) from None
            page = self._object(reply, url)
            found = [each for each in page.get("data") or [] if isinstance(each, dict)]
            since = _in_its_time(sent, reply.headers)
            late = [each for each in found if (storable.number(each.get("created_at")) or since) >= since]
            yield from late
            if len(late) < len(found) or not page.get("has_more") or not found:
                return
            after = f"&after={quote(str(found[-1].get('id')), safe='')}"
        raise NoListError(f"the list of {url} has no end")


class OpenAIBatches(_Api):
    """A file of requests is uploaded, a batch is made of it, and its answers are in files again."""

    has_model_in_body = True

    def body(self, requests: Sequence[tuple[str, bytes]]) -> bytes:
        """A line a request."""
        line = b'{"custom_id":"%b","method":"POST","url":"' + CHAT.encode() + b'","body":%b}\n'
        return b"".join(line % (key.encode(), body) for key, body in requests)

    def make(self, batch: Batch, body: bytes, about_to: Callable[[], None]) -> str:
        """Upload the file, then make the batch: it names psyctl's own uuid, by which it is found again."""
        form, kind = encode_multipart_formdata(
            {"purpose": "batch", "file": (f"psyctl-{batch.uuid}.jsonl", body, "application/jsonl")}
        )
        url = self._url("/files")
        sent = self._client.send("POST", url, form, kind=kind, timeout=TRANSFER_SECONDS)
        file = self._object(self._checked(sent, url), url).get("id")
        if not isinstance(file, str):
            raise PassingError(f"{url} names no file")
        about_to()
        url = self._url("/batches")
        asked = {
            "input_file_id": file,
            "endpoint": CHAT,
            "completion_window": "24h",
            "metadata": {"psyctl": batch.uuid},
        }
        return self._made(self._client.send("POST", url, json.dumps(asked).encode(), timeout=CALL_SECONDS), url)

    def find(self, batch: Batch, known: Collection[str]) -> str:
        """Look for the uuid among the batches that the server lists."""
        del known
        for each in self._listed(self._url("/batches"), batch.sent):
            metadata = each.get("metadata")
            if isinstance(metadata, dict) and metadata.get("psyctl") == batch.uuid:
                return str(each.get("id"))
        return ""

    def look(self, id: str) -> Look:
        """How a batch is doing."""
        return self._look(self._url("/batches"), id)

    def results(self, look: Look) -> list[tuple[str, int, bytes]]:
        """What both of its files hold."""
        found = []
        for name in ("output_file_id", "error_file_id"):
            if isinstance(file := look.data.get(name), str) and file:
                reply = self._get(
                    self._url(f"/files/{quote(file, safe='')}/content"), most=MAX_RESULTS, timeout=TRANSFER_SECONDS
                )
                found += [result for line in reply.body.splitlines() if (result := _result(parsed(line)))]
        return found

    def how_to_cancel(self, id: str) -> str:
        """The call that ends a batch (OpenAI API reference, "Cancel batch")."""
        return f'curl -X POST {self._url("/batches")}/{id}/cancel -H "Authorization: Bearer $OPENAI_API_KEY"'

    def _url(self, path: str) -> str:
        return address(self._service.base_url, path)


class OpenRouterBatches(_Api):
    """The requests and their answers lie in the batch itself."""

    has_model_in_body = False

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        base = self._service.base_url
        # Begun as a beta beside the API's first version; documented within it since.
        self._places = [f"{base.removesuffix('/v1')}/beta/batches", f"{base}/batches"]

    def body(self, requests: Sequence[tuple[str, bytes]]) -> bytes:
        """The keys in the order in which the server reads them: it refuses another one."""
        head = json.dumps({"endpoint": CHAT, "model": self._service.model})[:-1].encode()
        each = b",".join(b'{"custom_id":"%b","body":%b}' % (key.encode(), body) for key, body in requests)
        return head + b', "requests": [' + each + b"]}"

    def make(self, batch: Batch, body: bytes, about_to: Callable[[], None]) -> str:
        """Make a batch where the server has a place for it."""
        del batch
        about_to()
        for url in list(self._places):
            reply = self._client.send("POST", url, body, timeout=TRANSFER_SECONDS)
            if reply.status == 400 and VARIANT in self._said(reply):  # some models have a name of their own for this
                model = json.dumps(self._service.model).encode()
                reply = self._client.send(
                    "POST", url, body.replace(model, model[:-1] + VARIANT.encode() + b'"', 1), timeout=TRANSFER_SECONDS
                )
            if reply.status in (404, 405):
                continue
            self._places = [url]
            return self._made(reply, url)
        raise BackendError(
            f"OpenRouter takes no batches from this key: {self._said(reply)}.",
            "Its batches are a beta that not everybody has. Give --openrouter-service-tier flex for half the price "
            "without them, or leave --openrouter-batch out; then run the same command again.",
        )

    def find(self, batch: Batch, known: Collection[str]) -> str:
        """Look for a batch of the same model and size, made since then: they hold no name that psyctl gave them."""
        found: list[str] = []
        for url in self._places:
            try:
                for each in self._listed(url, batch.sent):
                    counts = each.get("request_counts")
                    size = counts.get("total") if isinstance(counts, dict) else None
                    if size in (batch.requests, 0, None) and each.get("id") not in known:
                        found.append(str(each.get("id")))
            except NoListError:
                continue
            if len(found) > 1:
                raise NoListError(f"several of its batches may be the one: {', '.join(found[:5])}")
            return found[0] if found else ""
        raise NoListError("it has no list of batches that tells")

    def look(self, id: str) -> Look:
        """How a batch is doing."""
        for url in self._places[:-1]:
            try:
                return self._look(url, id, TRANSFER_SECONDS)
            except GoneError:
                continue
        return self._look(self._places[-1], id, TRANSFER_SECONDS)

    def results(self, look: Look) -> list[tuple[str, int, bytes]]:
        """What it holds."""
        listed = look.data.get("results")
        return [result for each in listed or [] if (result := _result(each))] if isinstance(listed, list) else []

    def how_to_cancel(self, id: str) -> str:
        """No call is documented that ends one."""
        return f"OpenRouter documents no way to cancel {id}"


def _in_its_time(moment: float, headers: Mapping[str, str]) -> float:
    """A moment of this machine as a server's clock had it, at the earliest."""
    with contextlib.suppress(ValueError, TypeError):
        told = email.utils.parsedate_to_datetime(headers.get("Date", "")).timestamp()
        return moment + told - time.time() - TOLD_TIME_DIFFERS
    return moment - CLOCKS_DIFFER


def _result(line: Any) -> tuple[str, int, bytes] | None:
    """One result: an answer, or an error in the form of one; ``None`` for a request that was never tried."""
    if not isinstance(line, dict) or not isinstance(key := line.get("custom_id"), str):
        return None
    response, error = line.get("response"), line.get("error")
    if isinstance(response, dict):
        status = response.get("status_code")
        status = status if isinstance(status, int) and not isinstance(status, bool) else 200
        return key, status, json.dumps(response.get("body")).encode()
    if isinstance(error, dict) and (error.get("code") in NOT_TRIED or error.get("type") in NOT_TRIED):
        return None
    return key, 500, json.dumps({"error": error}).encode()
