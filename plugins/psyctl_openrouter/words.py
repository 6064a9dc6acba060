"""Finds a server's own words about what went wrong, in whatever they are wrapped."""

from __future__ import annotations

import email.utils
import html
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from psyctl_openrouter import storable

_MESSAGE_KEYS = (
    "message", "msg", "error_message", "errorMessage", "error_msg", "detail", "details", "description",
    "error_description", "faultstring", "reason", "title", "errors", "error", "fault", "Message", "Error",
)  # fmt: skip
"""Where a message stands, the likeliest place first."""

_MAX_DEPTH = 8
_TITLE = re.compile(r"<(title|h1)[^>]{0,200}>\s*([^<]{1,200})", re.I)
_PAGE = re.compile(
    r"\s*(?:<\?xml[^>]{0,200}>\s*)?(?:<!--.{0,1000}?-->\s*)?<(?:!doctype\s+html|html|head|body)\b", re.I | re.S
)
_SECONDS = re.compile(r"\s*(\d+(?:\.\d+)?)\s*s(?:ec(?:ond)?s?)?\s*", re.I)


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as a server words it.

    Attributes:
        code: The HTTP status it stands for, or ``None``.
        message: For people; not yet scrubbed.
        type: The typed causes, with blanks between them, or ``""``.
        fields: The fields of the request that it names in a place of their own, such as ``messages.0.role``.
        metadata: Everything else.
    """

    code: int | None = None
    message: str = ""
    type: str = ""
    fields: tuple[str, ...] = ()
    metadata: Mapping[str, Any] | None = None

    def get(self, name: str) -> Any:
        """A metadata entry, or ``None``."""
        return (self.metadata or {}).get(name)


def error_of(data: Any) -> Problem | None:
    """The error in an answer's JSON, in OpenRouter's form or in another server's; ``None`` where there is none."""
    if isinstance(data, list):
        # Google wraps its errors in a list; a list of models, whose entries have descriptions, is no error.
        return next((error_of(item) for item in data[:3] if isinstance(item, dict) and item.get("error")), None)
    if isinstance(data, str) and data.strip():
        return Problem(message=said_in(data))
    if not isinstance(data, dict):
        return None
    if "choices" in data and not data.get("error"):
        return None
    error = next((data[key] for key in ("error", "errors", "fault", "Error") if data.get(key)), None)
    if error is None:
        if any(key in data for key in ("choices", "data", "models")) or not said_in(data):
            return None
        error = data
    inner = next(_dicts(error), {})
    given = inner.get("metadata")
    metadata: dict[str, Any] = {**inner, **(given if isinstance(given, dict) else {})}
    for key in ("estimated_time", "retry_after"):
        metadata.setdefault(key, data.get(key))
    codes = map(_status, (inner.get("code"), inner.get("status"), data.get("code"), data.get("status")))
    code = next((code for code in codes if code), None)
    return Problem(code, _with_raw(said_in(error), metadata), _types(metadata, inner), _fields(error), metadata)


def said_in(value: Any, depth: int = 0) -> str:
    """The message in an error, however it is nested: objects, lists, and JSON inside of text."""
    if depth > _MAX_DEPTH:
        return ""
    if isinstance(value, str):
        return _unwrapped(value, depth)
    if isinstance(value, list):
        parts = (said_in(item, depth + 1) for item in value[:5])
        return "; ".join(dict.fromkeys(part for part in parts if part))
    if not isinstance(value, dict):
        return ""
    for key in _MESSAGE_KEYS:
        if said := said_in(value.get(key), depth + 1):
            where = ".".join(_location(value.get("loc")))
            return f"{where}: {said}" if where else said
    return ""


def page_title(body: bytes, content_type: str = "") -> str | None:
    """The title of a web page, ``""`` for one without, and ``None`` where a body is not a web page."""
    start = body[:4000].decode("utf-8", "replace").lstrip("\ufeff")
    if not _PAGE.match(start) and not (content_type.lower().startswith("text/html") and start.lstrip()[:1] == "<"):
        return None
    titles = {match[1].lower(): " ".join(html.unescape(match[2]).split()) for match in _TITLE.finditer(start)}
    return titles.get("title") or titles.get("h1") or ""


