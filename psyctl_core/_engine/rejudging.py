"""A finished dataset as the components of a new job: its scenarios, personas and answers, to be judged anew.

The answers are not asked for again: whoever asks for one gets the one that is recorded. So limits, budget, journal and
resuming are those of every other job.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from psyctl_core._engine.judging import JUDGE
from psyctl_core._engine.reading import StoredDataset, all_datasets
from psyctl_core._engine.scores import scores_of
from psyctl_core._plugins.guard import GuardedJudge
from psyctl_core._plugins.registry import Registry
from psyctl_core._store.runs import RejectedPair, personas_of, rejected_pairs
from psyctl_core.components import Ask, Identity, InferenceBackend, PairJudge, PersonalityPrompter, ScenarioSource
from psyctl_core.errors import UsageError
from psyctl_core.records import (
    NEUTRAL,
    CaaRecord,
    ChatRequest,
    Completion,
    ContrastivePair,
    JsonValue,
    Metadata,
    Persona,
    Scenario,
    Verdict,
)

log = logging.getLogger("psyctl")

NOTES = ("contrast", "persona")
"""What a pair's metadata say of its personas."""

RECORDED = "recorded"
"""What the components that a dataset becomes are called in run.json."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A dataset's pairs, accepted ones first, then those that a judge rejected.

    Attributes:
        name: The dataset's.
        trait: Its trait.
        pairs: Records and rejected pairs.
        personas: Who answered, under ``positive`` and ``neutral``.
        guides: What an earlier judge was told, by trait.
    """

    name: str
    trait: str
    pairs: Sequence[CaaRecord | RejectedPair]
    personas: Mapping[str, Persona]
    guides: Mapping[str, str]

    def notes(self) -> dict[str, dict[str, JsonValue]]:
        """What was noted of who answered, by the pair's id: it is true of the judged pair as well."""
        kept = (
            (pair.id, {name: pair.metadata[name] for name in NOTES if name in pair.metadata}) for pair in self.pairs
        )
        return {id: noted for id, noted in kept if noted}

    def scores(self, judge: str) -> dict[str, dict[str, float | None]]:
        """What a judge of this name found before, by the pair's id."""
        return {
            pair.id: scores
            for pair in self.pairs
            if (scores := scores_of(pair.metadata)) is not None and _part(pair.metadata, JUDGE).get("name") == judge
        }


def begun_from(dataset: StoredDataset, registry: Registry) -> StoredDataset:
    """Of a dataset that was being judged when its run was stopped the one whose pairs it judges; else itself."""
    source = dataset.run.get("identity", {}).get("source", {})
    name = source.get("own", {}).get("dataset")
    if dataset.run.get("status") == "complete" or source.get("component", {}).get("name") != RECORDED:
        return dataset
    folder = dataset.target.folder
    return next((each for each in all_datasets(folder, registry) if each.target.name == name), dataset)


def recorded(dataset: StoredDataset) -> Recorded:
    """Read a dataset with what was rejected beside it.

    Raises:
        OutputError: It cannot be read.
        UsageError: It has no pair to judge, or several of one id.
    """
    for problem in dataset.problems():
        log.warning("%s", problem)
    folder = dataset.target.folder / f"{dataset.target.name}.run"
    records = list(dataset)
    ((id, count),) = Counter(record.id for record in records).most_common(1) or [("", 0)]
    if count > 1:
        raise UsageError(
            f"Several pairs in {dataset.location} have the id '{id}', and what is said of a pair is kept by its id.",
            "Give each its own: psyctl dataset.merge DATASET --renumber --output NEW_FOLDER",
        )
    pairs: list[CaaRecord | RejectedPair] = [*records, *rejected_pairs(folder)]
    if not pairs:
        raise UsageError(f"There are no pairs in {dataset.location}.", "Build some first: psyctl dataset.build.caa.")
    run = dataset.run
    trait = next((pair.trait for pair in pairs if isinstance(pair, CaaRecord)), dataset.trait)
    return Recorded(dataset.target.name, trait, pairs, personas_of(run), run.get("guides", {}))


