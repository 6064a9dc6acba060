"""Completions kept the moment they arrive, so that none is asked or paid for twice after a crash."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from psyctl_core._store.runs import Run
from psyctl_core._store.under_way import UnderWay
from psyctl_core.errors import OutputError
from psyctl_core.records import NEUTRAL, ChatRequest, Completion, Usage, is_unpriced

FILE = "journal.sqlite"
NEUTRAL_FILE = "neutral.sqlite"
"""Where the neutral answers go from the journal: a trait that is added to the run needs them again."""
UNDER_WAY_FILE = "under_way"
PERSONA = -1
"""The offset under which a prompter's answers are kept: before every scenario, so never pruned."""

_COLUMNS = """(
    key TEXT PRIMARY KEY, offset INTEGER NOT NULL, text TEXT NOT NULL, finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER, completion_tokens INTEGER, cost REAL, error TEXT NOT NULL, unpriced INTEGER NOT NULL,
    metadata TEXT NOT NULL
) WITHOUT ROWID"""
_TABLES = f"""
CREATE TABLE IF NOT EXISTS completions {_COLUMNS};
CREATE TABLE IF NOT EXISTS neutral (key TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blocks (offset INTEGER PRIMARY KEY, scenarios INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS usage (only INTEGER PRIMARY KEY CHECK (only = 1), totals TEXT NOT NULL);
"""

_SUM = """
SELECT COUNT(*), TOTAL(finish_reason = 'error'), TOTAL(prompt_tokens), TOTAL(completion_tokens), SUM(cost),
TOTAL(unpriced) FROM completions WHERE offset >= ? AND offset < ?
"""
_FORGET = (
    "DELETE FROM neutral WHERE key IN (SELECT key FROM completions WHERE offset >= ? AND offset < ?)",
    "DELETE FROM completions WHERE offset >= ? AND offset < ?",
)
_EVERYTHING = (PERSONA, 1 << 62)


