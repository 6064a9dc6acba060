"""The rows of a data set's files, in blocks that can be passed over unread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from psyctl_soda.files import format_of, is_remote
from psyctl_soda.readers import BadRow, Block, Row, csv_blocks, jsonl_blocks, singly
from psyctl_soda.readers_json import json_blocks

FILE = "(file)"
"""The column that tells a row's file, where a file is a conversation."""

MAX_COUNTED_BYTES = 1 << 28
"""A CSV or JSON file on disk above this size is not read through for its number of rows; JSON Lines always is."""


def _parquet_blocks(path: str, options: Mapping[str, Any]) -> Iterator[Block]:
    from psyctl_soda.readers_parquet import parquet_blocks  # takes longer to import than a small file to read

    return parquet_blocks(path, options)


BLOCKS: Mapping[str, Callable[[str, Mapping[str, Any]], Iterator[Block]]] = {
    "parquet": _parquet_blocks,
    "jsonl": jsonl_blocks,
    "json": json_blocks,
    "csv": csv_blocks,
    "tsv": csv_blocks,
}
"""The formats that are read here; ``datasets`` reads the others."""


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of some files, one file after the other.

    Attributes:
        paths: Local paths or addresses, all of one format.
        kind: The format, one of :data:`BLOCKS`.
        options: The format's settings where a data set's card gives some (``sep``, ``names``, ``field``), and
            what tells how a JSON document is to be read (``split``, ``judge``) and labels by their names (``decode``).
        count: The number of rows where it is known.
        builder: What reads the rows in the place of this module, for formats that only ``datasets`` knows.
    """

    paths: tuple[str, ...]
    kind: str
    options: dict[str, Any] = field(default_factory=dict)
    count: int | None = None
    builder: Callable[[], Iterable[Row]] | None = None

    def rows(self, start: int, columns: Sequence[str] | None = None, *, mark: bool = False) -> Iterator[Row | BadRow]:
        """The rows from number ``start`` on; the others are passed over as cheaply as the format allows.

        Args:
            start: The first row's number.
            columns: What is wanted of each row, where the format can leave out the rest.
            mark: Whether each row gets its file's number as the column :data:`FILE`.
        """
        decode: Callable[[Row], Row] | None = self.options.get("decode")
        for number, block in self._blocks():
            if start >= block.count:
                start -= block.count
                continue
            for row in islice(block.rows(columns), start, None):
                if isinstance(row, BadRow):
                    yield row
                else:
                    row = decode(row) if decode else row
                    yield {**row, FILE: number} if mark else row
            start = 0

    @property
    def formats(self) -> set[str]:
        """The formats of the files."""
        return {format_of(path) or self.kind for path in self.paths}

    def total(self) -> int | None:
        """The number of rows, where it is known or the files are on disk and can be counted in reasonable time."""
        if self.count is not None or self.builder is not None or self.remote:
            return self.count
        if (
            not self.formats & {"parquet", "jsonl"}
            and sum(Path(p).stat().st_size for p in self.paths) > MAX_COUNTED_BYTES
        ):
            return None
        return sum(block.count for _, block in self._blocks())

    @property
    def remote(self) -> bool:
        """Whether it is read over a network."""
        return any(map(is_remote, self.paths))

    def _blocks(self) -> Iterator[tuple[int, Block]]:
        if self.builder is not None:
            for block in singly(self.builder()):
                yield 0, block
            return
        for number, path in enumerate(self.paths):
            for block in BLOCKS[format_of(path) or self.kind](path, self.options):
                yield number, block
