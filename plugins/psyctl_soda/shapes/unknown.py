"""What to say about a data set of no known shape: its columns, a row, and the ``--columns`` line to try.

A line is only suggested that gives a scenario of these very rows, and none of its columns is an id, a date, an
address, a label or an answer.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from psyctl_core.errors import SourceError, UsageError
from psyctl_core.records import Scenario
from psyctl_soda.scenario import to_scenario
from psyctl_soda.shapes import custom
from psyctl_soda.shapes.bare import ANSWERS, ANSWERS_IF_PROSE, ASKED, CHARACTERS
from psyctl_soda.shapes.order import IDS, TIMES
from psyctl_soda.shapes.sample import CONTEXTS, SCENES, Sample, plain
from psyctl_soda.shapes.turnlist import LABELS, SPEAKERS, TEXTS, keys_of
from psyctl_soda.values import as_list, at_path, cells, is_prose, is_text, objects_in, texts_in

MAX_ROW_SHOWN = 600
SHORT = 40
_URL = re.compile(r"^(?:https?://|www\.|/|[A-Za-z]:\\)\S*$|\.(?:png|jpg|jpeg|wav|mp3|mp4|gif)$", re.IGNORECASE)
_DATE = re.compile(r"^\W*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|^\d{1,2}:\d{2}|^\d{4}$")
_HEX = re.compile(r"^[0-9a-f-]{8,}$|^\w*\d\w*[-_:]\w*$|^[A-Z]{1,4}\d+$", re.IGNORECASE)
_META = {
    "id", "url", "uri", "link", "href", "hash", "sha", "guid", "uuid", "path", "file", "filename", "model", "split",
    "lang", "version", "license", "dataset", "src", "origin", "website", "source", "tag", "tags", "class", "score",
    "subreddit", "answer", "answers", "summary", "title", "rationale", "explanation",
}  # fmt: skip


def not_recognised(name: str, sample: Sample, wanted: str = "") -> SourceError:
    """The error for it.

    Args:
        name: The data set's.
        sample: Its first rows.
        wanted: The shape that was asked for, where one was.
    """
    columns = ", ".join(f"{column} ({_kind(sample, column)})" for column in sample.columns)
    what = f"its rows do not have the shape '{wanted}'" if wanted else "the shape of its rows is not recognised"
    return SourceError(
        f"Dataset '{name}': {what}. Columns: {columns}.",
        f"A row: {short_json(sample.rows[0], MAX_ROW_SHOWN)}\n"
        f"Say which column is what, such as: --columns {shlex.quote(suggestion(sample))}\n"
        f"Parts: {', '.join(custom.PARTS)}; see what comes of it with psyctl source.preview.",
    )


def short_json(row: Mapping[str, Any], most: int) -> str:
    """A row as JSON, cut where it is longer than ``most`` characters."""
    try:
        text = json.dumps(dict(row), ensure_ascii=False, default=str)
    except (RecursionError, ValueError):
        return "(nested too deeply)"
    return text if len(text) <= most else f"{text[:most]} ..."


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


def suggestion(sample: Sample) -> str:
    """A ``--columns`` line to try: the first guess of which these rows give a scenario."""
    guesses = list(dict.fromkeys(filter(None, _guesses(sample))))
    good = next((guess for guess in guesses if _gives_a_scenario(guess, sample)), "")
    return good or next(iter(guesses), "situation=COLUMN")


def _gives_a_scenario(guess: str, sample: Sample) -> bool:
    try:
        match = custom.match(custom.parse(guess), sample)
    except UsageError:
        return False
    rows = list(sample.rows)
    items = [to_scenario(match.read(rows if match.group else row), 0) for row in rows[:10]]
    return any(isinstance(item, Scenario) for item in items)


def _guesses(sample: Sample) -> Iterator[str]:
    """Lines to try, the surest first: turns in lists of objects, lists of texts, a question, a scene."""
    whole = sample.lifted() or sample
    scene = _scene(whole)
    for column in whole.columns:
        line = _of_objects(whole, column)
        if line:
            yield _joined([("situation", scene), *line])
    lists = [column for column in whole.columns if whole.mostly(column, _lists_texts) and not _is_meta(whole, column)]
    lines = [column for column in lists if _looks_said(whole, column)] or lists
    for column in lines:
        speaker = next((other for other in lists if other != column and _are_speakers(whole, column, other)), "")
        yield _joined([("situation", scene), ("line", column), ("speaker", speaker)])
    texts = [column for column in whole.columns if whole.mostly(column, is_text) and not _is_meta(whole, column)]
    longest = max(texts, key=lambda column: _length(whole, column), default="")
    named = next((c for c in texts if c != longest and _looks_a_name(whole, c)), "")
    if longest and (not lines or sample.mostly(longest, is_prose)):
        asks = plain(longest) in ASKED and any(plain(c) in ANSWERS for c in whole.columns)
        yield _joined([("line" if asks else "situation", longest), ("character", named)])
        yield _joined([("situation", longest)])


def _of_objects(sample: Sample, column: str) -> list[tuple[str, str]]:
    """Which keys of a list's objects are what, or nothing."""
    if _is_meta(sample, column):
        return []
    found = [items for value in sample.values(column) if (items := objects_in(value))]
    if not found or 2 * len(found) < len(sample.values(column)):
        return []
    keys = keys_of(found) or _longest_key(found)
    if keys is None:
        return []
    text, speaker = (keys.text, keys.speaker) if not isinstance(keys, str) else (keys, "")
    return [("line", f"{column}.{text}"), ("speaker", f"{column}.{speaker}" if speaker else "")]


