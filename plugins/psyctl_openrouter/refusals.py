"""Sorts a server's errors: what waiting mends, what one request is to blame for, and what ends the run."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace

from psyctl_openrouter import network
from psyctl_openrouter.client import Reply, is_azure, scrub
from psyctl_openrouter.outcome import (
    FORBIDDEN,
    IN_FLIGHT_BUDGET,
    LOADING,
    MODERATION,
    OVERLOADED,
    PROVIDER_FAILED,
    RATE_LIMITED,
    REFUSED,
    RESUME,
    TOO_LONG,
    Outcome,
    Service,
)
from psyctl_openrouter.words import Problem, is_retryable, page_title, wait_of

_TYPES: Mapping[str, int] = {
    "context_length_exceeded": 413,
    "exceed_context_size_error": 413,
    "string_too_long": 413,
    "payload_too_large": 413,
    "authentication": 401,
    "payment_required": 402,
    "insufficient_quota": 402,
    "billing_hard_limit_reached": 402,
    "billing_not_active": 402,
    "rate_limit_exceeded": 429,
    "provider_overloaded": 503,
    "provider_unavailable": 502,
    "server": 500,
    "timeout": 408,
    "not_found": 404,
    "permission_denied": 403,
    "content_policy_violation": 451,
    "content_filter": 451,
    "data_inspection_failed": 451,
    "ResponsibleAIPolicyViolation": 451,
    "refusal": 451,
}
"""Typed causes and the status each is treated as; 451 stands for refused content."""

_LOOSE_TYPES: Mapping[str, int] = {"invalid_request_error": 400, "BadRequestError": 400, "invalid_request": 400}
"""The same where no status tells more."""

_TOO_LONG = re.compile(
    r"context.{0,10}(?:length|window|size)|maximum (?:context|model length)|max_model_len|n_ctx"
    r"|(?:prompt|input|request|message|body)s?(?: (?!took)\w+){0,3} too (?:long|large)"
    r"|too many (?:input |prompt )?tokens"
    r"|(?:input|prompt).{0,30}exceed|reduce (?:the|your) (?:length|prompt|message|input)",
    re.I,
)
_TOO_LONG_LOOSELY = re.compile(r"too long", re.I)
_FILTERED = re.compile(
    r"content.?(?:filter|policy|management|inspection|moderation)|data.?inspection|inappropriate content|moderation"
    r"|sensitive (?:content|words?|information)|flagged (?:as|by|for)|usage polic|responsible.?ai|敏感|不安全|违规",
    re.I,
)
_FILTERED_LOOSELY = re.compile(r"moderat|flagged|safety|high risk|unsafe|harmful|prohibited", re.I)
_QUOTA = re.compile(
    r"insufficient.{0,3}(?:quota|balance|funds?|credit)|exceeded your current quota|credit balance is too low"
    r"|out of credits?|no credits? (?:left|remaining)|billing (?:hard )?limit|account is not active|余额不足|欠费",
    re.I,
)
_LOADING = re.compile(
    r"loading (?:the )?model|model.{0,60}(?:is|still|currently|being) (?:loading|loaded|starting|warming|downloading)"
    r"|(?:is|still) (?:loading|warming up|starting up|initiali[sz]ing)|warming up|not (?:yet )?(?:ready|loaded) yet",
    re.I,
)
_PATH = re.compile(
    r"unexpected endpoint|unknown (?:request )?(?:endpoint|url|path|route)"
    r"|(?:endpoint|route|path|url|page)\b.{0,80}not found"
    r"|invalid (?:url|path|endpoint)|no (?:such )?(?:route|handler|endpoint) (?:for|matches|at|found for) ?/"
    r"|cannot (?:get|post) /|^not ?found\.?$|resource not found|no context-path matches",
    re.I,
)


def sort_error(reply: Reply, problem: Problem, cost: float | None, service: Service) -> Outcome:
    """Tell what an error means.

    Args:
        reply: The whole reply.
        problem: The error in it; an empty one where it has none.
        cost: What it cost.
        service: Who answered.
    """
    said = words_of(reply, problem, service)
    wait = wait_of(reply.headers, problem, time.time())
    code = _code(reply, problem)
    # Google says of limits by the minute too that the quota is used up, and how long to wait.
    if _QUOTA.search(said) and (code in (400, 402, 403) or (code == 429 and wait is None)):
        code = 402
    if (retryable := is_retryable(problem)) is not None:
        return _by_availability(code, problem, said, wait, cost, service, retryable=retryable)
    if code not in (401, 402, 404, 429):
        loosely = code in (400, 403, 413, 422)
        if code == 413 or _TOO_LONG.search(said) or (loosely and _TOO_LONG_LOOSELY.search(said)):
            return Outcome("request_error", cost=cost, reason=TOO_LONG, detail=said)
        flagged = code == 451 or problem.get("reasons") or problem.get("flagged_input")
        if not problem.get("limit_source") and (
            flagged or _FILTERED.search(said) or (loosely and _FILTERED_LOOSELY.search(said))
        ):
            return Outcome("request_error", cost=cost, reason=MODERATION, detail=said)
    if _PATH.search(said) and (reply.status == 200 or code in (400, 404, 405, 501)):
        return wrong_address(said, cost, service)
    outcome = _passing(code, problem, said, wait, cost) or _refusal(code, problem, said, cost, service)
    unknown = problem.message and not (problem.code or problem.type)
    if reply.status == 200 and outcome.reason == PROVIDER_FAILED and unknown:
        message = f"{service.name} answers with an error: {said}."  # of which nothing is known, also not that it passes
        return replace(outcome, message=message, hint=address_hint(service))
    return outcome


def words_of(reply: Reply, problem: Problem, service: Service) -> str:
    """The server's own words, scrubbed; a web page by its title; the status where there are none."""
    if problem.message:
        return scrub(problem.message, service.key).rstrip(".")
    title = page_title(reply.body, str(reply.headers.get("Content-Type", "")))
    if title is not None:
        return scrub(f"HTTP {reply.status}, a web page" + (f" '{title}'" if title else ""), service.key)
    text = scrub(reply.body[:2000].decode("utf-8", "replace"), service.key).rstrip(".")
    return f"HTTP {reply.status}: {text}" if text and text[0] not in "{[" else f"HTTP {reply.status}"


