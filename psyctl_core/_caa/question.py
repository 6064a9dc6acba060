"""The CAA question format, and which answer stands first in it.

The format is the specification's: the situation, the question, two numbered answers, and ``(1`` / ``(2``
as what a model would say next (Rimsky et al. 2023, https://arxiv.org/abs/2312.06681).
"""

from __future__ import annotations

import hashlib
import re

from psyctl_core.records import CaaRecord, ContrastivePair, Scenario

FORMAT_VERSION = 2
"""Rises whenever the same answers would give another line; part of every run's identity."""

_HEADING = re.compile(r"^[^\S\n]*\[(Situation|Question|Answer)\]", re.MULTILINE | re.IGNORECASE)
"""What separates the parts of a question; in a scene it would forge them."""


def situation_text(scenario: Scenario) -> str:
    """The scene as a reader sees it: the situation, then one ``Name: words`` line a turn."""
    turns = [f"{turn.speaker}: {turn.text}" for turn in scenario.dialogue]
    scene = "\n".join([part for part in [scenario.situation, *turns] if part])
    return _HEADING.sub(r"(\1)", scene)


def positive_stands_first(index: int, seed: int) -> bool:
    """Whether the positive answer is option 1 in the record numbered ``index`` (from 0).

    Of every two consecutive records exactly one has it first; which one is a coin toss that depends on
    the seed and the place alone, so resuming changes nothing and no position predicts the trait.
    """
    toss = hashlib.sha256(f"{seed}:{index // 2}".encode()).digest()[0] & 1
    return index % 2 == toss


def to_record(pair: ContrastivePair, index: int, seed: int) -> CaaRecord:
    """Write a pair as the dataset's record numbered ``index``."""
    first = positive_stands_first(index, seed)
    options = (pair.positive, pair.neutral) if first else (pair.neutral, pair.positive)
    situation = situation_text(pair.scenario)
    character = pair.scenario.character
    question = (
        f"[Situation]\n{situation}\n[Question]\nWhat should {character} say?\n"
        f"1. {options[0]}\n2. {options[1]}\n[Answer]"
    )
    return CaaRecord(
        question=question,
        positive="(1" if first else "(2",
        neutral="(2" if first else "(1",
        id=pair.scenario.id,
        trait=pair.trait,
        character=character,
        situation=situation,
        positive_text=pair.positive,
        neutral_text=pair.neutral,
        metadata=pair.metadata,
    )
