"""Reads pairs from files that no run of psyctl's lies beside: whose they are is told by their columns."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from psyctl_core._plugins.problems import storable
from psyctl_core.checks import CheckedPair
from psyctl_core.errors import UsageError
from psyctl_core.figures import counted

Row = Mapping[str, object]

SIDES = (
    ("positive_text", "neutral_text"),
    ("answer_matching_behavior", "answer_not_matching_behavior"),
    ("matching", "not_matching"),
    ("chosen", "rejected"),
    ("positive", "negative"),
    ("positive", "neutral"),
)
"""The columns of both sides, as psyctl, CAA, EasyEdit, preference data and plain tables name them."""

SIDE_BY_SIDE = frozenset(("question", "prompt", "answer", "question_id", "coherence"))
"""The columns of one of two row-aligned files, as persona_vectors writes them; the one left over is the trait's."""

_LABEL = re.compile(r"\s*\(?([A-Za-z]|\d)\)?\s*")
_OPTION = re.compile(r"^[ \t]*\(?([A-Z]|\d)[).][ \t]*", re.MULTILINE)
_CHOICES = re.compile(r"Choices:|\[Question\]")
_ANSWER = re.compile(r"\s*\[?Answer\]?:?\s*$")
_SCENE = re.compile(r"\[Situation\]\n(.*?)\n\[Question\]", re.DOTALL)


def read_pairs(path: Path) -> tuple[dict[str, list[CheckedPair]], Counter[str]]:
    """The pairs of one file by their trait (empty where it is not told), and the rows left out, by reason.

    Raises:
        UsageError: The file cannot be read, or has no columns that hold two sides.
    """
    rows = _rows(path)
    columns = dict.fromkeys(str(name) for row in rows for name in row)
    sides = next((sides for sides in SIDES if set(sides) <= columns.keys()), None)
    if sides is None:
        known = "; ".join(" and ".join(names) for names in SIDES)
        if {"question", "answer"} <= columns.keys():
            raise UsageError(
                f"'{path}' holds one answer a row: it is one side of two files.",
                "Give both, the positive first: psyctl dataset.check POSITIVE.csv NEGATIVE.csv",
            )
        raise UsageError(
            f"'{path}' has the columns {_listed(columns)}, and no two that hold both sides of a pair.",
            f"Columns that would do: {known}.",
        )
    return _by_trait(rows, lambda number, row: _pair(number, row, *sides))


def read_two(positive: Path, negative: Path) -> tuple[dict[str, list[CheckedPair]], Counter[str]]:
    """The pairs of two row-aligned files, one a side.

    Raises:
        UsageError: A file cannot be read, or the two are not aligned.
    """
    left, right = _rows(positive), _rows(negative)
    for path, side in ((positive, left), (negative, right)):
        if "answer" not in side[0]:
            raise UsageError(
                f"'{path}' has the columns {_listed(side[0])}, and no column answer.",
                "Two files are read as the two sides of pairs, one answer a row, as persona_vectors writes them.",
            )
    if len(left) != len(right):
        raise _not_aligned(f"'{positive}' has {counted(len(left), 'row')} and '{negative}' {len(right)}")
    others = [name for name in left[0] if name not in SIDE_BY_SIDE]
    ids = Counter(_text(row.get("question_id")) for row in left)
    rows: list[Row] = []
    for number, (one, other) in enumerate(zip(left, right, strict=True), 1):
        if _text(one.get("question")) != _text(other.get("question")):
            raise _not_aligned(f"Row {number} of '{positive}' and of '{negative}' ask different questions")
        own = _text(one.get("question_id"))
        rows.append(
            {
                "id": f"{own}, row {number}" if ids[own] > 1 and own else own,  # several answers to one question
                "trait": others[0] if len(others) == 1 else "",
                "situation": one.get("question"),
                "positive": one["answer"],
                "negative": other["answer"],
            }
        )
    return _by_trait(rows, lambda number, row: _pair(number, row, "positive", "negative"))


def _not_aligned(why: str) -> UsageError:
    return UsageError(f"{why}, so they are not aligned.", "Give the two files of one run, the positive side first.")


