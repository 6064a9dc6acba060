"""Reads JSON Lines and CSV row by row: what a row is, what is wrong with one, and how large one may be.

Text formats are read here: ``datasets`` gives up a whole file for one broken line, fixes each column's type by
the first rows, and reads a name "NA" in a CSV as missing. No row is ever held in memory that is larger than
:data:`MAX_ROW_BYTES`, however small its file is on disk: a compressed one may grow a thousandfold.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any

from psyctl_core.errors import SourceError
from psyctl_core.figures import counted
from psyctl_soda.files import as_utf8, format_of, open_file, shown

MAX_ROW_BYTES = 1 << 24
"""Bytes of text that a row may have; a longer one is a corrupt row."""

MAX_COLUMNS = 10_000

LIST_COLUMN, TEXT_COLUMN, VALUE_COLUMN = "turns", "text", "value"
"""What the only column is called of a row that is a list, a text, or another value by itself."""

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


def singly(items: Iterable[Row | BadRow]) -> Iterator[Block]:
    """Each row a block of its own."""
    for item in items:
        yield Block(1, lambda columns, item=item: (item,))  # type: ignore[misc]


def as_row(value: Any) -> Row:
    """A JSON value as a row: an object is one; a list, a text or a number is the only column of one.

    A list of objects that share no key is one object in pieces.
    """
    if isinstance(value, dict):
        return value
    if isinstance(value, list):
        pieces = [piece for piece in value if isinstance(piece, dict)]
        keys = [key for piece in pieces for key in piece]
        if len(value) > 1 and len(pieces) == len(value) and len(keys) == len(set(keys)):
            return {key: item for piece in pieces for key, item in piece.items()}
        return {LIST_COLUMN: value}
    return {TEXT_COLUMN if isinstance(value, str) else VALUE_COLUMN: value}


def file_name(path: str) -> str:
    """A file's name for messages."""
    return PurePosixPath(shown(path)).name


def jsonl_blocks(path: str, options: Mapping[str, Any]) -> Iterator[Block]:
    """JSON Lines (https://jsonlines.org): a JSON value a line; blank lines are no rows."""
    del options
    with open_file(path) as file:
        yield from line_blocks(path, as_utf8(file))


def line_blocks(path: str, file: IO[bytes]) -> Iterator[Block]:
    """A block for each line, parsed only when its row is asked for."""
    for number, line in lines(file):
        yield Block(1, lambda columns, number=number, line=line: (_parsed(path, number, line),))  # type: ignore[misc]


def lines(file: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Numbered lines that are not blank; None stands for one that is over-long."""
    number = 0
    while line := file.readline(MAX_ROW_BYTES):
        number += 1
        if len(line) == MAX_ROW_BYTES and not line.endswith(b"\n"):
            pass_line(file)
            yield number, None
        elif not line.isspace():
            yield number, line


def pass_line(file: IO[bytes]) -> None:
    """Go to the next line without holding this one."""
    while (rest := file.readline(1 << 20)) and not rest.endswith(b"\n"):
        pass


def _parsed(path: str, number: int, line: bytes | None) -> Row | BadRow:
    try:
        return as_row(parse(line))
    except ValueError as error:
        return BadRow(f"{file_name(path)}, line {number}", str(error))


def parse(line: bytes | None) -> Any:
    """The JSON value on a line.

    Raises:
        ValueError: It has none; the message says why.
    """
    if line is None:
        raise ValueError(too_long())
    try:
        return json.loads(line)
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from error


def too_long() -> str:
    """What is wrong with a row that is too long."""
    return f"longer than {MAX_ROW_BYTES >> 20} MiB"


def csv_blocks(path: str, options: Mapping[str, Any]) -> Iterator[Block]:
    """Comma- or tab-separated values with a header; every cell is a text."""
    with open_file(path) as file:
        yield from singly(_csv_rows(path, as_utf8(file), options))


class _TooLongError(Exception):
    """A CSV row is longer than one may be."""


class _CsvLines:
    """A CSV file's lines as texts; one row's lines together may not be longer than a row may be."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._again, self._room, self.number = file, "", 0, 0

    def first(self) -> str:
        """The first line, which will be read again."""
        self.begin_row()
        self._again = next(self, "").removeprefix("\ufeff")
        self.number = 0
        return self._again

    def begin_row(self) -> None:
        """The lines that follow are of another row."""
        self._room = MAX_ROW_BYTES

    def __iter__(self) -> _CsvLines:
        return self

    def __next__(self) -> str:
        self.number += 1
        if self._again:
            line, self._again = self._again, ""
            return line
        data = self._file.readline(MAX_ROW_BYTES)
        if not data:
            raise StopIteration
        self._room -= len(data)
        if self._room <= 0:
            if not data.endswith(b"\n"):
                pass_line(self._file)
            raise _TooLongError
        return data.replace(b"\0", b"").decode("utf-8", "surrogateescape")


def _csv_rows(path: str, file: IO[bytes], options: Mapping[str, Any]) -> Iterator[Row | BadRow]:
    csv.field_size_limit(MAX_ROW_BYTES)
    text = _CsvLines(file)
    try:
        separator = options.get("sep") or _separator(path, text.first())
        reader = csv.reader(text, delimiter=separator)
        header = list(options.get("names") or _header(path, next(reader, [])))
    except _TooLongError as error:
        raise SourceError(
            f"File '{file_name(path)}' cannot be read: its first line is {too_long()}.", "Is it a CSV file?"
        ) from error
    while True:
        text.begin_row()
        try:
            cells = next(reader, None)
        except (csv.Error, _TooLongError) as error:
            yield BadRow(f"{file_name(path)}, line {text.number}", str(error) or too_long())
            reader = csv.reader(text, delimiter=separator)
            continue
        if cells is None:
            return
        if cells:
            wrong = _wrong_cells(cells, header)
            where = f"{file_name(path)}, line {text.number}"
            yield BadRow(where, wrong) if wrong else dict(zip(header, cells, strict=True))


def _wrong_cells(cells: Sequence[str], header: Sequence[str]) -> str:
    if len(cells) != len(header):
        return f"{counted(len(cells), 'cell')} where the header has {len(header)}"
    bad = any(not cell.isascii() and not _SURROGATES.isdisjoint(cell) for cell in cells)
    return "not UTF-8" if bad else ""


_SURROGATES = frozenset(map(chr, range(0xDC80, 0xDD00)))
"""What ``surrogateescape`` makes of bytes that are not UTF-8."""


def _header(path: str, cells: Sequence[str]) -> list[str]:
    if len(cells) > MAX_COLUMNS:
        raise SourceError(
            f"File '{file_name(path)}' cannot be read: its first line has {counted(len(cells), 'cell')}.",
            f"A CSV file begins with its columns' names, at most {MAX_COLUMNS}.",
        )
    return [cell.strip() or f"column {number}" for number, cell in enumerate(cells, 1)]


def _separator(path: str, header: str) -> str:
    if format_of(path) == "tsv":
        return "\t"
    return next((mark for mark in ",;\t|" if mark in header), ",")
