"""Chat templates and control tokens of a Transformers tokenizer, and requests as its token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psyctl_core.local_models import PromptWriter, looks_like_control, on_the_day
from psyctl_core.markup import is_control
from psyctl_core.records import ChatRequest


def render(tokenizer: Any, request: ChatRequest) -> str:
    """The prompt's text, ending with the beginning of the answer; see :class:`PromptWriter`."""
    return writer(tokenizer, "the model").write(request)


def writer(tokenizer: Any, name: str) -> PromptWriter:
    """Writes prompts with the tokenizer's chat template, if it has one; a calendar in it is stopped."""
    stopped = ""

    def template(messages: list[dict[str, Any]], begin: bool) -> str:
        nonlocal stopped
        stopped = stopped or on_the_day(tokenizer.get_chat_template())  # of several, the default
        text: str = tokenizer.apply_chat_template(
            messages,
            chat_template=stopped,  # not set on the tokenizer, which may be its user's own
            tokenize=False,
            add_generation_prompt=begin,
            enable_thinking=False,  # templates that do not know these ignore them
            thinking=False,
        )
        return text

    ends = [tokenizer.eos_token] if tokenizer.eos_token else []
    return PromptWriter(name, template if tokenizer.chat_template else None, special_texts(tokenizer), ends)


def special_texts(tokenizer: Any) -> list[str]:
    """The texts that the tokenizer would read as control tokens, longest first."""
    template = str(tokenizer.chat_template or "")
    added = {
        token.content
        for token in tokenizer.added_tokens_decoder.values()
        if token.special or looks_like_control(token.content, template)
    }
    return sorted((added | set(tokenizer.all_special_tokens)) - {""}, key=len, reverse=True)


def end_tokens(tokenizer: Any) -> dict[int, str]:
    """The tokens at which an answer ends whatever the model's settings say, and their texts: all that steer a model."""
    added = {number: token.content for number, token in tokenizer.added_tokens_decoder.items()}
    flagged = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    flagged |= set(tokenizer.all_special_ids)
    texts = {**added, **dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=False))}
    return {i: text for i, text in texts.items() if (i in flagged and not text.isspace()) or is_control(text)}


def encode(tokenizer: Any, prompts: PromptWriter, requests: Sequence[ChatRequest]) -> list[list[int]]:
    """The requests' prompts, with the beginnings of their answers, as token ids."""
    texts = [prompts.write(request) for request in requests]
    plain = not tokenizer.chat_template  # a template writes the special tokens itself
    rows: list[list[int]] = tokenizer(texts, add_special_tokens=plain)["input_ids"]
    control = end_tokens(tokenizer) if plain else {}
    for ids in rows:
        while ids and ids[-1] in control:  # some tokenizers end every text
            ids.pop()
    return rows
