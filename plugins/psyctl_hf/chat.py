"""Writes a request the way the model was trained to read it, with data kept from being control tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jinja2

from psyctl_core.local_models import without_special
from psyctl_core.records import ChatRequest


def render(tokenizer: Any, request: ChatRequest) -> str:
    """The prompt's text, ending with the beginning of the answer.

    Uses the tokenizer's chat template; where it refuses a system turn, the system text leads the user
    turn; where there is no template, the texts follow each other as plain paragraphs.
    """
    special = special_texts(tokenizer)
    messages = [(m.role, without_special(m.content, special)) for m in request.messages]
    prefill = without_special(request.prefill, special)
    if not tokenizer.chat_template:
        return "\n\n".join([*(text for _, text in messages), prefill])
    try:
        return _templated(tokenizer, messages) + prefill
    except jinja2.TemplateError:
        merged = [("user", "\n\n".join(text for _, text in messages))]
        return _templated(tokenizer, merged) + prefill


def special_texts(tokenizer: Any) -> list[str]:
    """The texts that the tokenizer would read as control tokens, longest first."""
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return sorted((added | set(tokenizer.all_special_tokens)) - {""}, key=len, reverse=True)


def _templated(tokenizer: Any, messages: Sequence[tuple[str, str]]) -> str:
    text: str = tokenizer.apply_chat_template(
        [{"role": role, "content": content} for role, content in messages],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,  # templates that do not know it ignore it
    )
    return text