class Journal:
    """A run's completions whose scenarios are not all settled yet, in SQLite with a write-ahead log.

    A committed completion survives the process being killed at any moment (SQLite, "Write-Ahead
    Logging", https://www.sqlite.org/wal.html); a power cut may take the last few.

    Args:
        folder: The run folder; the journal's file lies in it.
        backend: The backend's identity, part of every key.
        usage: What the run had used when it last said so; what the journal holds counts on top.
        beside: Run folders of the same run, whose neutral answers are used as well.

    Attributes:
        lost: How many requests were under way when a process was killed; they are booked among the lost ones.

    Raises:
        OutputError: The file cannot be opened or written.
    """

    def __init__(
        self,
        folder: Path,
        backend: Mapping[str, Any],
        usage: Usage,
        beside: Sequence[Path] = (),
    ) -> None:
        self._path = folder / FILE
        self._neutral = folder / NEUTRAL_FILE
        self._backend = _digest(backend)
        self._errors = _Errors(self._path)
        files = dict.fromkeys(each / NEUTRAL_FILE for each in (folder, *beside))
        self._beside = {path: _to_read(path) for path in files if path.exists()}
        with self._errors:
            self._db = self._open(usage)
            self._kept = {key for (key,) in self._db.execute("SELECT key FROM completions")}
            self._under_way = UnderWay(folder / UNDER_WAY_FILE)
            self.lost = self._under_way.get()
            if self.lost:
                base = self._base()
                self._set_base(dataclasses.replace(base, lost_requests=base.lost_requests + self.lost))
                self._under_way.set(0)

    @classmethod
    def of_run(cls, datasets: Sequence[Run], backend: Mapping[str, Any]) -> Journal:
        """The journal of all datasets of a run, in whichever folder it lies; without one in the first one's."""
        home = next((each for each in datasets if (each.path / FILE).exists()), datasets[0])
        used = max((each.usage for each in datasets), key=lambda usage: usage.requests)
        beside = [each.path for each in datasets]
        return cls(home.path, backend, dataclasses.replace(used), beside)

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
            row = self._db.execute("SELECT * FROM completions WHERE key = ?", (key,)).fetchone()
        return dataclasses.replace(_completion(row), id=request.id)

    def neutral(self, request: ChatRequest) -> Completion | None:
        """The neutral answer to a scenario that was committed for another trait, under the request's id."""
        if not is_neutral(request):
            return None
        key = self._key(request)
        for path, db in self._beside.items():
            with _Errors(path):
                rows = db.execute("SELECT * FROM completions WHERE key = ?", (key,)).fetchall()
            if rows:
                return dataclasses.replace(_completion(rows[0]), id=request.id)
        return None

    def put(self, request: ChatRequest, offset: int, completion: Completion, *, is_free: bool = False) -> None:
        """Keep a completion, of a backend that may be free. Raises OutputError."""
        c = completion
        row = (
            self._key(request), offset, c.text, c.finish_reason,
            c.prompt_tokens, c.completion_tokens, c.cost, c.error, is_unpriced(c, is_free=is_free),
            json.dumps(c.metadata) if c.metadata else "",
        )  # fmt: skip
        with self._errors:
            self._db.execute("INSERT OR REPLACE INTO completions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            if is_neutral(request):
                self._db.execute("INSERT OR REPLACE INTO neutral VALUES (?)", row[:1])

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
        self._keep_neutral(start, end)
        self._db.execute("BEGIN")
        for query in _FORGET:
            self._db.execute(query, (start, end))
        self._set_base(base)
        self._db.execute("COMMIT")

    def _keep_neutral(self, start: int, end: int) -> None:
        """Write the neutral answers of these offsets where a trait that is added later finds them."""
        chosen = "SELECT completions.* FROM completions JOIN neutral USING (key) WHERE offset >= ? AND offset < ?"
        if self._db.execute(f"{chosen} LIMIT 1", (start, end)).fetchone() is None:
            return
        self._db.execute("ATTACH DATABASE ? AS kept", (str(self._neutral),))
        try:
            self._db.execute(f"CREATE TABLE IF NOT EXISTS kept.completions {_COLUMNS}")
            self._db.execute(f"INSERT OR REPLACE INTO kept.completions {chosen}", (start, end))
        finally:
            self._db.execute("DETACH DATABASE kept")

    def _base(self) -> Usage:
        """What is booked beside the answers that are kept."""
        (totals,) = self._db.execute("SELECT totals FROM usage").fetchone()
        return Usage(**json.loads(totals))

    def _set_base(self, base: Usage) -> None:
        self._db.execute("UPDATE usage SET totals = ?", (json.dumps(dataclasses.asdict(base)),))

    def close(self, *, remove: bool = False) -> None:
        """Close the journal, and with ``remove`` delete it: the run is complete."""
        with self._errors:
            if remove:
                self._keep_neutral(*_EVERYTHING)
        for db in (self._db, *self._beside.values()):
            db.close()
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


def is_neutral(request: ChatRequest) -> bool:
    """Whether it asks for a scenario's neutral answer, which all traits share."""
    return request.id.partition(":")[2] == NEUTRAL


def _to_read(path: Path) -> sqlite3.Connection:
    with _Errors(path):
        db = sqlite3.connect(path, isolation_level=None)
        db.execute(f"CREATE TABLE IF NOT EXISTS completions {_COLUMNS}")  # also: it is a database
        return db


def _completion(row: Sequence[Any]) -> Completion:
    key, _, text, reason, read, made, cost, error, unpriced, metadata = row
    return Completion(key, text, reason, read, made, cost, error, bool(unpriced), json.loads(metadata or "{}"))


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
    """Turns what SQLite and the file system refuse into an error that names the journal and the way out.

    A class, since every answer passes it several times and a generator takes longer.
    """

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
