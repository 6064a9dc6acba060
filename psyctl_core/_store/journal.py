"""Completions kept the moment they arrive, so that none is asked or paid for twice after a crash."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from psyctl_core._store.under_way import UnderWay
from psyctl_core.errors import OutputError
from psyctl_core.records import ChatRequest, Completion, Usage

FILE = "journal.sqlite"
UNDER_WAY_FILE = "under_way"
PERSONA = -1
"""The offset under which a prompter's answers are kept: before every scenario, so never pruned."""

_TABLES = """
CREATE TABLE IF NOT EXISTS completions (
    key TEXT PRIMARY KEY, offset INTEGER NOT NULL, text TEXT NOT NULL, finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER, completion_tokens INTEGER, cost REAL, error TEXT NOT NULL, unpriced INTEGER NOT NULL,
    metadata TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blocks (offset INTEGER PRIMARY KEY, scenarios INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS usage (only INTEGER PRIMARY KEY CHECK (only = 1), totals TEXT NOT NULL);
"""

_SUM = """
SELECT COUNT(*), TOTAL(finish_reason = 'error'), TOTAL(prompt_tokens), TOTAL(completion_tokens), SUM(cost),
TOTAL(cost IS NULL OR unpriced) FROM completions WHERE offset >= ? AND offset < ?
"""
_EVERYTHING = (PERSONA, 1 << 62)


