"""What a record is to every tool, and how files are written."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from psyctl_core.components import ExportTarget
from psyctl_core.figures import counted
from psyctl_core.records import CaaRecord, JsonValue

HELD_OUT = "_heldout"

MISSING = frozenset(
    (
        "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
        "NULL", "NaN", "None", "n/a", "nan", "null",
    )
)  # fmt: skip
"""Texts that ``pandas.read_csv`` takes for a missing value (its documentation, ``na_values``)."""


def parts(
    target: ExportTarget, pairs: Sequence[CaaRecord], held_out: Sequence[CaaRecord]
) -> Iterator[tuple[str, Sequence[CaaRecord]]]:
    """The records with the name of their file, and those that are held out, if any, with theirs."""
    yield target.name, pairs
    if held_out:
        yield f"{target.name}{HELD_OUT}", held_out


def write_json(target: ExportTarget, name: str, value: JsonValue) -> Path:
    """Write a JSON file; its path within the target's folder."""
    return write_text(target, name, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def write_json_lines(target: ExportTarget, name: str, rows: Iterable[Mapping[str, JsonValue]]) -> Path:
    """Write a JSON Lines file; its path within the target's folder."""
    return write_text(target, name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_csv(target: ExportTarget, name: str, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write a CSV file whose columns are the first row's keys; its path within the target's folder."""
    path = _made(target, name)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return Path(name)


def write_parquet(
    target: ExportTarget, name: str, rows: Sequence[Mapping[str, JsonValue]], columns: Mapping[str, str]
) -> Path:
    """Write a Parquet file with these columns and Arrow types; its path within the target's folder."""
    import pyarrow.parquet  # type: ignore[import-untyped]

    table = pyarrow.Table.from_pylist(list(rows), pyarrow.schema(list(columns.items())))
    pyarrow.parquet.write_table(table, _made(target, name))
    return Path(name)


def write_text(target: ExportTarget, name: str, text: str) -> Path:
    """Write a text file; its path within the target's folder."""
    _made(target, name).write_text(text, encoding="utf-8", newline="\n")
    return Path(name)


def read_as_missing(records: Sequence[CaaRecord]) -> tuple[str, ...]:
    """A note where an answer in a CSV file would be read as no answer."""
    odd = [text for each in records for text in (each.positive_text, each.neutral_text) if text.strip() in MISSING]
    if not odd:
        return ()
    return (
        f"pandas reads {counted(len(odd), 'answer')} such as '{odd[0]}' as missing: "
        "give read_csv keep_default_na=False.",
    )


def _made(target: ExportTarget, name: str) -> Path:
    path = target.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
