"""Questions with their answers: a list of pairs, two lists side by side, or a history before the last question.

Instruction sets write a chat as ``history`` = [[question, answer], ...] beside the last ``instruction`` and
``output``; others as a list of {input, output}, or as ``questions`` and ``answers``. What a row's answer column
says is the answer that the row is about, so all that comes before it is quoted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from psyctl_soda.scenario import MEDIA, NO_DIALOGUE, USER, Conversation, neutral_name
from psyctl_soda.shapes.bare import ANSWERS, answer_column, asked
from psyctl_soda.shapes.chats import people, pictured
from psyctl_soda.shapes.roles import ASSISTANT, content_text, talk
from psyctl_soda.shapes.sample import Match, Row, Sample, listed, plain, used
from psyctl_soda.shapes.script import is_script, script_turns
from psyctl_soda.values import as_list, is_missing, objects_in, texts_in

NAME = "pairs"
SUMMARY = "questions with their answers: a list of pairs, or a history before the last question"
HISTORIES = (
    "history", "context", "dialoghistory", "dialoguehistory", "dialogcontext", "previousutterance",
    "conversationhistory", "chathistory", "prior", "previous", "priorturns", "contexts", "contextturns", "prompt",
)  # fmt: skip
DIALOGUES = ("turns", "dialog", "dialogue", "utterances")
"""Columns that are a history too, but what a question beside them is about where there is one."""

EXCHANGES = (
    ("input", "output"), ("question", "answer"), ("user", "assistant"), ("human", "assistant"), ("prompt", "response"),
    ("instruction", "output"), ("human", "gpt"), ("query", "response"), ("q", "a"), ("user", "bot"), ("human", "bot"),
    ("human", "moss"), ("instruction", "response"), ("prompt", "completion"), ("user", "system"), ("query", "answer"),
    ("human", "ai"), ("user", "ai"), ("message", "response"), ("usermessage", "botmessage"), ("question", "response"),
    ("usr", "sys"), ("input", "response"), ("prompt", "answer"), ("request", "response"), ("ask", "answer"),
)  # fmt: skip
"""Keys of the objects in a list that hold two turns each; the second says the answer."""

LISTS = (
    ("questions", "answers"), ("inputs", "outputs"), ("prompts", "responses"), ("freemessages", "guidedmessages"),
    ("userutterances", "systemutterances"), ("pastuserinputs", "generatedresponses"), ("instructions", "outputs"),
    ("queries", "responses"), ("usermessages", "botmessages"), ("user", "assistant"), ("human", "assistant"),
    ("usermessages", "assistantmessages"), ("inputtext", "outputtext"), ("userturns", "systemturns"),
)  # fmt: skip
"""Columns that list the turns of one side each."""

FINALS = (*ANSWERS, "characterline", "nextutterance", "target", "responses", "candidates")
"""Columns that hold the answer to a history; the first of several."""


def recognises(sample: Sample) -> Match | None:
    """A history beside an answer, a list of objects with two turns each, or of pairs, or two lists side by side."""
    return _with_history(sample) or _of_objects(sample) or _of_lists(sample) or _of_pairs(sample)


def names_of(instructed: bool) -> tuple[str, str]:
    """What the two are called: user and assistant where somebody is instructed, two people elsewhere."""
    return (USER, ASSISTANT) if instructed else (neutral_name(0), neutral_name(1))


def question_pairs(value: object) -> list[str]:
    """The turns of a list of pairs of texts, one after the other; none for anything else."""
    items = as_list(value) or []
    pairs = [item for item in items if isinstance(item, (list, tuple)) and len(item) == 2]
    if not pairs or len(pairs) != len(items) or not all(isinstance(t, str) or t is None for p in pairs for t in p):
        return []
    return [text or "" for pair in pairs for text in pair]


def _with_history(sample: Sample) -> Match | None:
    """A history of pairs or texts, what is asked last where a column has it, and the answer."""
    final = answer_column(sample, FINALS)
    if not final:
        return None
    names = HISTORIES if asked(sample, (final,)) else (*HISTORIES, *DIALOGUES)
    history = sample.named(names, lambda value: len(_history(value)) > 0)
    if not history or history == final or _is_prose_only(sample, history):
        return None
    question = asked(sample, (history, final))
    instructed = bool(question) or any(question_pairs(value) for value in sample.values(history))
    scene, called, is_pictured = sample.scene(), people(sample), pictured(sample)
    scene = "" if scene in (history, *question, final) else scene

    def read(row: Row) -> Conversation | str:
        if is_pictured(row):
            return MEDIA
        said = _history(row.get(history)) if not is_missing(row.get(history)) else []
        last = "\n".join(row[name] for name in question if isinstance(row.get(name), str) and row[name].strip())
        labelled = _labelled([*said, last] if question else said, row.get(final))
        if labelled:
            return Conversation(labelled, row.get(scene), whole=True, names=called(row))
        return _answered([*said, *([last] if question else [])], row.get(scene), instructed, called(row))

    why = f"column '{history}' holds what was said before {listed([*question, final])}"
    return Match(NAME, why, used(scene, history, *question, final), read)


def _history(value: object) -> list[str]:
    texts = texts_in(value)
    if texts is not None:
        return [text for text in texts if text.strip()] if isinstance(as_list(value), list) else []
    return question_pairs(value) or _exchanged(value)


def _is_prose_only(sample: Sample, column: str) -> bool:
    return all(isinstance(value, str) and as_list(value) is None for value in sample.values(column))


def _labelled(said: Sequence[str], final: object) -> list[tuple[object, object]]:
    """The turns of texts that begin with names, the answer's too; none where they do not."""
    lines = [*said, *([final] if isinstance(final, str) else [])]
    if not said or not is_script("\n".join(line.replace("\n", " ") for line in lines)):
        return []
    turns = script_turns([line.replace("\n", " ") for line in lines])
    return [*turns[:-1], (turns[-1][0], "")] if turns else []