def _longest_key(found: Sequence[Sequence[Mapping[str, Any]]]) -> str | None:
    turns = [turn for turns in found for turn in turns][:200]
    inside = Sample.of(turns)
    texts = [key for key in inside.columns if inside.mostly(key, is_text) and not _is_meta(inside, key)]
    return max(texts, key=lambda key: _length(inside, key), default=None)


def _joined(parts: Sequence[tuple[str, str]]) -> str:
    return ",".join(f"{part}={column}" for part, column in parts if column)


def _lists_texts(value: object) -> bool:
    return texts_in(value) is not None


def _scene(sample: Sample) -> str:
    """A column of prose that sets a scene beside lines."""
    texts = [
        column
        for column in sample.columns
        if sample.mostly(column, is_text) and not _is_meta(sample, column) and _length(sample, column) > SHORT
    ]
    return next(
        (c for c in texts if plain(c) in (*SCENES, *CONTEXTS)), max(texts, key=lambda c: _length(sample, c), default="")
    )


def _looks_said(sample: Sample, column: str) -> bool:
    texts = [text for value in sample.values(column) for text in texts_in(value) or ()]
    return bool(texts) and 2 * sum(" " in text.strip() or text[-1:] in ".!?" for text in texts) >= len(texts)


def _are_speakers(sample: Sample, lines: str, column: str) -> bool:
    """Whether a list has one short text for each line."""
    pairs = [(texts_in(at_path(row, lines)) or [], texts_in(at_path(row, column)) or []) for row in sample.rows]
    return all(len(one) == len(other) and all(len(name) <= SHORT for name in other) for one, other in pairs)


def _looks_a_name(sample: Sample, column: str) -> bool:
    """Whether a column is called as a character is, and holds short texts that end no sentence."""
    texts = [value.strip() for value in sample.values(column) if isinstance(value, str)]
    called = plain(column) in (*CHARACTERS, *SPEAKERS, "hero", "heroine", "who", "char", "protagonist", "persona")
    return called and bool(texts) and all(len(text) <= SHORT and text[-1:] not in ".!?" for text in texts)


def _is_meta(sample: Sample, column: str) -> bool:
    """Whether a column is an id, a date, an address, a label or an answer."""
    name = plain(column)
    endings = ("id", "url", "uri", "date", "time", "hash", "label", "path", "code", "lang", "type", "category")
    if name in _META or name in LABELS or name in ANSWERS or name in ANSWERS_IF_PROSE or name in TIMES or name in IDS:
        return True
    if name.endswith(endings) and name not in TEXTS:
        return True
    texts = [value.strip() for value in sample.values(column) if isinstance(value, str) and value.strip()]
    odd = sum(bool(_URL.search(t) or _DATE.match(t) or (" " not in t and _HEX.match(t))) for t in texts)
    return bool(texts) and 2 * odd >= len(texts)


def _length(sample: Sample, column: str) -> float:
    lengths = [len(value) for value in sample.values(column) if isinstance(value, str)]
    return sum(lengths) / len(lengths) if lengths else 0.0


def _may_be_said(value: object) -> bool:
    return (is_text(value) and not str(value).strip().isdigit()) or texts_in(value) is not None


def lookalikes(sample: Sample, taken: Sequence[str]) -> list[str]:
    """The columns not used that by their names are a character or a line, and might be missed."""
    known = {*SPEAKERS, *CHARACTERS, *TEXTS, *ASKED, *SCENES, *CONTEXTS}
    free = [column for column in sample.columns if column not in taken and plain(column) in known]
    return [column for column in free if sample.mostly(column, _may_be_said)]
