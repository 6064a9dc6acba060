"""The columns a user names: ``--columns situation=scene,character=hero,speaker=who,line=said,conversation=id``.

Every part is optional but one of ``situation`` and ``line``. A column may hold one value or a list with one a
turn, and ``turns.text`` reaches into objects. ``conversation`` groups the rows of a conversation, and ``order`` is
a number or a time by which its turns are put in order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from psyctl_core.errors import UsageError, did_you_mean
from psyctl_soda.scenario import NO_NAMES, Conversation, neutral_name
from psyctl_soda.shapes.bare import bare_talk, first_name
from psyctl_soda.shapes.chats import NOBODY_NAMED
from psyctl_soda.shapes.order import number_in
from psyctl_soda.shapes.roles import content_text, label, named, talk
from psyctl_soda.shapes.sample import Match, Row, Sample, plain, used
from psyctl_soda.shapes.speakers import alternating, names_in
from psyctl_soda.values import as_list, at_path, is_missing

NAME = "columns"
SUMMARY = "the columns that --columns names"
PARTS = ("situation", "character", "speaker", "line", "conversation", "order")
EXAMPLE = "--columns situation=COLUMN,character=COLUMN,speaker=COLUMN,line=COLUMN"

_PART = re.compile(r"(?:^|,)\s*([A-Za-z_]+)\s*=")


def parse(text: str) -> Mapping[str, str]:
    """The columns by part; a column's name may have commas and blanks in it.

    Raises:
        UsageError: The text is not of that form.
    """
    found = list(_PART.finditer(text))
    if not found or text[: found[0].start()].strip():
        raise UsageError(f"--columns {text!r} is not of the form PART=COLUMN,...", _ways())
    unknown = next((match[1] for match in found if match[1] not in PARTS), "")
    if unknown:
        raise UsageError(
            f"--columns {text!r}: '{unknown}' is not a part.",
            f"{did_you_mean(unknown, PARTS)}The parts are: {', '.join(PARTS)}. {_ways()}",
        )
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


def match(columns: Mapping[str, str], sample: Sample) -> Match:
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
    doubts = (NOBODY_NAMED,) if _names_nobody(columns, sample) else ()
    if group:
        return Match(NAME, why, used(*top), lambda rows: _conversation(rows, columns), group, doubts)
    return Match(NAME, why, used(*top), lambda row: _single(row, columns), doubts=doubts)


def _names_nobody(columns: Mapping[str, str], sample: Sample) -> bool:
    """Whether several lines have nobody to say them."""
    several = "conversation" in columns or any(as_list(at_path(row, columns.get("line", ""))) for row in sample.rows)
    return "line" in columns and "speaker" not in columns and several


def _single(row: Row, columns: Mapping[str, str]) -> Conversation | str:
    situation, character, speaker, line = (_at(row, columns.get(part, "")) for part in PARTS[:4])
    lines, speakers = as_list(line), as_list(speaker)
    if lines is None:
        return _one_line(situation, _first(character), _first(speaker), line)
    if speakers is None and isinstance(speaker, str) and len(names_in(speaker)) == len(lines) > 1:
        speakers = list(names_in(speaker))
    if speakers is None and not is_missing(speaker):
        speakers = [speaker] * len(lines)
    if speakers is not None and len(speakers) != len(lines):
        return NO_NAMES
    places = as_list(_at(row, columns.get("order", "")))
    if places is not None and len(places) == len(lines):
        ordered = _ordered(places)
        lines = [lines[at] for at in ordered]
        speakers = [speakers[at] for at in ordered] if speakers is not None else None
    return _many_lines(situation, _first(character), _labels(speakers, columns), lines)


def _conversation(rows: list[Row], columns: Mapping[str, str]) -> Conversation | str:
    if "order" in columns:
        order = _ordered([_at(row, columns["order"]) for row in rows])
        rows = [rows[at] for at in order]
    situation, character, speaker, line = (
        [_at(row, columns[part]) if part in columns else None for row in rows] for part in PARTS[:4]
    )
    first = {part: next((v for v in values if not is_missing(v)), None) for part, values in
             (("situation", situation), ("character", character))}  # fmt: skip
    speakers = _labels(speaker, columns) if "speaker" in columns else None
    return _many_lines(first["situation"], first["character"], speakers, line)


def _ordered(places: list[Any]) -> list[int]:
    """The turns' numbers in the order of these places; as they stand where one is not a number or a time."""
    numbers = [number_in(offset) for offset in places]
    known = [number if number is not None else 0.0 for number in numbers]
    return sorted(range(len(places)), key=known.__getitem__) if None not in numbers else list(range(len(places)))


def _labels(speakers: list[Any] | None, columns: Mapping[str, str]) -> list[Any] | None:
    """The speakers' labels, flags such as ``is_human`` told by their column's name."""
    key = plain(columns.get("speaker", ""))
    return None if speakers is None else [label(speaker, key) for speaker in speakers]


def _one_line(situation: Any, character: Any, speaker: Any, line: Any) -> Conversation | str:
    if is_missing(speaker) or is_missing(line):
        return bare_talk(situation, line, character)
    turns = named([(speaker, line), (character, "")])
    if len(turns) == 1:
        other = neutral_name(int(turns[0][0] == neutral_name(0)))
        turns.append((other, ""))
    return talk(turns, situation)


def _many_lines(situation: Any, character: Any, speakers: list[Any] | None, lines: list[Any]) -> Conversation | str:
    lines = [content_text(line) or line for line in lines]
    if all(is_missing(line) for line in lines):
        return bare_talk(situation, "", character)
    who = first_name(character)
    if speakers is None:
        return Conversation(alternating(lines, (neutral_name(int(who == neutral_name(0))), who)), situation)
    turns = named(zip(speakers, lines, strict=True))
    return Conversation([*turns, (who, "")], situation, (who,)) if who else talk(turns, situation)


def _at(row: Row, column: str) -> Any:
    return at_path(row, column) if column else None


def _first(value: Any) -> Any:
    items = as_list(value)
    return value if items is None else next((item for item in items if not is_missing(item)), None)
