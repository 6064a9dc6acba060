"""A list of turns that names nobody (DailyDialog), or of turns with names in them; also one turn a line.

DailyDialog's ``dialog`` is a list of untrimmed turns, each answering the one before; its text files part
them with ``__eou__``. Persona-Chat tables have a ``chat`` column with one turn a line.
"""

from __future__ import annotations

from typing import Any

from psyctl_soda.scenario import NO_DIALOGUE, Talk
from psyctl_soda.shapes.roles import talk_of_partners
from psyctl_soda.shapes.sample import Fit, Row, Sample, used
from psyctl_soda.shapes.script import is_script, script_turns
from psyctl_soda.shapes.speakers import alternating, named
from psyctl_soda.values import as_list, is_missing, texts_in

NAME = "turns"
SUMMARY = "a list of turns, or one turn a line, with or without names (DailyDialog, Persona-Chat)"
COLUMNS = (
    "dialog", "dialogue", "dialogs", "dialogues", "utterances", "turns", "conversation", "conversations", "chat",
    "history", "lines", "messages", "exchange",
)  # fmt: skip
LONGEST_NAME = 40


def recognises(sample: Sample) -> Fit | None:
    """A column named as a dialogue with two or more texts, or a text of two or more lines."""
    paired = sample.named(COLUMNS, lambda value: bool(_pairs(value)))
    if paired:
        return _by_pairs(paired, sample.scene())
    column = sample.named(COLUMNS, lambda value: len(_turns(value)) > 1 and not _is_script(value))
    prefixed = "" if column else sample.named(COLUMNS, lambda value: texts_in(value) is not None and _is_script(value))
    if not column and not prefixed:
        return None
    scene = sample.scene()

    def read(row: Row) -> Talk | str:
        turns = _turns(row.get(column or prefixed))
        if all(map(is_missing, turns)):
            return NO_DIALOGUE
        if prefixed:
            return Talk(script_turns(turns), row.get(scene))
        return Talk(alternating(turns), row.get(scene))

    form = "turns that begin with names" if prefixed else "turns without names, each answering the one before"
    return Fit(NAME, f"column '{column or prefixed}' lists {form}", used(scene, column, prefixed), read)


def _by_pairs(column: str, scene: str) -> Fit:
    def read(row: Row) -> Talk | str:
        pairs = _pairs(row.get(column))
        return talk_of_partners(named(pairs), row.get(scene)) if pairs else NO_DIALOGUE

    return Fit(NAME, f"column '{column}' lists pairs of name and words", used(scene, column), read)


def _pairs(value: Any) -> list[tuple[str, str]]:
    """Turns that are lists of two texts, a name and words: names are short and come again."""
    items = as_list(value) or []
    pairs = [(item[0], item[1]) for item in items if isinstance(item, (list, tuple)) and len(item) == 2]
    if len(pairs) != len(items) or not all(isinstance(part, str) for pair in pairs for part in pair):
        return []
    names = {name for name, _ in pairs}
    return pairs if all(len(name) <= LONGEST_NAME for name in names) and len(names) <= 1 + len(pairs) // 2 else []


def _turns(value: Any) -> list[str]:
    texts = texts_in(value)
    if texts is None and isinstance(value, str):
        texts = value.replace("__eou__", "\n").splitlines()
    return [text for text in texts or () if text.strip()]


def _is_script(value: Any) -> bool:
    return is_script("\n".join(_turns(value)))
