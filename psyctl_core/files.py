"""Replacing a file so that a crash leaves the old one or the new one, never half of either."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from psyctl_core.errors import OutputError


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into an error that names the path and the way out.

    Raises:
        OutputError: In place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"Cannot write {path}: {error.strerror or error}.",
            "Make room or give access, then run the same command again: it goes on from what is saved.",
        ) from error


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` beside ``path``, flush it to the disk, then move it into place.

    Raises:
        OSError: The disk is full, the folder is gone or cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A new path of the same name, for a file or a folder, which takes its place at the end, or is gone if that fails.

    Raises:
        OSError: The folder cannot be written, or ``path`` is a folder with something in it.
    """
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=".new-"))
    try:
        yield folder / path.name
        (folder / path.name).replace(path)
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
