"""The course of a run: how far it was from time to time, in a file that only grows. Nothing resumes from it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psyctl_core.files import append_row

COURSE_FILE = "course.jsonl"
FAR = 1e15
"""No figure of a run reaches this; what does, or is no number, is none of psyctl's."""


@dataclass(frozen=True, slots=True)
class Moment:
    """How far a dataset was at one moment.

    Attributes:
        seconds: Time spent generating so far, over all resumes; with several traits the whole run's, like what follows.
        requests: Answers received, failed ones included.
        prompt_tokens: Tokens read, as far as told.
        completion_tokens: Tokens generated, as far as told.
        cost: US dollars, as far as told; ``None`` where no answer's cost is known.
        accepted: Records in the dataset.
        rejected: Scenarios that gave no pair, by reason.
        skipped: Rows that held no scenario, by reason.
    """

    seconds: float
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    accepted: int
    rejected: Mapping[str, int]
    skipped: Mapping[str, int]


def append(run_folder: Path, moment: Moment) -> None:
    """Add a moment to the course.

    Raises:
        OutputError: It cannot be written.
    """
    append_row(run_folder / COURSE_FILE, dataclasses.asdict(moment))


def read(run_folder: Path) -> list[Moment]:
    """The moments in their order; none where the run noted none. A line that is no moment is passed over.

    After a kill the run goes on from an earlier moment: what lies behind that one is left out.

    Raises:
        OSError: The file cannot be read.
    """
    path = run_folder / COURSE_FILE
    kept: list[Moment] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        moment = _moment(line)
        if moment is None:
            continue
        while kept and kept[-1].seconds > moment.seconds:
            kept.pop()
        kept.append(moment)
    return kept


def _moment(line: str) -> Moment | None:
    try:
        moment = Moment(**json.loads(line))
        figures: list[Any] = [moment.seconds, moment.requests, moment.prompt_tokens, moment.completion_tokens]
        figures += [moment.cost or 0, moment.accepted, *moment.rejected.values(), *moment.skipped.values()]
        return moment if all(0 <= figure < FAR for figure in figures) else None
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
