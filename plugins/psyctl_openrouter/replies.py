"""Sorts what came back from the server: reads the answer in it, whatever form that has, or tells what is wrong."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from psyctl_core import markup
from psyctl_core.records import FinishReason
from psyctl_openrouter import network, storable
from psyctl_openrouter.client import Reply, scrub
from psyctl_openrouter.naming import is_same_model
from psyctl_openrouter.outcome import (
    ANOTHER_MODEL,
    EMPTY,
    MALFORMED,
    MODEL_REFUSED,
    MODERATION,
    NO_MESSAGE,
    ONLY_REASONING,
    RESUME,
    WEB_PAGE,
    Outcome,
    Service,
)
from psyctl_openrouter.refusals import address_hint, sort_error
from psyctl_openrouter.words import Problem, error_of, page_title

_CUT = re.compile(r"length|max_?(?:\w+_)?tokens?|token_?limit|truncat|incomplete|context_?(?:window|limit)", re.I)
_FILTER = re.compile(r"content_?filter|safety|blocklist|prohibited|recitation|spii|moderat|guardrail|sensitive", re.I)
_THINKING_PARTS = ("thinking", "reasoning", "thought", "redacted_thinking")
_REASONING_FIELDS = ("reasoning", "reasoning_content", "reasoning_details", "thinking", "thoughts")


def sort_reply(reply: Reply, service: Service, limit: int | None = None) -> Outcome:
    """Tell what a chat completion's reply means.

    Args:
        reply: What came.
        service: Who was asked.
        limit: Tokens that the answer was allowed, or ``None`` for any number.
    """
    if reply.trouble:
        return _sort_trouble(reply, service)
    data = parsed(reply.body)
    if data is None:
        data = _streamed(reply.body)
    choice = _first_choice(data)
    error = error_of(data)
    cost = _cost(data, choice, error, service)
    if not 200 <= reply.status < 300 or (error and choice is None):
        return sort_error(reply, error or Problem(), cost, service)
    if choice is None:
        return _no_answer(reply, data, cost, service)
    if choice.get("error") or choice.get("finish_reason") == "error":
        return sort_error(reply, error_of(choice) or error or Problem(), cost, service)
    return _sort_answer(data, choice, limit, cost, service)


def parsed(body: bytes) -> Any:
    """The JSON in a body, or ``None``."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # no JSON, cut off, not UTF-8, a giant number, or nested without end
        return None


def _sort_trouble(reply: Reply, service: Service) -> Outcome:
    cost = 0.0 if service.priced and not reply.sent else None
    detail = scrub(reply.detail, service.key)
    if reply.trouble == network.CERTIFICATE:
        return Outcome(
            "fatal",
            cost=cost,
            reason=reply.trouble,
            message=f"The certificate of {service.base_url} is not accepted: {detail}.",
            hint=f"Name your network's CA file in REQUESTS_CA_BUNDLE, or check {service.flag}-base-url.",
        )
    if reply.trouble == network.TOO_MUCH:
        said = "it goes on for longer than any answer"
        return _useless(reply.trouble, f"{service.name}'s answer has no end: {said}", cost, service)
    if service.proxy and reply.trouble == network.CANNOT_CONNECT:
        detail = f"{detail}, through the proxy {service.proxy}".lstrip(", ")
        detail += "; NO_PROXY names addresses to reach without it"
    return Outcome("retry", cost=cost, reason=reply.trouble, detail=detail)


def _useless(reason: str, message: str, cost: float | None, service: Service) -> Outcome:
    """Something that is tried again, because gateways have hiccups, and that waiting does not mend if it stays."""
    return Outcome("retry", cost=cost, reason=reason, message=f"{message}.", hint=address_hint(service))


def _no_answer(reply: Reply, data: Any, cost: float | None, service: Service) -> Outcome:
    """HTTP 200 with something that is not an answer."""
    title = page_title(reply.body, str(reply.headers.get("Content-Type", "")))
    if title is not None:
        named = f" '{scrub(title, service.key)}'" if title else ""
        return _useless(WEB_PAGE, f"{service.base_url} answers with a web page{named}, not the API", cost, service)
    if isinstance(data, dict):
        what = "with the fields " + ", ".join(list(data)[:8]) if data else "an empty object"
        message = f"{service.name} answers without a message: {scrub(what, service.key)}"
        return _useless(MALFORMED, message, cost, service)
    said = scrub(reply.body[:200].decode("utf-8", "replace"), service.key)
    return _useless(MALFORMED, f"{service.name}'s answer is not the API's: '{said}'", cost, service)


