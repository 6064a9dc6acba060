"""Reads JSON files: an array of rows, JSON Lines by another name, or one document that holds rows or is one.

Arrays and large documents are read with ``ijson``, a row at a time. What a document is, is asked of the shapes
(the option ``judge``): one that fits a conversation is one row, whatever lists it is made of.
"""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Literal

import ijson

from psyctl_core.errors import SourceError
from psyctl_soda import readers
from psyctl_soda.files import as_utf8, joined, open_file
from psyctl_soda.readers import BadRow, Block, Row, as_row, file_name, line_blocks, parse, singly

CHUNK = 1 << 16
HEAD_LINES, HEAD_BYTES = 4, 1 << 20

SPLITS = {
    "train", "training", "test", "testing", "valid", "validation", "val", "dev", "eval", "heldout", "unlabeled",
}  # fmt: skip
SAME_SPLIT = {"valid": "validation", "val": "validation", "dev": "validation", "training": "train", "testing": "test"}

CONVERSATION = 2
"""What a judge answers about rows that are conversations; 1 where they may be something, 0 where they are not."""

Judge = Callable[[Sequence[Row]], int]
JUDGED_ROWS = 20
SKETCHED_KEYS, SKETCHED_TEXT = 200, 20_000
MAX_DEPTH = 3
MAX_OPEN = 10_000
MAX_EVENTS = 30_000_000
"""Values and keys that are looked through to see what a large document is: about 20 seconds."""

_HINT = "Repair the file, or write it as JSON Lines, one row a line."


def json_blocks(path: str, options: Mapping[str, Any]) -> Iterator[Block]:
    """A JSON file's rows.

    Args:
        path: The file.
        options: ``field``, the key under which the rows are; ``split``, the one that is wanted of a document
            whose keys are splits; ``judge``, a :data:`Judge`.
    """
    with open_file(path) as raw:
        file = as_utf8(raw)
        head = b""
        while not head.strip() and (piece := file.readline(HEAD_BYTES)):
            head = piece  # what came before is blank
        for _ in range(HEAD_LINES):
            head += file.readline(HEAD_BYTES)
        head = head.removeprefix(codecs.BOM_UTF8)
        if head.lstrip()[:1] == b"[" and not _is_lines_of_lists(head):
            yield from singly(_rows_of_array(path, head, file))
        elif not options.get("field") and _is_json_lines(head):
            yield from line_blocks(path, joined(head, file))
        else:
            yield from singly(_rows_of_document(path, head, file, options))


def _is_json_lines(head: bytes) -> bool:
    """Whether one of the first lines is an object by itself and not the only line."""
    lines = [line for line in head.splitlines() if line.strip()]
    return len(lines) > 1 and any(isinstance(_value(line), dict) for line in lines)


def _is_lines_of_lists(head: bytes) -> bool:
    """Whether the first lines are lists by themselves, which an array's lines are not."""
    lines = [line for line in head.splitlines() if line.strip()]
    return len(lines) > 1 and all(isinstance(_value(line), list) for line in lines[:2])


def _value(line: bytes) -> Any:
    try:
        return parse(line)
    except ValueError:
        return None


