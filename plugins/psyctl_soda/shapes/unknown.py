"""What to say about a data set of no known shape: its columns, a row, and the ``--columns`` line to try."""

from __future__ import annotations

import json
from typing import Any

from psyctl_core.errors import SourceError
from psyctl_soda.shapes.sample import Sample
from psyctl_soda.values import as_list, cells, is_text, objects_in, texts_in

LONGEST_ROW = 600
SHORT = 40


def not_recognised(name: str, sample: Sample, wanted: str = "") -> SourceError:
    """The error for it.

    Args:
        name: The data set's.
        sample: Its first rows.
        wanted: The shape that was asked for, where one was.
    """
    columns = ", ".join(f"{column} ({_kind(sample, column)})" for column in sample.columns)
    what = f"its rows do not have the shape '{wanted}'" if wanted else "the shape of its rows is not recognised"
    row = json.dumps(dict(sample.rows[0]), ensure_ascii=False, default=str)
    shown = row if len(row) <= LONGEST_ROW else f"{row[:LONGEST_ROW]} ..."
    return SourceError(
        f"Dataset '{name}': {what}. Columns: {columns}.",
        f"A row: {shown}\nSay which column is what, such as: --columns {_guess(sample)}\n"
        "Parts: situation, character, speaker, line, conversation; see what comes of it with psyctl source.preview.",
    )


def _kind(sample: Sample, column: str) -> str:
    value: Any = next(cells(list(sample.rows), column), None)
    if value is None:
        return "empty"
    if objects_in(value):
        return "list of objects"
    if as_list(value) is not None:
        return "list of texts" if texts_in(value) else "list"
    kinds = ((bool, "true or false"), (str, "text"), ((int, float), "number"), (dict, "object"))
    return next((kind for types, kind in kinds if isinstance(value, types)), type(value).__name__)


def _guess(sample: Sample) -> str:
    """A line to try: lists of texts are lines and speakers, the longest text a situation, a short one a name."""
    lists = [column for column in sample.columns if sample.mostly(column, lambda value: texts_in(value) is not None)]
    texts = {column: _length(sample, column) for column in sample.columns if sample.mostly(column, is_text)}
    longest = max(texts, key=lambda column: texts[column], default="")
    named = [column for column, length in texts.items() if length <= SHORT and column != longest]
    if lists:
        parts = [("situation", longest)] if longest and texts[longest] > SHORT else []
        parts += [("line", lists[0]), *(("speaker", column) for column in lists[1:2])]
    else:
        parts = [("situation", longest or "COLUMN"), *(("character", column) for column in named[:1])]
    line = ",".join(f"{part}={column}" for part, column in parts)
    return f"'{line}'" if " " in line else line


def _length(sample: Sample, column: str) -> float:
    lengths = [len(value) for value in cells(list(sample.rows), column) if isinstance(value, str)]
    return sum(lengths) / len(lengths) if lengths else 0.0