def wait_of(headers: Mapping[str, str], problem: Problem, now: float) -> float | None:
    """Seconds that the server asks to wait, or ``None``.

    Taken from Retry-After (seconds or a date, RFC 9110), the same inside the error's metadata and in OpenRouter's
    ``error.availability``, Google's
    ``retryDelay``, Hugging Face's ``estimated_time``, or else the X-RateLimit-Reset header of OpenRouter's own
    limits (milliseconds since 1970).

    Args:
        headers: The answer's.
        problem: The answer's.
        now: Seconds since 1970.
    """
    inner = problem.get("headers")
    inner = {str(k).lower(): v for k, v in inner.items()} if isinstance(inner, dict) else {}
    told = ("retry_after_seconds", "retry_after", "estimated_time")
    places = (*map(problem.get, told), _available(problem, "retry_after"), inner.get("retry-after"), _delay(problem))
    for text in (headers.get("Retry-After"), *places):
        if (number := storable.number(text)) is not None:
            return max(0.0, number)
        if isinstance(text, str) and text.strip():
            try:
                return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
            except (ValueError, TypeError, OverflowError):
                continue
    milliseconds = storable.number(headers.get("Retry-After-Ms"))
    if milliseconds is not None:
        return max(0.0, milliseconds / 1000)
    reset = storable.number(headers.get("X-RateLimit-Reset", inner.get("x-ratelimit-reset")))
    if reset is None:
        return None
    return max(0.0, reset / 1000 - now if reset > 1e11 else reset - now if reset > 1e9 else reset)


def is_retryable(problem: Problem) -> bool | None:
    """What ``error.availability`` says about asking again, or ``None`` where it says nothing."""
    told = _available(problem, "retryable")
    return told if isinstance(told, bool) else None


def _available(problem: Problem, name: str) -> Any:
    """An entry of ``error.availability``, which is an object or a list of them."""
    return next((item[name] for item in _dicts(problem.get("availability")) if name in item), None)


def _unwrapped(text: str, depth: int) -> str:
    """A text, or the message in the JSON that it is."""
    text = text.strip()
    if text[:1] in ("{", "["):
        try:
            return said_in(json.loads(text), depth + 1) or text
        except (ValueError, RecursionError):
            return text
    return text


def _with_raw(message: str, metadata: Mapping[str, Any]) -> str:
    """The message with the provider's own, which OpenRouter keeps in ``metadata.raw``."""
    raw = metadata.get("raw")
    said = said_in(raw) if isinstance(raw, str | dict | list) else ""
    return f"{message}: {said}" if said and said not in message else message


def _types(metadata: Mapping[str, Any], inner: Mapping[str, Any]) -> str:
    found = [metadata.get("error_type"), inner.get("code"), inner.get("type"), inner.get("status"), inner.get("name")]
    words = [word for word in found if isinstance(word, str) and word and not word.isdigit()]
    return " ".join(dict.fromkeys(words))


def _fields(error: Any) -> tuple[str, ...]:
    """What ``param`` (OpenAI) or ``loc`` (FastAPI, pydantic) name, as dotted paths."""
    found = []
    for item in _dicts(error):
        if isinstance(param := item.get("param"), str):
            found.append(re.sub(r"\[(\d+)\]", r".\1", param))
        if where := _location(item.get("loc")):
            found.append(".".join(where))
    return tuple(dict.fromkeys(found))


def _location(loc: Any) -> list[str]:
    return [str(part) for part in loc if part != "body"][:10] if isinstance(loc, list) else []


def _dicts(value: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """The objects in an error, the outermost first."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, dict):
        yield value
        for key in _MESSAGE_KEYS:
            yield from _dicts(value.get(key), depth + 1)
    elif isinstance(value, list):
        for item in value[:20]:
            yield from _dicts(item, depth + 1)


def _delay(problem: Problem) -> str | None:
    """The seconds of ``retryDelay`` (https://cloud.google.com/apis/design/errors#error_info, RetryInfo)."""
    for item in _dicts(problem.metadata or {}):
        delay = item.get("retryDelay")
        if isinstance(delay, str) and (seconds := _SECONDS.fullmatch(delay)):
            return seconds[1]
    return None


def _status(code: Any) -> int | None:
    number = storable.number(code)
    return int(number) if number is not None and 100 <= number < 600 else None