def _sort_answer(
    data: Mapping[str, Any], choice: Mapping[str, Any], limit: int | None, cost: float | None, service: Service
) -> Outcome:
    usage = data.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    read = storable.tokens(usage.get("prompt_tokens", data.get("prompt_eval_count")))
    made = storable.tokens(usage.get("completion_tokens", data.get("eval_count")))

    def failed(kind: Any, reason: str, message: str = "", hint: str = "") -> Outcome:
        return Outcome(
            kind, prompt_tokens=read, completion_tokens=made, cost=cost, reason=reason, message=message, hint=hint
        )

    message = _message(choice)
    if message is None:
        keys = ", ".join(list(choice)[:8])
        useless = _useless(NO_MESSAGE, f"{service.name} answers without a message, with {keys}", cost, service)
        return failed("retry", NO_MESSAGE, useless.message, useless.hint)
    whole = _text(message.get("content"))
    content = storable.text(whole)
    spoken = markup.cut_at_control(markup.without_thoughts(content))
    text = content if spoken == content else spoken.lstrip()
    ending = _ending(choice, data)
    if _FILTER.search(ending):
        return failed("request_error", MODERATION)
    if another := _another_model(data, service):
        hint = f"Choose another {service.flag}-model, or pin who answers with {service.flag}-only, {RESUME}"
        said = f"{service.name} answered with the model '{another}' where '{service.model}' was asked for."
        return failed("refused", ANOTHER_MODEL, said, hint)
    if text.strip():
        finish = _finish(ending, choice, data, made, limit) if len(content) == len(whole) else "length"
        tier = data.get("service_tier")
        tier = scrub(tier, service.key) if isinstance(tier, str) else ""
        return Outcome("answer", text, finish, read, made, cost, tier=tier, likely=_likely(choice))
    if isinstance(refusal := message.get("refusal"), str) and refusal.strip():
        said = scrub(refusal, service.key)
        hint = f"Choose another {service.flag}-model, or another trait, {RESUME}"
        return failed("refused", MODEL_REFUSED, f"The model '{service.model}' refuses to answer: {said}", hint)
    details = usage.get("completion_tokens_details")
    thought = content.strip() or any(message.get(name) for name in _REASONING_FIELDS)
    thought = thought or _thinking_part(message.get("content"))
    if thought or (isinstance(details, dict) and details.get("reasoning_tokens")):
        return failed("empty", ONLY_REASONING, *_only_thinks(service))
    return failed(
        "empty",
        EMPTY,
        f"The model '{service.model}' gives nothing but empty answers.",
        f"Choose another {service.flag}-model, or try {service.flag}-prefill off, {RESUME}",
    )


def _another_model(data: Mapping[str, Any], service: Service) -> str:
    """The model that answered OpenRouter's request instead of the one asked for, or ``""``."""
    told = data.get("model")
    # Servers of one's own name their model as they like: a path, an alias, what was asked.
    if not service.priced or service.is_router or not isinstance(told, str) or not told.strip():
        return ""
    return "" if is_same_model(service.model, told, service.canonical) else scrub(told, service.key)


def _likely(choice: Mapping[str, Any]) -> dict[str, float]:
    """The probabilities told for the first token that says something, added up over its spellings."""
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    for place in content if isinstance(content, list) else []:
        top = place.get("top_logprobs") if isinstance(place, dict) else None
        if not isinstance(top, list) or not str(place.get("token", "")).strip():
            continue
        likely: dict[str, float] = {}
        for one in top:
            token, value = (one.get("token"), one.get("logprob")) if isinstance(one, dict) else (None, None)
            if isinstance(token, str) and isinstance(value, (int, float)) and value <= 0:
                likely[token.strip()] = likely.get(token.strip(), 0.0) + math.exp(value)
        return likely
    return {}


def _only_thinks(service: Service) -> tuple[str, str]:
    flag = f"{service.flag}-reasoning"
    hint = {
        "none": f"It thinks although it is told not to: give {flag} low, which allows tokens for that",
        "default": f"Give {flag} none, or {flag} low where it cannot do without, which allows tokens for that",
    }.get(service.reasoning, f"Give {flag} high, which allows more tokens for that, or another {service.flag}-model")
    return f"The model '{service.model}' thinks until its tokens are used up and says nothing.", f"{hint}, {RESUME}"


