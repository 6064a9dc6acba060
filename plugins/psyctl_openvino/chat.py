"""Chat templates, control tokens and prompts with an OpenVINO GenAI tokenizer."""

from __future__ import annotations

from typing import Any

from psyctl_core.local_models import PromptWriter, looks_like_control, on_the_day
from psyctl_core.markup import is_control
from psyctl_core.records import ChatRequest


class Prompts:
    """Turns requests into token ids.

    Args:
        tokenizer: OpenVINO GenAI's; a calendar in its template is stopped.
        name: The model's, for messages.

    Attributes:
        ends: The tokens at which an answer ends whatever the model's settings say, and their texts.
    """

    def __init__(self, tokenizer: Any, name: str = "the model") -> None:
        self._tokenizer = tokenizer
        template = str(tokenizer.chat_template or "")
        if on_the_day(template) != template:
            tokenizer.set_chat_template(on_the_day(template))
        special, marks = _control(tokenizer, template)
        self.ends = {**special, **{number: text for number, text in marks.items() if is_control(text)}}
        texts = sorted({*special.values(), *marks.values()}, key=lambda text: (-len(text), text))
        end = special.get(tokenizer.get_eos_token_id(), "")
        self._writer = PromptWriter(name, self._templated if template else None, texts, [end] if end else [])

    def encode(self, request: ChatRequest) -> Any:
        """The prompt's ids as an OpenVINO tensor, shape ``[1, tokens]``."""
        plain = not self._tokenizer.chat_template  # a template writes the special tokens itself
        return self._tokenizer.encode(self.render(request), add_special_tokens=plain).input_ids

    def render(self, request: ChatRequest) -> str:
        """The prompt's text, ending with the beginning of the answer; see :class:`PromptWriter`."""
        return self._writer.write(request)

    def _templated(self, messages: list[dict[str, Any]], begin: bool) -> str:
        text: str = self._tokenizer.apply_chat_template(
            messages,
            add_generation_prompt=begin,
            extra_context={"enable_thinking": False, "thinking": False},
        )
        return text


def _control(tokenizer: Any, template: str) -> tuple[dict[int, str], dict[int, str]]:
    """The special tokens and those that only look like it, by number.

    Special are the tokens whose text is gone once special tokens are skipped: the tokenizer does not list them.
    """
    numbers = sorted(tokenizer.get_vocab().values())
    ids = [[number] for number in numbers]
    kept = tokenizer.decode(ids, skip_special_tokens=True)
    whole = tokenizer.decode(ids, skip_special_tokens=False)
    texts = dict(zip(numbers, whole, strict=True))
    special = {i: text for (i, text), rest in zip(texts.items(), kept, strict=True) if text and not rest}
    return special, {i: text for i, text in texts.items() if i not in special and looks_like_control(text, template)}
