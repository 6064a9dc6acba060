"""Reads any conversation as scenarios: finds the data set, recognises its shape, and goes through its rows."""

from __future__ import annotations

import functools
import logging
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from psyctl_core.components import Context, Identity, ScenarioSource
from psyctl_core.errors import SourceError, UsageError
from psyctl_core.figures import counted
from psyctl_core.records import Scenario, SkippedRow
from psyctl_core.terminal import NOTICE
from psyctl_soda import SodaConfig, explain
from psyctl_soda.files import format_of, shown, without_secrets
from psyctl_soda.find import Located, check_local, locate
from psyctl_soda.readers import MAX_ROW_BYTES, BadRow, Row
from psyctl_soda.readers_json import CONVERSATION
from psyctl_soda.repeats import WINDOW, without_repeats
from psyctl_soda.scenario import READING_VERSION, to_scenario
from psyctl_soda.shapes import Match, Sample, bare, custom, recognise, summary
from psyctl_soda.shapes.sample import runs
from psyctl_soda.shapes.unknown import not_recognised
from psyctl_soda.table import FILE
from psyctl_soda.values import at_path, weight

log = logging.getLogger("psyctl")

SAMPLE_ROWS = 50
"""Rows that a shape is recognised by."""

CORRUPT = "corrupt row"
MAX_CORRUPT_TOLD = 3
MIN_JUDGED = 20
"""Rows below which no share of corrupt ones is judged before the end."""

PATIENCE = 10_000
"""Rows without a single scenario after which the data set is refused."""

MAX_TURNS = 200
"""Rows of one conversation that are kept; where an id never changes, memory must stay bounded all the same."""

MAX_HELD_BYTES = 4 * MAX_ROW_BYTES
"""About how much of the rows that are held together, to know a shape or for a conversation, is kept at most."""

SHUFFLE_ROWS = 10_000
"""Rows that are shuffled among each other, and so are in memory together."""