def _ending(choice: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """What the fields that tell why an answer ended say, by whichever name."""
    finish = choice.get("finish_reason")
    told = [finish, choice.get("native_finish_reason"), data.get("done_reason")]
    if finish is None:  # beside it vLLM names the stop string there
        told += [choice.get("stop_reason"), data.get("stop_reason")]
    return " ".join(word for word in told if isinstance(word, str))


def _finish(
    ending: str, choice: Mapping[str, Any], data: Mapping[str, Any], made: int | None, limit: int | None
) -> FinishReason:
    """``length`` for an answer that was cut off, by whichever name; some servers say ``stop`` of those too."""
    if _CUT.search(ending) or choice.get("truncated") is True or data.get("truncated") is True:
        return "length"
    return "length" if limit is not None and made is not None and made >= limit else "stop"


def _cost(data: Any, choice: Mapping[str, Any] | None, error: Problem | None, service: Service) -> float | None:
    """What was charged: as told; nothing where the API says so; unknown where neither."""
    if not service.priced:
        return None
    usage = data.get("usage") if isinstance(data, dict) else None
    told = storable.dollars(usage.get("cost")) if isinstance(usage, dict) else None
    if told is not None:
        return told
    broke_off = bool(choice and (choice.get("error") or choice.get("finish_reason") == "error"))
    return 0.0 if error is not None or broke_off else None


def _first_choice(data: Any) -> Mapping[str, Any] | None:
    if not isinstance(data, dict):
        return None
    choices = data.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if first is None and isinstance(data.get("message"), dict) and "content" in data["message"]:
        return data  # Ollama's own form
    return first if isinstance(first, dict) else None


def _message(choice: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The message of a choice, also where it is given as a stream's or as text."""
    for name in ("message", "delta"):
        if isinstance(found := choice.get(name), dict):
            return found
    text = choice.get("text")
    return {"content": text} if isinstance(text, str) else None


def _text(content: Any) -> str:
    """The text of a message's content: a string, or the parts of a list that are not thoughts."""
    if isinstance(content, list):
        return "".join(_text(part) for part in content if not _is_thought(part))
    if isinstance(content, dict):
        text = content.get("text")
        return _text(text.get("value") if isinstance(text, dict) else text)
    return content if isinstance(content, str) else ""


def _is_thought(part: Any) -> bool:
    return isinstance(part, dict) and (part.get("type") in _THINKING_PARTS or part.get("thought") is True)


def _thinking_part(content: Any) -> bool:
    return isinstance(content, list) and any(map(_is_thought, content))


def _streamed(body: bytes) -> dict[str, Any] | None:
    """An answer that came in pieces although none were asked for, put together; ``None`` where it is not one.

    Read are server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) and one JSON
    object a line.
    """
    pieces = list(_pieces(body))
    if not pieces:
        return None
    texts: dict[str, list[str]] = {"content": [], "reasoning_content": [], "refusal": []}
    answer: dict[str, Any] = {}
    last: dict[str, Any] = {}
    found = False
    for piece in pieces:
        answer.update({key: piece[key] for key in ("usage", "error", "done_reason") if piece.get(key)})
        choice = _first_choice(piece)
        message = _message(choice) if choice else None
        if not choice or message is None:
            continue
        found = True
        last.update({key: choice[key] for key in ("finish_reason", "error") if choice.get(key)})
        texts["content"].append(_text(message.get("content")))
        texts["reasoning_content"].append(str(message.get("reasoning_content") or message.get("reasoning") or ""))
        texts["refusal"].append(str(message.get("refusal") or ""))
    if not found:
        return answer if answer.get("error") else None
    if not last and not answer.get("done_reason") and b"[DONE]" not in body[-100:]:
        last["finish_reason"] = "incomplete"
    message = {name: "".join(parts) for name, parts in texts.items()}
    return {**answer, "choices": [{**last, "message": message}]}


def _pieces(body: bytes) -> Iterator[dict[str, Any]]:
    lines = body.decode("utf-8", "replace").splitlines()
    events = any(line.startswith("data:") for line in lines[:20])
    for line in lines:
        if events and not line.startswith("data:"):
            continue
        piece = parsed(line.removeprefix("data:").strip().encode("utf-8", "replace"))
        if isinstance(piece, dict):
            yield piece
        elif not events and line.strip():
            return  # not one object a line
