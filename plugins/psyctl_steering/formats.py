"""Writes a steering vector as the files of other tools.

What counts is which number means which block. A block's output is the input of the next: what Transformers calls
``hidden_states[i + 1]`` is put out by block ``i``, counted from 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import gguf
import torch

from psyctl_core.errors import OutputError, UsageError
from psyctl_core.figures import counted
from psyctl_core.files import written_whole
from psyctl_steering.choices import FORMATS
from psyctl_steering.layers import default_layer_of, number_of
from psyctl_steering.vector import SteeringVector

STRENGTH = 0.2
"""The strength that a written hint is for, as a share of the median norm of the states."""


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Attributes:
        files: The files.
        next: What to run next.
        notes: What the user should know, one line each.
    """

    files: tuple[Path, ...]
    next: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Blocks:
    """A vector's directions by the number of the block that puts the states out."""

    directions: Mapping[int, torch.Tensor]
    vector: SteeringVector
    trait: str
    notes: list[str] = field(default_factory=list)

    @property
    def best(self) -> int:
        """The block to steer at where nobody says."""
        return number_of(default_layer_of(self.names, self.vector.facts.blocks))

    @property
    def names(self) -> list[str]:
        """The blocks' names in the model."""
        return [name for name in self.vector.directions if _number(name) in self.directions]

    def scale(self, number: int) -> float:
        """How often a block's direction is to be added for :data:`STRENGTH`."""
        name = next(name for name in self.names if _number(name) == number)
        return STRENGTH * self.vector.layers[name].norm / float(self.directions[number].norm())


def export(vector: SteeringVector, to: str, output: Path) -> Written:
    """Write a vector as another tool reads it.

    Args:
        vector: The vector.
        to: One of :data:`~psyctl_steering.choices.FORMATS`.
        output: A file, or for tools with a file a layer a new or empty folder.

    Raises:
        UsageError: There is no such tool, or its form cannot hold the vector, or the place is taken.
        OutputError: It cannot be written; then nothing is.
    """
    if to not in FORMATS:
        raise UsageError(f"There is no format '{to}'.", f"There are: {', '.join(FORMATS)}.")
    blocks = _blocks(vector)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        return WRITERS[to](blocks, output)
    except OSError as error:
        raise OutputError(
            f"The vector cannot be written to {output}: {error.strerror or error}.", "Choose another --output."
        ) from error


def _blocks(vector: SteeringVector) -> _Blocks:
    found = {name: _number(name) for name in vector.directions}
    outside = [name for name, number in found.items() if number is None]
    directions = {number: vector.directions[name] for name, number in found.items() if number is not None}
    if not directions:
        raise UsageError(
            f"Other tools steer at whole blocks, and the vector has none: {', '.join(outside[:3])}.",
            "Extract one at blocks: psyctl extract.steering without --layer.",
        )
    if empty := [number for number, direction in directions.items() if not direction.norm()]:
        raise UsageError(f"The vector's direction is 0 at block {empty[0]}.", "Extract it again, at other layers.")
    notes = [f"Left out, for other tools steer at whole blocks: {', '.join(outside)}."] if outside else []
    return _Blocks(directions, vector, re.sub(r"[^\w-]+", "_", vector.facts.trait.casefold()) or "trait", notes)


def _number(layer: str) -> int | None:
    """The number of the block that a layer is; ``None`` for what lies within one, or elsewhere."""
    is_block = re.fullmatch(r"[^\[\]]+\[\d+\]", layer)
    return number_of(layer) if is_block else None


