"""A list of turns that names nobody (DailyDialog), or of turns with names in them; also one turn a line.

DailyDialog's ``dialog`` is a list of untrimmed turns, each answering the one before; its text files part
them with ``__eou__``. Persona-Chat tables have a ``chat`` column with one turn a line.
"""

from __future__ import annotations

from typing import Any

from psyctl_soda.scenario import MEDIA, NO_DIALOGUE, Conversation
from psyctl_soda.shapes.chats import NOBODY_NAMED, pictured
from psyctl_soda.shapes.roles import label, named, talk
from psyctl_soda.shapes.sample import Match, Row, Sample, used
from psyctl_soda.shapes.script import is_script, script_turns
from psyctl_soda.shapes.speakers import alternating
from psyctl_soda.values import as_list, is_missing, texts_in

NAME = "turns"
SUMMARY = "a list of turns, or one turn a line, with or without names (DailyDialog, Persona-Chat)"
COLUMNS = (
    "dialog", "dialogue", "dialogs", "dialogues", "utterances", "turns", "conversation", "conversations", "chat",
    "history", "lines", "messages", "exchange", "content", "data", "text", "texts", "prior", "context", "sequence",
    "sentences", "talk", "session", "discussion", "thread",
)  # fmt: skip
LISTED_ONLY = {"content", "data", "text", "texts", "prior", "context", "sequence", "sentences", "session", "thread"}
"""Names among these that are a dialogue only where they hold a list."""

MAX_NAME = 40


def recognises(sample: Sample) -> Match | None:
    """A column named as a dialogue with two or more texts, or a text of two or more lines."""
    paired = sample.named(COLUMNS, lambda value: bool(_pairs(value)))
    if paired and pairs_are_names(sample, paired):
        return _by_pairs(sample, paired)
    column = sample.named(COLUMNS, lambda value: len(_turns(value)) > 1 and not _is_script(value))
    column = column if column and _may(sample, column) else ""
    prefixed = "" if column else sample.named(COLUMNS, lambda value: texts_in(value) is not None and _is_script(value))
    if not column and not prefixed:
        return None
    scene, is_pictured = sample.scene(), pictured(sample)
    scene = "" if scene in (column, prefixed) else scene

    def read(row: Row) -> Conversation | str:
        turns = _turns(row.get(column or prefixed))
        if all(map(is_missing, turns)):
            return NO_DIALOGUE
        if is_pictured(row):
            return MEDIA
        if prefixed:
            return talk(script_turns([turn.replace("\n", " ") for turn in turns]), row.get(scene))
        return Conversation(alternating(turns), row.get(scene))

    form = "turns that begin with names" if prefixed else "turns without names, each answering the one before"
    why = f"column '{column or prefixed}' lists {form}"
    return Match(NAME, why, used(scene, column, prefixed), read, doubts=() if prefixed else (NOBODY_NAMED,))


def _may(sample: Sample, column: str) -> bool:
    name = column.rpartition(".")[2].lower()
    return name not in LISTED_ONLY or sample.mostly(column, lambda value: as_list(value) is not None)


def _by_pairs(sample: Sample, column: str) -> Match:
    scene = sample.scene()
    first = _names_first(sample, column)

    def read(row: Row) -> Conversation | str:
        pairs = _pairs(row.get(column))
        turns = named((label(pair[0 if first else 1]), pair[1 if first else 0]) for pair in pairs)
        return talk(turns, row.get(scene)) if pairs else NO_DIALOGUE

    return Match(NAME, f"column '{column}' lists pairs of name and words", used(scene, column), read)


def pairs_are_names(sample: Sample, column: str) -> bool:
    """Whether the pairs in a column are (name, words), or the other way round, judged over all rows together."""
    return _names_first(sample, column) or _are_names(sample, column, 1)


def _names_first(sample: Sample, column: str) -> bool:
    return _are_names(sample, column, 0)


def _are_names(sample: Sample, column: str, at: int) -> bool:
    """Whether what stands there is short, without a sentence's end, and comes again in a row or in other rows."""
    rows = [[str(pair[at]).strip() for pair in _pairs(value)] for value in sample.values(column)]
    others = [str(pair[1 - at]) for value in sample.values(column) for pair in _pairs(value)]
    names = [name for row in rows for name in row]
    if not names or any(len(name) > MAX_NAME or name[-1:] in "?!。？！" for name in names):
        return False
    if sum(map(len, names)) >= sum(map(len, others)):
        return False
    longer = [row for row in rows if len(row) > 2]
    again = sum(len(set(row)) < len(row) for row in longer)
    if longer and 2 * again >= len(longer):
        return True
    if any(name.lower() in _GREETINGS for name in names):
        return False
    if 2 * len(set(names)) <= len(names) and all(len(set(row)) > 1 for row in rows if len(row) > 1):
        return True
    return all(_looks_a_name(name) for name in names)


def _looks_a_name(name: str) -> bool:
    return len(name.split()) <= 3 and name[:1].isupper() and name[-1:] not in ".,;" and name.lower() not in _GREETINGS


_GREETINGS = {"hi", "hello", "hey", "yes", "no", "thanks", "good morning", "bye", "ok", "okay", "thank you"}


def _pairs(value: Any) -> list[tuple[Any, str]]:
    """Turns that are lists of two, a text among them."""
    items = as_list(value) or []
    pairs = [(item[0], item[1]) for item in items if isinstance(item, (list, tuple)) and len(item) == 2]
    if len(pairs) != len(items) or not all(isinstance(part, (str, int)) for pair in pairs for part in pair):
        return []
    return pairs if all(isinstance(one, str) or isinstance(other, str) for one, other in pairs) else []


def _turns(value: Any) -> list[str]:
    texts = texts_in(value)
    if texts is None and isinstance(value, str):
        texts = value.replace("__eou__", "\n").splitlines()
    return [text for text in texts or () if text.strip()]


def _is_script(value: Any) -> bool:
    return is_script("\n".join(turn.replace("\n", " ") for turn in _turns(value)))
