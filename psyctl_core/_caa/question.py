"""The CAA question format, and which answer stands first in it.

The format is the specification's: the situation, the question, two numbered answers, and ``(1`` / ``(2``
as what a model would say next (Rimsky et al. 2023, https://arxiv.org/abs/2312.06681).
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Sequence

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
    unasked = CaaRecord(
        question="",
        positive="(1",
        neutral="(2",
        id=pair.scenario.id,
        trait=pair.trait,
        character=pair.scenario.character,
        situation=situation_text(pair.scenario),
        positive_text=pair.positive,
        neutral_text=pair.neutral,
        metadata=pair.metadata,
    )
    return in_order(unasked, positive_first=positive_stands_first(index, seed))


def in_order(record: CaaRecord, *, positive_first: bool) -> CaaRecord:
    """The record with its question made of its texts, and the positive answer as option 1 or as option 2."""
    texts = (record.positive_text, record.neutral_text)
    options = texts if positive_first else texts[::-1]
    question = (
        f"[Situation]\n{record.situation}\n[Question]\nWhat should {record.character} say?\n"
        f"1. {options[0]}\n2. {options[1]}\n[Answer]"
    )
    return dataclasses.replace(
        record,
        question=question,
        positive="(1" if positive_first else "(2",
        neutral="(2" if positive_first else "(1",
    )


def balanced(records: Sequence[CaaRecord], seed: int) -> list[CaaRecord]:
    """The records, in whichever place they stand now, in the order that :func:`positive_stands_first` promises.

    Of records 1 and 2, of 3 and 4 and so on exactly one has the positive answer first. Two of which that is true stay
    as they are; of others the seed decides which one is written the other way round.
    """
    found = list(records)
    for index in range(0, len(found) - 1, 2):
        if found[index].positive == found[index + 1].positive:
            for place in (index, index + 1):
                first = positive_stands_first(place, seed)
                if first != (found[place].positive == "(1"):
                    found[place] = in_order(found[place], positive_first=first)
    return found
