"""Puts a model's chat template around a prompt, with one beginning-of-sequence token however the reader tokenises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from psyctl_core import chat
from psyctl_core.errors import UsageError
from psyctl_core.local_models import EMBEDDED, embedded_file, one_line, without_special
from psyctl_core.records import CaaRecord, ChatRequest, Message, prompt_of


class Templated:
    """Prompts and answers in a model's chat template.

    Args:
        model: A folder, a GGUF file, a name on the Hub, or ``embedded``.
        reader_adds: Whether the tool that reads the texts lets the tokenizer add what it puts before a text.

    Raises:
        UsageError: The tokenizer or its template cannot be had.
    """

    def __init__(self, model: str, *, reader_adds: bool) -> None:
        tokenizer = _tokenizer(model)
        if not tokenizer.chat_template:
            raise UsageError(f"The model '{model}' has no chat template.", "Name an instruction-tuned model.")
        self._control = chat.special_texts(tokenizer)
        self._writer = chat.writer(tokenizer, model)
        self._begin = tokenizer.bos_token or ""
        self._adds = bool(self._begin) and tokenizer("x")["input_ids"][:1] == [tokenizer.bos_token_id]
        self._reader_adds = reader_adds

    def prompt(self, record: CaaRecord) -> str:
        """The record's prompt up to where the answer begins, with one beginning of the sequence for the reader."""
        text = self._writer.write(ChatRequest("", (Message("user", prompt_of(record)),)))
        bare = text
        while self._begin and bare.startswith(self._begin):
            bare = bare[len(self._begin) :]
        if self._adds and self._reader_adds:
            return bare
        return self._begin + bare if self._adds or bare != text else bare

    def answer(self, text: str) -> str:
        """An answer that cannot end the turn."""
        return without_special(text, self._control)


def _tokenizer(model: str) -> Any:
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise UsageError(
            f"A chat template needs packages that are not installed ({error}).",
            "Install them with: pip install 'psyctl[hf]'",
        ) from error
    file = embedded_file() if model == EMBEDDED else Path(model).expanduser()
    try:
        if file.suffix.lower() == ".gguf" and file.is_file():
            return AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name, trust_remote_code=False)
        where = str(file) if file.exists() else model
        return AutoTokenizer.from_pretrained(where, trust_remote_code=False)
    except Exception as error:  # whatever a library makes of a file or an answer of the Hub
        raise UsageError(
            f"The tokenizer of '{model}' cannot be had: {one_line(error)}.",
            "Give --template-model a model's folder or its name on the Hub.",
        ) from error