def _by_trait(
    rows: Sequence[Row], pair_of: Callable[[int, Row], CheckedPair | str]
) -> tuple[dict[str, list[CheckedPair]], Counter[str]]:
    found: dict[str, list[CheckedPair]] = {}
    left_out: Counter[str] = Counter()
    for number, row in enumerate(rows, 1):
        pair = pair_of(number, row)
        if isinstance(pair, str):
            left_out[pair] += 1
        else:
            found.setdefault(_text(row.get("trait")), []).append(pair)
    return found, left_out


def _pair(number: int, row: Row, positive: str, negative: str) -> CheckedPair | str:
    """A row as a pair, or the reason why it is none."""
    question = _text(row.get("question"))
    texts = [_text(row.get(name)) for name in (positive, negative)]
    labels, first = ("", ""), None
    named = [_LABEL.fullmatch(_text(row.get(name.removesuffix("_text")))) for name in (positive, negative)]
    if named[0] and named[1]:
        options = _options(question)
        keys = [match[1] for match in named if match]
        if set(keys) <= options.keys():
            if not positive.endswith("_text"):
                texts = [options[key] for key in keys]
            labels = (named[0][0].strip(), named[1][0].strip())
            first = list(options).index(keys[0]) < list(options).index(keys[1])
        elif question and not positive.endswith("_text"):
            return "its labels name no options of its question"
    for name, text in zip((positive, negative), texts, strict=True):
        if not text:
            return f"no text under {name}"
    scene = _SCENE.search(question)
    prompt = _text(row.get("situation")) or (scene[1] if scene else _CHOICES.split(question)[0].strip())
    return CheckedPair(
        id=_text(row.get("id")) or f"row {number}",
        positive=texts[0],
        neutral=texts[1],
        situation=prompt or _text(row.get("prompt")),
        character=_text(row.get("character")) or _text(row.get("char_name")),
        question=question if any(labels) else "",
        labels=labels,
        positive_is_first=first,
    )


def _options(question: str) -> dict[str, str]:
    """The numbered or lettered answers at the end of a question."""
    tail = _ANSWER.sub("", _CHOICES.split(question)[-1])
    _, *parts = _OPTION.split(tail)
    options: dict[str, str] = {}
    for label, text in zip(parts[::2], parts[1::2], strict=True):
        options.setdefault(label, text.strip())
    return options


def _text(value: object) -> str:
    """A value as text: a list of messages is its last message; nothing, and what is no text, is empty."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes) and value:
        value = value[-1]
    if isinstance(value, Mapping):
        value = value.get("content", value.get("text", ""))
        return _text(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return storable(value).strip() if isinstance(value, str) else ""


def _rows(path: Path) -> list[Row]:
    """The rows of a CSV, JSON or JSON Lines file; which it is, is told by how it begins."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise UsageError(
            f"'{path}' cannot be read: {why}.", "Give a dataset, or a CSV or JSON file of pairs."
        ) from None
    begin = text.lstrip()[:1]
    if not begin:
        raise UsageError(f"'{path}' is empty.", "Give a dataset, or a CSV or JSON file of pairs.")
    read = {"[": _json_list, "{": _json_lines}.get(begin, _csv)
    rows = read(text, path)
    if not rows:
        raise UsageError(f"'{path}' holds no rows.", "Give a file with a pair a row.")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise UsageError(
                f"Row {number} of '{path}' is no object with columns: {str(row)[:60]!r}.",
                "Give a file with an object a row.",
            )
    return [row for row in rows if isinstance(row, Mapping)]


def _json_list(text: str, path: Path) -> list[object]:
    value = _json(text, str(path))
    return value if isinstance(value, list) else [value]


def _json_lines(text: str, path: Path) -> list[object]:
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if len(lines) > 1 and lines[0][1].strip() == "{":
        return [_json(text, str(path))]  # one object over several lines
    return [_json(line, f"{path}, line {number}") for number, line in lines]


def _json(text: str, where: str) -> object:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"'{where}' is not JSON: {error}.", "Repair or remove it.") from None
    return value


def _csv(text: str, path: Path) -> list[object]:
    try:
        return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise UsageError(f"'{path}' cannot be read as CSV: {error}.", "Give a CSV or JSON file of pairs.") from None


def _listed(columns: Mapping[str, object]) -> str:
    names = [str(name)[:40] for name in columns]
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
