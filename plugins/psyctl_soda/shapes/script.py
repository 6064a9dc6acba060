"""One text of ``Name: words`` lines: SAMSum, DialogSum (``#Person1#: ...``), Synthetic-Persona-Chat.

A line that begins with no name goes on with the turn before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from psyctl_soda.scenario import NO_DIALOGUE, Talk
from psyctl_soda.shapes.roles import talk_of_partners
from psyctl_soda.shapes.sample import Fit, Row, Sample, used
from psyctl_soda.shapes.speakers import named
from psyctl_soda.text import LONGEST_RAW
from psyctl_soda.values import is_text

NAME = "script"
SUMMARY = "one text of 'Name: words' lines (SAMSum, DialogSum, Synthetic-Persona-Chat)"
COLUMNS = ("dialogue", "dialog", "conversation", "chat", "script", "transcript", "text", "chosen")

_LINE = re.compile(r"^\W{0,3}(\w[^:\n：]{0,59})[:：](?!//)\s*(.*)$", re.DOTALL)
_WORDS_IN_A_NAME = 5


def recognises(sample: Sample) -> Fit | None:
    """A column whose texts are mostly lines that begin with two or more names."""
    column = sample.any(COLUMNS, lambda value: is_text(value) and is_script(value))
    if not column:
        return None
    scene = sample.scene()
    scene = "" if scene == column else scene

    def read(row: Row) -> Talk | str:
        value = row.get(column)
        turns = script_turns(lines_of(value)) if isinstance(value, str) else []
        return talk_of_partners(turns, row.get(scene)) if turns else NO_DIALOGUE

    return Fit(NAME, f"column '{column}' holds lines of the form 'Name: words'", used(scene, column), read)


def lines_of(text: str) -> list[str]:
    """A text's lines; line ends written as backslash-n, as some exports do, count where there are no others."""
    text = text[:LONGEST_RAW]
    if "\n" not in text and "\\n" in text:
        text = text.replace("\\r", "").replace("\\n", "\n")
    return text.splitlines()


def is_script(text: str) -> bool:
    """Whether half of the lines begin with a name, and two names or more do so."""
    lines = [line for line in lines_of(text) if line.strip()]
    names = [name for name, _ in map(_parted, lines) if name]
    return len(set(names)) > 1 and 2 * len(names) >= len(lines)


def script_turns(lines: Iterable[str]) -> list[tuple[object, object]]:
    """Speaker and words of each turn."""
    turns: list[list[str]] = []
    for line in lines:
        name, words = _parted(line.strip())
        if name:
            turns.append([name, words])
        elif turns and line.strip():
            turns[-1][1] += f"\n{line.strip()}"
    return named((name, words) for name, words in turns)


def _parted(line: str) -> tuple[str, str]:
    """A line's name and words, or "" and the line. A time such as 10:30 or a web address is no name."""
    match = _LINE.match(line.strip())
    if match is None or match[1].strip().isdigit() or len(match[1].split()) > _WORDS_IN_A_NAME:
        return "", line
    return match[1].strip(), match[2]