class _Stream:
    """A file for ``ijson``: in UTF-8, without the NaN and Infinity that Python writes, a row's size bounded."""

    def __init__(self, path: str, head: bytes, file: IO[bytes]) -> None:
        self._path, self._head, self._file = path, head, file
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._in_text, self._held, self._open, self.taken, self.done = False, "", 0, 0, 0

    def begin_row(self) -> None:
        """The last row is complete."""
        self._open, self.taken, self.done = 0, 0, self.done + 1

    def read(self, size: int = CHUNK) -> bytes:
        """More of the file; an empty text at its end."""
        if size <= 0:
            return b""
        data = self._head[:CHUNK] or self._file.read(CHUNK)
        self._head = self._head[CHUNK:]
        self.taken += len(data)
        if self.taken > readers.MAX_ROW_BYTES + 2 * CHUNK:
            raise SourceError(
                f"File '{file_name(self._path)}' cannot be read: element {self.done + 1} is {readers.too_long()}.",
                "Leave it out, or cut it into smaller ones.",
            )
        # Brackets in texts are counted too: what is read deeper than this would take a hundred times its bytes.
        self._open += data.count(b"[") + data.count(b"{") - data.count(b"]") - data.count(b"}")
        if self._open > MAX_OPEN:
            raise SourceError(f"File '{file_name(self._path)}' cannot be read: it is nested too deeply.", _HINT)
        text = self._held + self._decoder.decode(data, final=not data)
        if data:  # a word or a backslash that may go on is held back
            at = _complete(text)
            text, self._held = text[:at], text[at:]
        else:
            self._held = ""
        out = self._without_nan(text).encode()
        return out if out or not data else self.read(size)

    def _without_nan(self, text: str) -> str:
        if "NaN" not in text and "Infinity" not in text:
            plain = re.sub(r"\\.", "", text, flags=re.DOTALL) if "\\" in text else text
            self._in_text ^= plain.count('"') % 2 == 1
            return text
        return _TOKEN.sub(self._token, text)

    def _token(self, match: re.Match[str]) -> str:
        if match[0] == '"':
            self._in_text = not self._in_text
        elif match[0][0] != "\\" and not self._in_text:
            return "null"
        return match[0]


def _complete(text: str) -> int:
    """Up to where a piece of JSON has no word (NaN, -Infinity) and no escape that may go on in the next."""
    escapes = len(text) - len(text.rstrip("\\"))
    if escapes:
        return len(text) - escapes % 2
    end = text[-9:]
    return len(text) - len(end) + len(end.rstrip("-NaInfity"))


_TOKEN = re.compile(r'\\.|"|-?Infinity|NaN', re.DOTALL)


def _rows_of_array(path: str, head: bytes, file: IO[bytes], prefix: str = "item") -> Iterator[Row | BadRow]:
    """The elements of one JSON array, without the array ever being in memory.

    Raises:
        SourceError: The array is cut off or broken; nothing after that offset can be read.
    """
    stream = _Stream(path, head, file)
    try:
        for value in ijson.items(stream, prefix, use_float=True):
            stream.begin_row()
            yield as_row(value)
    except ijson.JSONError as error:
        raise _broken(path, f"is cut off or broken after element {stream.done}", error) from error


def _rows_of_object(path: str, head: bytes, file: IO[bytes], prefix: str) -> Iterator[Row | BadRow]:
    """The values of an object whose keys are ids, likewise."""
    stream = _Stream(path, head, file)
    try:
        for _, value in ijson.kvitems(stream, prefix, use_float=True):
            stream.begin_row()
            yield as_row(value)
    except ijson.JSONError as error:
        raise _broken(path, f"is cut off or broken after element {stream.done}", error) from error


def _broken(path: str, what: str, error: Exception) -> SourceError:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return SourceError(f"File '{file_name(path)}' {what}: {first}.", _HINT)


def _rows_of_document(path: str, head: bytes, file: IO[bytes], options: Mapping[str, Any]) -> Iterable[Row | BadRow]:
    """The rows in one JSON object, or the row that it is."""
    room = readers.MAX_ROW_BYTES - len(head) + 1
    data = head + (file.read(room) if room > 0 else b"")
    if len(data) > readers.MAX_ROW_BYTES:
        return _rows_of_large(path, data, file, options)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        several = _several(data) if str(error).startswith("Extra data") else []
        if several:
            return map(as_row, several)
        raise SourceError(f"File '{file_name(path)}' is no JSON: {error}", _HINT) from error
    if not isinstance(document, dict):
        return [as_row(document)]
    return _taken(document, _plan(path, document, options))


def _several(data: bytes) -> list[Any]:
    """Documents that stand one after the other; none where one of them is broken."""
    try:
        return list(ijson.items(io.BytesIO(data), "", multiple_values=True, use_float=True))
    except ijson.JSONError:
        return []


