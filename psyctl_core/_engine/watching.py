"""Keeps on the disk how a run is doing, for whoever looks on, and what happened to it, for afterwards."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from psyctl_core import schema
from psyctl_core._engine.progress import Callback, Meter, Progress, history, in_parts
from psyctl_core._store.runs import Run, now
from psyctl_core.errors import PsyctlError
from psyctl_core.files import open_to_append, write_atomically
from psyctl_core.terminal import visible

PROGRESS_FILE = ".psyctl.progress.json"
LOG_FILE = "log.txt"

TICK_SECONDS = 1.0
WRITE_SECONDS = 2.0
"""Between two times that the progress file is replaced."""

LOG_SECONDS = 60.0
"""Between two lines of the log that say how far the run is."""

FRESH_SECONDS = 60.0
"""An older progress file is that of a process which ended without a word."""

log = logging.getLogger("psyctl")


class LogFile(logging.Handler):
    """Appends what is logged to a file, a line each with its time; a file that cannot be written is given up.

    Args:
        path: The file; made with the first line.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(logging.INFO)
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        """Append one record."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(record.created))
        text = visible(" ".join(record.getMessage().split()))
        level = "warning: " if record.levelno == logging.WARNING else "error: " if record.levelno > 30 else ""
        with contextlib.suppress(OSError), open_to_append(self._path) as file:
            file.write(f"{moment} {level}{text}\n".encode("utf-8", errors="replace"))


@contextlib.contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Append to a file what is logged for as long as the block runs, what only logs are told included."""
    handler = LogFile(path)
    for logger in (log, history):
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in (log, history):
            logger.removeHandler(handler)


class Watch:
    """Tells the disk, and whoever else wants to know, how a run is doing: once a second, also while nothing comes.

    Args:
        output: The output folder, where the progress file lies beside the lock.
        runs: The datasets' runs; the first one's folder gets the log.
        meter: How the run is doing.
        tick: Called once a second from a thread of its own; what it raises is lost.
    """

    def __init__(self, output: Path, runs: Sequence[Run], meter: Meter, tick: Callback | None) -> None:
        self._path = output / PROGRESS_FILE
        self._run = runs[0]
        self._names = sorted({run.name for run in runs})
        self._meter = meter
        self._tick = tick
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="psyctl-watch", daemon=True)
        self._written = self._logged = -LOG_SECONDS
        self._phase = self._waiting = ""

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch for as long as the block runs; its end is logged, and the progress file is gone."""
        with logging_to(self._run.path / LOG_FILE):
            history.info("Process %d on %s works on %s.", os.getpid(), socket.gethostname(), self._run.name)
            self._see(self._meter.now())
            self._thread.start()
            try:
                with self._ending():
                    yield
                history.info("Done: %s.", in_parts(self._meter.now())[0])
            except PsyctlError as error:
                history.error("Ended: %s", error)
                raise
            except BaseException as error:
                history.error("Ended: %s %s", type(error).__name__, error)
                raise

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        """However the block ends, so does the thread; what it has not seen yet is logged."""
        try:
            yield
        finally:
            self._ended.set()
            self._thread.join()
            self._see(self._meter.now())
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _go_on(self) -> None:
        while not self._ended.wait(TICK_SECONDS):
            with contextlib.suppress(Exception):
                self._see(self._meter.now())
                if self._tick is not None:
                    self._meter.tell(self._tick)

    def _see(self, p: Progress) -> None:
        """Log what is new, and replace the progress file now and then."""
        moment = time.monotonic()
        if p.waiting != self._waiting:
            history.info("%s", f"Waiting: {p.waiting}" if p.waiting else "Waiting is over")
        if p.phase == "generating" and moment - self._logged >= LOG_SECONDS:
            history.info("%s", ", ".join(in_parts(p)))
            self._logged = moment
        if p.phase != self._phase or p.waiting != self._waiting or moment - self._written >= WRITE_SECONDS:
            self._written = moment
            about = {"process": os.getpid(), "host": socket.gethostname(), "names": self._names, "time": now()}
            row = {"format_version": schema.VERSIONS["progress"], "event": "progress", **about, **p.as_json()}
            with contextlib.suppress(OSError):  # a full disk ends the run where it matters
                write_atomically(self._path, json.dumps(row, ensure_ascii=False))
        self._phase, self._waiting = p.phase, p.waiting


def last_seen(output: Path) -> tuple[Mapping[str, Any], float] | None:
    """What the progress file of an output folder says, and how many seconds ago; ``None`` where there is none.

    After a crash it stays, and tells what the process had come to a second or two before.
    """
    path = output / PROGRESS_FILE
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        age = time.time() - path.stat().st_mtime
    except (OSError, ValueError, RecursionError):
        return None
    return None if schema.problem("progress", row) else (row, age)


def is_at_work(row: Mapping[str, Any], age: float) -> bool:
    """Whether the process that wrote a progress file still works: never asks for the lock.

    Args:
        row: What the file says.
        age: Seconds since it was written.
    """
    return age < FRESH_SECONDS and not (row.get("host") == socket.gethostname() and _has_ended(row.get("process", 0)))


def _has_ended(process: int) -> bool:
    """Whether a process of this machine is known to have ended; one that nobody has waited for yet counts as ended."""
    if os.name == "nt":  # there a signal 0 would end it
        return False
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except ProcessLookupError:
        return True
    except (OSError, OverflowError, IndexError):
        return False
