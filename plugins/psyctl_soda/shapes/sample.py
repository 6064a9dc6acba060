"""The first rows of a data set, and what a shape answers about them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from psyctl_soda.scenario import Conversation
from psyctl_soda.values import as_list, at_path, cells, is_prose, is_text

Row = Mapping[str, Any]

SCENES = ("narrative", "situation", "scenario", "scene", "setting", "scenedescription", "additionalcontext")
"""Columns that set the scene of a dialogue beside them."""

CONTEXTS = ("context", "background", "story", "premise")
"""Columns that do so where they hold prose, but elsewhere an emotion, a label or what to look answers up in."""

MAX_LIFTED = 3
"""Objects inside each other whose values count as columns, as in ``body.dialogue``."""


@dataclass(frozen=True, slots=True)
class Match:
    """How a data set is read.

    Attributes:
        shape: The shape's name.
        why: What it was recognised by.
        columns: The columns that are read.
        read: Makes a Conversation of a row, or gives the reason why not. Where ``group`` is set it gets the
            list of a conversation's rows instead.
        group: The column whose value is the same in all rows of a conversation; empty where a row is one.
        doubts: What was guessed in reading them so, each in a few words; empty where nothing was.
    """

    shape: str
    why: str
    columns: tuple[str, ...]
    read: Callable[[Any], Conversation | str]
    group: str = ""
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """The first rows, with the columns of all of them in order of appearance."""

    columns: tuple[str, ...]
    rows: Sequence[Row]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Sample:
        """The sample that these rows are."""
        return cls(tuple(dict.fromkeys(str(column) for row in rows for column in row)), rows)

    def lifted(self) -> Sample | None:
        """The sample with the values inside objects as columns, or None where there are no objects."""
        rows = [lifted(row) for row in self.rows]
        return Sample.of(rows) if any(len(row) > len(old) for row, old in zip(rows, self.rows, strict=True)) else None

    def values(self, column: str) -> list[Any]:
        """The column's values that are not missing."""
        return list(cells(list(self.rows), column))

    def mostly(self, column: str, test: Callable[[Any], bool]) -> bool:
        """Whether at least half of the column's values pass the test, one of them anyway."""
        passed = [bool(test(value)) for value in self.values(column)]
        return any(passed) and 2 * sum(passed) >= len(passed)

    def named(self, names: Sequence[str], test: Callable[[Any], bool]) -> str:
        """The column with the first of these names whose values mostly pass the test, or ""."""
        plains = [(column, plain(column)) for column in self.columns]
        for name in names:
            for column, known in plains:
                if known == name and self.mostly(column, test):
                    return column
        return ""

    def any(self, names: Sequence[str], test: Callable[[Any], bool]) -> str:
        """As :meth:`named`, or else the first column of whatever name that passes."""
        return self.named(names, test) or next((c for c in self.columns if self.mostly(c, test)), "")

    def scene(self, *others: str) -> str:
        """The column that sets the scene, or ""; ``others`` are names that do so before these."""
        return self.named((*others, *SCENES), _tells) or self.named(CONTEXTS, is_prose)


def _tells(value: object) -> bool:
    """Whether a value is a text and not the number of a scene."""
    return is_text(value) and any(ch.isalpha() for ch in str(value)[:1000])


def lifted(row: Row, depth: int = MAX_LIFTED) -> Row:
    """A row with the values inside its objects as columns beside them, named by the keys that lead there."""
    found: dict[str, Any] = dict(row)
    for name, value in row.items():
        if depth and isinstance(value, Mapping) and as_list(value) is None:
            inside = lifted({str(key): item for key, item in value.items()}, depth - 1)
            found |= {f"{name}.{key}": item for key, item in inside.items()}
    return found


def of_lifted(match: Match) -> Match:
    """A match of lifted rows as one of the rows as they are."""
    columns = used(*(column.partition(".")[0] for column in match.columns))
    read = match.read
    if match.group:
        return replace(match, columns=columns, read=lambda rows: read([lifted(row) for row in rows]))
    return replace(match, columns=columns, read=lambda row: read(lifted(row)))


def plain(name: str) -> str:
    """A column's or key's own name reduced to small letters and digits, whatever objects it is in."""
    return re.sub(r"[\W_]", "", name.rpartition(".")[2].lower())


def used(*columns: str) -> tuple[str, ...]:
    """The columns that there are among these, each once."""
    return tuple(dict.fromkeys(filter(None, columns)))


def listed(columns: Sequence[str]) -> str:
    """Columns as a sentence names them: ``narrative, dialogue and speakers``."""
    return " and ".join(filter(None, [", ".join(columns[:-1]), *columns[-1:]]))


def runs(rows: Sequence[Row], group: str) -> Iterator[list[Row]]:
    """The rows in runs of one value of the column ``group``."""
    run: list[Row] = []
    for row in rows:
        if run and at_path(row, group) != at_path(run[-1], group):
            yield run
            run = []
        run.append(row)
    if run:
        yield run
