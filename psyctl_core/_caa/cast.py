"""Who answers for one trait: the personas of both sides, dealt to the scenarios by their offsets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from types import MappingProxyType

from psyctl_core._caa.contrast import Condition, Judging, Rejected, Sampling, Task, contrast
from psyctl_core._caa.given import Contrast
from psyctl_core._caa.traits import Trait
from psyctl_core.records import JsonValue, Metadata, Persona, Scenario


@dataclass(frozen=True, slots=True)
class Cast:
    """The personas of one trait's dataset; a side of one answers everywhere.

    Attributes:
        trait: The trait.
        positive: Those with the trait, one or as many as on the other side.
        neutral: Those they are compared with.
        contrast: What these are: the neutral person, whose answers all traits share, or the trait's opposite.
    """

    trait: Trait
    positive: tuple[Persona, ...]
    neutral: tuple[Persona, ...]
    contrast: Contrast = "neutral"

    @property
    def number(self) -> int:
        """How many pairs of personas there are."""
        return max(len(self.positive), len(self.neutral))

    def conditions(self, offset: int) -> tuple[Condition, Condition]:
        """Under whom the scenario at an offset is answered."""
        slug, name = self.trait.slug, self.trait.name
        other = "neutral" if self.contrast == "neutral" else f"{slug}:{self.contrast}"
        return (
            Condition(other, name, "neutral", self.neutral[offset % len(self.neutral)]),
            Condition(slug, name, "positive", self.positive[offset % len(self.positive)]),
        )

    def notes(self, offset: int) -> dict[str, JsonValue]:
        """What a record's metadata say of its personas: nothing where there is nothing to choose from."""
        notes: dict[str, JsonValue] = {}
        if self.contrast != "neutral":
            notes["contrast"] = self.contrast
        if self.number > 1:
            notes["persona"] = offset % self.number + 1
        return notes


def cast_task(
    scenario: Scenario,
    cast: Cast,
    sampling: Sampling,
    judging: Judging | None = None,
    known: Metadata = MappingProxyType({}),
) -> Task:
    """The scenario's task under the personas it is dealt, which are noted in the pair, and the judge's part of it.

    Args:
        scenario: The scenario.
        cast: Who answers.
        sampling: How answers are drawn.
        judging: The judge's part, if there is a judge.
        known: What is noted in the pair besides.
    """
    outcome = yield from contrast(scenario, cast.conditions(scenario.offset), sampling)
    if isinstance(outcome, Rejected):
        return outcome
    if notes := {**cast.notes(scenario.offset), **known}:
        outcome = dataclasses.replace(outcome, metadata={**outcome.metadata, **notes})
    return outcome if judging is None else (yield from judging(outcome))
