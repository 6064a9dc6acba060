"""The sink: one SQLite database for each dataset."""

import contextlib
import dataclasses
import json
import sqlite3

from psyctl_core import CaaRecord, Checkpoint, DatasetWriter, OutputError, OutputSink, UsageError


class Sqlite(OutputSink):
    """Keeps each dataset in a database of its own, a record a row."""

    def __init__(self, config, context):
        if not config.table.isidentifier():
            raise UsageError(f"'{config.table}' cannot be a table's name.", "Give --sqlite-table a plain word.")
        self._table = config.table

    def open(self, target):
        """Begin or continue a dataset."""
        return SqliteWriter(path_of(target), self._table)

    def read(self, target):
        """The records, all fetched at once, so that whoever reads slowly keeps nobody from writing."""
        path = path_of(target)
        with errors(f"Cannot read {path}"), contextlib.closing(read_only(path)) as database:
            rows = database.execute(f"SELECT record FROM {self._table} ORDER BY number").fetchall()
        for (record,) in rows:
            yield CaaRecord(**json.loads(record))

    def location(self, target):
        """Where the database is."""
        return str(path_of(target))


class SqliteWriter(DatasetWriter):
    """One database that is being written, a statement a transaction."""

    def __init__(self, path, table):
        self._path = path
        self._table = table
        with errors(f"Cannot open {path}"):
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.execute(
                f"CREATE TABLE IF NOT EXISTS {table} "
                "(number INTEGER PRIMARY KEY, id TEXT UNIQUE, question TEXT, positive TEXT, neutral TEXT, record TEXT)"
            )
            self._database.execute("CREATE TABLE IF NOT EXISTS checkpoint (only INTEGER PRIMARY KEY, data TEXT)")

    def last_checkpoint(self):
        """The checkpoint that was kept last, if there is one."""
        with errors(f"Cannot read {self._path}"):
            row = self._database.execute("SELECT data FROM checkpoint").fetchone()
        return Checkpoint(**json.loads(row[0])) if row else None

    def record_ids(self, start):
        """The ids in the order of writing."""
        query = f"SELECT id FROM {self._table} ORDER BY number LIMIT -1 OFFSET ?"
        with errors(f"Cannot read {self._path}"):
            return iter([row[0] for row in self._database.execute(query, (start,))])

    def write(self, record):
        """Add one row."""
        values = (record.id, record.question, record.positive, record.neutral, json.dumps(record.as_json()))
        with errors(f"Cannot write {self._path}"):
            self._database.execute(
                f"INSERT INTO {self._table} (id, question, positive, neutral, record) VALUES (?, ?, ?, ?, ?)", values
            )

    def checkpoint(self, checkpoint):
        """Replace the checkpoint."""
        data = json.dumps(dataclasses.asdict(checkpoint))
        with errors(f"Cannot write {self._path}"):
            self._database.execute("INSERT OR REPLACE INTO checkpoint VALUES (1, ?)", (data,))

    def close(self):
        """Close the database; one that nothing was put into is gone."""
        is_empty = next(self.record_ids(0), None) is None and self.last_checkpoint() is None
        self._database.close()
        if is_empty:
            self._path.unlink()


def path_of(target):
    """The database of a dataset."""
    return target.folder / f"{target.name}.sqlite"


def read_only(path):
    """A connection that makes and changes no file."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


@contextlib.contextmanager
def errors(what):
    """Turn an error of SQLite's into one with a way out."""
    try:
        yield
    except sqlite3.Error as error:
        raise OutputError(f"{what}: {error}.", "Make room or give access, then run the same command again.") from error
