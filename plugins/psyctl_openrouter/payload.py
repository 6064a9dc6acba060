"""Writes a chat request as the JSON body that the API takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from psyctl_core.records import ChatRequest

MOST_STOPS = 4
"""Stop strings that servers accept at most (OpenAI API reference, chat completions, ``stop``)."""


def chat_body(
    request: ChatRequest, *, model: str, prefill: bool, extra: Mapping[str, Any], when_begun: Mapping[str, Any]
) -> bytes:
    """The body for one request; the same request always gives the same bytes.

    Args:
        request: What is asked.
        model: The model's name at the server.
        prefill: Whether to begin the answer for the model.
        extra: Further fields; a number under ``max_tokens`` is added to the request's.
        when_begun: Further fields for a request whose answer is begun.
    """
    messages = [{"role": message.role, "content": message.content} for message in request.messages]
    begun = request.prefill.rstrip() if prefill else ""
    if begun:
        # Blanks at its end are refused by some providers, and the model's first token brings its own.
        messages.append({"role": "assistant", "content": begun})
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "max_tokens": request.max_tokens + extra.get("max_tokens", 0),
        "temperature": request.temperature,
        "seed": request.seed,
        "stream": False,
    }
    body.update({name: value for name, value in extra.items() if name != "max_tokens"})
    if begun:
        body.update(when_begun)
    if stops := usable_stops(request.stop):
        body["stop"] = stops
    # A lone surrogate, which broken source data can hold, is no valid UTF-8.
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def usable_stops(stops: tuple[str, ...]) -> list[str]:
    """The stop strings that are safe to send: those that hold more than blanks and quotation marks.

    A line end or a quotation mark ends an answer that was begun as ``NAME: "``. But whether the model takes
    the beginning up is not known over HTTP; one that does not may itself start with a quotation mark or an
    empty line, and a reasoning model writes line ends in its thoughts. Such an answer would be paid for and
    empty. ``max_tokens`` keeps answers short instead, and psyctl cuts the text at the line's end itself.
    """
    return [stop for stop in stops if stop.strip().strip("\"'“”„«»")][:MOST_STOPS]
