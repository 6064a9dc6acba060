"""Extracts a steering vector from pairs."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack

import torch

from psyctl_core import split_pairs
from psyctl_core.errors import UsageError
from psyctl_core.figures import counted
from psyctl_core.local_models import LentModel
from psyctl_core.records import CaaRecord
from psyctl_steering import bipo
from psyctl_steering.choices import BIPO, NAMES
from psyctl_steering.directions import METHODS, Chunks, coherence, cosine, separation
from psyctl_steering.layers import blocks, default_layer, matching
from psyctl_steering.states import Differences, Progress, read
from psyctl_steering.vector import LayerFacts, SteeringVector, VectorFacts

log = logging.getLogger("psyctl")

FEW = 30
"""Below so many pairs it is said how sure the direction is."""


def extract(
    lent: LentModel,
    records: Iterable[CaaRecord],
    *,
    layers: Sequence[str] = (),
    position: str = "answer-mean",
    method: str = "mean",
    held_out: int = 0,
    normalize: bool = False,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> SteeringVector:
    """Extract a steering vector: for each layer a direction from the neutral to the positive side of pairs.

    Args:
        lent: The model, from :func:`psyctl_core.lent_model` or, of one that you loaded, :func:`~psyctl_steering.lend`.
        records: Pairs of one trait, such as :func:`psyctl_core.open_dataset` gives.
        layers: Names and patterns; by default every block, with ``bipo`` the one nearest to 0.6 of the depth.
        position: Which states are read; see :data:`~psyctl_steering.choices.POSITIONS`.
        method: ``mean``, ``pca``, ``logistic`` or ``bipo``.
        held_out: So many pairs, spread evenly, are not extracted from: what tells the sides apart is measured on them.
        normalize: Scale each direction to length 1.
        seed: Of the order in which ``bipo`` takes pairs; nothing else is drawn.
        batch_size: Sequences computed together; by default from their length.
        progress: Told now and then how far it is.

    Raises:
        UsageError: There are too few pairs, or of several traits; or no such layer, position or method.
        BackendError: The model puts out something that is no number, or not one pair fits.
        OutputError: The temporary file cannot be written.
    """
    every = list(records)
    trait = _check(every, method, position, held_out)
    pairs, kept = split_pairs(every, held_out)
    names = _names(lent, method, layers)
    with ExitStack() as stack:
        differences = stack.enter_context(
            read(lent, pairs, names, position, batch_size=batch_size, progress=_shared(progress, 0, len(every)))
        )
        _enough(len(differences))
        held = stack.enter_context(
            read(lent, kept, names, position, batch_size=batch_size,
                 progress=_shared(progress, len(pairs), len(every), differences.tokens))
        )  # fmt: skip
        if method == BIPO:
            directions = bipo.train(lent, differences, held, seed=seed, progress=progress)
        else:
            directions = {layer: METHODS[method](_chunks(differences, layer)) for layer in names}
        facts = {layer: _facts(differences, held, layer, directions[layer], method) for layer in names}
        told = VectorFacts(
            model=lent.name, fingerprint=lent.fingerprint, method=method, position=position, trait=trait,
            dataset=digest_of(every), pairs=len(differences), held_out=held_out, normalized=normalize, seed=seed,
            architecture=lent.model.config.model_type, blocks=len(blocks(lent.model)),
        )  # fmt: skip
    _tell(directions, facts, told, default_layer(names, lent.model))
    if normalize:
        directions = {layer: each / (each.norm() or 1) for layer, each in directions.items()}
    return SteeringVector(directions, facts, told)


def _names(lent: LentModel, method: str, layers: Sequence[str]) -> list[str]:
    names = matching(lent.model, layers)
    return [default_layer(names, lent.model)] if method == BIPO and not layers else names


def _check(records: Sequence[CaaRecord], method: str, position: str, held_out: int) -> str:
    """The pairs' trait, once it is known that what is asked for makes sense."""
    if method not in NAMES:
        raise UsageError(f"There is no method '{method}'.", f"There are: {', '.join(NAMES)}.")
    if method == "pca" and position == "choice":
        raise UsageError(
            "PCA on choices does not find the trait: what varies most at a choice's digit is what the digit does.",
            "Take --method mean with --position choice, or --position answer-mean with pca.",
        )
    if method == BIPO and position != "answer-mean":
        raise UsageError(
            f"bipo goes by how likely the answers are, and reads no states at '{position}'.", "Leave --position out."
        )
    if method == BIPO and not held_out:
        raise UsageError("bipo needs held-out pairs to know when to stop.", "Give --held-out 10, or more.")
    _enough(len(records) - held_out)
    traits = dict.fromkeys(record.trait for record in records)
    if len(traits) > 1:
        raise UsageError(
            f"These pairs are of {counted(len(traits), 'trait')}: {', '.join(list(traits)[:5])}.",
            "Extract from one at a time.",
        )
    return next(iter(traits))