def wrong_address(said: str, cost: float | None, service: Service) -> Outcome:
    """The end of a run whose base URL is not the API's."""
    return Outcome(
        "fatal",
        cost=cost,
        reason=REFUSED,
        detail=said,
        message=f"{service.base_url} is not the API's address: {said}.",
        hint=address_hint(service),
    )


def address_hint(service: Service) -> str:
    """What to do where the base URL seems wrong."""
    base = service.base_url.partition("?")[0]
    if is_azure(service.base_url):
        where = "; Azure's is https://NAME.openai.azure.com/openai/v1, or …/openai/deployments/NAME?api-version=DATE"
    elif re.search(r"/v\d+\w*$", base):
        where = ""
    elif service.priced:
        where = ": OpenRouter's is https://openrouter.ai/api/v1"
    else:
        where = f": try {base}/v1"
    return f"Check {service.flag}-base-url{where}.{proxy_hint(service)}"


def proxy_hint(service: Service) -> str:
    """A sentence about the proxy between, or nothing."""
    if not service.proxy:
        return ""
    host = re.sub(r"^\w+://(?:[^/@]*@)?(\[[^\]]*\]|[^/:?]*).*", r"\1", service.base_url).strip("[]")
    return f" HTTP_PROXY sends this through the proxy {service.proxy}: set NO_PROXY={host} to go around it."


def _code(reply: Reply, problem: Problem) -> int:
    """The status that an error stands for."""
    typed = next((_TYPES[word] for word in problem.type.split() if word in _TYPES), None)
    if typed:
        return typed
    if problem.code:
        return problem.code
    if reply.status != 200:
        return reply.status
    return next((_LOOSE_TYPES[word] for word in problem.type.split() if word in _LOOSE_TYPES), 502)


def _by_availability(
    code: int, problem: Problem, said: str, wait: float | None, cost: float | None, service: Service, *, retryable: bool
) -> Outcome:
    """What ``error.availability`` tells is surer than the words: whether waiting mends it, and for how long."""
    if retryable:
        passing = _passing(code, problem, said, wait, cost)
        return passing or Outcome("retry", cost=cost, reason=OVERLOADED, detail=said, wait=wait)
    return Outcome(
        "fatal",
        cost=cost,
        reason=REFUSED,
        detail=said,
        message=f"{service.name} has '{service.model}' from nobody, and says that waiting does not help: {said}.",
        hint=f"Check {service.flag}-model{_routing(service)}, {RESUME}",
    )


