"""Reads Parquet in pieces, with the names of labels in the place of their numbers, whatever it claims to hold.

Read here and not by ``datasets``, which fetches whole row groups, and those are whole files where pandas wrote
them. Parquet may repeat one value a billion times in a few bytes: texts are kept as numbers in a dictionary
until a row is known to be small enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from psyctl_core.errors import SourceError
from psyctl_core.figures import counted
from psyctl_soda import readers
from psyctl_soda.files import open_file
from psyctl_soda.readers import BadRow, Block, Row, file_name
from psyctl_soda.values import as_list

BATCH_ROWS = 500
BUFFER = 1 << 20
MAX_VALUES = 1 << 25
"""Values of one column in one row group: decoded, their numbers alone take 128 MiB."""

MAX_LISTED = 10_000
"""Values that the lists of a column have on average."""

MAX_CHUNK_BYTES = 1 << 30
"""Bytes of one column in one row group; nobody writes more, since most readers hold them all."""

MAX_SWOLLEN, MAX_RATIO = 1 << 26, 200
"""A column that is larger than this and so many times as large as on disk holds no texts that people wrote."""

SMALL_CHUNK = 1 << 16
VALUE_BYTES = 64
"""What a value takes in Python, beside its text."""


def parquet_blocks(path: str, options: Mapping[str, Any]) -> Iterator[Block]:
    """One block a row group, known from the file's end; a row group is decoded a buffer at a time."""
    del options
    with open_file(path, anywhere=True) as file:
        parquet = pq.ParquetFile(file, buffer_size=BUFFER, pre_buffer=False)
        groups = parquet.metadata
        _refuse_absurd(path, groups)
        texts = _dictionaries(parquet)
        if texts:
            parquet = pq.ParquetFile(file, metadata=groups, buffer_size=BUFFER, pre_buffer=False, read_dictionary=texts)
        decode = label_names(parquet.schema_arrow)

        def rows(columns: Sequence[str] | None, number: int) -> Iterator[Row | BadRow]:
            at = 0
            for batch in parquet.iter_batches(BATCH_ROWS, [number], columns, use_threads=False):
                for row in _rows(batch, f"{file_name(path)}, row group {number}", at):
                    yield row if isinstance(row, BadRow) else decode(row)
                at += batch.num_rows

        for number in range(groups.num_row_groups):
            count = groups.row_group(number).num_rows
            yield Block(count, lambda columns, number=number: rows(columns, number))  # type: ignore[misc]


def _refuse_absurd(path: str, groups: Any) -> None:
    for number in range(groups.num_row_groups):
        group = groups.row_group(number)
        for at in range(group.num_columns):
            column = group.column(at)
            size, packed = column.total_uncompressed_size, max(1, column.total_compressed_size)
            swells = size > MAX_SWOLLEN and size > MAX_RATIO * packed
            whole = size > 2 * readers.MAX_ROW_BYTES * max(1, column.num_values)
            whole |= column.num_values > MAX_LISTED * max(100, group.num_rows)
            if column.num_values > MAX_VALUES or size > MAX_CHUNK_BYTES or swells or whole:
                raise SourceError(
                    f"File '{file_name(path)}' cannot be read in bounded memory: its row group {number} has "
                    f"{counted(column.num_values, 'value')} of {column.total_uncompressed_size >> 20} MiB in "
                    f"'{column.path_in_schema}'.",
                    "Write it with smaller row groups, or as JSON Lines.",
                )


def _dictionaries(parquet: Any) -> list[str]:
    """The text columns that may hold much more than their bytes, so that they are read as dictionaries."""
    groups, found = parquet.metadata, set()
    for number in range(groups.num_row_groups):
        for at in range(groups.row_group(number).num_columns):
            column = groups.row_group(number).column(at)
            shared = column.physical_type == "BYTE_ARRAY" and column.total_uncompressed_size > SMALL_CHUNK
            if shared and any(
                "DICTIONARY" in str(encoding) or "DELTA" in str(encoding) for encoding in column.encodings
            ):
                found.add(column.path_in_schema)
    return sorted(found)


