"""A bare scene or prompt, with no dialogue: a narrative is the situation, a prompt is somebody's words.

Beside a column with an answer, what stands in a context, a question or an input is said to whoever answers. Who
acts in a scene is named by a column such as ``character`` or by the scene itself (:mod:`subject`); otherwise the
name is a neutral one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psyctl_soda.scenario import MEDIA, NO_DIALOGUE, USER, Conversation, neutral_name
from psyctl_soda.shapes.chats import pictured
from psyctl_soda.shapes.roles import ASSISTANT
from psyctl_soda.shapes.sample import CONTEXTS, Match, Row, Sample, listed, plain, used
from psyctl_soda.shapes.speakers import names_in
from psyctl_soda.shapes.subject import subject
from psyctl_soda.text import clean_name
from psyctl_soda.values import as_list, is_missing, is_prose, is_text, texts_in

NAME = "bare"
SUMMARY = "a narrative, context or prompt column with no dialogue"
WORDS = ("prompt", "question", "instruction", "query", "request", "user", "human", "usermessage", "userprompt")
ASKED = (
    *WORDS, "input", "q", "message", "post", "questionbody", "questiontext", "body", "selftext", "utterance", "text",
    "inputtext", "userinput", "customer", "inquiry", "statement", "problem", "tweet", "patient", "questiontitle",
    "comment",
)  # fmt: skip
"""Columns that are said to whoever answers, where another column has the answer; the first that there is."""

MORE = ("input", "context", "background", "premise", "passage")
"""Columns that are said with it: what it is about."""

ANSWERS = (
    "response", "output", "answer", "a", "completion", "reply", "assistant", "answers", "answertext", "answerbody",
    "modelresponse", "assistantresponse", "botresponse", "bestanswer", "botmessage", "assistantmessage", "responses",
    "outputtext", "agentresponse", "replytext", "counselorresponse",
)  # fmt: skip
ANSWERS_IF_PROSE = (
    "target",
    "chosen",
    "gpt",
    "bot",
    "humananswers",
    "chatgptanswers",
    "solution",
    "doctor",
    "therapist",
    "agent",
)
CHARACTERS = ("character", "charactername", "protagonist", "name", "speaker", "personx", "characters")


def recognises(sample: Sample) -> Match | None:
    """A column named as a scene or a prompt whose values are texts."""
    final = answer_column(sample)
    said = asked(sample, (final,)) if final else ()
    if said:
        return _answered(sample, said, final)
    scene = sample.scene()
    words = sample.named(WORDS, is_text)
    more = sample.named(("input",), is_text) if words else ""
    if not scene and not words:
        return None
    character = sample.named(CHARACTERS, _names_somebody)
    columns = used(scene, words, more, character)
    why = f"no dialogue, but {'columns' if len(columns) > 1 else 'column'} {listed(columns)}"
    is_pictured = pictured(sample)

    def read(row: Row) -> Conversation | str:
        if is_pictured(row):
            return MEDIA
        said = [value for value in (row.get(words), row.get(more)) if isinstance(value, str)]
        return bare_talk(row.get(scene), "\n".join(said), row.get(character))

    return Match(NAME, why, columns, read, doubts=_doubts(sample, scene, words, character))


def _names_somebody(value: object) -> bool:
    return isinstance(value, str) or texts_in(value) is not None


def _doubts(sample: Sample, scene: str, words: str, character: str) -> tuple[str, ...]:
    if character or (words and not scene):
        return ()
    told = [bool(subject(value)) for value in sample.values(scene) if isinstance(value, str)]
    if all(told):
        return ("who answers is taken from the scene's own sentences",)
    return ("who answers is not named: a scene's sentence may name somebody, otherwise it is Person A",)


def answer_column(sample: Sample, names: Sequence[str] = ANSWERS) -> str:
    """The column that has the answer to what others ask, or ""."""
    return sample.named(names, _is_answer) or sample.named(ANSWERS_IF_PROSE, _is_told)


def _is_answer(value: object) -> bool:
    return isinstance(value, str) or bool(as_list(value)) or (isinstance(value, dict) and bool(value))


def _is_told(value: object) -> bool:
    return is_prose(value) or any(map(is_prose, texts_in(value) or ()))


def asked(sample: Sample, taken: Sequence[str]) -> tuple[str, ...]:
    """The columns that are said to whoever answers, in their order.

    Args:
        sample: The first rows.
        taken: Columns that are something else.
    """
    free = Sample.of([{k: v for k, v in row.items() if k not in taken} for row in sample.rows])
    first = free.named(ASKED, is_text) or free.named(CONTEXTS, is_text)
    title = free.named(("title",), is_text) if plain(first) in ("body", "selftext", "post", "questionbody") else ""
    more = free.named(MORE, lambda value: is_text(value) and " " in str(value).strip()) if first else ""
    more = more or next((name for name in free.columns if plain(name) == "input" and not free.values(name)), "")
    if more == first or plain(first) in MORE[1:]:
        more = ""
    if more and plain(more) == "input" and _is_one_for_all(free, first):
        first, more = more, ""  # the same order in every row is a system prompt
    # What a question is about stands before it; what an instruction works on comes after.
    order = (title, more, first) if plain(first) in ("question", "query", "q") else (title, first, more)
    return used(*order)


def _is_one_for_all(sample: Sample, column: str) -> bool:
    values = sample.values(column)
    return len(values) > 2 and all(value == values[0] for value in values)


def _answered(sample: Sample, said: tuple[str, ...], final: str) -> Match:
    scene = sample.scene()
    scene = "" if scene in said or plain(scene) in CONTEXTS else scene
    character = sample.named(CHARACTERS[:3], lambda value: isinstance(value, str))
    chat = {plain(said[-1]), plain(final)} <= {"user", "human", "assistant", "gpt", "bot"}
    is_pictured = pictured(sample)

    def read(row: Row) -> Conversation | str:
        words = "\n".join(row[name] for name in said if isinstance(row.get(name), str) and not is_missing(row[name]))
        if is_pictured(row):
            return MEDIA
        if not words:
            return bare_talk(row.get(scene), "", row.get(character))
        if chat:
            return Conversation([(USER, words), (ASSISTANT, "")], row.get(scene))
        return bare_talk(row.get(scene), words, row.get(character))

    why = f"{listed(said)} {'are' if len(said) > 1 else 'is'} answered by column '{final}'"
    return Match(NAME, why, used(scene, *said, character, final), read)


def bare_talk(scene: Any, words: Any, character: Any) -> Conversation | str:
    """A talk in which somebody is about to speak, having heard these words or none.

    Args:
        scene: The situation, or anything but a text.
        words: What is said to the character, or anything but a text.
        character: Who answers, or a list of those who may; anything else is nobody.
    """
    scene, words = (value if isinstance(value, str) else "" for value in (scene, words))
    if is_missing(scene) and is_missing(words):
        return NO_DIALOGUE
    name = first_name(character) or subject(scene)
    if is_missing(words):
        return Conversation((), scene, character=name or neutral_name(0))
    speaker = neutral_name(int(name == neutral_name(0)))
    return Conversation([(speaker, words), (name or neutral_name(1), "")], scene)


def first_name(value: object) -> str:
    """The first of the names in a cell, "" where there is none."""
    items = as_list(value)
    if items is not None:
        return next(filter(None, map(clean_name, items)), "")
    if not isinstance(value, str):
        return ""
    return clean_name(next(iter(names_in(value)), "")) or clean_name(value)