class Journal:
    """A run's completions whose scenarios are not all settled yet, in SQLite with a write-ahead log.

    A committed completion survives the process being killed at any moment (SQLite, "Write-Ahead
    Logging", https://www.sqlite.org/wal.html); a power cut may take the last few.

    Args:
        folder: The run folder; the journal's file lies in it.
        backend: The backend's identity, part of every key.
        usage: What the run had used when it last said so; what the journal holds counts on top.

    Attributes:
        lost: How many requests were under way when a process was killed; they are booked among the lost ones.

    Raises:
        OutputError: The file cannot be opened or written.
    """

    def __init__(self, folder: Path, backend: Mapping[str, Any], usage: Usage) -> None:
        self._path = folder / FILE
        self._errors = _Errors(self._path)
        self._backend = _digest(backend)
        with self._errors:
            self._db = self._open(usage)
            self._kept = {key for (key,) in self._db.execute("SELECT key FROM completions")}
            self._under_way = UnderWay(folder / UNDER_WAY_FILE)
            self.lost = self._under_way.get()
            if self.lost:
                base = self._base()
                self._set_base(dataclasses.replace(base, lost_requests=base.lost_requests + self.lost))
                self._under_way.set(0)

    def of(self, backend: Mapping[str, Any]) -> Journal:
        """The same journal for the answers of another backend."""
        other = copy.copy(self)
        other._backend = _digest(backend)
        return other

    def usage(self) -> Usage:
        """What the run has used in all, to the last completion."""
        with self._errors:
            return _sum(self._base(), self._db.execute(_SUM, _EVERYTHING).fetchone())

    def under_way(self, requests: int) -> None:
        """Note how many requests are under way that may have to be paid for, should the process be killed now."""
        self._under_way.set(requests)

    def get(self, request: ChatRequest) -> Completion | None:
        """The completion that an earlier process got for the same request, under the request's id."""
        if not self._kept or (key := self._key(request)) not in self._kept:
            return None
        with self._errors:
            found = next(self._completions("SELECT * FROM completions WHERE key = ?", key))
        return dataclasses.replace(found, id=request.id)

    def put(self, request: ChatRequest, offset: int, completion: Completion) -> None:
        """Keep a completion. Raises OutputError."""
        c = completion
        row = (
            self._key(request), offset, c.text, c.finish_reason,
            c.prompt_tokens, c.completion_tokens, c.cost, c.error, c.unpriced,
            json.dumps(c.metadata) if c.metadata else "",
        )  # fmt: skip
        with self._errors:
            self._db.execute("INSERT OR REPLACE INTO completions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def block(self, offset: int) -> int | None:
        """How many scenarios the block that begins at an offset was cut to, if an earlier process cut it."""
        with self._errors:
            row = self._db.execute("SELECT scenarios FROM blocks WHERE offset = ?", (offset,)).fetchone()
        return row[0] if row else None

    def keep_block(self, offset: int, scenarios: int) -> None:
        """Record where a block ends, so that a resumed run cuts the same one. Raises OutputError."""
        with self._errors:
            self._db.execute("INSERT OR REPLACE INTO blocks VALUES (?, ?)", (offset, scenarios))

    def forget_before(self, offset: int, usage: Usage) -> None:
        """Drop what belongs to scenarios before ``offset``, booking it under the totals.

        Args:
            offset: From which the run would go on.
            usage: Totals to date; what is still kept is counted out of them again when read back.
        """
        with self._errors:
            base = _sum(self._base(), self._db.execute(_SUM, (0, offset)).fetchone())
            base.seconds = usage.seconds
            self._forget(0, offset, base)
            self._db.execute("DELETE FROM blocks WHERE offset < ?", (offset,))

    def forget_personas(self) -> None:
        """Drop what a prompter was answered and could not use, so that the next process asks again; it stays booked."""
        with self._errors:
            self._forget(PERSONA, 0, _sum(self._base(), self._db.execute(_SUM, (PERSONA, 0)).fetchone()))

    def _forget(self, start: int, end: int, base: Usage) -> None:
        """Drop the answers of these offsets and state what is booked beside those that are kept."""
        self._db.execute("BEGIN")
        self._db.execute("DELETE FROM completions WHERE offset >= ? AND offset < ?", (start, end))
        self._set_base(base)
        self._db.execute("COMMIT")

    def _base(self) -> Usage:
        """What is booked beside the answers that are kept."""
        (totals,) = self._db.execute("SELECT totals FROM usage").fetchone()
        return Usage(**json.loads(totals))

    def _set_base(self, base: Usage) -> None:
        self._db.execute("UPDATE usage SET totals = ?", (json.dumps(dataclasses.asdict(base)),))

    def close(self, *, remove: bool = False) -> None:
        """Close the journal, and with ``remove`` delete it: the run is complete."""
        self._db.close()
        self._under_way.close()
        if remove:
            for path in (self._path, *map(self._path.with_name, (f"{FILE}-wal", f"{FILE}-shm", UNDER_WAY_FILE))):
                path.unlink(missing_ok=True)

    def _open(self, usage: Usage) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self._path, isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(_TABLES)
        db.execute("INSERT OR IGNORE INTO usage VALUES (1, ?)", (json.dumps(dataclasses.asdict(usage)),))
        return db

    def _completions(self, query: str, *values: object) -> Iterator[Completion]:
        for key, _, text, reason, read, made, cost, error, unpriced, metadata in self._db.execute(query, values):
            yield Completion(key, text, reason, read, made, cost, error, bool(unpriced), json.loads(metadata or "{}"))

    def _key(self, request: ChatRequest) -> str:
        """A digest of all that decides the answer; the request's id only names it."""
        asked = (
            [(message.role, message.content) for message in request.messages],
            request.prefill,
            request.stop,
            request.max_tokens,
            request.temperature,
            request.seed,
        )
        digest = self._backend.copy()
        more = (request.choices, request.continuation, request.json_schema)
        digest.update(json.dumps([*asked, *more] if any(more) else asked).encode())
        return digest.hexdigest()


def _digest(backend: Mapping[str, Any]) -> hashlib._Hash:
    return hashlib.sha256(json.dumps(backend, sort_keys=True).encode())


def _sum(usage: Usage, totals: tuple[float | None, ...]) -> Usage:
    """A usage with what :data:`_SUM` adds up on top."""
    requests, failed, read, made, cost, unpriced = totals
    return dataclasses.replace(
        usage,
        requests=usage.requests + int(requests or 0),
        failed_requests=usage.failed_requests + int(failed or 0),
        prompt_tokens=usage.prompt_tokens + int(read or 0),
        completion_tokens=usage.completion_tokens + int(made or 0),
        cost=usage.cost if cost is None else (usage.cost or 0.0) + cost,
        unpriced_requests=usage.unpriced_requests + int(unpriced or 0),
    )


class _Errors:
    """Turns what SQLite and the file system refuse into an error that names the journal and the way out."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (sqlite3.Error, OSError, ValueError, TypeError, RecursionError)):
            raise OutputError(
                f"The journal {self._path} cannot be used: {error}.",
                "Make room or give access, then run the same command again. If the file is damaged, delete it: "
                "only answers that are not in the dataset yet are asked for again.",
            ) from error
