"""Rows of data files, in blocks that can be passed over unread.

Text formats are read here line by line: ``datasets`` gives up a whole file for one broken line, fixes each
column's type by the first rows, and reads a name "NA" in a CSV as missing. Parquet is read here in pieces of
a mebibyte: ``datasets`` fetches whole row groups, which are whole files where pandas wrote them. Every other
format is left to ``datasets``.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePosixPath
from typing import IO, Any

from psyctl_core.errors import SourceError
from psyctl_soda.files import format_of, is_remote, open_file

LONGEST_LINE = 1 << 26
"""Bytes a line of JSONL may have; a longer one is a corrupt row, and is never held in memory."""

LONGEST_CELL = 1 << 24
BLOCK_ROWS = 500
PARQUET_BUFFER = 1 << 20
ARRAY_CHUNK = 1 << 20

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read: in which file and line, and why not."""

    where: str
    why: str


@dataclass(frozen=True, slots=True)
class Block:
    """So many rows in a row, read only when asked for, all columns or some."""

    count: int
    rows: Callable[[Sequence[str] | None], Iterable[Row | BadRow]]


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of some files, one file after the other.

    Attributes:
        paths: Local paths or addresses, all of one format.
        kind: The format, one of :data:`BLOCKS`.
        options: The format's settings where a data set's card gives some (``sep``, ``names``, ``field``).
        count: The number of rows where it is known.
        builder: What reads the rows in the place of this module, for formats that only ``datasets`` knows.
    """

    paths: tuple[str, ...]
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    count: int | None = None
    builder: Callable[[], Iterable[Row]] | None = None

    def rows(self, start: int, columns: Sequence[str] | None = None) -> Iterator[Row | BadRow]:
        """The rows from number ``start`` on; the others are passed over as cheaply as the format allows.

        Args:
            start: The first row's number.
            columns: What is wanted of each row, where the format can leave out the rest.
        """
        for block in self._blocks():
            if start >= block.count:
                start -= block.count
                continue
            yield from islice(block.rows(columns), start, None)
            start = 0

    def total(self) -> int | None:
        """The number of rows, where it is known or Parquet files on disk can tell it."""
        if self.count is None and all(format_of(path) == "parquet" and not is_remote(path) for path in self.paths):
            return sum(block.count for block in self._blocks())
        return self.count

    @property
    def remote(self) -> bool:
        """Whether it is read over a network."""
        return any(map(is_remote, self.paths))

    def _blocks(self) -> Iterator[Block]:
        if self.builder is not None:
            yield from _listed(self.builder())
            return
        for path in self.paths:
            yield from BLOCKS[format_of(path) or self.kind](path, self.options)


def name_of(path: str) -> str:
    """A file's name for messages."""
    return PurePosixPath(path).name


def _listed(items: Iterable[Row | BadRow]) -> Iterator[Block]:
    items = iter(items)
    while block := list(islice(items, BLOCK_ROWS)):
        yield Block(len(block), lambda columns, block=block: block)  # type: ignore[misc]


def parquet_blocks(path: str, options: Mapping[str, Any]) -> Iterator[Block]:
    """One block a row group, known from the file's end; a row group is decoded a buffer at a time."""
    del options
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    with open_file(path, anywhere=True) as file:
        parquet = pq.ParquetFile(file, buffer_size=PARQUET_BUFFER, pre_buffer=False)
        groups = parquet.metadata

        def rows(columns: Sequence[str] | None, number: int) -> Iterator[Row]:
            for batch in parquet.iter_batches(BLOCK_ROWS, [number], columns, use_threads=False):
                names = batch.schema.names
                for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    yield dict(zip(names, cells, strict=True))

        for number in range(groups.num_row_groups):
            count = groups.row_group(number).num_rows
            yield Block(count, lambda columns, number=number: rows(columns, number))  # type: ignore[misc]


def jsonl_blocks(path: str, options: Mapping[str, Any]) -> Iterator[Block]:
    """JSON Lines (https://jsonlines.org): an object a line; blank lines are no rows."""
    del options
    with open_file(path) as file:
        yield from _line_blocks(path, file)