def _passing(code: int, problem: Problem, said: str, wait: float | None, cost: float | None) -> Outcome | None:
    """What waiting may mend, or ``None``."""
    if code == 402 and problem.get("limit_source") == "openrouter_in_flight_budget":
        return Outcome("limited", cost=cost, reason=IN_FLIGHT_BUDGET, detail=said, wait=wait)
    if code in (404, 409, 425, 429, 500, 502, 503) and _LOADING.search(said):
        return Outcome("limited", cost=cost, reason=LOADING, detail=said, wait=wait)
    if code == 429:
        return Outcome("limited", cost=cost, reason=RATE_LIMITED, detail=said, wait=wait)
    if code == 503 and (wait is not None or "provider_overloaded" in problem.type):
        # Counted as a failure all the same: it may last, and then the run has to stop.
        return Outcome("retry", cost=cost, reason=OVERLOADED, detail=said, wait=wait)
    if code == 408:
        return Outcome("retry", cost=cost, reason=network.TIMED_OUT, detail=said, wait=wait)
    if code in (409, 425) or (code >= 500 and code not in (501, 505)):
        return Outcome("retry", cost=cost, reason=PROVIDER_FAILED, detail=said, wait=wait)
    return None


def _refusal(code: int, problem: Problem, said: str, cost: float | None, service: Service) -> Outcome:
    """Sort what no retry mends."""

    def fatal(message: str, hint: str, *, later: bool = False) -> Outcome:
        return Outcome("fatal", cost=cost, reason=REFUSED, detail=said, message=message, hint=hint, later=later)

    name, flag = service.name, service.flag
    if code == 401:
        variable = f"{flag.lstrip('-').upper()}_API_KEY"
        give = f"Set {variable}, or {flag}-api-key, to {'a valid one' if service.key else 'one'}"
        return fatal(f"{name} refused the API key: {said}.", f"{give}, {RESUME}")
    if code == 407:
        return fatal(f"The proxy {service.proxy} wants a password: {said}.", proxy_hint(service).strip())
    if code == 402:
        where = " at https://openrouter.ai/settings/credits" if service.priced else ""
        return fatal(f"{name} says that the credit is used up: {said}.", f"Add credit{where}, {RESUME}", later=True)
    if code == 403 and problem.get("limit_source"):
        return fatal(
            f"{name} says that a spending limit is reached: {said}.",
            f"Raise it or wait for its reset, {RESUME}",
            later=True,
        )
    if code == 404:
        return fatal(
            f"{name} has nothing for model '{service.model}' at {service.base_url}: {said}.",
            f"Check {flag}-model{_routing(service)}. {address_hint(service)}",
        )
    if 300 <= code < 400 or code == 405:
        return wrong_address(said, cost, service)
    return Outcome(
        "refused",
        cost=cost,
        reason=FORBIDDEN if code == 403 else REFUSED,
        detail=said,
        message=f"{name} refused the request for model '{service.model}': {said}.",
        hint=_mend(said, service) + (proxy_hint(service) if code == 403 else ""),
    )


def _routing(service: Service) -> str:
    settings = f"routing, tier and privacy settings, such as {service.flag}-only"
    return f", and whether a provider is left under your {settings}" if service.priced else ""


def _mend(said: str, service: Service) -> str:
    """The setting that may mend a refusal."""
    lower = said.lower()
    flag = service.flag
    if "temperature" in lower:
        return f"Give another --temperature, such as 0.01, or choose another {flag}-model, {RESUME}"
    if "max_tokens" in lower or "max_completion_tokens" in lower:
        return f"Give another --max-tokens, or choose another {flag}-model, {RESUME}"
    if "reasoning" in lower or "thinking" in lower:
        return f"This model may need {flag}-reasoning low; {RESUME}"
    if "service_tier" in lower or "service tier" in lower:
        return f"Leave {flag}-service-tier out, {RESUME}"
    if "prefill" in lower or "assistant" in lower or "continue_final_message" in lower:
        return f"This model or server may need {flag}-prefill off; {RESUME}"
    if "api-version" in lower or "api version" in lower:
        return f"Write ?api-version=DATE at the end of {flag}-base-url, {RESUME}"
    return f"Choose another {flag}-model, or settings that it takes, {RESUME}"
