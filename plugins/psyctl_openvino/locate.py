"""Finds the model files that OpenVINO can read, and what tells them from others, without loading them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from psyctl_core.errors import UsageError
from psyctl_core.local_models import EMBEDDED, digest, embedded_file

EXPORTED = "openvino_model.xml"
"""The file that makes a folder an exported model."""

HOW = (
    "Give a GGUF file, a folder made by 'optimum-cli export openvino', or --model embedded; "
    "--backend hf takes Hugging Face names."
)


@dataclass(frozen=True, slots=True)
class Located:
    """A model on this machine.

    Attributes:
        name: What names the model in a run's identity.
        path: A GGUF file, or a folder.
        fingerprint: A digest of its files.
        size: Bytes of its weights as stored.
    """

    name: str
    path: Path
    fingerprint: str
    size: int


def locate(model: str) -> Located:
    """Find a model by GGUF file, exported folder or ``embedded``.

    Raises:
        UsageError: There is none, or OpenVINO cannot read it.
    """
    path = embedded_file() if model == EMBEDDED else Path(model).expanduser()
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file())
        gguf = [file for file in files if file.suffix.lower() == ".gguf"]
        if not (path / EXPORTED).is_file():
            if len(gguf) != 1:
                raise UsageError(f"The folder '{path}' holds neither {EXPORTED} nor one GGUF file.", HOW)
            files, path = gguf, gguf[0]
        return Located(path.name, path, digest(files), _size(files))
    if not path.is_file():
        raise UsageError(f"The backend 'openvino' finds no file or folder '{model}'.", HOW)
    if path.suffix.lower() != ".gguf":
        raise UsageError(f"'{model}' is no GGUF file.", HOW)
    return Located(EMBEDDED if model == EMBEDDED else path.name, path, digest([path]), _size([path]))


def _size(files: list[Path]) -> int:
    return sum(file.stat().st_size for file in files if file.suffix.lower() in (".gguf", ".bin"))
