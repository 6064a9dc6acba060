"""The sink: one SQLite database for each dataset."""

import contextlib
import dataclasses
import json
import sqlite3

from psyctl_core import OutputError, UsageError
from psyctl_core.components import Checkpoint, OutputSink


class Sqlite(OutputSink):
    """Writes each record as one row, at once."""

    def __init__(self, config, context):
        if not config.table.isidentifier():
            raise UsageError(f"'{config.table}' cannot be a table's name.", "Give --sqlite-table a plain word.")
        self._table = config.table
        self._db = None

    def open(self, target):
        """Make the tables, or find them, and return the last checkpoint."""
        self._path = target.folder / f"{target.name}.sqlite"
        with self._errors():
            self._db = sqlite3.connect(self._path, isolation_level=None)  # each statement is a transaction
            self._db.execute(
                f"CREATE TABLE IF NOT EXISTS {self._table} "
                "(number INTEGER PRIMARY KEY, id TEXT UNIQUE, question TEXT, positive TEXT, neutral TEXT, record TEXT)"
            )
            self._db.execute("CREATE TABLE IF NOT EXISTS checkpoint (only INTEGER PRIMARY KEY, data TEXT)")
            row = self._db.execute("SELECT data FROM checkpoint").fetchone()
        return Checkpoint(**json.loads(row[0])) if row else None

    def record_ids(self, start):
        """The ids in the order of writing."""
        query = f"SELECT id FROM {self._table} ORDER BY number LIMIT -1 OFFSET ?"
        return iter([row[0] for row in self._db.execute(query, (start,))])

    def write(self, record):
        """Add one row."""
        values = (record.id, record.question, record.positive, record.neutral, json.dumps(record.as_json()))
        with self._errors():
            self._db.execute(
                f"INSERT INTO {self._table} (id, question, positive, neutral, record) VALUES (?, ?, ?, ?, ?)", values
            )

    def checkpoint(self, checkpoint):
        """Replace the checkpoint."""
        with self._errors():
            data = json.dumps(dataclasses.asdict(checkpoint))
            self._db.execute("INSERT OR REPLACE INTO checkpoint VALUES (1, ?)", (data,))

    def location(self):
        """Where the database is."""
        return str(self._path)

    def close(self):
        """Close the database."""
        if self._db is not None:
            self._db.close()

    @contextlib.contextmanager
    def _errors(self):
        try:
            yield
        except sqlite3.Error as error:
            raise OutputError(
                f"Cannot write {self._path}: {error}.", "Make room, then run the same command again."
            ) from error