def _rows_of_large(path: str, head: bytes, file: IO[bytes], options: Mapping[str, Any]) -> Iterable[Row | BadRow]:
    """The rows in a document too large to be held, which is read twice: for what it is, and for its rows."""
    sketch = _sketch(path, head, file)
    plan = _plan(path, sketch, options)
    prefix = ".".join(plan.keys)
    if plan.rows not in ("items", "values"):
        raise SourceError(
            f"File '{file_name(path)}' cannot be read: it is one document and {readers.too_long()}.",
            "Write it as JSON Lines, one conversation a line.",
        )

    def rows() -> Iterator[Row | BadRow]:
        with open_file(path) as again:
            file = as_utf8(again)
            if plan.rows == "items":
                yield from _rows_of_array(path, b"", file, f"{prefix}.item" if prefix else "item")
            else:
                yield from _rows_of_object(path, b"", file, prefix)

    return rows()


def _sketch(path: str, head: bytes, file: IO[bytes]) -> dict[str, Any]:
    """A document with the first few of everything that it has many of."""
    stream = _Stream(path, head, file)

    def events() -> Iterator[tuple[str, Any]]:
        for number, event in enumerate(ijson.basic_parse(stream, use_float=True)):
            if number > MAX_EVENTS:
                raise SourceError(f"File '{file_name(path)}' cannot be read: it is one document and too large.", _HINT)
            stream.taken = 0
            yield event

    found = events()
    try:
        document = _sketched(found, *next(found))
        for _ in found:
            pass
    except (ijson.JSONError, RecursionError) as error:
        raise _broken(path, "is no JSON", error) from error
    return document if isinstance(document, dict) else {}


def _sketched(events: Iterator[tuple[str, Any]], event: str, value: Any) -> Any:
    if event == "start_map":
        found: dict[str, Any] = {}
        for inner, key in events:
            if inner == "end_map":
                return found
            if len(found) < SKETCHED_KEYS:
                found[key] = _sketched(events, *next(events))
            else:
                _pass_over(events, next(events)[0])
    if event == "start_array":
        items: list[Any] = []
        for inner, item in events:
            if inner == "end_array":
                return items
            if len(items) < JUDGED_ROWS:
                items.append(_sketched(events, inner, item))
            else:
                _pass_over(events, inner)
    return value[:SKETCHED_TEXT] if isinstance(value, str) else value


def _pass_over(events: Iterator[tuple[str, Any]], event: str) -> None:
    depth = int(event.startswith("start_"))
    while depth:
        event = next(events)[0]
        depth += event.startswith("start_") - event.startswith("end_")


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where a document's rows are: at these keys, the items of a list, the values of an object, or columns."""

    rows: Literal["row", "items", "values", "columns"]
    keys: tuple[str, ...] = ()


def _plan(path: str, document: Mapping[str, Any], options: Mapping[str, Any]) -> _Plan:
    key = options.get("field")
    keys: tuple[str, ...] = (key,) if key else ()
    node: Any = document.get(key) if key else document
    if not key and (above := _above_splits(document)) is not None:
        for name in above:
            node = node[name]
        keys = (*above, _split(path, list(node), options.get("split") or "train"))
        node = node[keys[-1]]
    if isinstance(node, list):
        return _Plan("items", keys)
    if not isinstance(node, dict) or not node:
        return _Plan("row", keys)
    judge: Judge = options.get("judge") or (lambda rows: 0)
    return _judged(node, keys, judge) or _by_form(node, keys)


