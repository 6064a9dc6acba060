"""What the shapes that list turn objects have in common: a row's turns, its scene, and what its people are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from psyctl_soda.scenario import MEDIA, NO_DIALOGUE, Conversation, neutral_name
from psyctl_soda.shapes.roles import talk
from psyctl_soda.shapes.sample import Match, Row, Sample, listed, used
from psyctl_soda.shapes.speakers import alternating
from psyctl_soda.shapes.turnlist import Keys, keys_of, turn_objects
from psyctl_soda.text import clean_name
from psyctl_soda.values import is_missing, is_text

BOTS = ("botname", "charname", "charactername", "assistantname", "ainame", "character", "char", "bot")
USERS = ("username", "humanname", "usernickname")
IMAGES = (
    "image",
    "images",
    "img",
    "picture",
    "pictures",
    "photo",
    "video",
    "videos",
    "imagepath",
    "imageurl",
    "imagefile",
)
TWO_NAMES = ("characterName1", "characterName2")
MAX_CALLED = 40
NOBODY_NAMED = "nobody is named: turns are taken to alternate between two people"


def _is_name(value: object) -> bool:
    return is_text(value) and len(str(value)) <= MAX_CALLED and str(value).strip()[-1] not in ".!?"


def people(sample: Sample) -> Callable[[Row], tuple[str, str]]:
    """What tells the user's and the assistant's names of a row, each "" where there is none."""
    user, bot = sample.named(USERS, _is_name), sample.named(BOTS, _is_name)
    return lambda row: (clean_name(row.get(user)), clean_name(row.get(bot)))


def pictured(sample: Sample) -> Callable[[Row], bool]:
    """What tells whether a row is about a picture or a film that stands in a column of its own."""
    column = sample.named(IMAGES, lambda value: not is_missing(value))
    return lambda row: bool(column) and not is_missing(row.get(column)) and row.get(column) not in ([], {}, False)


def match_list(
    sample: Sample, shape: str, column: str, *, text: str = "", speaker: str = "", chat: bool = False
) -> Match | None:
    """How to read a column that lists turn objects.

    Args:
        sample: The first rows.
        shape: The shape's name.
        column: The column.
        text: The key of the words, where it is known.
        speaker: The speaker's key, likewise.
        chat: Whether a user is always answered by an assistant.
    """
    keys = keys_of([turn_objects(value) or [] for value in sample.values(column)], text, speaker)
    if keys is None:
        return None
    names = used(*(name for name in TWO_NAMES if not keys.speaker and name in sample.columns))
    scene, called, is_pictured = sample.scene(), people(sample), pictured(sample)
    scene = "" if scene == column else scene

    def read(row: Row) -> Conversation | str:
        turns = turn_objects(row.get(column))
        if not turns:
            return NO_DIALOGUE
        if is_pictured(row):
            return MEDIA
        said = keys.said(turns)
        if not keys.speaker:
            return Conversation(alternating((words for _, words in said), _two(row, names)), row.get(scene))
        return talk(said, row.get(scene), chat=chat, people=_both(called(row), keys.people(turns)))

    return Match(
        shape, _why(column, keys, names), used(scene, column, *names, *_name_columns(sample)), read,
        doubts=_doubts(keys, names),
    )  # fmt: skip


def _both(one: tuple[str, str], other: tuple[str, str]) -> tuple[str, str]:
    return one[0] or other[0], one[1] or other[1]


def _name_columns(sample: Sample) -> tuple[str, ...]:
    image = sample.named(IMAGES, lambda value: not is_missing(value))
    return used(sample.named(USERS, _is_name), sample.named(BOTS, _is_name), image)


def _why(column: str, keys: Keys, names: tuple[str, ...]) -> str:
    found = listed([key for key in (keys.speaker, keys.text) if key])
    order = f", ordered by {listed(keys.order.keys)}" if keys.order.keys else ""
    return f"column '{column}' lists objects with {found}{'' if keys.speaker or names else ' and nobody named'}{order}"


def _doubts(keys: Keys, names: tuple[str, ...]) -> tuple[str, ...]:
    if keys.guessed:
        return (f"who speaks is taken from '{keys.speaker}' because of its values",)
    return () if keys.speaker or names else (NOBODY_NAMED,)


def _two(row: Mapping[str, Any], names: tuple[str, ...]) -> tuple[object, object]:
    first, second = [row.get(name) for name in names] if len(names) == 2 else ("", "")
    both = isinstance(first, str) and isinstance(second, str) and first.strip() != second.strip()
    return (first, second) if both else (neutral_name(0), neutral_name(1))
