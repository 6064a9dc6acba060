"""From what a row says to a scenario: who answers, where the dialogue is cut, and the scenario's id."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from psyctl_core.records import Scenario, SkippedRow, Turn
from psyctl_soda.text import clean, clean_name, is_machine_text, spoken

READING_VERSION = 1
"""Rises whenever the same rows would give other scenarios; part of every run's identity."""

LONGEST = 4000
"""Characters that a scene may have, and likewise what is quoted of a dialogue: about 1,000 tokens each."""

ENOUGH = 40
"""Characters to be quoted of a dialogue that no scene introduces: "Hi!" alone says nothing about anybody."""

NO_DIALOGUE = "no dialogue"
ONE_SPEAKER = "nobody answers"
NO_NAMES = "names do not match the turns"
TOO_LONG = "too long"
MACHINE = "code or a tool call"


@dataclass(frozen=True, slots=True)
class Talk:
    """What a shape understood of a row, as stored: nothing in it is cleaned yet.

    Attributes:
        turns: Speaker and words of each turn, oldest first, read only as far as needed. Words may be
            empty: such a turn is not quoted, but its speaker is there to answer.
        situation: The scene, or anything but a text where there is none.
        answers: The speakers who may answer; empty where anybody may.
        character: Who is about to speak where there are no turns at all.
    """

    turns: Iterable[tuple[object, object]]
    situation: object = ""
    answers: Collection[object] = ()
    character: str = ""


def neutral_name(number: int) -> str:
    """What the speaker numbered ``number`` (from 0) is called where the data have no name for them."""
    return f"Person {chr(ord('A') + number)}" if number < 26 else f"Person {number + 1}"


def to_scenario(talk: Talk | str, offset: int) -> Scenario | SkippedRow:
    """The scenario in a row, or why there is none.

    A scene is set before the first answer, so the dialogue is cut where a second speaker first has the
    word. Without a scene it is quoted until there is something to go on, up to the next change of speaker.

    Args:
        talk: What the shape understood, or the reason for which it refuses the row.
        offset: The row's number.
    """
    if isinstance(talk, str):
        return SkippedRow(offset, talk)
    situation = clean(talk.situation)
    if len(situation) > LONGEST:
        return SkippedRow(offset, TOO_LONG)
    if situation and is_machine_text(str(talk.situation)):
        return SkippedRow(offset, MACHINE)
    heard: list[Turn] = []
    quoted = 0
    cut, character, reason = 0, "", NO_DIALOGUE
    for name, words in talk.turns:
        speaker = clean_name(name)
        if not speaker:
            reason = NO_NAMES
            break
        if heard and _another(speaker, heard[-1].speaker) and (not talk.answers or name in talk.answers):
            cut, character = len(heard), speaker
            if situation or quoted >= ENOUGH:
                break
        line = spoken(words)
        if not line:
            continue
        if is_machine_text(str(words)):
            reason = MACHINE
            break
        heard.append(Turn(speaker, line))
        quoted += len(line)
        reason = ONE_SPEAKER
        if quoted > 10 * LONGEST:
            break
    if not character:
        if situation and talk.character and not heard:
            return scenario(offset, situation, talk.character, ())
        return SkippedRow(offset, reason)
    dialogue = _latest(heard[:cut])
    if not dialogue:
        return SkippedRow(offset, TOO_LONG)
    return scenario(offset, situation, character, dialogue)


def scenario(offset: int, situation: str, character: str, dialogue: tuple[Turn, ...]) -> Scenario:
    """A scenario whose id depends on its content and offset alone; all texts are clean already."""
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
    room = LONGEST
    first = len(heard)
    while first and len(heard[first - 1].text) <= room:
        first -= 1
        room -= len(heard[first].text)
    return tuple(heard[first:])
