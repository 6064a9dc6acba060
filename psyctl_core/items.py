"""What a source may yield, and what is wrong with an item that it may not."""

from __future__ import annotations

from psyctl_core import schema
from psyctl_core.records import Scenario, SkippedRow, Turn


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
