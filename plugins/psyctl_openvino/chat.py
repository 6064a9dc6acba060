"""Writes a request the way the model was trained to read it, with data kept from being control tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psyctl_core.local_models import without_special
from psyctl_core.records import ChatRequest


class Prompts:
    """Turns requests into token ids with an OpenVINO GenAI tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._special = special_texts(tokenizer)

    def encode(self, request: ChatRequest) -> Any:
        """The prompt's ids as an OpenVINO tensor, shape ``[1, tokens]``."""
        plain = not self._tokenizer.chat_template  # a template writes the special tokens itself
        return self._tokenizer.encode(self.render(request), add_special_tokens=plain).input_ids

    def render(self, request: ChatRequest) -> str:
        """The prompt's text, ending with the beginning of the answer.

        Where the chat template refuses a system turn, the system text leads the user turn; where there is
        no template, the texts follow each other as plain paragraphs.
        """
        messages = [(m.role, without_special(m.content, self._special)) for m in request.messages]
        prefill = without_special(request.prefill, self._special)
        if not self._tokenizer.chat_template:
            return "\n\n".join([*(text for _, text in messages), prefill])
        try:
            return self._templated(messages) + prefill
        except RuntimeError:
            return self._templated([("user", "\n\n".join(text for _, text in messages))]) + prefill

    def _templated(self, messages: Sequence[tuple[str, str]]) -> str:
        history = [{"role": role, "content": content} for role, content in messages]
        text: str = self._tokenizer.apply_chat_template(
            history, add_generation_prompt=True, extra_context={"enable_thinking": False}
        )
        return text


def special_texts(tokenizer: Any) -> list[str]:
    """The texts that the tokenizer reads as control tokens, longest first.

    They are the tokens whose text is gone once special tokens are skipped: the tokenizer does not list them.
    """
    ids = [[number] for number in tokenizer.get_vocab().values()]
    kept = tokenizer.decode(ids, skip_special_tokens=True)
    whole = tokenizer.decode(ids, skip_special_tokens=False)
    special = {text for text, rest in zip(whole, kept, strict=True) if text and not rest}
    return sorted(special, key=lambda text: (-len(text), text))
