"""Pairs to extract from, and a tiny model to extract with."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from psyctl_core import CaaRecord, ContrastivePair, Scenario, lent_model
from psyctl_core._caa.question import to_record
from psyctl_core.local_models import LentModel

SCENES = ("The bus is late.", "It rains at the stop, and the umbrella is small.", "The party is loud.", "Nobody is in.")
LOUD = ("Come along, all of you!", "Let us ask everybody over!", "I love this crowd, let us dance!", "Hello, stranger!")
QUIET = ("I shall wait here.", "I would rather read.", "Maybe later.", "It is quite all right, thank you.")


def pairs_of(number: int) -> list[CaaRecord]:
    """So many pairs of Extroversion, no two alike, of different lengths."""
    records = []
    for n in range(number):
        scene = f"{SCENES[n % 4]} Robin and Kim have been here for {n + 2} minutes."
        loud, quiet = f"{LOUD[n % 4]} {n * '!' if n < 3 else ''}".strip(), f"{QUIET[n // 4 % 4]} It is {n} o'clock."
        pair = ContrastivePair(Scenario(f"s{n}", n, scene, "Kim"), "Extroversion", loud, quiet)
        records.append(to_record(pair, n, 0))
    return records


@pytest.fixture(scope="session")
def records() -> list[CaaRecord]:
    """Twelve pairs."""
    return pairs_of(12)


@pytest.fixture(scope="session")
def lent(tiny_model: Path) -> Iterator[LentModel]:
    """The tiny model in float32, as the backend hf lends it; who changes it takes a copy."""
    pytest.importorskip("torch", reason="the extra 'hf' is not installed")
    with lent_model(str(tiny_model), options={"device": "cpu", "dtype": "float32"}) as found:
        yield found


@pytest.fixture
def own(lent: LentModel) -> LentModel:
    """A copy of it for a test that changes the model."""
    return dataclasses.replace(lent, model=copy.deepcopy(lent.model))


@pytest.fixture
def measured_on_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have steering measured on one passage of neutral text and one prompt: what is measured else is the point."""
    from psyctl_steering import damage, measuring

    texts = damage.neutral_texts
    monkeypatch.setattr(damage, "neutral_texts", lambda lent: texts(lent)[:1])
    monkeypatch.setattr(measuring, "SAYS", measuring.SAYS[:1])