def _line_blocks(path: str, file: IO[bytes]) -> Iterator[Block]:
    lines = _lines(file)
    while block := list(islice(lines, BLOCK_ROWS)):
        yield Block(len(block), lambda columns, block=block: _parsed(path, block))  # type: ignore[misc]


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Numbered lines that are not blank; None stands for one that is over-long."""
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                pass
            yield number, None
        elif not line.isspace():
            yield number, line


def _parsed(path: str, lines: Iterable[tuple[int, bytes | None]]) -> Iterator[Row | BadRow]:
    for number, line in lines:
        row = _object(line)
        yield row if isinstance(row, dict) else BadRow(f"{name_of(path)}, line {number}", row)


def _object(line: bytes | None) -> dict[str, Any] | str:
    """The object on a line, or what is wrong with it."""
    if line is None:
        return f"longer than {LONGEST_LINE >> 20} MiB"
    try:
        value = json.loads(line)
    except UnicodeDecodeError:
        return "not UTF-8"
    except RecursionError:
        return "nested too deeply"
    except ValueError as error:
        return f"not JSON: {error}"
    return value if isinstance(value, dict) else f"no object but a {type(value).__name__}"


def json_blocks(path: str, options: Mapping[str, Any]) -> Iterator[Block]:
    """A JSON file: an array of rows, read a piece at a time; JSON Lines by another name; or one document."""
    with open_file(path) as file:
        head = b""
        while not head.strip() and (piece := file.readline(ARRAY_CHUNK)):
            head += piece
        for _ in range(4):
            head += file.readline(ARRAY_CHUNK)
        whole = _Chained(head.removeprefix(codecs.BOM_UTF8), file)
        if head.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"[":
            yield from _listed(_array_rows(path, whole))
        elif not options.get("field") and _is_json_lines(head):
            yield from _line_blocks(path, io.BufferedReader(whole))
        else:
            yield from _listed(_document_rows(path, whole.readall(), options.get("field")))


class _Chained(io.RawIOBase):
    """What was read of a file already, and then the rest of it."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._head[: len(buffer)] or self._rest.read(len(buffer))
        self._head = self._head[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


def _is_json_lines(head: bytes) -> bool:
    """Whether one of the first lines is an object by itself and not the only line."""
    lines = [line for line in head.splitlines() if line.strip()]
    return len(lines) > 1 and any(isinstance(_object(line), dict) for line in lines)


def _array_rows(path: str, file: io.RawIOBase) -> Iterator[Row | BadRow]:
    """The objects of one JSON array, without the array ever being in memory.

    Raises:
        SourceError: The array is cut off or broken; nothing after that offset can be read.
    """
    decoder = json.JSONDecoder()
    text = io.TextIOWrapper(io.BufferedReader(file), encoding="utf-8", errors="replace")
    buffer, at, number, wanted = text.read(ARRAY_CHUNK).lstrip(), 1, 1, ARRAY_CHUNK
    while True:
        at = _NO_VALUE.match(buffer, at).end()  # type: ignore[union-attr]
        if buffer[at : at + 1] == "]":
            return
        try:
            value, end = decoder.raw_decode(buffer, at)
            if end == len(buffer) and not isinstance(value, dict):
                raise ValueError("a number may go on")
        except (ValueError, RecursionError) as error:
            more = text.read(wanted)
            if not more:
                why = "its array has no end" if at == len(buffer) else str(error)
                raise SourceError(
                    f"File '{name_of(path)}' is cut off or broken after element {number - 1}: {why}.",
                    "Repair the file, or write it as JSON Lines, one row a line.",
                ) from error
            buffer, at, wanted = buffer[at:] + more, 0, 2 * wanted
            continue
        yield value if isinstance(value, dict) else BadRow(f"{name_of(path)}, element {number}", "no object")
        at, number, wanted = end, number + 1, ARRAY_CHUNK


_NO_VALUE = re.compile(r"[\s,]*")


def _document_rows(path: str, data: bytes, key: str | None) -> Iterable[Row | BadRow]:
    """The rows in one JSON object: a list under one of its keys, or columns, or objects by their ids."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"File '{name_of(path)}' is no JSON: {error}", "Repair the file, or write it as JSON Lines, one row a line."
        ) from error
    if key:
        document = document.get(key) if isinstance(document, dict) else None
    if isinstance(document, dict):
        values = list(document.values())
        lists = [value for value in values if isinstance(value, list) and value and isinstance(value[0], dict)]
        if lists and not all(isinstance(value, list) for value in values):
            document = max(lists, key=len)
        elif len(lists) == 1 == len(values):
            document = lists[0]
        elif values and all(isinstance(v, (list, dict)) and len(v) == len(values[0]) for v in values):
            document = _from_columns(document)
        elif values and all(isinstance(value, dict) for value in values):
            document = values
        else:
            document = [document]
    rows = document if isinstance(document, list) else []
    where = name_of(path)
    return (
        row if isinstance(row, dict) else BadRow(f"{where}, element {at}", "no object")
        for at, row in enumerate(rows, 1)
    )


def _from_columns(columns: Mapping[str, Any]) -> list[Any]:
    """Rows of columns, which pandas writes as ``{"column": {"0": value}}``; otherwise the values themselves."""
    values = list(columns.values())
    if all(isinstance(value, list) for value in values):
        return [dict(zip(columns, cells, strict=True)) for cells in zip(*values, strict=True)]
    keys = [list(value) if isinstance(value, dict) else [] for value in values]
    if all(key == keys[0] for key in keys) and all(str(key).isdigit() for key in keys[0]):
        return [{name: column[key] for name, column in columns.items()} for key in keys[0]]
    return values


def csv_blocks(path: str, options: Mapping[str, Any]) -> Iterator[Block]:
    """Comma- or tab-separated values with a header; every cell is a text."""
    with open_file(path) as file:
        yield from _listed(_csv_rows(path, file, options))


def _csv_rows(path: str, file: IO[bytes], options: Mapping[str, Any]) -> Iterator[Row | BadRow]:
    csv.field_size_limit(LONGEST_CELL)
    with io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        lines = (line.replace("\0", "") for line in text)
        first = next(lines, "")
        reader = csv.reader(_again(first, lines), delimiter=options.get("sep") or _separator(path, first))
        header = list(options.get("names") or _header(next(reader, [])))
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield BadRow(f"{name_of(path)}, line {reader.line_num}", str(error))
                continue
            if cells is None:
                return
            if cells:
                wrong = _wrong_cells(cells, header)
                where = f"{name_of(path)}, line {reader.line_num}"
                yield BadRow(where, wrong) if wrong else dict(zip(header, cells, strict=True))


def _wrong_cells(cells: Sequence[str], header: Sequence[str]) -> str:
    if len(cells) != len(header):
        return f"{len(cells)} cells where the header has {len(header)}"
    bad = any(not cell.isascii() and not _SURROGATES.isdisjoint(cell) for cell in cells)
    return "not UTF-8" if bad else ""


_SURROGATES = frozenset(map(chr, range(0xDC80, 0xDD00)))
"""What ``surrogateescape`` makes of bytes that are no UTF-8."""


def _again(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _header(cells: Sequence[str]) -> list[str]:
    return [cell.strip() or f"column {number}" for number, cell in enumerate(cells, 1)]


def _separator(path: str, header: str) -> str:
    if format_of(path) == "tsv":
        return "\t"
    return next((mark for mark in ",;\t|" if mark in header), ",")


BLOCKS: Mapping[str, Callable[[str, Mapping[str, Any]], Iterator[Block]]] = {
    "parquet": parquet_blocks,
    "jsonl": jsonl_blocks,
    "json": json_blocks,
    "csv": csv_blocks,
    "tsv": csv_blocks,
}
"""The formats that are read here."""
