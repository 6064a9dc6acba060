"""What plugins may hand over, and what is wrong with what they may not."""

from __future__ import annotations

from typing import get_args

from psyctl_core import schema
from psyctl_core.records import Completion, FinishReason, Persona, Scenario, SkippedRow, Turn


def as_json(scenario: Scenario) -> dict[str, object]:
    """A scenario as its schema describes it."""
    return {
        "id": scenario.id,
        "place": scenario.place,
        "situation": scenario.situation,
        "character": scenario.character,
        "dialogue": [{"speaker": turn.speaker, "text": turn.text} for turn in scenario.dialogue],
    }


def problem(item: object, last_place: int) -> str:
    """What is wrong with an item that a source yielded, or nothing.

    Args:
        item: What came.
        last_place: The place of the item before it; -1 where it is the first.
    """
    if type(item) is Scenario:  # a subclass may be changeable
        if not isinstance(item.dialogue, tuple):
            return f"its dialogue is a {type(item.dialogue).__name__}, which could change later; a tuple is wanted"
        if odd := next((turn for turn in item.dialogue if type(turn) is not Turn), None):
            return f"its dialogue holds a {type(odd).__name__}, which is no Turn"
        if wrong := schema.problem("scenario", as_json(item)):
            return wrong
        if item.dialogue and item.dialogue[-1].speaker == item.character:
            return f"'{item.character}' is to answer their own words"
    elif type(item) is not SkippedRow:
        return f"a {type(item).__name__} is no Scenario or SkippedRow (nor may it be a subclass of them)"
    if item.place <= last_place:
        return f"place {item.place} comes after place {last_place}; places must rise"
    return ""


def completion_problem(completion: object) -> str:
    """What is wrong with something that a backend yielded, or nothing."""
    if not isinstance(completion, Completion):
        return f"a {type(completion).__name__} is no Completion"
    if not isinstance(completion.text, str):
        return f"its text is a {type(completion.text).__name__} (request {completion.id!r})"
    if completion.finish_reason not in get_args(FinishReason):
        return f"its finish_reason is {completion.finish_reason!r} (request {completion.id!r})"
    if not isinstance(completion.error, str):
        return f"its error is a {type(completion.error).__name__} (request {completion.id!r})"
    for name in ("prompt_tokens", "completion_tokens", "cost"):
        value = getattr(completion, name)
        if value is not None and not isinstance(value, (int, float)):
            return f"its {name} is a {type(value).__name__} (request {completion.id!r})"
    return ""


def persona_problem(persona: object) -> str:
    """What is wrong with something that a prompter returned, or nothing."""
    text = persona.description if isinstance(persona, Persona) else None
    if not isinstance(text, str) or not text.strip():  # who wrote it may not have checked types
        return f"it described nobody: {persona!r} is no Persona with a description"
    return ""
