"""What the page tells of one dataset, as plain data: counts, checks, scores, texts, and the pairs in their order."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psyctl_core import (
    CaaRecord,
    Checkup,
    Moment,
    OutputError,
    RejectedPair,
    StoredDataset,
    check_records,
    schema,
    scores_of,
)
from psyctl_core.figures import counted
from psyctl_report.texts import TellingWord, openings, telling_words

SHOWN = 2000
"""So many pairs stand on a page, in all its datasets together: a browser opens them in less than two seconds."""

GROUP = 20
"""So many pairs are shown first as best, as worst and as borderline."""

WORST = 5
"""So many rows stand below a check."""

MARKED = 100
"""So many of the rows that a check names, worst first, can be filtered by its name; of one that is ok :data:`WORST`."""

TOLD = 10
"""So many things that are wrong are told one by one in the terminal; the page has a hundred."""

LISTED = 12
"""So many openings and words a side."""

STEERING = "steering.json"
"""In the run folder: what ``steering.measure`` found."""

Pairs = Sequence[CaaRecord | RejectedPair]
Scores = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class ShownPair:
    """One pair as the page shows it.

    Attributes:
        number: Its place in the dataset, from 1; rejected pairs follow.
        pair: The record, or the rejected pair.
        scores: A judge's, by name.
        margin: What it is sorted by; see :func:`margin_of`.
        label: What a person said of it, or empty.
        checks: The checks that name it among their worst.
        group: ``best``, ``worst``, ``borderline`` or empty.
    """

    number: int
    pair: CaaRecord | RejectedPair
    scores: Scores
    margin: float | None
    label: str = ""
    checks: frozenset[str] = frozenset()
    group: str = ""

    @property
    def reason(self) -> str:
        """Why it was rejected; empty where it is in the dataset."""
        return self.pair.reason if isinstance(self.pair, RejectedPair) else ""

    @property
    def order(self) -> str:
        """``first`` where the positive answer is option 1, ``second`` where it is option 2; empty where rejected."""
        if isinstance(self.pair, RejectedPair):
            return ""
        return "first" if self.pair.positive == "(1" else "second"


@dataclass(frozen=True, slots=True)
class TraitFacts:
    """What the page tells of one dataset.

    Attributes:
        trait: Its trait.
        other: What the trait is compared with: ``neutral`` or ``opposite``.
        location: A path or an address.
        run: What run.json says; empty where there is none.
        records: How many pairs could be read.
        problems: What could not be read, and what does not fit together, a line each.
        is_unreadable: Whether nothing could be asked at all.
        checkup: What the checks say; ``None`` without a pair.
        scores: By the score's name those of the dataset's pairs, and those of the rejected ones.
        agreement: How far a person and the judge agree, in rows; empty where nobody labelled.
        lengths: Characters of the positive and of the neutral answers.
        openings: The commonest first words of either side.
        telling: The words that tell the positive and the neutral side.
        course: How far the run was from time to time.
        pairs: The pairs to show, in that order.
        total: How many there are to choose from: records, and rejected pairs that were kept.
        steering: What steering.json says a vector of it does; empty where nobody measured.
        cost_before: US dollars that the datasets cost which it was made of; ``None`` where none is known.
    """

    trait: str
    other: str
    location: str
    run: Mapping[str, Any]
    records: int
    problems: Sequence[str]
    is_unreadable: bool
    checkup: Checkup | None
    scores: Mapping[str, tuple[Sequence[float], Sequence[float]]] = field(default_factory=dict)
    agreement: Sequence[tuple[str, str]] = ()
    lengths: tuple[Sequence[int], Sequence[int]] = ((), ())
    openings: tuple[Sequence[tuple[str, int]], Sequence[tuple[str, int]]] = ((), ())
    telling: tuple[Sequence[TellingWord], Sequence[TellingWord]] = ((), ())
    course: Sequence[Moment] = ()
    pairs: Sequence[ShownPair] = ()
    total: int = 0
    steering: Mapping[str, Any] = field(default_factory=dict)
    cost_before: float | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the run that makes it is complete."""
        return self.run.get("status") == "complete"


def facts_of(dataset: StoredDataset, room: int) -> TraitFacts:
    """Read a dataset and what lies beside it.

    Args:
        dataset: The dataset.
        room: So many pairs are shown at most.
    """
    records, problems = dataset.readable()
    pairs: Pairs = [*records, *_rejected(dataset, problems)]
    checkup = check_records(dataset, records) if records else None
    labels, agreement = _labelled(dataset, pairs, problems)
    steering = measured(dataset.run_folder / STEERING, problems)
    if dataset.sink is not None:
        problems += _miscounted(dataset.run, len(records))
    marks = _marks(checkup)
    linked = {id for result in (checkup.results if checkup else ()) for id, _ in result.finding.worst[:WORST]}
    every = []
    for number, pair in enumerate(pairs, 1):
        scores = scores_of(pair.metadata) or {}
        marked = marks.get(pair.id, frozenset())
        every.append(ShownPair(number, pair, scores, margin_of(scores), labels.get(pair.id, ""), marked))
    texts = [(record.positive_text, record.neutral_text) for record in records]
    return TraitFacts(
        trait=records[0].trait if records and not dataset.run else dataset.trait,
        other=str(dataset.run.get("identity", {}).get("personas", {}).get("contrast", "neutral")),
        location=dataset.location,
        run=dataset.run,
        records=len(records),
        problems=problems,
        is_unreadable=dataset.sink is None,
        checkup=checkup,
        scores=spread_of_scores(every),
        agreement=agreement,
        lengths=([len(one) for one, _ in texts], [len(other) for _, other in texts]),
        openings=(openings((one for one, _ in texts), LISTED), openings((other for _, other in texts), LISTED)),
        telling=telling_words(texts, LISTED),
        course=_course(dataset, problems),
        pairs=sampled(grouped(every), room, linked),
        total=len(every),
        steering=steering,
        cost_before=dataset.cost_before,
    )


