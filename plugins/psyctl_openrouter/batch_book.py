"""What was sent in batches, in a file of the run: written before it is sent, so that nothing is paid for twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from psyctl_core.errors import OutputError

FILE = "batches.sqlite"

State = Literal["intended", "sending", "under_way", "ended"]

_TABLES = """
CREATE TABLE IF NOT EXISTS batches (
    uuid TEXT PRIMARY KEY, place TEXT NOT NULL, digest TEXT NOT NULL, requests INTEGER NOT NULL,
    state TEXT NOT NULL, id TEXT NOT NULL, sent REAL NOT NULL, done INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS asked (
    key TEXT PRIMARY KEY, uuid TEXT NOT NULL, worst REAL NOT NULL, status INTEGER, body BLOB,
    handed INTEGER NOT NULL DEFAULT 0, spent REAL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS asked_of ON asked (uuid);
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch.

    Attributes:
        uuid: What psyctl calls it, before the server has given it a name.
        place: The base URL that it went to.
        digest: SHA-256 of its body.
        requests: How many it holds.
        state: ``intended`` (nothing that makes a batch was sent), ``sending`` (the server may have it), ``under_way``
            or ``ended`` (all that came of it is in the book).
        id: What the server calls it, once that is known.
        sent: When it was sent, in seconds since 1970.
        done: Its requests that were done when it was last looked at.
    """

    uuid: str
    place: str
    digest: str
    requests: int
    state: State
    id: str = ""
    sent: float = 0.0
    done: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of one request.

    Attributes:
        uuid: The batch that holds it; empty where a batch gave no usable answer, so that it is asked by itself.
        status: The HTTP status of its answer, or ``None`` while there is none.
        body: The answer's body.
        spent: US dollars that useless answers cost, or ``None`` where there were none.
    """

    uuid: str
    status: int | None
    body: bytes
    spent: float | None


class BatchBook:
    """The book, in SQLite with a write-ahead log: what it says survives a kill at any moment.

    Args:
        folder: Where its file lies; made where there is none.

    Raises:
        OutputError: The file cannot be opened or written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        with self._errors():
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self._path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(_TABLES)

    def intend(self, batch: Batch, keys: Sequence[tuple[str, float]]) -> None:
        """Note a batch that is to be made, with each request's key and what it may cost."""
        with self._errors(), self._transaction():
            self._db.execute(
                "INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (batch.uuid, batch.place, batch.digest, batch.requests, batch.state, batch.id, batch.sent, batch.done),
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO asked (key, uuid, worst) VALUES (?, ?, ?)",
                ((key, batch.uuid, worst) for key, worst in keys),
            )

    def note(self, uuid: str, *, state: State, id: str = "", sent: float | None = None) -> None:
        """Note how far a batch is."""
        with self._errors():
            self._db.execute(
                "UPDATE batches SET state = ?, id = ?, sent = coalesce(?, sent) WHERE uuid = ?", (state, id, sent, uuid)
            )

    def looked(self, uuid: str, done: int) -> None:
        """Note how many of a batch's requests were done."""
        with self._errors():
            self._db.execute("UPDATE batches SET done = ? WHERE uuid = ?", (done, uuid))

    def drop(self, uuid: str) -> list[str]:
        """Forget a batch that was not made; the keys of its requests."""
        with self._errors(), self._transaction():
            keys = [key for (key,) in self._db.execute("SELECT key FROM asked WHERE uuid = ?", (uuid,))]
            self._db.execute("DELETE FROM asked WHERE uuid = ?", (uuid,))
            self._db.execute("DELETE FROM batches WHERE uuid = ?", (uuid,))
        return keys

    def take_over(self, uuid: str, results: Iterable[tuple[str, int, bytes]]) -> int:
        """Take in all that came of a batch, in one transaction, and forget its requests that were not answered.

        Args:
            uuid: The batch.
            results: Key, HTTP status and body of each answer; keys of other batches are left out.

        Returns:
            How many of its requests were answered, in whichever way.
        """
        with self._errors(), self._transaction():
            self._db.executemany(
                "UPDATE asked SET status = ?, body = ? WHERE key = ? AND uuid = ?",
                ((status, body, key, uuid) for key, status, body in results),
            )
            self._db.execute("DELETE FROM asked WHERE uuid = ? AND status IS NULL", (uuid,))
            (count,) = self._db.execute("SELECT count(*) FROM asked WHERE uuid = ?", (uuid,)).fetchone()
            self._db.execute("UPDATE batches SET state = 'ended' WHERE uuid = ?", (uuid,))
        return int(count)

    def get(self, key: str) -> Asked | None:
        """What became of a request, or ``None`` where it is in no batch."""
        with self._errors():
            row = self._db.execute("SELECT uuid, status, body, spent FROM asked WHERE key = ?", (key,)).fetchone()
        return None if row is None else Asked(row[0], row[1], row[2] or b"", row[3])

    def is_of(self, uuid: str, key: str) -> bool:
        """Whether a batch holds a request."""
        asked = self.get(key)
        return asked is not None and asked.uuid == uuid

    def hand_over(self, key: str) -> None:
        """The request's answer goes to the run now."""
        with self._errors():
            self._db.execute("UPDATE asked SET handed = 1 WHERE key = ?", (key,))

    def forget(self, key: str) -> None:
        """The run has kept the request's answer."""
        with self._errors():
            self._db.execute("DELETE FROM asked WHERE key = ?", (key,))

    def failed(self, key: str, spent: float | None) -> None:
        """The request's answer was of no use and cost so much; it is asked by itself."""
        with self._errors():
            self._db.execute(
                "UPDATE asked SET uuid = '', status = NULL, body = NULL, spent = ? WHERE key = ?", (spent, key)
            )

    def batches(self, *states: State) -> list[Batch]:
        """The batches in one of these states, the oldest first."""
        marks = ", ".join("?" * len(states))
        with self._errors():
            rows = self._db.execute(f"SELECT * FROM batches WHERE state IN ({marks}) ORDER BY sent, uuid", states)  # noqa: S608
            return [
                Batch(uuid, place, digest, requests, state, id, sent, done)
                for uuid, place, digest, requests, state, id, sent, done in rows
            ]

    def open_requests(self) -> list[tuple[str, float]]:
        """Of each request whose answer the run has not got, its key and what it may cost."""
        with self._errors():
            return self._db.execute("SELECT key, worst FROM asked WHERE uuid != '' AND NOT handed").fetchall()

    def spent(self) -> float:
        """US dollars for useless answers to requests that are not answered yet."""
        with self._errors():
            return float(self._db.execute("SELECT total(spent) FROM asked WHERE uuid = ''").fetchone()[0])

    def unclaimed(self) -> int:
        """How many answers lie here that the run has not asked for."""
        with self._errors():
            query = "SELECT count(*) FROM asked WHERE status IS NOT NULL AND NOT handed"
            return int(self._db.execute(query).fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise OutputError(
                f"The book of batches {self._path} cannot be used: {error}.",
                "Make room or give access, then run the same command again. Do not delete it while a batch is under "
                "way: its requests would be paid for again.",
            ) from error