def _rows(batch: Any, where: str, first: int) -> Iterator[Row | BadRow]:
    names = batch.schema.names
    if sum(map(_weight, batch.columns)) <= MAX_SWOLLEN:
        for cells in zip(*map(_values, batch.columns), strict=True):
            yield dict(zip(names, cells, strict=True))
        return
    for at in range(batch.num_rows):
        row = batch.slice(at, 1)
        if sum(map(_weight, row.columns)) > readers.MAX_ROW_BYTES:
            yield BadRow(f"{where}, row {first + at}", readers.too_long())
        else:
            yield {name: _values(column)[0] for name, column in zip(names, row.columns, strict=True)}


def _values(column: Any) -> list[Any]:
    """A column's values; Arrow takes ten times as long for dictionaries as for texts."""
    try:
        found: list[Any] = pc.cast(column, _without_dictionaries(column.type)).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        found = column.to_pylist()
    return found


def _without_dictionaries(kind: Any) -> Any:
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_without_dictionaries(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_without_dictionaries(field.type)) for field in kind])
    return kind


def _weight(array: Any) -> int:
    """About how many bytes an array takes as Python values."""
    kind = array.type
    size = VALUE_BYTES * len(array)
    if pa.types.is_dictionary(kind):
        return (
            size + _sum(pc.take(pc.binary_length(array.dictionary), array.indices))
            if _is_text(kind.value_type)
            else size
        )
    if pa.types.is_struct(kind):
        return size + sum(map(_weight, array.flatten()))
    if pa.types.is_nested(kind):
        return size + _weight(array.flatten())
    return size + _sum(pc.binary_length(array)) if _is_text(kind) else size


def _is_text(kind: Any) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(kind) for test in tests)


def _sum(lengths: Any) -> int:
    return int(pc.sum(lengths).as_py() or 0)


def label_names(schema: Any) -> Callable[[Row], Row]:
    """What puts the names of ``datasets``' ClassLabel features in the place of their numbers.

    The features are in the schema's metadata (https://huggingface.co/docs/datasets, "Features"); -1 stands for
    no label.
    """
    if b"huggingface" not in (schema.metadata or {}):
        return lambda row: row
    import datasets

    try:
        features = datasets.Features.from_arrow_schema(schema)
    except (ValueError, KeyError, TypeError, AttributeError):
        return lambda row: row
    return names_of_features(features)


def names_of_features(features: Mapping[str, Any]) -> Callable[[Row], Row]:
    """As :func:`label_names`, for features that are known already."""
    decoders = {name: decoder for name, feature in features.items() if (decoder := _decoder(feature)) is not None}
    if not decoders:
        return lambda row: row
    return lambda row: {name: decoders[name](value) if name in decoders else value for name, value in row.items()}


def _decoder(feature: Any) -> Callable[[Any], Any] | None:
    """What decodes a value of this feature, or None where there is nothing to decode."""
    import datasets

    if isinstance(feature, datasets.ClassLabel):
        names = feature.names or []
        return lambda value: names[value] if type(value) is int and 0 <= value < len(names) else _no_label(value)
    if isinstance(feature, Mapping):
        inside = {key: found for key, inner in feature.items() if (found := _decoder(inner)) is not None}
        return (lambda value: _in_object(value, inside)) if inside else None
    inner = feature[0] if isinstance(feature, list) and feature else getattr(feature, "feature", None)
    found = _decoder(inner) if inner is not None else None
    return (lambda value: _in_list(value, found)) if found is not None else None


def _no_label(value: Any) -> Any:
    return None if value == -1 else value


def _in_object(value: Any, inside: Mapping[str, Callable[[Any], Any]]) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {key: inside[key](item) if key in inside else item for key, item in value.items()}


def _in_list(value: Any, decode: Callable[[Any], Any]) -> Any:
    items = value if isinstance(value, list) else as_list(value)  # a list of objects may be an object of lists
    return value if items is None else [decode(item) for item in items]
