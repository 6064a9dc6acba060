"""The records that move through a run: scenario, persona, request, completion, pair, record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NEUTRAL = "neutral"
"""The trait name under which a prompter is asked for the neutral persona."""

CHARACTER = "{character}"
"""What stands for the character's name inside :attr:`Persona.description`."""

Option = Literal["(1", "(2"]
FinishReason = Literal["stop", "length", "error"]


@dataclass(frozen=True, slots=True)
class Turn:
    """One spoken turn: who spoke and what they said."""

    speaker: str
    text: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """A situation in which one character is about to speak.

    Attributes:
        id: Stable across runs: depends on the row's content and place only.
        place: Where the source can start again to yield this scenario first; strictly increasing.
        situation: Prose that sets the scene; may be empty only if ``dialogue`` is not.
        character: Who answers; never the speaker of the last turn.
        dialogue: What has been said so far, oldest first; may be empty.
    """

    id: str
    place: int
    situation: str
    character: str
    dialogue: tuple[Turn, ...] = ()


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row that holds no usable scenario, with the reason the summary counts it under."""

    place: int
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
    """

    id: str
    messages: tuple[Message, ...]
    prefill: str = ""
    stop: tuple[str, ...] = ()
    max_tokens: int = 64
    temperature: float = 0.0
    seed: int = 0


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
    """

    id: str
    text: str
    finish_reason: FinishReason = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    error: str = ""
    unpriced: bool = False


@dataclass(frozen=True, slots=True)
class ContrastivePair:
    """Two different answers to one scenario: with the trait, and neutral."""

    scenario: Scenario
    trait: str
    positive: str
    neutral: str


@dataclass(frozen=True, slots=True)
class CaaRecord:
    """One line of a dataset: the specified three fields, then flat provenance columns."""

    question: str
    positive: Option
    neutral: Option
    id: str
    trait: str
    character: str
    situation: str
    positive_text: str
    neutral_text: str

    def as_json(self) -> dict[str, str]:
        """The record as the dataset's line has it, in the order of the fields."""
        return {name: getattr(self, name) for name in self.__slots__}
