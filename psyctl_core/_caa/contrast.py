"""What is asked about a scenario and made of the answers: a task yields requests and returns an outcome."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from psyctl_core._caa import answers
from psyctl_core._caa.prompts import answer_request
from psyctl_core.records import ChatRequest, Completion, ContrastivePair, JsonValue, Persona, Scenario


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are drawn: new tokens at most, temperature, and the run's seed."""

    max_tokens: int = 64
    temperature: float = 0.8
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Condition:
    """Under which persona a scenario is answered.

    Attributes:
        id: Tells the scenario's requests apart; conditions of the same id share their answer.
        trait: The trait whose dataset the answer is for.
        polarity: Which side of the pair the answer is.
        persona: The description that the request holds.
    """

    id: str
    trait: str
    polarity: Literal["positive", "neutral"]
    persona: Persona


@dataclass(frozen=True, slots=True)
class Rejected:
    """A scenario that gave no pair that is kept.

    Attributes:
        scenario: The scenario.
        reason: Why; empty where an earlier process wrote the reason down.
        pair: The pair that a judge rejected, with its scores, or ``None``.
    """

    scenario: Scenario
    reason: str
    pair: ContrastivePair | None = None


class Ask(NamedTuple):
    """What a task wants to know.

    Attributes:
        requests: The questions.
        by_judge: Whether the judge asks, and not the pair's writer.
    """

    requests: Sequence[ChatRequest]
    by_judge: bool = False


Task: TypeAlias = Generator[Ask, Sequence[Completion], "ContrastivePair | Rejected"]
"""Yields what to ask, is sent the answers in the same order, may ask again, and returns what came of it."""

Judging: TypeAlias = Callable[[ContrastivePair], Task]
"""A task that goes on from a pair: with what a judge makes of it."""


def contrast(scenario: Scenario, conditions: Sequence[Condition], sampling: Sampling) -> Task:
    """Ask for a scenario's answer under each condition, and put the answers together.

    Args:
        scenario: What is asked about.
        conditions: The positive one and the neutral one.
        sampling: How answers are drawn.
    """
    requests = [request_of(scenario, condition, sampling) for condition in conditions]
    completions = yield Ask(requests)
    return pair_of(scenario, conditions, requests, completions)


def request_of(scenario: Scenario, condition: Condition, sampling: Sampling) -> ChatRequest:
    """The request for a scenario's answer under a condition."""
    return answer_request(
        scenario,
        condition.persona,
        f"{scenario.offset}:{condition.id}",
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        seed=sampling.seed,
    )


def pair_of(
    scenario: Scenario,
    conditions: Sequence[Condition],
    requests: Sequence[ChatRequest],
    completions: Sequence[Completion],
) -> ContrastivePair | Rejected:
    """The pair that the answers make, or why they make none."""
    lines: dict[str, str] = {}
    asked: dict[str, ChatRequest] = {}
    metadata: dict[str, JsonValue] = {"scenario": scenario.metadata} if scenario.metadata else {}
    for condition, request, completion in zip(conditions, requests, completions, strict=True):
        line, reason = answers.clean_answer(completion, scenario, request.prefill)
        if reason:
            return Rejected(scenario, reason)
        lines[condition.polarity] = line
        asked[condition.polarity] = request
        if completion.metadata:
            metadata[condition.polarity] = completion.metadata
    if answers.comparable(lines["positive"]) == answers.comparable(lines["neutral"]):
        return Rejected(scenario, answers.IDENTICAL)
    both = asked["positive"], asked["neutral"]
    return ContrastivePair(scenario, conditions[0].trait, lines["positive"], lines["neutral"], metadata, both)
