"""Sorts what came back: an answer, something to try again, one failed request, or the end of the run.

The rules are those of OpenRouter's "Errors and Debugging" page (https://openrouter.ai/docs/api/errors):
``error.metadata.error_type`` is steadier than the status, which in turn tells an error's cause only where
generation had not begun; later errors arrive inside HTTP 200. What costs nothing is on its page "Zero
Completion Insurance" (https://openrouter.ai/docs/features/zero-completion-insurance).
"""

from __future__ import annotations

import email.utils
import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from psyctl_core.records import FinishReason
from psyctl_openrouter import client
from psyctl_openrouter.client import Reply, scrub

Kind = Literal["answer", "empty", "retry", "limited", "refused", "alone", "fatal"]

RATE_LIMITED = "rate limited"
IN_FLIGHT_BUDGET = "too much money in flight"
OVERLOADED = "provider overloaded"
PROVIDER_FAILED = "provider failed"
MALFORMED = "malformed answer"
EMPTY = "empty answer"
ONLY_REASONING = "empty answer: all tokens went into reasoning"
MODERATION = "moderation"
TOO_LONG = "input too long"
FORBIDDEN = "forbidden"
REFUSED = "request refused"

RESUME = "then run the same command again: it goes on from what is saved."

_TYPES: Mapping[str, int] = {
    "context_length_exceeded": 413,
    "string_too_long": 413,
    "payload_too_large": 413,
    "authentication": 401,
    "payment_required": 402,
    "rate_limit_exceeded": 429,
    "provider_overloaded": 503,
    "provider_unavailable": 502,
    "server": 500,
    "timeout": 408,
    "not_found": 404,
    "permission_denied": 403,
    "content_policy_violation": 451,
    "refusal": 451,
}
"""Typed causes and the status each is treated as; 451 stands for refused content."""

_TOO_LONG = re.compile(r"context.{0,10}(?:length|window)|maximum context|too long|too many (?:input )?tokens", re.I)
_FILTERED = re.compile(r"content.?(?:filter|policy|management)|moderat|flagged|safety", re.I)
_THOUGHTS = re.compile(r"^\s*(?:<think>)?.*?</think>\s*", re.S)


@dataclass(frozen=True, slots=True)
class Service:
    """Who is asked, for messages.

    Attributes:
        name: Such as ``OpenRouter``.
        flag: What its flags begin with, such as ``--openrouter``.
        base_url: Where it is.
        model: What is asked for.
        key: The secret to keep out of every text.
        priced: Whether answers tell what they cost.
    """

    name: str
    flag: str
    base_url: str
    model: str
    key: str
    priced: bool

    def __repr__(self) -> str:
        return f"Service({self.name!r}, {self.base_url!r})"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one exchange came to.

    Attributes:
        kind: ``answer``; ``empty`` (try a few times); ``retry`` (server or network); ``limited`` (wait, and
            send fewer at a time); ``refused`` (wrong request or wrong content: others tell); ``alone`` (this
            request fails, others do not); ``fatal`` (nothing will be answered).
        text: The answer.
        finish_reason: As in :class:`~psyctl_core.records.Completion`.
        prompt_tokens: Tokens read, or ``None`` where unknown.
        completion_tokens: Tokens generated, or ``None`` where unknown.
        cost: US dollars charged, or ``None`` where unknown.
        reason: Why there is no answer, in stable words without numbers.
        wait: Seconds the server asks to wait, or ``None``.
        message: For ``refused`` and ``fatal``, one line for the user.
        hint: And what to do.
    """

    kind: Kind
    text: str = ""
    finish_reason: FinishReason = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    reason: str = ""
    wait: float | None = None
    message: str = ""
    hint: str = ""


def sort_reply(reply: Reply, service: Service) -> Outcome:
    """Tell what a chat completion's reply means."""
    if reply.trouble:
        return _sort_trouble(reply, service)
    data = parsed(reply.body)
    cost = _cost(reply, data, service)
    error = error_of(data)
    if reply.status != 200 or (error and not _first_choice(data)):
        return _sort_error(reply, error or Problem(), cost, service)
    choice = _first_choice(data)
    if data is None or choice is None:
        return Outcome("retry", cost=cost, reason=MALFORMED)
    if choice.get("error") or choice.get("finish_reason") == "error":
        return _sort_error(reply, error_of(choice) or error or Problem(), cost, service)
    return _sort_answer(data, choice, cost)


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as a server words it.

    Attributes:
        code: The HTTP status it stands for, or ``None``.
        message: For people; not yet scrubbed.
        type: The typed cause, or ``""``.
        metadata: Everything else.
    """

    code: int | None = None
    message: str = ""
    type: str = ""
    metadata: Mapping[str, Any] | None = None

    def get(self, name: str) -> Any:
        """A metadata entry, or ``None``."""
        return (self.metadata or {}).get(name)


def error_of(data: Any) -> Problem | None:
    """The error in an answer's JSON, in OpenRouter's form or in another server's."""
    if not isinstance(data, dict):
        return None
    error = data.get("error")
    if isinstance(error, dict):
        given = error.get("metadata")
        metadata: dict[str, Any] = given if isinstance(given, dict) else {}
        code = error.get("code")
        message = str(error.get("message") or "")
        if isinstance(raw := metadata.get("raw"), str) and raw:
            message = f"{message}: {raw}"
        kind = metadata.get("error_type") or (code if isinstance(code, str) and not code.isdigit() else "")
        return Problem(_status(code), message, str(kind or ""), metadata)
    if error:
        return Problem(message=str(error))
    if "choices" not in data and (detail := data.get("detail") or data.get("message")):
        return Problem(_status(data.get("code")), str(detail))
    return None


