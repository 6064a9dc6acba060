"""What is measured: a vector from a file or from a dataset's pairs, with the pairs that it was not made from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from psyctl_core import StoredDataset, UsageError, open_dataset, split_pairs
from psyctl_core.figures import counted
from psyctl_core.local_models import LentModel
from psyctl_core.records import CaaRecord
from psyctl_core.terminal import NOTICE
from psyctl_steering.extraction import digest_of
from psyctl_steering.layers import matching
from psyctl_steering.measuring import middle_layers
from psyctl_steering.states import read
from psyctl_steering.steering import origin_note
from psyctl_steering.vector import LayerFacts, SteeringVector, VectorFacts
from psyctl_steering.verdicts import SURE

log = logging.getLogger("psyctl")

HELD_OUT = 30
"""So many pairs are measured on at most where nobody says: each takes as long as eight statements."""

MOST_HELD_OUT = 0.25
"""And no larger share than this of a dataset that the vector is extracted from."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A vector to measure.

    Attributes:
        name: What it is called: a file's or dataset's.
        vector: The vector.
        held_out: Pairs that it was not made from.
        differences: For a layer the pairs' differences that it was made from; ``None`` where they are not at hand.
        dataset: The dataset, where there is one.
    """

    name: str
    vector: SteeringVector
    held_out: Sequence[CaaRecord]
    differences: Callable[[str], torch.Tensor] | None
    dataset: StoredDataset | None


@contextmanager
def subject(
    lent: LentModel,
    vector: Path | None,
    dataset: Path | None,
    *,
    trait: str = "",
    layers: Sequence[str] = (),
    held_out: int | None = None,
) -> Iterator[Subject]:
    """Load a vector, or extract one from a part of a dataset; the differences are valid as long as the context lasts.

    Args:
        lent: The model.
        vector: The vector's file; without it the mean difference over answer tokens is extracted.
        dataset: The dataset; with a vector, the one that it was extracted from, or another.
        trait: Which trait's dataset, where there are several.
        layers: Names and patterns of the layers that will be measured.
        held_out: How many pairs to measure on.

    Raises:
        UsageError: Neither is given, one is not there, or the pairs are too few.
        BackendError: The model puts out something that is no number.
    """
    if vector is None and dataset is None:
        raise UsageError("There is nothing to measure.", "Give --vector FILE, or --dataset FOLDER, or both.")
    stored = open_dataset(dataset, trait) if dataset is not None else None
    records = list(stored) if stored else []
    with ExitStack() as stack:
        if vector is None:
            assert stored is not None
            yield _extracted(stack, lent, stored, records, layers, held_out)
            return
        loaded = SteeringVector.load(vector)
        for note in origin_note(lent, loaded):
            log.log(NOTICE, "%s", note)
        differences, held = _beside(stack, lent, loaded, records, held_out)
        yield Subject(vector.name, loaded, held, differences, stored)


def _extracted(
    stack: ExitStack,
    lent: LentModel,
    stored: StoredDataset,
    records: list[CaaRecord],
    layers: Sequence[str],
    held_out: int | None,
) -> Subject:
    """The mean difference of a part of a dataset; each pair is read once, for the vector and for the controls."""
    wanted = min(HELD_OUT, int(len(records) * MOST_HELD_OUT)) if held_out is None else held_out
    pairs, held = split_pairs(records, wanted, stored.location)
    if len(pairs) < 2:
        raise UsageError(
            f"{stored.location} has {counted(len(records), 'pair')}, of which {len(pairs)} are left to extract from.",
            "Build more: psyctl dataset.build.caa with a higher --limit-samples.",
        )
    log.log(NOTICE, "Extracting from %s, measuring on %s.", counted(len(pairs), "pair"), counted(len(held), "other"))
    if 0 < len(held) < SURE:
        log.info("On fewer than %s an effect is known roughly only.", counted(SURE, "pair"))
    names = matching(lent.model, layers) if layers else middle_layers(lent.model)
    found = stack.enter_context(read(lent, pairs, names))
    facts = VectorFacts(
        model=lent.name, fingerprint=lent.fingerprint, method="mean", position="answer-mean", trait=stored.trait,
        dataset=digest_of(records), pairs=len(found), held_out=wanted,
    )  # fmt: skip
    directions = {name: found.mean(name) for name in names}
    vector = SteeringVector(directions, {name: LayerFacts(found.norms[name]) for name in names}, facts)
    return Subject(Path(stored.location).parent.name, vector, held, found.at, stored)


def _beside(
    stack: ExitStack, lent: LentModel, vector: SteeringVector, records: list[CaaRecord], held_out: int | None
) -> tuple[Callable[[str], torch.Tensor] | None, list[CaaRecord]]:
    """What a dataset has for a vector from a file: the differences it was made of, and pairs that it was not."""
    if not records:
        return None, []
    facts = vector.facts
    if digest_of(records) != facts.dataset:
        log.log(NOTICE, "The vector was extracted from other pairs than these: all of them are held out.")
        return None, _spread(records, HELD_OUT if held_out is None else held_out)
    pairs, held = split_pairs(records, facts.held_out)
    if not held:
        log.log(NOTICE, "The vector was extracted from all pairs of the dataset, so none is left to measure on: "
                        "extract it with --held-out 30.")  # fmt: skip

    def differences(layer: str) -> torch.Tensor:
        position = facts.position if facts.method != "bipo" else "answer-mean"
        return stack.enter_context(read(lent, pairs, [layer], position)).at(layer)

    return differences, _spread(held, HELD_OUT if held_out is None else held_out)


def _spread(records: Sequence[CaaRecord], most: int) -> list[CaaRecord]:
    """At most so many, evenly from all over."""
    if len(records) <= most:
        return list(records)
    return split_pairs(records, most)[1]
