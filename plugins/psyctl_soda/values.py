"""What a column holds, whatever file it came from: texts, lists and objects, also spelled out as text.

A CSV round trip turns a list into its JSON, Python or NumPy spelling; ``datasets`` stores a list of objects
as one object of lists. All of them are read back here, and nowhere else.
"""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

MAX_SPELLED = 200_000
"""Characters of a list's spelling that are parsed; a longer one is not a list."""

MAX_ITEMS = 100_000
"""Items of a list that are looked at: only the first turns of a conversation are ever quoted."""

_BETWEEN_OBJECTS = re.compile(r"\}\s+\{")


def is_missing(value: object) -> bool:
    """Whether a cell is empty: None, NaN, or a blank text."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and value != value)


def is_text(value: object) -> bool:
    """Whether a cell is a text that is not the spelling of a list or an object."""
    return isinstance(value, str) and bool(value.strip()) and as_list(value) is None


def is_prose(value: object) -> bool:
    """Whether a cell is a text that tells something: more than one word such as a label or an emotion."""
    if not is_text(value):
        return False
    text = str(value).strip()
    return not text.isascii() or " " in text or text[-1] in ".!?"


def as_list(value: object) -> list[Any] | None:
    """A list, also one that is spelled out or stored as an object of lists; None for anything else."""
    if isinstance(value, (list, tuple)):
        return list(value[:MAX_ITEMS]) if isinstance(value, tuple) or len(value) > MAX_ITEMS else value
    if isinstance(value, Mapping):
        return _of_columns(value)
    if isinstance(value, str):
        return _of_spelling(value)
    return None


def texts_in(value: object) -> list[str] | None:
    """A list whose items are all texts or missing (then ""), or None."""
    items = as_list(value)
    if not items or not all(isinstance(item, str) or is_missing(item) for item in items):
        return None
    return [item if isinstance(item, str) else "" for item in items]


def objects_in(value: object) -> list[Mapping[str, Any]] | None:
    """A list whose items are all objects or missing (then left out), or None."""
    items = as_list(value)
    if not items or not all(isinstance(item, Mapping) or is_missing(item) for item in items):
        return None
    return [item for item in items if isinstance(item, Mapping)] or None


def at_path(row: object, path: str) -> Any:
    """The value in a column; ``turns.text`` reaches into an object, or into each object of a list."""
    if isinstance(row, Mapping):
        if path in row:
            return row[path]
        first, dot, rest = path.partition(".")
        return at_path(row[first], rest) if dot and first in row else None
    items = objects_in(row)
    return [at_path(item, path) for item in items] if items else None


def _of_columns(value: Mapping[str, Any]) -> list[Any] | None:
    columns = {key: items for key, items in value.items() if isinstance(items, (list, tuple))}
    if all(isinstance(item, Mapping) for items in columns.values() for item in items[:1]):
        return None  # an object that holds lists of objects is not a list of them
    length = max(map(len, columns.values()), default=0)
    columns = {key: items for key, items in columns.items() if len(items) == length}
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)] or None


def _of_spelling(text: str) -> list[Any] | None:
    text = text.strip()
    if text[:1] != "[" or text[-1:] != "]" or len(text) > MAX_SPELLED:
        return None
    for read in (_of_json, _of_tokens, _of_literal):
        value = read(text)
        if value is not None:
            return value
    return None


def _of_json(text: str) -> list[Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def _of_tokens(text: str) -> list[Any] | None:
    """Texts in quotes with commas, blanks or line ends between them, as Python and NumPy print them."""
    items: list[Any] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.STRING:
                items.append(_literal(token.string))
            elif token.type == tokenize.NAME and token.string in ("None", "nan"):
                items.append(None)
            elif token.type in (tokenize.NAME, tokenize.NUMBER) or token.string.strip("[], \n\t\r"):
                return None
    except (tokenize.TokenError, SyntaxError, ValueError):
        return None
    return items or None


def _of_literal(text: str) -> list[Any] | None:
    """A list of objects as Python prints it, or NumPy, which leaves out the commas."""
    try:
        value = _literal(_BETWEEN_OBJECTS.sub("}, {", text))
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, list) else None


def _literal(text: str) -> Any:
    with warnings.catch_warnings():  # an unknown escape such as '\d' is no business of the user's
        warnings.simplefilter("ignore")
        return ast.literal_eval(text)


def cells(rows: list[Mapping[str, Any]], column: str) -> Iterator[Any]:
    """The column's values that are not missing."""
    return (row[column] for row in rows if column in row and not is_missing(row[column]))


def weight(value: object, most: int) -> int:
    """About how many bytes a value takes, counted no further than ``most``."""
    total, waiting = 0, [value]
    while waiting and total <= most:
        item = waiting.pop()
        total += 64 + (len(item) if isinstance(item, (str, bytes)) else 0)
        if isinstance(item, Mapping):
            waiting.extend(item.values())
        elif isinstance(item, (list, tuple)):
            waiting.extend(item)
    return total
