"""One process at a time on an output folder."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import filelock

from psyctl_core.errors import OutputError
from psyctl_core.files import write_atomically, writing

LOCK_FILE = ".psyctl.lock"
OWNER_FILE = ".psyctl.pid"
MAX_OWNER = 200


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder; the operating system frees it when the process ends, however it ends.

    Raises:
        OutputError: Another process holds it; the message names the process.
    """
    lock = filelock.FileLock(folder / LOCK_FILE, timeout=0)
    owner = folder / OWNER_FILE
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise OutputError(
            f"Another psyctl ({holder(folder) or 'unknown process'}) is writing to {folder}.",
            "Wait for it or stop it, or choose another --output.",
            later=True,
        ) from error
    except OSError as error:
        raise OutputError(
            f"The folder {folder} cannot be locked: {error.strerror or error}.",
            "Its file system may know no locks, or the lock file may be a link: choose another --output.",
        ) from error
    try:
        with writing(owner):
            write_atomically(owner, f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        with contextlib.suppress(OSError):
            owner.unlink(missing_ok=True)
        lock.release()


def holder(folder: Path) -> str:
    """Who says it holds the folder, or nothing; after a crash the name may be stale."""
    try:
        return (folder / OWNER_FILE).read_text(encoding="utf-8", errors="replace")[:MAX_OWNER]
    except OSError:
        return ""
