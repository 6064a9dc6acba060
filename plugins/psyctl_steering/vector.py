"""A steering vector: a direction for each layer, with what it was made from; kept as safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from psyctl_core.errors import UsageError
from psyctl_core.files import writing, written_whole

FORMAT = "psyctl steering vector 1"


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """What is known of one layer's direction.

    Attributes:
        norm: Median Euclidean norm of the states that were read there; strengths are shares of it.
        coherence: Mean cosine of each pair's difference with the mean of the others; ``None`` below 3 pairs.
        split_half: Cosine of the directions of two halves of the pairs; ``None`` below 4 pairs.
        separation: Share of held-out pairs whose positive side lies further along the direction; ``None`` without any.
    """

    norm: float
    coherence: float | None = None
    split_half: float | None = None
    separation: float | None = None


@dataclass(frozen=True, slots=True)
class VectorFacts:
    """Where a vector comes from.

    Attributes:
        model: The model's name.
        fingerprint: Its commit, or a digest of its files.
        method: ``mean``, ``pca``, ``logistic`` or ``bipo``.
        position: Which states were read: ``answer-mean``, ``answer-last`` or ``choice``.
        trait: What the positive side shows.
        dataset: Digest (SHA-256) of the pairs, in order.
        pairs: How many it was made from.
        held_out: How many were to be kept back, and only measured with: ``split_pairs`` with this number finds them.
        normalized: Whether every direction was scaled to length 1.
        seed: What decided whatever was drawn.
        architecture: The model's kind, as its config has it: ``llama`` and the like.
        blocks: How many blocks the model has.
    """

    model: str
    fingerprint: str
    method: str
    position: str
    trait: str
    dataset: str
    pairs: int
    held_out: int = 0
    normalized: bool = False
    seed: int = 0
    architecture: str = ""
    blocks: int = 0


@dataclass(frozen=True, slots=True)
class SteeringVector:
    """A direction for each layer.

    Attributes:
        directions: By the layer's name, such as ``model.layers[18]``: float32 of shape ``[hidden]``, on the CPU. They
            point from neutral to positive.
        layers: What is known of each.
        facts: Where they come from.
        more: What else the file's metadata say.
    """

    directions: Mapping[str, torch.Tensor]
    layers: Mapping[str, LayerFacts]
    facts: VectorFacts
    more: Mapping[str, str] = field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        """Write it in one step: tensors under their layers' names, everything else as metadata.

        Raises:
            OutputError: The file cannot be written.
        """
        told = {
            "format": FORMAT,
            "facts": json.dumps(asdict(self.facts), ensure_ascii=False),
            "layers": json.dumps({name: asdict(facts) for name, facts in self.layers.items()}, ensure_ascii=False),
            **self.more,
        }
        tensors = {name: direction.contiguous() for name, direction in self.directions.items()}
        file = Path(path).expanduser()
        with writing(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(file) as new:
                save_file(tensors, new, metadata=told)

    @classmethod
    def load(cls, path: str | Path) -> SteeringVector:
        """Read what :meth:`save` wrote.

        Raises:
            UsageError: There is no such file, or it is no steering vector of psyctl's.
        """
        file = Path(path).expanduser()
        if not file.is_file():
            raise UsageError(f"There is no vector at '{path}'.", "Make one with: psyctl extract.steering")
        try:
            with safe_open(file, "pt") as opened:
                told: dict[str, str] = opened.metadata() or {}
                directions = {name: opened.get_tensor(name).float() for name in opened.keys()}  # noqa: SIM118
            if told.pop("format", "") != FORMAT:
                raise ValueError("it does not say what it is")
            facts = _known(VectorFacts, json.loads(told.pop("facts")))
            layers = {name: _known(LayerFacts, found) for name, found in json.loads(told.pop("layers")).items()}
            return cls({name: directions[name] for name in layers}, layers, facts, told)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"'{path}' is no steering vector of psyctl's: {str(error) or type(error).__name__}.",
                "Make one with: psyctl extract.steering",
            ) from error


def _known(kind: type[Any], found: Mapping[str, Any]) -> Any:
    """A dataclass from what a file says, whatever a later release says besides."""
    names = {each.name for each in fields(kind)}
    return kind(**{name: value for name, value in found.items() if name in names})