def _answered(said: Sequence[str], scene: object, instructed: bool, called: tuple[str, str]) -> Conversation | str:
    """All that was said, and who answers the last of it: turns alternate, counted from the end."""
    texts = [text for text in said if text.strip()]
    if not texts:
        return NO_DIALOGUE
    names = names_of(instructed)
    if not instructed and len(texts) % 2 == 0:
        names = names[::-1]  # the first to speak is Person A
    answerer, asker = names[1], names[0]
    turns: list[tuple[object, object]] = [
        (asker if (len(texts) - at) % 2 else answerer, text) for at, text in enumerate(texts)
    ]
    shown = {USER: called[0] or USER, ASSISTANT: called[1] or ASSISTANT}
    turns = [(shown.get(str(name), name), text) for name, text in [*turns, (answerer, "")]]
    return Conversation(turns, scene, (shown.get(answerer, answerer),), whole=True, names=called)


def exchange_keys(value: object) -> tuple[str, str] | None:
    """The two keys of a list's objects that hold a question and its answer, or None."""
    items = objects_in(value) or []
    if not items:
        return None
    known = {plain(str(key)): str(key) for item in items[:20] for key in item}
    for one, other in EXCHANGES:
        if one in known and other in known and _are_texts(items, known[one], known[other]):
            return known[one], known[other]
    return None


def _are_texts(items: Sequence[Mapping[str, Any]], one: str, other: str) -> bool:
    return any(isinstance(item.get(one), str) and isinstance(item.get(other), str) for item in items)


def _exchanged(value: object) -> list[str]:
    keys = exchange_keys(value)
    return [content_text(item.get(key)) for item in objects_in(value) or () for key in keys] if keys else []


def _of_objects(sample: Sample) -> Match | None:
    column = sample.any((), lambda value: exchange_keys(value) is not None)
    if not column:
        return None
    keys = next(filter(None, map(exchange_keys, sample.values(column))))
    why = f"column '{column}' lists objects with {listed(keys)}"
    return _alternating(sample, column, _exchanged, why)


def _of_pairs(sample: Sample) -> Match | None:
    from psyctl_soda.shapes.turns import COLUMNS, pairs_are_names

    column = sample.named((*COLUMNS, *HISTORIES, "data"), lambda value: bool(question_pairs(value)))
    if not column or pairs_are_names(sample, column):
        return None
    return _alternating(sample, column, question_pairs, f"column '{column}' lists pairs of question and answer")


def _alternating(sample: Sample, column: str, turns_of: Callable[[object], list[str]], why: str) -> Match:
    scene, called, is_pictured = sample.scene(), people(sample), pictured(sample)

    def read(row: Row) -> Conversation | str:
        texts = turns_of(row.get(column))
        if not any(text.strip() for text in texts):
            return NO_DIALOGUE
        if is_pictured(row):
            return MEDIA
        turns = [((USER, ASSISTANT)[at % 2], text) for at, text in enumerate(texts)]
        return talk(turns, row.get(scene), people=called(row))

    return Match(NAME, why, used(scene, column), read)


def _of_lists(sample: Sample) -> Match | None:
    for one, other in LISTS:
        first = sample.named((one,), lambda value: texts_in(value) is not None)
        second = sample.named((other,), lambda value: _answer_texts(value) is not None)
        if first and second:
            return _side_by_side(sample, first, second)
    return None


def _side_by_side(sample: Sample, first: str, second: str) -> Match:
    scene = sample.scene()
    before = sample.named(("previousutterance",), lambda value: texts_in(value) is not None)
    questions = plain(first) == "questions"

    def read(row: Row) -> Conversation | str:
        asked, answered = texts_in(row.get(first)) or [], _answer_texts(row.get(second)) or []
        turns: list[tuple[object, object]] = [
            (neutral_name(at % 2), text) for at, text in enumerate(texts_in(row.get(before)) or ())
        ]
        for at, text in enumerate(asked):
            turns += [(neutral_name(0), text), (neutral_name(1), answered[at] if at < len(answered) else "")]
        if all(is_missing(text) for _, text in turns):
            return NO_DIALOGUE
        return Conversation(turns, row.get(scene), (neutral_name(1),) if questions else ())

    why = f"columns {first} and {second} list the turns of one side each"
    return Match(NAME, why, used(scene, before, first, second), read)


def _answer_texts(value: object) -> list[str] | None:
    """A list of texts, also inside an object as CoQA has it."""
    if isinstance(value, Mapping):
        return next((texts for name in ("input_text", "text") if (texts := texts_in(value.get(name)))), None)
    return texts_in(value)
