"""Finds the model files that OpenVINO can read, and what tells them from others, without loading them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from psyctl_core.errors import BackendError, UsageError
from psyctl_core.figures import counted, number
from psyctl_core.files import digest
from psyctl_core.local_models import EMBEDDED, embedded_file

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
        files: What it consists of.
    """

    name: str
    path: Path
    fingerprint: str
    size: int
    files: tuple[Path, ...] = ()

    def longest(self) -> int:
        """How many tokens, prompt and answer together, the model can place; 0 where nothing says."""
        if self.path.is_file():
            return _context_length(self.path)
        config = self.path / "config.json"
        if not config.is_file():
            return 0
        said = json.loads(config.read_text(encoding="utf-8"))
        found = said.get("max_position_embeddings") or said.get("n_positions") or 0
        return found if isinstance(found, int) else 0


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
        _check_exported(path)
        return Located(path.name, path, digest(files), _size(files), tuple(files))
    if not path.is_file():
        raise UsageError(f"The backend 'openvino' finds no file or folder '{model}'.", HOW)
    if path.suffix.lower() != ".gguf":
        raise UsageError(f"'{model}' is no GGUF file.", HOW)
    return Located(EMBEDDED if model == EMBEDDED else path.name, path, digest([path]), _size([path]), (path,))


def _size(files: list[Path]) -> int:
    return sum(file.stat().st_size for file in files if file.suffix.lower() in (".gguf", ".bin"))


def _check_exported(folder: Path) -> None:
    """Refuse an export whose weights are shorter than its graph says: the rest would be whatever lies in memory.

    Raises:
        BackendError: The weights are not there, or cut off.
    """
    graph, weights = folder / EXPORTED, (folder / EXPORTED).with_suffix(".bin")
    if not graph.is_file():
        return
    consts = re.finditer(rb'offset="(\d+)"[^<>]*?\bsize="(\d+)"', graph.read_bytes())
    needed = max((int(found[1]) + int(found[2]) for found in consts), default=0)
    there = weights.stat().st_size if weights.is_file() else 0
    if there < needed:
        raise BackendError(
            f"'{weights}' {'is cut off' if there else 'is not there'}: "
            f"{number(there)} of {counted(needed, 'byte')} are there.",
            "Export the model again, or download the whole folder.",
        )


def missing_weights(file: Path) -> set[str]:
    """The weights that a GGUF file lacks and its other layers have, for telling why it cannot be loaded."""
    from gguf import GGUFReader

    try:
        reader = GGUFReader(file)
        architecture = reader.fields["general.architecture"].contents()
        count = int(reader.fields[f"{architecture}.block_count"].contents())
    except (OSError, ValueError, KeyError, IndexError, AttributeError):
        return set()
    there = {tensor.name for tensor in reader.tensors}
    parts = {match[1] for name in there if (match := re.fullmatch(r"blk\.\d+\.(.+)", name))} or {"attn_q.weight"}
    wanted = {f"blk.{block}.{part}" for block in range(count) for part in parts}
    return (wanted | {"token_embd.weight", "output_norm.weight"}) - there


def _context_length(file: Path) -> int:
    """A GGUF file's ``ARCHITECTURE.context_length``, found without reading the vocabulary behind it; 0 without one.

    A key is followed by its type (4 for 32 bits, 10 for 64) and its value:
    https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
    """
    with file.open("rb") as opened:
        head = opened.read(1 << 16)
    found = re.search(rb"\.context_length(?:\x04\0{3}(.{4})|\x0a\0{3}(.{8}))", head, re.DOTALL)
    return int.from_bytes(found[1] or found[2], "little") if found else 0
