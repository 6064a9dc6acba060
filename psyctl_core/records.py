"""The records that move through a run: scenario, persona, request, completion, pair, record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

NEUTRAL = "neutral"
"""The trait name under which a prompter is asked for the neutral persona."""

CHARACTER = "{character}"
"""What stands for the character's name inside :attr:`Persona.description`."""

Option = Literal["(1", "(2"]
FinishReason = Literal["stop", "length", "error"]

JsonValue: TypeAlias = "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
"""What JSON can hold."""

Metadata: TypeAlias = Mapping[str, JsonValue]
"""Free JSON values that a plugin attaches to what it hands over; psyctl reads none of them."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One spoken turn: who spoke and what they said."""

    speaker: str
    text: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """A situation in which one character is about to speak.

    Attributes:
        id: Stable across runs: depends on the row's content and offset only.
        offset: Where the source can start again to yield this scenario first; strictly increasing.
        situation: Prose that sets the scene; may be empty only if ``dialogue`` is not.
        character: Who answers; never the speaker of the last turn.
        dialogue: What has been said so far, oldest first; may be empty.
        metadata: Whatever the source wants to keep beside the record.
    """

    id: str
    offset: int
    situation: str
    character: str
    dialogue: tuple[Turn, ...] = ()
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row that holds no usable scenario, with the reason the summary counts it under."""

    offset: int
    reason: str


@dataclass(frozen=True, slots=True)
class Persona:
    """A description of somebody with a trait, made once and used for every scenario.

    Attributes:
        trait: The trait's name, or ``"neutral"``.
        description: Prose in which ``{character}`` stands for the scenario's own character.
        keywords: The adjectives it was built from; may be empty.
    """

    trait: str
    description: str
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat."""

    role: Literal["system", "user"]
    content: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One answer wanted from a backend.

    Attributes:
        id: Unique among the requests of one :meth:`InferenceBackend.generate` call.
        messages: The conversation so far.
        prefill: How the answer begins; a backend that cannot begin it for the model leaves it out.
        stop: Strings at which the answer ends; a backend may return the text with or without them.
        max_tokens: The most new tokens to generate.
        temperature: 0 decodes greedily.
        seed: For sampling; depends on the run's seed and the request alone.
        choices: Where it is not empty, the answer is one of these, such as a digit. A backend that can says how likely
            each is, under ``choices`` in the completion's metadata; one that cannot answers with text.
        continuation: Where it is not empty, nothing is to be written: wanted is how likely this text is after the
            prefill. A backend that can says the natural logarithm of that, summed over the text's tokens, under
            ``logprob`` in the completion's metadata, and their number as ``completion_tokens``.
        json_schema: Where it is not empty, the answer should be JSON that holds to this JSON Schema, given as text; a
            backend that can holds the model to it.
    """

    id: str
    messages: tuple[Message, ...]
    prefill: str = ""
    stop: tuple[str, ...] = ()
    max_tokens: int = 64
    temperature: float = 0.0
    seed: int = 0
    choices: tuple[str, ...] = ()
    continuation: str = ""
    json_schema: str = ""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a backend answered to one request.

    Attributes:
        id: The request's id.
        text: The new text, without the prompt; may or may not repeat the prefill.
        finish_reason: ``stop``, ``length`` (cut off at ``max_tokens``) or ``error``.
        prompt_tokens: Tokens read, or ``None`` where unknown.
        completion_tokens: Tokens generated, or ``None`` where unknown.
        cost: US dollars charged as far as told, or ``None`` where nothing was: never 0 for "not told".
        error: With ``finish_reason == "error"``, why this request alone failed.
        unpriced: Whether tries on the way cost something that was not told, on top of ``cost``.
        metadata: Whatever the backend wants to keep, such as which provider answered; under ``said`` in whose words
            a request failed; under ``choices`` the probability of each of the request's choices that is known, at most
            1 in all; under ``logprob`` that of its continuation.
    """

    id: str
    text: str
    finish_reason: FinishReason = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    error: str = ""
    unpriced: bool = False
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContrastivePair:
    """Two different answers to one scenario: with the trait, and neutral.

    Attributes:
        scenario: The scenario.
        trait: The trait's name.
        positive: The answer with the trait.
        neutral: The other one.
        metadata: What the source and the backend attached, and what a judge found.
        asked: How they were asked for: the positive answer's request and the neutral one's.
    """

    scenario: Scenario
    trait: str
    positive: str
    neutral: str
    metadata: Metadata = field(default_factory=dict)
    asked: tuple[ChatRequest, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says of a pair.

    Attributes:
        reason: Why it is rejected, in words that stay the same and hold no numbers; empty where it is accepted.
        scores: What it found, by name; ``None`` is a score that could not be had.
    """

    reason: str
    scores: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CaaRecord:
    """One line of a dataset: the specified three fields, then flat provenance columns.

    Attributes:
        metadata: What the source, the backend and judges attached; left out of the line where there is nothing.
    """

    question: str
    positive: Option
    neutral: Option
    id: str
    trait: str
    character: str
    situation: str
    positive_text: str
    neutral_text: str
    metadata: Metadata = field(default_factory=dict)

    def as_json(self) -> dict[str, JsonValue]:
        """The record as the dataset's line has it, in the order of the fields."""
        row: dict[str, JsonValue] = {name: getattr(self, name) for name in self.__slots__}
        if not self.metadata:
            del row["metadata"]
        return row


def prompt_of(record: CaaRecord) -> str:
    """What a record asks whoever is shown its answers alone: the scene, a blank line, and who is to speak."""
    asked = f"What should {record.character} say?"
    return f"{record.situation}\n\n{asked}" if record.situation else asked


def is_unpriced(completion: Completion, *, is_free: bool) -> bool:
    """Whether an answer cost something, or may have, that was not told."""
    return completion.unpriced or (completion.cost is None and not is_free)


@dataclass(slots=True)
class Usage:
    """What a run has used, over all its resumes.

    Attributes:
        requests: Answers received, failed ones included.
        failed_requests: Those that failed for good.
        prompt_tokens: Tokens read, as far as told.
        completion_tokens: Tokens generated, as far as told.
        cost: US dollars, as far as told; ``None`` where no answer's cost is known.
        unpriced_requests: Answers whose cost is unknown, or only partly known; none of a backend that is free.
        lost_requests: Requests that were under way when a process was killed: they may have cost something.
        seconds: Wall time spent generating.
    """

    requests: int = 0
    failed_requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    unpriced_requests: int = 0
    lost_requests: int = 0
    seconds: float = 0.0

    def add(self, completion: Completion, *, is_free: bool = False) -> None:
        """Book one answer; of a backend that is free it is known to cost nothing."""
        self.requests += 1
        self.failed_requests += completion.finish_reason == "error"
        self.prompt_tokens += completion.prompt_tokens or 0
        self.completion_tokens += completion.completion_tokens or 0
        self.unpriced_requests += is_unpriced(completion, is_free=is_free)
        if completion.cost is not None:
            self.cost = (self.cost or 0.0) + completion.cost

    def likely_cost(self) -> float:
        """US dollars, taking what was not told for the mean of what was."""
        priced = self.requests - self.unpriced_requests
        return (self.cost or 0.0) * ((self.requests + self.lost_requests) / priced if priced else 1.0)
