"""ShareGPT ``conversations``: a list of {from, value}; ``gpt`` answers, tools and system prompts are left out."""

from __future__ import annotations

from typing import Any

from psyctl_soda.scenario import Talk
from psyctl_soda.shapes.roles import chat, content_text
from psyctl_soda.shapes.sample import SCENES, Fit, Row, Sample, used
from psyctl_soda.values import is_text, objects_in

NAME = "sharegpt"
SUMMARY = "ShareGPT conversations: a list of {from, value}"
COLUMNS = ("conversations", "conversation", "chosen")


def recognises(sample: Sample) -> Fit | None:
    """A column with lists of objects that have ``from`` and ``value``."""
    column = sample.any(COLUMNS, _has_conversation)
    if not column:
        return None

    scene = sample.named(SCENES, is_text)

    def read(row: Row) -> Talk | str:
        turns = objects_in(row.get(column)) or ()
        return chat([(turn.get("from"), content_text(turn.get("value"))) for turn in turns], row.get(scene))

    return Fit(NAME, f"column '{column}' lists objects with from and value", used(scene, column), read)


def _has_conversation(value: Any) -> bool:
    return any({"from", "value"} <= turn.keys() for turn in objects_in(value) or ())