class RecordedSource(ScenarioSource):
    """The recorded pairs' scenarios; a pair's place is its offset."""

    def __init__(self, dataset: Recorded) -> None:
        self._dataset = dataset

    def identity(self) -> Identity:
        """A digest of the pairs, whatever they scored."""
        texts = [[pair.id, pair.positive_text, pair.neutral_text] for pair in self._dataset.pairs]
        return {"dataset": self._dataset.name, "digest": hashlib.sha256(json.dumps(texts).encode()).hexdigest()}

    def total(self) -> int:
        """How many pairs there are."""
        return len(self._dataset.pairs)

    def scenarios(self, start: int) -> Iterator[Scenario]:
        """The scenarios from a pair on."""
        for offset, pair in enumerate(self._dataset.pairs[start:], start):
            yield Scenario(pair.id, offset, pair.situation, pair.character, metadata=_part(pair.metadata, "scenario"))


class RecordedBackend(InferenceBackend):
    """Gives the recorded answers."""

    is_free = True

    def __init__(self, dataset: Recorded) -> None:
        self._dataset = dataset

    def generate(self, requests: Iterable[ChatRequest]) -> Iterator[Completion]:
        """The answer of each request's pair and side, which its id names."""
        for request in requests:
            offset, _, side = request.id.partition(":")
            pair = self._dataset.pairs[int(offset)]
            is_neutral = side == NEUTRAL
            text = pair.neutral_text if is_neutral else pair.positive_text
            metadata = _part(pair.metadata, NEUTRAL if is_neutral else "positive")
            yield Completion(request.id, text, metadata=metadata)


class RecordedPrompter(PersonalityPrompter):
    """Gives the recorded personas."""

    def __init__(self, dataset: Recorded) -> None:
        self._dataset = dataset

    def describe(self, trait: str, ask: Ask) -> Persona:
        """Who answered; unknown where the dataset does not say."""
        del ask
        found = self._dataset.personas.get(NEUTRAL if trait == NEUTRAL else "positive")
        if found is None:
            return Persona(trait, "{character}, described by nobody knows whom")
        return replace(found, trait=trait)


class Rejudge(PairJudge):
    """A judge that asks nothing about a pair whose scores by it are known.

    Args:
        judge: The judge.
        settings: Its options that decide verdicts.
        dataset: The pairs, with what it found before.
    """

    def __init__(self, judge: GuardedJudge, settings: Mapping[str, JsonValue], dataset: Recorded) -> None:
        self._judge = judge
        self._settings = dict(settings)
        self._known = dataset.scores(judge.origin.name)
        self._guides = dataset.guides

    def identity(self) -> Identity:
        """The judge's, with its options."""
        return {"judge": self._judge.identity(), "settings": self._settings}

    def guide(self, trait: str, ask: Ask) -> str:
        """The guide that is recorded, or the judge's."""
        return self._guides[trait] if trait in self._guides else self._judge.guide(trait, ask)

    def requests(self, pair: ContrastivePair, guide: str) -> Sequence[ChatRequest]:
        """Nothing where the scores are known."""
        return [] if self._decided(pair) else self._judge.requests(pair, guide)

    def verdict(
        self, pair: ContrastivePair, guide: str, completions: Sequence[Completion]
    ) -> Verdict | Sequence[ChatRequest]:
        """By the known scores, or else the judge's."""
        return self._decided(pair) or self._judge.verdict(pair, guide, completions)

    def _decided(self, pair: ContrastivePair) -> Verdict | None:
        scores = self._known.get(pair.scenario.id)
        if scores is None or None in scores.values():
            return None
        return self._judge.decide(scores)


def _part(metadata: Metadata, name: str) -> Mapping[str, JsonValue]:
    part = metadata.get(name)
    return part if isinstance(part, Mapping) else {}
