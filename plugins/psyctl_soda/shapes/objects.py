"""A list of turn objects, each with words and mostly a speaker: MultiWOZ, SGD, ConvAI2, Cornell, Persona-Chat.

MultiWOZ 2.2 and SGD have ``turns`` of {speaker, utterance}; ConvAI2 has ``dialog`` of {sender, text};
Cornell has ``utterance`` = {"text": [...]} with its two speakers' names in columns of their own, the one
who begins first; Persona-Chat has ``utterances`` whose last one's ``history`` is the whole chat.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from psyctl_soda.scenario import NO_DIALOGUE, Talk
from psyctl_soda.shapes.roles import talk_of_partners
from psyctl_soda.shapes.sample import Fit, Row, Sample, listed, plain, used
from psyctl_soda.shapes.speakers import alternating, named
from psyctl_soda.values import objects_in, texts_in

NAME = "objects"
SUMMARY = "turn objects: a list of {speaker, text} under whatever names (MultiWOZ, SGD, ConvAI2, Cornell)"
COLUMNS = ("turns", "dialog", "dialogue", "utterances", "utterance", "conversation", "log", "messages", "chat")
TEXTS = ("utterance", "text", "content", "message", "value", "line", "sentence", "transcript", "body", "speech")
SPEAKERS = (
    "speaker", "speakername", "sender", "sendername", "author", "name", "role", "from", "user", "username",
    "participant", "character", "agent", "agentid", "senderid", "speakerid", "userid", "speakerrole", "who",
    "ishuman", "isuser", "isbot",
)  # fmt: skip
TWO_NAMES = ("characterName1", "characterName2")


def recognises(sample: Sample) -> Fit | None:
    """A column with lists of objects that have words and, in a column of any other name, speakers."""
    column = sample.named(COLUMNS, lambda value: bool(_text_key(value) or _history(value)))
    column = column or sample.any((), lambda value: bool(_text_key(value) and _speaker_key(value)))
    if not column:
        return None
    values = [value for row in sample.rows for value in objects_in(row.get(column)) or ()]
    text, speaker = _text_key(values), _speaker_key(values)
    names = used(*(name for name in TWO_NAMES if not speaker and name in sample.columns))
    scene = sample.scene()

    def read(row: Row) -> Talk | str:
        items = objects_in(row.get(column))
        if not items:
            return NO_DIALOGUE
        if not text:
            return Talk(alternating(_history(items) or ()), row.get(scene))
        if not speaker:
            return Talk(alternating((item.get(text) for item in items), _two(row, names)), row.get(scene))
        return talk_of_partners(named((item.get(speaker), item.get(text)) for item in items), row.get(scene))

    keys = listed([key for key in (speaker, text) if key]) or "history"
    why = f"column '{column}' lists objects with {keys}{'' if speaker or names else ' and nobody named'}"
    return Fit(NAME, why, used(scene, column, *names), read)


def _two(row: Row, names: tuple[str, ...]) -> tuple[object, object]:
    first, second = [row.get(name) for name in names] if len(names) == 2 else ("", "")
    both = isinstance(first, str) and isinstance(second, str) and first.strip() != second.strip()
    return (first, second) if both else ("", "")


def _keys(objects: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(str(key) for item in objects for key in item))


def _text_key(value: object) -> str:
    """The key under which most of the objects have words, or ""."""
    items = objects_in(value) or []
    for name in TEXTS:
        for key in _keys(items):
            if plain(key) == name and 2 * sum(isinstance(item.get(key), str) for item in items) >= len(items):
                return key
    return ""


def _speaker_key(value: object) -> str:
    """The key that says who speaks, or ""."""
    items = objects_in(value) or []
    keys = [key for key in _keys(items) if key != _text_key(items)]
    return next((key for name in SPEAKERS for key in keys if plain(key) == name), "")


def _history(value: object) -> list[str] | None:
    """Persona-Chat: the last entry's history, and the answer that stands last among its candidates."""
    items = objects_in(value) or []
    history = texts_in(items[-1].get("history")) if items else None
    if history is None:
        return None
    candidates = texts_in(items[-1].get("candidates")) or []
    return [*history, *candidates[-1:]]