def told(problems: Sequence[str], most: int = TOLD) -> list[str]:
    """The first of what is wrong, and how much more there is."""
    more = len(problems) - most
    return [*problems[:most], *([f"And {more:,} more like that."] if more > 0 else [])]


def measured(file: Path, problems: list[str]) -> Mapping[str, Any]:
    """What ``steering.measure`` wrote beside the dataset, or nothing; what cannot be read joins the problems."""
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        wrong = schema.problem("steering", found)
    except (OSError, ValueError) as error:
        found, wrong = {}, str(error)
    if wrong:
        problems.append(f"What a vector does cannot be read from {file}: {wrong}.")
        return {}
    known: Mapping[str, Any] = found
    return known


def margin_of(scores: Scores) -> float | None:
    """How much better the positive answer shows the trait: its score minus the neutral one's.

    Of a judge without these two it is the first score that it gave; ``None`` where there is none.
    """
    positive, neutral = scores.get("positive"), scores.get("neutral")
    if "positive" in scores and "neutral" in scores:
        return None if positive is None or neutral is None else positive - neutral
    return next((score for score in scores.values() if score is not None), None)


def spread_of_scores(pairs: Iterable[ShownPair]) -> dict[str, tuple[list[float], list[float]]]:
    """By the score's name those of the dataset's pairs, and those of the rejected ones."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for pair in pairs:
        for name, score in pair.scores.items():
            if score is not None:
                found.setdefault(name, ([], []))[bool(pair.reason)].append(score)
    return found


def grouped(pairs: Sequence[ShownPair]) -> list[ShownPair]:
    """The pairs with the best, the worst and the borderline ones first, as far as there are scores.

    Best and worst are the dataset's pairs with the largest and the least margin. Borderline are rejected pairs whose
    margin is nearest to the least that was accepted. No pair stands in two groups.
    """
    judged = [pair for pair in pairs if pair.margin is not None]
    accepted = sorted((pair for pair in judged if not pair.reason), key=lambda pair: -_margin(pair))
    best, rest = accepted[:GROUP], accepted[GROUP:]
    worst = rest[-GROUP:][::-1]
    line = _margin(accepted[-1]) if accepted else 0.0
    rejected = sorted((pair for pair in judged if pair.reason), key=lambda pair: abs(_margin(pair) - line))
    groups = {"best": best, "worst": worst, "borderline": rejected[:GROUP]}
    first = [dataclasses.replace(pair, group=name) for name, group in groups.items() for pair in group]
    taken = {pair.number for pair in first}
    return first + [pair for pair in pairs if pair.number not in taken]


def sampled(pairs: Sequence[ShownPair], room: int, linked: Collection[str]) -> list[ShownPair]:
    """As many pairs as there is room for: those in a group and those that are linked, then the others evenly.

    Args:
        pairs: All pairs, in the order of showing.
        room: So many at most.
        linked: Ids of pairs that the page names elsewhere.
    """
    if len(pairs) <= room:
        return list(pairs)
    named = [pair for pair in pairs if pair.group or pair.pair.id in linked][:room]
    kept = {pair.number for pair in named}
    others = [pair for pair in pairs if pair.number not in kept]
    free = room - len(named)
    kept |= {others[i * len(others) // free].number for i in range(free)}
    return [pair for pair in pairs if pair.number in kept]


def _margin(pair: ShownPair) -> float:
    return 0.0 if pair.margin is None else pair.margin


def _rejected(dataset: StoredDataset, problems: list[str]) -> Sequence[RejectedPair]:
    """The rejected pairs that were kept; a file that cannot be read joins the problems."""
    try:
        return dataset.rejected()
    except OSError as error:
        problems.append(f"The rejected pairs cannot be read: {error.filename}: {error.strerror}.")
        return ()


def _course(dataset: StoredDataset, problems: list[str]) -> Sequence[Moment]:
    """How far the run was from time to time; a file that cannot be read joins the problems."""
    try:
        return dataset.course()
    except OSError as error:
        problems.append(f"The run's course cannot be read: {error.filename}: {error.strerror}.")
        return ()


def _labelled(
    dataset: StoredDataset, pairs: Pairs, problems: list[str]
) -> tuple[Mapping[str, str], Sequence[tuple[str, str]]]:
    """A person's labels by the pair's id, and the rows of agreement; what cannot be read joins the problems."""
    try:
        return dataset.labels(), dataset.agreement(pairs)
    except (OutputError, OSError) as error:
        problems.append(str(error).splitlines()[0])
        return {}, ()


def _miscounted(run: Mapping[str, Any], records: int) -> list[str]:
    """Whether the dataset holds as many pairs as its run counted."""
    if not run:
        return ["There is no run.json that can be read: what made the dataset, and what it cost, is not known."]
    accepted = run["statistics"]["accepted"]
    if run["status"] == "running" or accepted == records:
        return []
    return [f"run.json counts {counted(accepted, 'pair')}, and {records} could be read."]


def _marks(checkup: Checkup | None) -> dict[str, frozenset[str]]:
    """By a pair's id the checks that name it among their worst."""
    marks: dict[str, set[str]] = {}
    for result in checkup.results if checkup else ():
        for id, _ in result.finding.worst[: WORST if result.verdict == "ok" else MARKED]:
            marks.setdefault(id, set()).add(result.check.name)
    return {id: frozenset(names) for id, names in marks.items()}
