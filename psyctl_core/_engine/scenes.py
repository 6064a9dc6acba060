"""Which records share a scene, and how records are parted so that every scene is in one part, each spread evenly."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from psyctl_core.records import CaaRecord

_ANSWER = re.compile(r"#\d+$")
"""What the id of a scene's second answer ends in; see :mod:`psyctl_core._engine.repeated`."""

GOLDEN = (5**0.5 - 1) / 2
"""The golden ratio's fraction."""


def scenes(records: Sequence[CaaRecord]) -> list[int]:
    """For each record the number of its scene.

    Records are of one scene if their ids are those of several answers to it (``ID``, ``ID#2``), or if their situations
    are the same text but for blanks and case.
    """
    ids = {record.id for record in records}
    same: dict[str, str] = {}

    def leader(key: str) -> str:
        while same.setdefault(key, key) != key:
            same[key] = key = same[same[key]]
        return key

    keys = []
    for record in records:
        first = _ANSWER.sub("", record.id)
        by_id = f"id {first if first in ids else record.id}"
        same[leader(by_id)] = leader(f"text {' '.join(record.situation.split()).casefold()}")
        keys.append(by_id)
    numbers: dict[str, int] = {}
    return [numbers.setdefault(leader(key), len(numbers)) for key in keys]


def parted_alike(
    datasets: Sequence[Sequence[CaaRecord]], sizes: Sequence[Sequence[int]]
) -> list[list[list[CaaRecord]]]:
    """The records of each dataset in parts of their sizes, and in a last one what is left; see :func:`parted`.

    A scene that several datasets have is in the same part of each.
    """
    scene_of = iter(scenes([record for records in datasets for record in records]))
    placed: dict[int, int] = {}
    found = []
    for records, wanted in zip(datasets, sizes, strict=True):
        parts: list[list[CaaRecord]] = [[] for _ in range(len(wanted) + 1)]
        for record, part in zip(records, parted(list(islice(scene_of, len(records))), wanted, placed), strict=True):
            parts[part].append(record)
        found.append(parts)
    return found


def parted(scene_of: Sequence[int], sizes: Sequence[int], placed: dict[int, int]) -> list[int]:
    """For each record which part it is in: one of the given sizes, or the one behind them for what is left.

    Each part is spread evenly over the records: one out of every five, if it shall have a fifth. Where every record
    has a scene of its own, sizes are met exactly; else as closely as whole scenes allow.

    Args:
        scene_of: The number of each record's scene.
        sizes: How many records each part shall have.
        placed: The parts of scenes that are settled, as by another dataset with the same ones; the others are added.
    """
    weight = Counter(scene_of)  # in the order in which scenes come first
    for part in sorted(range(len(sizes)), key=sizes.__getitem__):
        has = sum(count for scene, count in weight.items() if placed.get(scene) == part)
        free = {scene: count for scene, count in weight.items() if scene not in placed}
        placed |= dict.fromkeys(_evenly(free, sizes[part] - has), part)
    for scene in weight:
        placed.setdefault(scene, len(sizes))
    return [placed[scene] for scene in scene_of]


def _evenly(weight: Mapping[int, int], wanted: int) -> Iterator[int]:
    """Scenes with so many records together: one in each stretch of the records that shall give one.

    Where in its stretch differs: always the middle would be the same persona's where personas take turns. The
    fractions of the golden ratio's multiples lie more evenly than tosses would.
    """
    total, seen, taken = sum(weight.values()), 0, 0
    for scene, count in weight.items():
        seen += count
        if (taken + count * (taken * GOLDEN % 1)) * total < wanted * seen:
            taken += count
            yield scene
