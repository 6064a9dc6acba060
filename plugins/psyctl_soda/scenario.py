"""From what a row says to a scenario: who answers, where the dialogue is cut, and the scenario's id."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from psyctl_core.records import Scenario, SkippedRow, Turn
from psyctl_soda.markup import filled, has_placeholders, is_about_media, is_omitted, without_reasoning
from psyctl_soda.text import clean_name, is_machine_text, prose, spoken

READING_VERSION = 2
"""Rises whenever the same rows would give other scenarios; part of every run's identity."""

MAX_TEXT = 4000
"""Characters that a scene may have, and likewise what is quoted of a dialogue: about 1,000 tokens each."""

MAX_WORDS = 1_000_000
"""Characters of one turn that are looked at, reasoning included."""

MIN_QUOTED = 40
"""Characters to be quoted of a dialogue that no scene introduces: "Hi!" alone says nothing about anybody."""

USER = "User"
"""What a user is called of whom the data say no name."""

NO_DIALOGUE = "no dialogue"
ONE_SPEAKER = "nobody answers"
NO_NAMES = "names do not match the turns"
TOO_LONG = "too long"
MACHINE = "code or a tool call"
MEDIA = "about an image or a sound"


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a shape understood of a row, as stored: nothing in it is cleaned yet.

    Attributes:
        turns: Speaker and words of each turn, oldest first, read only as far as needed. Words may be
            empty: such a turn is not quoted, but its speaker is there to answer.
        situation: The scene, or anything but a text where there is none.
        answers: The speakers who may answer; empty where anybody may.
        character: Who is about to speak where there are no turns at all.
        whole: Whether the last turn is the answer that the row is about, so that all before it is quoted.
        names: What ``{{user}}`` and ``{{char}}`` stand for, where the data say it.
    """

    turns: Iterable[tuple[object, object]]
    situation: object = ""
    answers: Collection[object] = ()
    character: str = ""
    whole: bool = False
    names: tuple[str, str] = ("", "")


def neutral_name(number: int) -> str:
    """What the speaker numbered ``number`` (from 0) is called where the data have no name for them."""
    return f"Person {chr(ord('A') + number)}" if number < 26 else f"Person {number + 1}"


def to_scenario(conversation: Conversation | str, offset: int) -> Scenario | SkippedRow:
    """The scenario in a row, or why there is none.

    A scene is set before the first answer, so the dialogue is cut where a second speaker first has the
    word. Without a scene it is quoted until there is something to go on, up to the next change of speaker.

    Args:
        conversation: What the shape understood, or the reason for which it refuses the row.
        offset: The row's number.
    """
    if isinstance(conversation, str):
        return SkippedRow(offset, conversation)
    situation = prose(conversation.situation)
    if len(situation) > MAX_TEXT:
        return SkippedRow(offset, TOO_LONG)
    if situation and is_machine_text(str(conversation.situation)):
        return SkippedRow(offset, MACHINE)
    heard, character, reason = _heard(conversation, bool(situation))
    if not character:
        if situation and conversation.character and not heard:
            return _filled(offset, situation, conversation.character, (), conversation.names)
        return SkippedRow(offset, reason)
    dialogue = _latest(heard)
    if not dialogue:
        return SkippedRow(offset, TOO_LONG)
    return _filled(offset, situation, character, dialogue, conversation.names)


def _heard(conversation: Conversation, introduced: bool) -> tuple[list[Turn], str, str]:
    """What is quoted, who answers it, and why nobody does where that is so."""
    heard: list[Turn] = []
    quoted = cut = 0
    character, reason = "", NO_DIALOGUE
    for name, words in conversation.turns:
        speaker = clean_name(name)
        if not speaker:
            reason = NO_NAMES
            break
        may = not conversation.answers or name in conversation.answers
        if heard and may and _another(speaker, heard[-1].speaker):
            cut, character = len(heard), speaker
            if not conversation.whole and (introduced or quoted >= MIN_QUOTED):
                break
        line, refusal = _line(words)
        if refusal:
            reason = refusal
            if conversation.whole:
                character = ""
            break
        if not line:
            continue
        heard.append(Turn(speaker, line))
        quoted += len(line)
        reason = ONE_SPEAKER
        if quoted > 10 * MAX_TEXT and not conversation.whole:
            break
    return heard[:cut] if character else heard, character, reason


def _line(words: object) -> tuple[str, str]:
    """A turn's words, or why they cannot be quoted."""
    if not isinstance(words, str) or is_omitted(words):
        return "", ""
    said = without_reasoning(words[:MAX_WORDS])
    if is_about_media(said):
        return "", MEDIA
    line = spoken(said)
    return ("", MACHINE) if line and is_machine_text(said) else (line, "")


def _filled(
    offset: int, situation: str, character: str, dialogue: tuple[Turn, ...], names: tuple[str, str]
) -> Scenario:
    """The scenario, its placeholders filled in by who speaks."""
    if has_placeholders(situation) or any(has_placeholders(turn.text) for turn in dialogue):
        there = [*dict.fromkeys((*(turn.speaker for turn in dialogue), character))]
        user = names[0] or next((name for name in there if name == USER), "")
        char = names[1] or next((name for name in (character, *there) if name != (user or USER)), character)
        user = user or next((name for name in there if name != char), USER)
        situation = filled(situation, user, char)
        dialogue = tuple(Turn(turn.speaker, filled(turn.text, user, char)) for turn in dialogue)
    return scenario(offset, situation, character, dialogue)


def scenario(offset: int, situation: str, character: str, dialogue: tuple[Turn, ...]) -> Scenario:
    """A scenario whose id depends on its content and place alone; all texts are clean already."""
    parts = [situation, character]
    for turn in dialogue:
        parts += turn.speaker, turn.text
    return Scenario(f"{offset}-{digest(*parts)}", offset, situation, character, dialogue)


def digest(*parts: str) -> str:
    """64 bits of texts' SHA-256, as hexadecimal digits."""
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", errors="replace")).hexdigest()[:16]


def _another(name: str, other: str) -> bool:
    return name != other and name.casefold() != other.casefold()


def _latest(heard: list[Turn]) -> tuple[Turn, ...]:
    """The latest turns that are not over-long together: a dialogue is cut between turns, never inside one."""
    room = MAX_TEXT
    first = len(heard)
    while first and len(heard[first - 1].text) <= room:
        first -= 1
        room -= len(heard[first].text)
    return tuple(heard[first:])