def _gguf(blocks: _Blocks, output: Path) -> Written:
    """A control vector for llama.cpp, EasySteer and repeng.

    ``direction.i`` is added to what block ``i`` puts out, and there is none for block 0: llama.cpp refuses a file that
    has one (``common_control_vector_load_one`` in its ``common.cpp``, and ``llama_adapter_cvec``).
    """
    _is_file(output, ".gguf")
    directions = {number: each for number, each in blocks.directions.items() if number > 0}
    if not directions:
        raise UsageError("A control vector has no place for block 0.", "Extract the vector at later blocks.")
    if len(directions) < len(blocks.directions):
        blocks.notes.append("Left out: block 0, for which a control vector has no place.")
    blocks = replace(blocks, directions=directions)
    with written_whole(output) as draft:
        writer = gguf.GGUFWriter(draft, "controlvector")
        writer.add_string("controlvector.model_hint", blocks.vector.facts.architecture)
        writer.add_uint32("controlvector.layer_count", len(directions))
        for number, direction in directions.items():
            writer.add_tensor(f"direction.{number}", direction.numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    best = blocks.best
    steps = (
        f"llama-cli -m MODEL.gguf --control-vector-scaled {output}:{blocks.scale(best):.2f} "
        f"--control-vector-layer-range {best} {best}  (strength {STRENGTH} at block {best}); in Python with repeng: "
        f"ControlVector.import_gguf('{output}')"
    )
    return Written((output,), steps, tuple(blocks.notes))


def _persona_vectors(blocks: _Blocks, output: Path) -> Written:
    """One tensor ``[blocks + 1, width]`` for persona_vectors, row by row as ``hidden_states``.

    Rows that the vector has nothing for are 0.
    """
    _is_file(output, ".pt")
    width = len(next(iter(blocks.directions.values())))
    rows = torch.zeros(max(blocks.vector.facts.blocks, max(blocks.directions) + 1) + 1, width)
    for number, direction in blocks.directions.items():
        rows[number + 1] = direction
    with written_whole(output) as draft:
        torch.save(rows, draft)
    if missing := len(rows) - 1 - len(blocks.directions):
        blocks.notes.append(f"The vector has nothing for {counted(missing, 'block')}, whose rows are 0.")
    best = blocks.best
    steps = (
        f"python -m eval.eval_persona --vector_path {output} --layer {best + 1} --coef {blocks.scale(best):.2f} "
        f"--steering_type response  (strength {STRENGTH} at block {best}, which is its layer {best + 1})"
    )
    return Written((output,), steps, tuple(blocks.notes))


def _caa(blocks: _Blocks, output: Path) -> Written:
    """A file for each block in the folders of nrimsky/CAA.

    It steers by what is in ``normalized_vectors``, which its own script makes of several behaviours' vectors; the same
    files are put there.
    """
    model = blocks.vector.facts.model.split("/")[-1]
    files = {
        f"{folder}/{blocks.trait}/vec_layer_{number}_{model}.pt": each
        for folder in ("vectors", "normalized_vectors")
        for number, each in blocks.directions.items()
    }
    written = _write_each(files, output)
    best = blocks.best
    steps = (
        f"copy both folders in {output} into a checkout of CAA, add '{blocks.trait}' to ALL_BEHAVIORS in behaviors.py, "
        f"then: python prompting_with_steering.py --behaviors {blocks.trait} --type open_ended --layers {best} "
        f"--multipliers {blocks.scale(best):.2f}  (strength {STRENGTH}); its tests: psyctl dataset.export --to caa"
    )
    return Written(written, steps, tuple(blocks.notes))


def _easyedit(blocks: _Blocks, output: Path) -> Written:
    """A file for each block, as EasyEdit's CAA loads them."""
    written = _write_each({f"layer_{number}.pt": each for number, each in blocks.directions.items()}, output)
    best = blocks.best
    steps = (
        f"in EasyEdit's hparams/Steer for caa: steer_vector_load_dir: {output}, layers: [{best}], multipliers: "
        f"[{blocks.scale(best):.2f}]  (strength {STRENGTH})"
    )
    return Written(written, steps, tuple(blocks.notes))


def _write_each(tensors: Mapping[str, torch.Tensor], folder: Path) -> tuple[Path, ...]:
    """Write a file for each tensor into a new folder, or none.

    Raises:
        UsageError: There is something in it.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"'{folder}' is not an empty folder.", "Give --output a new folder: there is a file a layer.")
    if folder.is_dir():
        folder.rmdir()
    with written_whole(folder) as draft:
        for name, tensor in tensors.items():
            file = draft / name
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.save(tensor.clone(), file)
    return tuple(folder / name for name in tensors)


def _is_file(output: Path, suffix: str) -> None:
    if output.is_dir() or output.suffix.lower() != suffix:
        raise UsageError(f"'{output}' is no name for this file.", f"Let it end in {suffix}.")


WRITERS: dict[str, Callable[[_Blocks, Path], Written]] = {
    "gguf": _gguf,
    "persona-vectors": _persona_vectors,
    "caa": _caa,
    "easyedit": _easyedit,
}
"""What writes each of :data:`~psyctl_steering.choices.FORMATS`."""