def wait_of(headers: Mapping[str, str], problem: Problem, now: float) -> float | None:
    """Seconds that the server asks to wait, or ``None``.

    Taken from Retry-After (seconds or a date, RFC 9110), the same inside the error's metadata, or else the
    X-RateLimit-Reset header of OpenRouter's own limits (milliseconds since 1970).

    Args:
        headers: The answer's.
        problem: The answer's.
        now: Seconds since 1970.
    """
    inner = problem.get("headers")
    inner = {str(k).lower(): v for k, v in inner.items()} if isinstance(inner, dict) else {}
    for text in (headers.get("Retry-After"), problem.get("retry_after_seconds"), inner.get("retry-after")):
        if (number := _number(text)) is not None:
            return max(0.0, number)
        if isinstance(text, str) and text.strip():
            try:
                return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
            except (ValueError, TypeError, OverflowError):
                continue
    reset = _number(headers.get("X-RateLimit-Reset", inner.get("x-ratelimit-reset")))
    if reset is None:
        return None
    return max(0.0, reset / 1000 - now if reset > 1e11 else reset - now if reset > 1e9 else reset)


def _sort_trouble(reply: Reply, service: Service) -> Outcome:
    cost = 0.0 if service.priced and not reply.sent else None
    if reply.trouble == client.CERTIFICATE:
        return Outcome(
            "fatal",
            cost=cost,
            reason=reply.trouble,
            message=f"The certificate of {service.base_url} is not accepted: {scrub(reply.detail, service.key)}.",
            hint=f"Name your network's CA file in REQUESTS_CA_BUNDLE, or check {service.flag}-base-url.",
        )
    return Outcome("retry", cost=cost, reason=reply.trouble)


def _sort_answer(data: Mapping[str, Any], choice: Mapping[str, Any], cost: float | None) -> Outcome:
    usage = data.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    read, made = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    content = _text(message.get("content"))
    text = _without_thoughts(content)
    finish = choice.get("finish_reason")
    if finish == "content_filter":
        return Outcome("alone", prompt_tokens=read, completion_tokens=made, cost=cost, reason=MODERATION)
    if not text.strip():
        details = usage.get("completion_tokens_details")
        thought = message.get("reasoning") or message.get("reasoning_content") or content.strip()
        thought = thought or (isinstance(details, dict) and details.get("reasoning_tokens"))
        reason = ONLY_REASONING if thought else EMPTY
        return Outcome("empty", prompt_tokens=read, completion_tokens=made, cost=cost, reason=reason)
    return Outcome("answer", text, "length" if finish == "length" else "stop", read, made, cost)


