"""One row an utterance, the rows of a conversation grouped by its id: EmpatheticDialogues and its like.

In EmpatheticDialogues ``prompt`` is the situation and ``context`` an emotion, so a prompt goes first.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from psyctl_soda.scenario import NO_DIALOGUE, Talk
from psyctl_soda.shapes.roles import talk_of_partners
from psyctl_soda.shapes.sample import Fit, Row, Sample, used
from psyctl_soda.shapes.speakers import alternating, named
from psyctl_soda.values import is_missing, is_text

NAME = "utterances"
SUMMARY = "one row an utterance, grouped by a conversation id (EmpatheticDialogues)"
GROUPS = (
    "convid", "conversationid", "conversationhash", "dialogueid", "dialogid", "dialogidx", "dialogueidx", "convidx",
    "threadid", "sessionid", "chatid", "conversation", "conversationno", "dialoguenumber", "sceneid", "episodeid",
)  # fmt: skip
TEXTS = ("utterance", "text", "message", "line", "content", "sentence", "body", "transcript", "words")
SPEAKERS = (
    "speaker", "speakername", "author", "sender", "name", "role", "from", "user", "username", "character",
    "participant", "speakeridx", "speakerid", "senderid", "userid", "authorid", "characterid",
)  # fmt: skip
ORDERS = ("utteranceidx", "utteranceindex", "turnidx", "turnindex", "turnid", "turn", "position", "order", "lineno")


def recognises(sample: Sample) -> Fit | None:
    """A column of ids that stay the same from one row to the next, and one with a text."""
    group = sample.named(GROUPS, lambda value: isinstance(value, (str, int)))
    text = sample.named(TEXTS, is_text)
    if not group or not text:
        return None
    ids = [row.get(group) for row in sample.rows]
    if not any(one == next_one and not is_missing(one) for one, next_one in pairwise(ids)):
        return None
    speaker = sample.named(SPEAKERS, lambda value: isinstance(value, (str, int)))
    order = sample.named(ORDERS, lambda value: _number(value) is not None)
    scene = sample.scene("prompt")
    return Fit(
        NAME,
        f"column '{group}' is the same in the rows of a conversation, and '{text}' has its words",
        used(group, order, speaker, text, scene),
        _reader(scene, speaker, text, order),
        group,
    )


def _reader(scene: str, speaker: str, text: str, order: str) -> Callable[[list[Row]], Talk | str]:
    """What reads a conversation's rows; columns that are not there are given as ""."""

    def read(rows: list[Row]) -> Talk | str:
        if order and all(_number(row.get(order)) is not None for row in rows):
            rows = sorted(rows, key=lambda row: _number(row.get(order)) or 0)
        if all(is_missing(row.get(text)) for row in rows):
            return NO_DIALOGUE
        situation = next((row[scene] for row in rows if scene and not is_missing(row.get(scene))), "")
        if not speaker:
            return Talk(alternating(row.get(text) for row in rows), situation)
        return talk_of_partners(named((row.get(speaker), row.get(text)) for row in rows), situation)

    return read


def _number(value: object) -> float | None:
    if isinstance(value, (int, float)) and value == value:
        return value
    text = value.strip() if isinstance(value, str) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
