"""Writes a chat request as the JSON body that the API takes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from psyctl_core.records import ChatRequest
from psyctl_openrouter.adapting import Dialect

MAX_STOPS = 4
"""Stop strings that servers accept at most (OpenAI API reference, chat completions, ``stop``)."""

MOST_LOGPROBS = 20
"""Probabilities of a token that servers tell at most (OpenAI API reference, chat completions, ``top_logprobs``)."""

_CONTROL = re.compile(
    r"(?P<first>[<\[])(?=[|｜]"  # <|im_end|>, <｜User｜>, [|endofturn|]
    r"|/?(?:s|bos|eos|pad|unk|mask|think|thinking|tool_call|channel\||turn\||sop|eop)>"
    r"|(?:start|end|begin)_of_\w{1,24}>|<?/?SYS>|/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|gMASK|THINK)\])",
    re.IGNORECASE,
)


def chat_body(
    request: ChatRequest,
    *,
    model: str,
    prefill: bool,
    extra: Mapping[str, Any],
    when_begun: Mapping[str, Any],
    when_chosen: Mapping[str, Any] | None = None,
    dialect: Dialect | None = None,
) -> dict[str, Any]:
    """The body for one request; the same request always gives the same.

    Args:
        request: What is asked.
        model: The model's name at the server.
        prefill: Whether to begin the answer for the model.
        extra: Further fields; a number under ``max_tokens`` is added to the request's.
        when_begun: Further fields for a request whose answer is begun.
        when_chosen: Further fields for a request whose answer is one of some choices.
        dialect: What the server does not take.
    """
    dialect = dialect or Dialect()
    messages = [{"role": message.role, "content": inert(message.content)} for message in request.messages]
    if not dialect.system:
        messages = _without_system(messages)
    begun = inert(request.prefill.rstrip()) if prefill and dialect.prefill else ""
    if begun:
        # Blanks at its end are refused by some providers, and the model's first token brings its own.
        messages.append({"role": "assistant", "content": begun})
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        dialect.limit: token_limit(request, extra),
        "temperature": request.temperature,
        "seed": request.seed,
        "stream": False,
    }
    body.update({name: value for name, value in extra.items() if name != "max_tokens"})
    if begun:
        body.update(when_begun)
    if request.choices:
        body |= {"logprobs": True, "top_logprobs": MOST_LOGPROBS, **((when_chosen or {}) if dialect.picky else {})}
    if request.json_schema:
        schema = {"name": "answer", "strict": True, "schema": json.loads(request.json_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if stops := usable_stops(request.stop):
        body["stop"] = stops
    return {name: value for name, value in body.items() if name not in dialect.omitted}


def encoded(body: Mapping[str, Any]) -> bytes:
    """A body as bytes; the same body always gives the same ones."""
    # A lone surrogate, which broken source data can hold, is no valid UTF-8.
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def token_limit(request: ChatRequest, extra: Mapping[str, Any]) -> int:
    """The most tokens of an answer, thoughts included."""
    return request.max_tokens + int(extra.get("max_tokens", 0))


def inert(text: str) -> str:
    """The text with a blank in whatever a server's tokenizer could read as a control token.

    Which tokens a model has is not known over HTTP, so what the common chat templates use is broken up:
    ``<|im_end|>`` becomes ``< |im_end|>``, which reads the same and ends no turn.
    """
    return _CONTROL.sub(r"\g<first> ", text) if "<" in text or "[" in text else text


def usable_stops(stops: tuple[str, ...]) -> list[str]:
    """The stop strings that are safe to send: those that hold more than blanks and quotation marks.

    A line end or a quotation mark ends an answer that was begun as ``NAME: "``. But whether the model takes
    the beginning up is not known over HTTP; one that does not may itself start with a quotation mark or an
    empty line, and a reasoning model writes line ends in its thoughts. Such an answer would be paid for and
    empty. ``max_tokens`` keeps answers short instead, and psyctl cuts the text at the line's end itself.
    """
    return [stop for stop in stops if stop.strip().strip("\"'“”„«»")][:MAX_STOPS]


def _without_system(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """The messages with the system text at the beginning of the first user message."""
    system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    rest = [message for message in messages if message["role"] != "system"]
    if not rest or not system:
        return [{"role": "user", "content": system}] if system else rest
    return [{"role": "user", "content": f"{system}\n\n{rest[0]['content']}"}, *rest[1:]]
