"""What a person says of pairs, and how far a judge agrees."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from psyctl_core._engine.scores import apart, scores_of
from psyctl_core._store.runs import RejectedPair
from psyctl_core.errors import OutputError
from psyctl_core.files import append_row, writing
from psyctl_core.records import CaaRecord

FILE = "labels.jsonl"

Label = Literal["right", "wrong", "unclear"]
"""Which answer a person took for the one with the trait: the positive one, the other one, or neither."""

DIFFERENCES = (0, 10, 25, 40, 60)
"""Differences of scores at which it is told how many pairs a person agrees with."""

Pair = CaaRecord | RejectedPair


@dataclass(frozen=True, slots=True)
class Labelled:
    """A pair, a person's label, whether the dataset has it, and the judge's scores if there are any."""

    pair: Pair
    label: Label
    scores: Mapping[str, float | None] | None

    @property
    def is_accepted(self) -> bool:
        """Whether it is in the dataset."""
        return isinstance(self.pair, CaaRecord)


def read_labels(run_folder: Path) -> dict[str, Label]:
    """The labels that are kept beside a dataset, by the pair's id; a later one replaces an earlier one."""
    path = run_folder / FILE
    labels: dict[str, Label] = {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            id, label = entry["id"], entry["label"]
        except (ValueError, KeyError, TypeError, RecursionError):
            id, label = None, None
        if not isinstance(id, str) or label not in get_args(Label):
            if number == len(lines):
                break  # cut off while it was written
            raise OutputError(f"Line {number} of {path} is not a label.", "Take it out, or move the file away.")
        labels[id] = label
    return labels


def keep_label(run_folder: Path, id: str, label: Label) -> None:
    """Append a label. Raises OutputError."""
    path = run_folder / FILE
    with writing(path):
        run_folder.mkdir(parents=True, exist_ok=True)
    append_row(path, {"id": id, "label": label})


def ask_for_labels(
    pairs: Sequence[Pair], known: Mapping[str, Label], count: int, seed: int, show: Callable[[Pair, bool], str]
) -> Iterator[tuple[Pair, Label]]:
    """Have a person label pairs that have no label yet, accepted and rejected ones mixed.

    Args:
        pairs: The pairs.
        known: Labels that are there.
        count: How many pairs to show.
        seed: Decides which, and which answer stands first.
        show: Shows a pair, the positive answer first or not, and gives the key that was pressed: ``1``, ``2``, ``0``
            for neither, anything else to stop.
    """
    order = random.Random(seed)  # noqa: S311 - a sample, not a secret
    open_pairs = [pair for pair in pairs if pair.id not in known]
    for pair in order.sample(open_pairs, min(count, len(open_pairs))):
        first = order.random() < 0.5
        key = show(pair, first)
        if key not in ("0", "1", "2"):
            return
        label: Label = "unclear" if key == "0" else "right" if (key == "1") == first else "wrong"
        yield pair, label


def labelled(pairs: Sequence[Pair], labels: Mapping[str, Label]) -> list[Labelled]:
    """The pairs that have a label."""
    return [Labelled(pair, labels[pair.id], scores_of(pair.metadata)) for pair in pairs if pair.id in labels]


def agreement(found: Sequence[Labelled]) -> list[tuple[str, str]]:
    """Rows of what a person and the judge agree on.

    A judge agrees where it accepted a pair whose positive answer the person recognised, or rejected another one. Of the
    pairs at or above a difference of scores it is told in how many the person recognised it: the precision there.
    """
    told = ", ".join(f"{_count(found, label)} {label}" for label in get_args(Label))
    rows = [("Labelled", f"{len(found)}: {told}")]
    judged = [each for each in found if each.scores is not None]
    if not judged:
        return [*rows, ("Judge", "no scores: judge the dataset first to compare")]
    agreed = [each for each in judged if each.is_accepted == (each.label == "right")]
    rows.append(("Agreement", _share(len(agreed), len(judged))))
    accepted = [each for each in judged if each.is_accepted]
    rows.append(("Precision", f"{_share(_count(accepted, 'right'), len(accepted))} of the accepted pairs are right"))
    for difference in DIFFERENCES:
        above = [each for each in judged if (by := apart(each.scores or {})) is not None and by >= difference]
        if above:
            rows.append((f"From {difference} apart", f"{_share(_count(above, 'right'), len(above))} are right"))
    return rows


def differing(found: Sequence[Labelled]) -> list[Labelled]:
    """The pairs on which person and judge differ."""
    return [each for each in found if each.scores is not None and each.is_accepted != (each.label == "right")]


def _count(found: Sequence[Labelled], label: Label) -> int:
    return sum(each.label == label for each in found)


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole:.0f} %)" if whole else "0 of 0"