def _above_splits(document: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The keys that lead to an object of splits, () where the document is one; None where there are no splits."""
    if document and all(_is_split(name, value) for name, value in document.items()):
        return ()
    inside = [name for name, value in document.items() if isinstance(value, dict) and _above_splits(value) == ()]
    return (inside[0],) if len(inside) == 1 else None


def _is_split(name: str, value: Any) -> bool:
    return name.lower() in SPLITS and isinstance(value, (list, dict))


def _split(path: str, there: list[str], wanted: str) -> str:
    for name in there:
        if name == wanted or _same(name) == _same(wanted):
            return name
    raise SourceError(
        f"File '{file_name(path)}' has no split '{wanted}'; it has: {', '.join(there)}.",
        f"Choose one with --split {there[0]}.",
    )


def _same(split: str) -> str:
    return SAME_SPLIT.get(split.lower(), split.lower())


def _judged(node: Mapping[str, Any], keys: tuple[str, ...], judge: Judge) -> _Plan | None:
    """What the shapes recognise: columns, lists of conversations, conversations by their ids, or one of them."""
    values = list(node.values())
    if len(values) > 1 and _is_columns(node) and judge(_from_columns(node)[:JUDGED_ROWS]) == CONVERSATION:
        return _Plan("columns", keys)
    lists = sorted(_lists(node, keys), key=lambda found: -len(found[1]))
    for where, items in lists:
        if judge([as_row(item) for item in items[:JUDGED_ROWS]]) == CONVERSATION:
            return _Plan("items", where)
    for kind in (dict, list, str):
        if all(isinstance(value, kind) and value for value in values):
            rows = [as_row(value) for value in values[:JUDGED_ROWS]]
            each = kind is dict or (len(rows) > 1 and all(judge([row]) == CONVERSATION for row in rows))
            if each and judge(rows) == CONVERSATION:
                return _Plan("values", keys)
    return _Plan("row", keys) if judge([node]) == CONVERSATION else None


def _lists(node: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], list[Any]]]:
    """The lists of objects or lists in a document, with the keys that lead to them."""
    for key, value in node.items():
        where = (*keys, key)
        if isinstance(value, list) and value and isinstance(value[0], (dict, list)):
            yield where, value
        elif isinstance(value, dict) and len(where) <= MAX_DEPTH and len(node) <= JUDGED_ROWS:
            yield from _lists(value, where)


def _by_form(node: Mapping[str, Any], keys: tuple[str, ...]) -> _Plan:
    """What its form alone says of a document that no shape fits."""
    values = list(node.values())
    lists = {k: v for k, v in node.items() if isinstance(v, list) and v and isinstance(v[0], dict)}
    if lists and (not all(isinstance(value, list) for value in values) or len(lists) == len(values) == 1):
        return _Plan("items", (*keys, max(lists, key=lambda name: len(lists[name]))))
    if _is_columns(node):
        return _Plan("columns", keys)
    if all(isinstance(value, dict) for value in values):
        return _Plan("values", keys)
    return _Plan("row", keys)


def _is_columns(node: Mapping[str, Any]) -> bool:
    values = list(node.values())
    if not all(isinstance(value, (list, dict)) and len(value) == len(values[0]) for value in values):
        return False
    return all(isinstance(value, list) for value in values) or _is_pandas(values)


def _is_pandas(values: Sequence[Any]) -> bool:
    keys = [list(value) if isinstance(value, dict) else [] for value in values]
    return all(key == keys[0] for key in keys) and all(str(key).isdigit() for key in keys[0])


def _from_columns(columns: Mapping[str, Any]) -> list[Any]:
    """Rows of columns, which pandas writes as ``{"column": {"0": value}}``."""
    values = list(columns.values())
    if all(isinstance(value, list) for value in values):
        return [dict(zip(columns, cells, strict=True)) for cells in zip(*values, strict=True)]
    return [{name: column[key] for name, column in columns.items()} for key in values[0]]


def _taken(document: Mapping[str, Any], plan: _Plan) -> Iterable[Row | BadRow]:
    node: Any = document
    for key in plan.keys:
        node = node[key]
    if plan.rows == "columns":
        node = _from_columns(node)
    elif plan.rows == "values":
        node = list(node.values())
    elif plan.rows == "row":
        node = [node] if node else []
    return map(as_row, node)
