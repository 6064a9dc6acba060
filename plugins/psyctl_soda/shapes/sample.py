"""The first rows of a data set, and what a shape answers about them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psyctl_soda.scenario import Talk
from psyctl_soda.values import cells, is_prose, is_text

Row = Mapping[str, Any]

SCENES = ("narrative", "situation", "scenario", "scene")
"""Columns that set the scene of a dialogue beside them."""

CONTEXTS = ("context", "background", "story", "premise")
"""Columns that do so where they hold prose, but elsewhere an emotion, a label or what to look answers up in."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How a data set is read.

    Attributes:
        shape: The shape's name.
        why: What it was recognised by.
        columns: The columns that are read.
        read: Makes a Talk of a row, or gives the reason why not. Where ``group`` is set it gets the list
            of a conversation's rows instead.
        group: The column whose value is the same in all rows of a conversation; empty where a row is one.
    """

    shape: str
    why: str
    columns: tuple[str, ...]
    read: Callable[[Any], Talk | str]
    group: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """The first rows, with the columns of all of them in order of appearance."""

    columns: tuple[str, ...]
    rows: Sequence[Row]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Sample:
        """The sample that these rows are."""
        return cls(tuple(dict.fromkeys(str(column) for row in rows for column in row)), rows)

    def mostly(self, column: str, test: Callable[[Any], bool]) -> bool:
        """Whether at least half of the column's values pass the test, one of them anyway."""
        passed = [bool(test(value)) for value in cells(list(self.rows), column)]
        return any(passed) and 2 * sum(passed) >= len(passed)

    def named(self, names: Sequence[str], test: Callable[[Any], bool]) -> str:
        """The column with the first of these names whose values mostly pass the test, or ""."""
        for name in names:
            for column in self.columns:
                if plain(column) == name and self.mostly(column, test):
                    return column
        return ""

    def any(self, names: Sequence[str], test: Callable[[Any], bool]) -> str:
        """As :meth:`named`, or else the first column of whatever name that passes."""
        return self.named(names, test) or next((c for c in self.columns if self.mostly(c, test)), "")

    def scene(self, *others: str) -> str:
        """The column that sets the scene, or ""; ``others`` are names that do so before these."""
        return self.named((*others, *SCENES), is_text) or self.named(CONTEXTS, is_prose)


def plain(name: str) -> str:
    """A column's or key's name reduced to small letters and digits."""
    return re.sub(r"[\W_]", "", name.lower())


def used(*columns: str) -> tuple[str, ...]:
    """The columns that there are among these, each once."""
    return tuple(dict.fromkeys(filter(None, columns)))


def listed(columns: Sequence[str]) -> str:
    """Columns as a sentence names them: ``narrative, dialogue and speakers``."""
    return " and ".join(filter(None, [", ".join(columns[:-1]), *columns[-1:]]))
