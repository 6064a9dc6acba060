"""The columns a user names: ``--columns situation=scene,character=hero,speaker=who,line=said,conversation=id``.

Every part is optional but one of ``situation`` and ``line``. A column may hold one value or a list with one a
turn, and ``turns.text`` reaches into objects. ``conversation`` groups the rows of a conversation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from psyctl_core.errors import UsageError
from psyctl_soda.scenario import NO_NAMES, Talk, neutral_name
from psyctl_soda.shapes.bare import bare_talk
from psyctl_soda.shapes.roles import talk_of_partners
from psyctl_soda.shapes.sample import Fit, Row, Sample, used
from psyctl_soda.shapes.speakers import alternating, named
from psyctl_soda.text import clean_name
from psyctl_soda.values import as_list, at_path, is_missing

NAME = "columns"
SUMMARY = "the columns that --columns names"
PARTS = ("situation", "character", "speaker", "line", "conversation")
EXAMPLE = "--columns situation=COLUMN,character=COLUMN,speaker=COLUMN,line=COLUMN"

_PART = re.compile(rf"(?:^|,)\s*({'|'.join(PARTS)})\s*=")


def parse(text: str) -> Mapping[str, str]:
    """The columns by part; a column's name may have commas and blanks in it.

    Raises:
        UsageError: The text is not of that form.
    """
    found = list(_PART.finditer(text))
    if not found or text[: found[0].start()].strip():
        raise UsageError(f"--columns {text!r} is not of the form PART=COLUMN,...", _ways())
    ends = [match.start() for match in found[1:]] + [len(text)]
    columns = {match[1]: text[match.end() : end].strip() for match, end in zip(found, ends, strict=True)}
    if len(columns) < len(found):
        raise UsageError(f"--columns {text!r} gives a part twice.", _ways())
    empty = [part for part, column in columns.items() if not column]
    if empty or not ({"situation", "line"} & columns.keys()):
        what = f"names no column for {empty[0]}" if empty else "gives neither situation nor line"
        raise UsageError(f"--columns {text!r} {what}.", _ways())
    return columns


def _ways() -> str:
    return f"Such as: {EXAMPLE} (parts may be left out, except that situation or line is needed)."


def fit(columns: Mapping[str, str], sample: Sample) -> Fit:
    """Read by these columns.

    Args:
        columns: By part.
        sample: The first rows, which must have all of the columns.

    Raises:
        UsageError: There is no such column.
    """
    for part, column in columns.items():
        if all(is_missing(at_path(row, column)) for row in sample.rows):
            there = column in sample.columns or column.partition(".")[0] in sample.columns
            raise UsageError(
                f"--columns {part}={column}: {'that column is empty' if there else 'there is no such column'}.",
                f"The columns are: {', '.join(sample.columns)}.",
            )
    top = [column if column in sample.columns else column.partition(".")[0] for column in columns.values()]
    group = columns.get("conversation", "")
    why = "--columns " + ",".join(f"{part}={column}" for part, column in columns.items())
    if group:
        return Fit(NAME, why, used(*top), lambda rows: _conversation(rows, columns), group)
    return Fit(NAME, why, used(*top), lambda row: _single(row, columns))


def _single(row: Row, columns: Mapping[str, str]) -> Talk | str:
    situation, character, speaker, line = (_at(row, columns.get(part, "")) for part in PARTS[:4])
    lines, speakers = as_list(line), as_list(speaker)
    if lines is None:
        return _one_line(situation, _first(character), _first(speaker), line)
    if speakers is None and not is_missing(speaker):
        speakers = [speaker] * len(lines)
    if speakers is not None and len(speakers) != len(lines):
        return NO_NAMES
    return _many_lines(situation, _first(character), speakers, lines)


def _conversation(rows: list[Row], columns: Mapping[str, str]) -> Talk | str:
    situation, character, speaker, line = (
        [_at(row, columns[part]) if part in columns else None for row in rows] for part in PARTS[:4]
    )
    first = {part: next((v for v in values if not is_missing(v)), None) for part, values in
             (("situation", situation), ("character", character))}  # fmt: skip
    return _many_lines(first["situation"], first["character"], speaker if "speaker" in columns else None, line)


def _one_line(situation: Any, character: Any, speaker: Any, line: Any) -> Talk | str:
    if is_missing(speaker) or is_missing(line):
        return bare_talk(situation, line, character)
    turns = named([(speaker, line), (character, "")])
    if len(turns) == 1:
        other = neutral_name(int(turns[0][0] == neutral_name(0)))
        turns.append((other, ""))
    return talk_of_partners(turns, situation)


def _many_lines(situation: Any, character: Any, speakers: list[Any] | None, lines: list[Any]) -> Talk | str:
    if all(is_missing(line) for line in lines):
        return bare_talk(situation, "", character)
    who = clean_name(character)
    if speakers is None:
        return Talk(alternating(lines, (neutral_name(int(who == neutral_name(0))), who)), situation)
    turns = named(zip(speakers, lines, strict=True))
    return Talk([*turns, (who, "")], situation, (who,)) if who else talk_of_partners(turns, situation)


def _at(row: Row, column: str) -> Any:
    return at_path(row, column) if column else None


def _first(value: Any) -> Any:
    items = as_list(value)
    return value if items is None else next((item for item in items if not is_missing(item)), None)