class SodaSource(ScenarioSource):
    """The rows of a data set of any recognised shape, as scenarios.

    Raises:
        SourceError: A local path holds no readable file.
        UsageError: ``--columns`` is not of its form.
    """

    def __init__(self, config: SodaConfig, context: Context) -> None:
        self._config = config
        self._seed = context.seed
        self._columns = custom.parse(config.columns) if config.columns else {}
        check_local(config.dataset)

    @functools.cached_property
    def _found(self) -> Located:
        return locate(self._config.dataset, self._config.split, self._config.config, self._judge)

    @property
    def _shape(self) -> str:
        """The one shape that is allowed, or ""."""
        return "" if self._config.shape == "auto" else self._config.shape

    def _judge(self, rows: Sequence[Row]) -> int:
        """How much rows look like conversations: a document of JSON is read in the way in which they do."""
        sample = Sample.of(rows)
        if self._columns:
            try:
                custom.match(self._columns, sample)
            except UsageError:
                return 0
            return CONVERSATION
        match = recognise(sample, self._shape)
        if match is None:
            return 0
        weak = (match.shape == bare.NAME and match.shape != self._shape) or match.group == FILE
        return CONVERSATION - 1 if weak else CONVERSATION

    @functools.cached_property
    def _sample(self) -> Sample:
        """The first rows."""
        rows: list[Row] = []
        bad: list[BadRow] = []
        held = 0
        for item in islice(self._readable(0, None), 4 * SAMPLE_ROWS):
            if isinstance(item, BadRow):
                bad.append(item)
            elif len(rows) < SAMPLE_ROWS:
                rows.append(item)
                held += weight(item, MAX_HELD_BYTES)
            if held > MAX_HELD_BYTES:
                break
        read = len(rows) + len(bad)
        if 2 * len(bad) > read:
            raise self._corrupt(len(bad), read, bad[0])
        if not rows:
            raise self._empty()
        return Sample.of(rows)

    @functools.cached_property
    def _match(self) -> Match:
        """How the rows are read, by the first of them."""
        if self._columns:
            return custom.match(self._columns, self._sample)
        match = recognise(self._sample, self._shape)
        if match is None:
            raise not_recognised(self._found.name, self._sample, self._shape)
        return match

    @functools.cached_property
    def _first_items(self) -> list[tuple[Row, Scenario | SkippedRow]]:
        """What the first rows give, each with the row (or the first of its rows) that it is made of."""
        match, rows = self._match, [{**row, FILE: 0} for row in self._sample.rows]
        if not match.group:
            return [(row, to_scenario(match.read(row), at)) for at, row in enumerate(self._sample.rows)]
        found = [(run[0], to_scenario(match.read(run), at)) for at, run in enumerate(runs(rows, match.group))]
        return found[:-1] or found  # the last may go on after the rows that were looked at

    def identity(self) -> Identity:
        """The Hub's commit or the files' digest, and how the rows are read."""
        return {**self._found.identity, "reading": READING_VERSION, "shape": self._match.shape}

    def total(self) -> int | None:
        """The number of rows where the data set's card or its files tell it."""
        return self._found.table.total()

    def describe(self) -> Mapping[str, str]:
        """What was understood of the data set, for ``psyctl source.preview``."""
        table, match = self._found.table, self._match
        revision = self._found.identity.get("revision")
        files = f"{counted(len(table.paths), 'file')}, such as {shown(table.paths[0])}"
        rows = self.total()
        items = [item for _, item in self._first_items]
        doubtful = explain.doubts_of(match, items)
        return {
            "Dataset": f"{self._found.name}@{revision}" if revision else self._found.name,
            "Read from": files,
            **({"Rows": f"{rows}"} if rows is not None else {}),
            "Shape": f"{match.shape}: {summary(match.shape)}",
            "Recognised by": match.why,
            "Columns used": ", ".join(match.columns),
            **explain.understood(match, self._sample, items),
            **(explain.side_by_side(self._first_items) if doubtful else {}),
        }

    def scenarios(self, start: int) -> Iterator[Scenario | SkippedRow]:
        """Yield a scenario or a skipped row for each row (or conversation) whose offset is ``start`` or later."""
        match = self._match
        told = explain.understood(match, self._sample, [item for _, item in self._first_items])
        log.log(
            NOTICE if told["How sure"] == explain.SURE else logging.WARNING,
            "Reading %s as %s (%s); answers: %s; speaks last: %s; ignored: %s; %s",
            self._found.name, match.shape, match.why, told["Who answers"], told["Who speaks last"],
            told["Columns ignored"], told["How sure"],
        )  # fmt: skip
        items = self._shuffled(start) if self._config.shuffle else self._items(start)
        return self._checked(items) if start == 0 else items

    def _items(self, start: int) -> Iterator[Scenario | SkippedRow]:
        """The items from ``start`` on in the rows' order; a window before it is read for its repeats."""
        first = max(0, start - WINDOW)
        numbered = self._numbered(max(0, first - 1) if self._match.group else first)
        items = self._grouped(numbered, first) if self._match.group else self._single(numbered)
        return (item for item in without_repeats(items, WINDOW) if item.offset >= start)

    def _numbered(self, start: int) -> Iterator[tuple[int, Row | SkippedRow]]:
        """The rows with their numbers; a corrupt one is told, and too many of them are refused."""
        bad = 0
        for read, row in enumerate(self._readable(start, self._match.columns, mark=self._match.group == FILE), 1):
            offset = start + read - 1
            if not isinstance(row, BadRow):
                yield offset, row
                continue
            bad += 1
            if bad <= MAX_CORRUPT_TOLD:
                log.warning("%s: %s; the row is skipped%s", row.where, row.why, "" if bad < 3 else ", as others may be")
            if read >= MIN_JUDGED and 2 * bad > read:
                raise self._corrupt(bad, read, row)
            yield offset, SkippedRow(offset, CORRUPT)

    def _readable(self, start: int, columns: Any, *, mark: bool = False) -> Iterator[Row | BadRow]:
        """The table's rows; whatever fails in reading becomes an error that says how far it came."""
        name, read = self._found.name, start
        try:
            for row in self._found.table.rows(start, columns, mark=mark):
                yield row
                read += 1
        except SourceError:
            raise
        except Exception as error:
            table = self._found.table
            why = without_secrets(str(error), [*table.paths, self._config.dataset])
            raise SourceError(
                f"Reading dataset '{name}' failed after row {read}: {type(error).__name__}: {why}",
                "If the network failed, run the same command again: it goes on from what is saved."
                if table.remote
                else f"The file may be cut off or damaged: {table.paths[0]}",
                later=table.remote,
            ) from (None if table.remote else error)

    def _single(self, rows: Iterable[tuple[int, Row | SkippedRow]]) -> Iterator[Scenario | SkippedRow]:
        read = self._match.read
        for offset, row in rows:
            yield row if isinstance(row, SkippedRow) else to_scenario(read(row), offset)

    def _grouped(self, rows: Iterable[tuple[int, Row | SkippedRow]], first: int) -> Iterator[Scenario | SkippedRow]:
        """An item for each conversation that begins at ``first`` or later; its offset is its first row's.

        A conversation is a run of rows with one id; a corrupt row ends it. Reading begins a row before
        ``first``, so that a conversation that began earlier is known by its id and left out: which rows
        make a conversation does not depend on where reading began.
        """
        begun, last, held = -1, None, 0
        conversation: list[Row] = []
        for offset, row in rows:
            identifier = None if isinstance(row, SkippedRow) else at_path(row, self._match.group)
            if conversation and (identifier is None or identifier != last):
                if begun >= first:
                    yield to_scenario(self._match.read(conversation), begun)
                conversation = []
            if isinstance(row, SkippedRow):
                if offset >= first:
                    yield row
                continue
            if not conversation:
                begun, last, held = offset, identifier, 0
            if len(conversation) < MAX_TURNS and held <= MAX_HELD_BYTES:
                conversation.append(row)
                held += weight(row, MAX_HELD_BYTES)
        if conversation and begun >= first:
            yield to_scenario(self._match.read(conversation), begun)

    def _shuffled(self, start: int) -> Iterator[Scenario | SkippedRow]:
        """The items with those of each so many rows in an order that depends on the seed and their offset alone.

        An item's offset becomes its offset in that order; its id keeps telling the row's.
        """
        block = start // SHUFFLE_ROWS
        held: list[Scenario | SkippedRow] = []
        for item in self._items(block * SHUFFLE_ROWS):
            if item.offset // SHUFFLE_ROWS != block:
                yield from self._mixed(held, block, start)
                block, held = item.offset // SHUFFLE_ROWS, []
            held.append(item)
        yield from self._mixed(held, block, start)

    def _mixed(self, held: list[Scenario | SkippedRow], block: int, start: int) -> Iterator[Scenario | SkippedRow]:
        random.Random(f"{self._seed}:{block}").shuffle(held)  # noqa: S311 - an order, not a secret
        for offset, item in enumerate(held, block * SHUFFLE_ROWS):
            if offset >= start:
                yield replace(item, offset=offset)

    def _checked(self, items: Iterator[Scenario | SkippedRow]) -> Iterator[Scenario | SkippedRow]:
        """The items, refused where so many rows, or all there are, hold no scenario."""
        reasons: Counter[str] = Counter()
        for item in items:
            yield item
            if isinstance(item, Scenario):
                yield from items
                return
            reasons[item.reason] += 1
            if reasons.total() >= PATIENCE:
                break
        counted = ", ".join(f"{reason}: {count}" for reason, count in reasons.most_common())
        raise SourceError(
            f"Dataset '{self._found.name}' has no usable rows: none of {reasons.total()} gives a scenario ({counted}). "
            f"Read as {self._match.shape} by {self._match.why}.",
            f"If that is wrong, say which column is what: {custom.EXAMPLE}",
        )

    def _empty(self) -> SourceError:
        name = self._found.name
        if format_of(self._config.dataset):
            return SourceError(
                f"The file '{name}' holds no rows.", "Give a file with a conversation a row, or another data set."
            )
        return SourceError(
            f"Dataset '{name}' is empty: its split '{self._config.split}' has no rows.",
            "Choose another split with --split, or another data set.",
        )

    def _corrupt(self, bad: int, read: int, row: BadRow) -> SourceError:
        return SourceError(
            f"Dataset '{self._found.name}' is corrupt: {bad} of {counted(read, 'row')} cannot be read, "
            f"such as {row.where}: {row.why}.",
            "Save it as UTF-8."
            if row.why == "not UTF-8"
            else "Repair it, or give another file; single corrupt rows are skipped.",
        )