def _sort_error(reply: Reply, problem: Problem, cost: float | None, service: Service) -> Outcome:
    code = _TYPES.get(problem.type) or problem.code or (reply.status if reply.status != 200 else 502)
    source = problem.get("limit_source")
    said = scrub(problem.message, service.key) or f"HTTP {reply.status}"
    wait = wait_of(reply.headers, problem, time.time())
    if code == 402 and source == "openrouter_in_flight_budget":
        return Outcome("limited", cost=cost, reason=IN_FLIGHT_BUDGET, wait=wait)
    if code == 429:
        return Outcome("limited", cost=cost, reason=RATE_LIMITED, wait=wait)
    if code == 503 and (wait is not None or problem.type == "provider_overloaded"):
        # Counted as a failure all the same: it may last, and then the run has to stop.
        return Outcome("retry", cost=cost, reason=OVERLOADED, wait=wait)
    if code == 408:
        return Outcome("retry", cost=cost, reason=client.TIMED_OUT, wait=wait)
    if code >= 500:
        return Outcome("retry", cost=cost, reason=PROVIDER_FAILED, wait=wait)
    if code == 413 or (code in (400, 422) and _TOO_LONG.search(said)):
        return Outcome("alone", cost=cost, reason=TOO_LONG)
    return _refusal(code, problem, said, cost, service)


def _refusal(code: int, problem: Problem, said: str, cost: float | None, service: Service) -> Outcome:
    """Sort what no retry mends."""

    def fatal(message: str, hint: str) -> Outcome:
        return Outcome("fatal", cost=cost, reason=REFUSED, message=message, hint=hint)

    name, flag = service.name, service.flag
    if code == 401:
        return fatal(f"{name} refused the API key: {said}.", f"Give a valid one with {flag}-api-key, {RESUME}")
    if code == 402:
        where = " at https://openrouter.ai/settings/credits" if service.priced else ""
        return fatal(f"{name} says that the credit is used up: {said}.", f"Add credit{where}, {RESUME}")
    if code == 403 and problem.get("limit_source"):
        return fatal(
            f"{name} says that a spending limit is reached: {said}.", f"Raise it or wait for its reset, {RESUME}"
        )
    flagged = problem.get("reasons") or problem.get("flagged_input")
    if code == 451 or flagged or (code in (400, 403, 422) and _FILTERED.search(said)):
        return Outcome("alone", cost=cost, reason=MODERATION)
    if code == 404:
        return fatal(
            f"{name} has nothing for model '{service.model}' at {service.base_url}: {said}.",
            f"Check {flag}-model and {flag}-base-url{_routing(service)}.",
        )
    if 300 <= code < 400 or code == 405:
        return fatal(
            f"{service.base_url} is not the API's address: {said}.", f"Check {flag}-base-url: https, and mostly /v1."
        )
    return Outcome(
        "refused",
        cost=cost,
        reason=FORBIDDEN if code == 403 else REFUSED,
        message=f"{name} refused the request for model '{service.model}': {said}.",
        hint=_mend(said, service),
    )


def _routing(service: Service) -> str:
    return ", and whether a provider is left under your routing and privacy settings" if service.priced else ""


def _mend(said: str, service: Service) -> str:
    lower = said.lower()
    if "reasoning" in lower and service.priced:
        return f"This model may need {service.flag}-reasoning low; {RESUME}"
    if "prefill" in lower or "assistant" in lower or "continue_final_message" in lower or "unexpected field" in lower:
        return f"This model or server may need {service.flag}-prefill off; {RESUME}"
    return f"Choose another {service.flag}-model, or settings that it takes, {RESUME}"


def _cost(reply: Reply, data: Any, service: Service) -> float | None:
    """What was charged: as told; nothing where the API says so; unknown where neither."""
    if not service.priced:
        return None
    usage = data.get("usage") if isinstance(data, dict) else None
    told = usage.get("cost") if isinstance(usage, dict) else None
    if isinstance(told, int | float) and not isinstance(told, bool) and math.isfinite(told) and told >= 0:
        return float(told)
    choice = _first_choice(data)
    failed = error_of(data) is not None or bool(
        choice and (choice.get("error") or choice.get("finish_reason") == "error")
    )
    return 0.0 if failed else None


def parsed(body: bytes) -> Any:
    """The JSON in a body, or ``None``."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # no JSON, cut off, not UTF-8, or nested without end
        return None


def _first_choice(data: Any) -> Mapping[str, Any] | None:
    choices = data.get("choices") if isinstance(data, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else None


def _without_thoughts(content: str) -> str:
    """The content without a leading block of thoughts; chat templates may have opened it in the prompt.

    A block that never ends is nothing but thoughts.
    """
    if "</think>" in content:
        return _THOUGHTS.sub("", content, count=1)
    return "" if content.lstrip().startswith("<think>") else content


def _text(content: Any) -> str:
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _status(code: Any) -> int | None:
    number = _number(code)
    return int(number) if number is not None and 100 <= number < 600 else None
