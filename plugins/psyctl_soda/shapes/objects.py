"""A list of turn objects, each with words and mostly a speaker: MultiWOZ, SGD, ConvAI2, Cornell, Persona-Chat.

MultiWOZ 2.2 and SGD have ``turns`` of {speaker, utterance}; ConvAI2 has ``dialog`` of {sender, text};
Cornell has ``utterance`` = {"text": [...]} with its two speakers' names in columns of their own, the one
who begins first; Persona-Chat has ``utterances`` whose last one's ``history`` is the whole chat. Trees of
replies are read along one path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psyctl_soda.scenario import NO_DIALOGUE, ONE_SPEAKER, Conversation, neutral_name
from psyctl_soda.shapes.chats import NOBODY_NAMED, match_list
from psyctl_soda.shapes.order import CHILDREN, branch
from psyctl_soda.shapes.roles import content_text, label, named, talk
from psyctl_soda.shapes.sample import Match, Row, Sample, listed, plain, used
from psyctl_soda.shapes.speakers import alternating
from psyctl_soda.shapes.turnlist import SPEAKERS, TEXTS, keys_of, speaker_key, text_key, turn_objects
from psyctl_soda.values import is_missing, is_text, objects_in, texts_in

NAME = "objects"
SUMMARY = "turn objects: a list of {speaker, text} under whatever names (MultiWOZ, SGD, ConvAI2, Cornell)"
COLUMNS = (
    "turns", "dialog", "dialogue", "utterances", "utterance", "conversation", "log", "messages", "chat", "content",
    "conversations", "dialogs", "dialogues", "comments", "thread", "chatmessages", "mapping", "tree",
)  # fmt: skip


def recognises(sample: Sample) -> Match | None:
    """A column with lists of objects that have words and, in a column of any other name, speakers."""
    tree = sample.named(CHILDREN, lambda value: bool(_text(value)))
    if tree and sample.named((*TEXTS, "title"), is_text):
        return _of_posts(sample, tree)
    histories = sample.named(COLUMNS, lambda value: _history(value) is not None)
    if histories:
        return _with_histories(sample, histories)
    column = sample.named(COLUMNS, lambda value: bool(_text(value)))
    column = column or sample.any((), lambda value: bool(_text(value) and _speaker(value)))
    column = column or sample.any((), _has_guessed_speaker)
    return match_list(sample, NAME, column) if column else None


def _several(value: Any) -> list[Any]:
    turns = turn_objects(value) or []
    return turns if isinstance(value, (list, tuple)) or len(turns) > 1 else []


def _text(value: Any) -> str:
    return text_key(_several(value))


def _speaker(value: Any) -> str:
    return speaker_key(_several(value))


def _has_guessed_speaker(value: Any) -> bool:
    keys = keys_of([_several(value)])
    return keys is not None and keys.guessed


def _of_posts(sample: Sample, column: str) -> Match:
    """Rows that are posts with the replies to them, and those to these, inside: one path of each."""
    texts = used(*(sample.named((name,), is_text) for name in ("title", *TEXTS)))

    def read(row: Row) -> Conversation | str:
        path = branch(row)
        if path is None:
            return NO_DIALOGUE if all(is_missing(row.get(name)) for name in texts) else ONE_SPEAKER
        turns = [(_author(node) or neutral_name(at % 2), _words(node)) for at, node in enumerate(path)]
        return talk(named(turns))

    author = sample.named(SPEAKERS, is_text)
    why = f"column '{column}' holds the replies to {listed(texts)}"
    return Match(NAME, why, used(author, *texts, column), read)


def _author(node: Mapping[str, Any]) -> str:
    keys = {plain(str(key)): value for key, value in node.items()}
    return next((name for key in SPEAKERS if key in keys and (name := label(keys[key], key))), "")


def _words(node: Mapping[str, Any]) -> str:
    keys = {plain(str(key)): value for key, value in node.items()}
    text = next((words for key in TEXTS if (words := content_text(keys.get(key)).strip())), "")
    return "\n".join(filter(None, (content_text(keys.get("title")), text)))


def _with_histories(sample: Sample, column: str) -> Match:
    scene = sample.scene()

    def read(row: Row) -> Conversation | str:
        items = _history(row.get(column))
        return Conversation(alternating(items), row.get(scene)) if items else NO_DIALOGUE

    why = f"column '{column}' lists objects with history and nobody named"
    return Match(NAME, why, used(scene, column), read, doubts=(NOBODY_NAMED,))


def _history(value: object) -> list[str] | None:
    """Persona-Chat: the last entry's history, and the answer that stands last among its candidates."""
    items = objects_in(value) or []
    history = texts_in(items[-1].get("history")) if items else None
    if history is None:
        return None
    candidates = texts_in(items[-1].get("candidates")) or []
    return [*history, *candidates[-1:]]
