"""A dataset to export, and what exports it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from psyctl_core import CaaRecord, ChatRequest, Completion, Selection, export_dataset, open_dataset
from psyctl_core.testing import FakeBackend

PAIRS = 12
WORDS = (
    "well",
    "come",
    "along",
    "with me",
    "we could",
    "ask",
    "the others",
    "why not",
    "stay",
    "I shall",
    "wait",
    "here",
)


def spoken(request: ChatRequest) -> Completion:
    """A sentence of two to nine words, which depends on what is asked alone."""
    digest = hashlib.sha256(request.messages[-1].content.encode()).digest()
    words = [WORDS[byte % len(WORDS)] for byte in digest[1 : 3 + digest[0] % 8]]
    return Completion(request.id, f"{' '.join(words).capitalize()}.")


@pytest.fixture
def dataset(run: Callable[..., Any], tmp_path: Path) -> Path:
    """Twelve pairs over real scenes, of Extroversion."""
    run(source="starter", backend=FakeBackend(answer=spoken), limit_samples=PAIRS)
    return tmp_path / "out"


@pytest.fixture
def records(dataset: Path) -> list[CaaRecord]:
    """Its records."""
    return list(open_dataset(dataset))


@pytest.fixture
def exported(tmp_path: Path, dataset: Path) -> Callable[..., Path]:
    """Export the dataset; returns the folder."""

    def made(to: str, config: Any = None, held_out: int = 0) -> Path:
        place = tmp_path / "exported"
        export_dataset(dataset, place, Selection(to, config), held_out=held_out)
        return place

    return made