def _enough(pairs: int) -> None:
    if pairs < 2:
        raise UsageError(
            f"A vector needs 2 pairs or more, and some 80 to be sure of it; there {'is' if pairs == 1 else 'are'} "
            f"{max(0, pairs)}.",
            "Build more: psyctl dataset.build.caa with a higher --limit-samples; or hold fewer out.",
        )


def _shared(progress: Progress | None, before: int, total: int, tokens: int = 0) -> Progress | None:
    """Progress of one part of the pairs as progress of them all."""
    if progress is None:
        return None
    tell = progress
    return lambda done, _, new: tell(before + done, total, tokens + new)


def _chunks(differences: Differences, layer: str, half: int | None = None) -> Chunks:
    """A layer's differences, or those of every other pair; parts begin at even numbers."""
    part = slice(None) if half is None else slice(half, None, 2)

    def chunks() -> Iterator[torch.Tensor]:
        for chunk in differences.chunks(layer):
            yield chunk[part]

    return chunks


def _facts(differences: Differences, held: Differences, layer: str, direction: torch.Tensor, method: str) -> LayerFacts:
    split_half = None
    if len(differences) >= 4 and method in METHODS:
        split_half = cosine(*(METHODS[method](_chunks(differences, layer, half)) for half in (0, 1)))
    return LayerFacts(
        norm=differences.norms[layer],
        coherence=coherence(_chunks(differences, layer)),
        split_half=split_half,
        separation=separation(_chunks(held, layer), direction),
    )


def sureness(split_half: float | None) -> float | None:
    """The cosine to be expected between a direction and the one that endless pairs like these would give.

    It is the square root of the reliability that the Spearman-Brown formula makes of two halves' agreement.
    """
    if split_half is None:
        return None
    return (2 * split_half / (1 + split_half)) ** 0.5 if split_half > 0 else 0.0


def _tell(directions: Mapping[str, torch.Tensor], facts: Mapping[str, LayerFacts], told: VectorFacts, at: str) -> None:
    """Say what is wrong with a vector that was made all the same."""
    if empty := [layer for layer, direction in directions.items() if not direction.norm()]:
        log.warning("The direction is 0 at %s: both sides have the same states there.", ", ".join(empty[:5]))
    if told.pairs < FEW:
        sure = sureness(facts[at].split_half)
        how = (
            "nobody can tell how sure it is"
            if sure is None
            else f"it has a cosine of about {sure:.2f}, at {at}, with the direction of endless such pairs"
        )
        log.warning("A direction of %s: %s. Take 80 or more.", counted(told.pairs, "pair"), how)


def digest_of(records: Iterable[CaaRecord]) -> str:
    """A SHA-256 of what a vector is made from: the pairs' scenes, names and answers, in order."""
    found = hashlib.sha256()
    for record in records:
        parts = [record.situation, record.character, record.question, record.positive_text, record.neutral_text]
        found.update(json.dumps(parts).encode())
    return found.hexdigest()
