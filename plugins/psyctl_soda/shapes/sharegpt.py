"""ShareGPT ``conversations``: a list of {from, value}; ``gpt`` answers, tools and system prompts are left out."""

from __future__ import annotations

from typing import Any

from psyctl_soda.shapes.chats import match_list
from psyctl_soda.shapes.sample import Match, Sample
from psyctl_soda.shapes.turnlist import turn_objects

NAME = "sharegpt"
SUMMARY = "ShareGPT conversations: a list of {from, value}"
COLUMNS = ("conversations", "conversation", "chosen")


def recognises(sample: Sample) -> Match | None:
    """A column with lists of objects that have ``from`` and ``value``."""
    column = sample.any(COLUMNS, _has_conversation)
    return match_list(sample, NAME, column, text="value", speaker="from", chat=True) if column else None


def _has_conversation(value: Any) -> bool:
    return any({"from", "value"} <= turn.keys() for turn in turn_objects(value) or ())
