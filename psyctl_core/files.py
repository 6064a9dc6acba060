"""Files: written so that a crash leaves the old one or the new one, no link followed; read; told apart by a digest."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from psyctl_core.errors import OutputError, UsageError

DRAFT_SUFFIX = ".psyctl-draft"
DRAFT_FOLDER = ".new-"
SAMPLE_BYTES = 1 << 20


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
    """Write ``text`` to a new file beside ``path``, flush it to the disk, then move it into place.

    Raises:
        OSError: The disk is full, the folder is gone or cannot be written.
    """
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=DRAFT_SUFFIX)
    try:
        with os.fdopen(number, "w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def open_to_append(path: Path) -> BinaryIO:
    """Open a file of psyctl's to append to, unbuffered; a link in its place is not followed.

    Raises:
        OSError: It cannot be opened, or is a link.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        number = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a link, and links are not followed") from error
        raise
    return cast(BinaryIO, os.fdopen(number, "ab", buffering=0))


def read_json(path: Path, what: str) -> Any:
    """The JSON values in a file that a person wrote; ``what`` it is called where it gives a name a second time.

    Raises:
        UsageError: It does, and the second value would hide the first.
        OSError: It cannot be read.
        ValueError, RecursionError: It is not JSON.
    """

    def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                raise UsageError(f"{what} gives '{name}' a second time.", "Leave one of the two out.")
            found[name] = value
        return found

    return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=each_once)


def append_row(path: Path, row: object) -> None:
    """Append a line of JSON to a file of psyctl's.

    Raises:
        OutputError: It cannot be written.
    """
    line = json.dumps(row, ensure_ascii=False) + "\n"
    with writing(path), open_to_append(path) as file:
        file.write(line.encode("utf-8", errors="replace"))


def remove_drafts(folder: Path) -> None:
    """Remove what a killed process left of files that it was replacing."""
    for draft in folder.glob(f".*{DRAFT_SUFFIX}"):
        with contextlib.suppress(OSError):
            draft.unlink()


@functools.cache  # it can only be read by setting it, which must not happen while another thread makes a file
def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def new_folders(folders: Iterable[Path], not_counted: Iterable[str] = ()) -> Iterator[None]:
    """Folders may be made in the block; where it fails, those that were not there before and hold nothing are removed.

    Args:
        folders: The folders; those above them are looked at as well.
        not_counted: Names of files that count as nothing, and are removed with their folder.
    """
    missing = {each for folder in folders for each in (folder, *folder.parents) if not each.exists()}
    try:
        yield
    except BaseException:
        for folder in sorted(missing, reverse=True):  # those inside others come first
            with contextlib.suppress(OSError):
                held = {path.name for path in folder.iterdir()}
                if held <= {*not_counted}:
                    for name in held:
                        (folder / name).unlink()
                    folder.rmdir()
        raise


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A new path of the same name, for a file or a folder, which takes its place at the end, or is gone if that fails.

    Raises:
        OSError: The folder cannot be written, or ``path`` is a folder with something in it.
    """
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=DRAFT_FOLDER))
    try:
        yield folder / path.name
        (folder / path.name).replace(path)
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)


def is_draft(path: Path, folder: Path) -> bool:
    """Whether a path in the folder belongs to what a process was still writing, and was killed or is at it."""
    return any(part.startswith(DRAFT_FOLDER) for part in path.relative_to(folder).parts)


def make_room(place: Path) -> None:
    """Make the place's parents, and see that it is new or an empty folder, which makes room for the new one.

    Raises:
        UsageError: It is something else.
        OSError: The parents cannot be made.
    """
    if place.is_symlink():
        raise UsageError(f"'{place}' is a link, and links are not followed.", "Give --output a new or empty folder.")
    there = next(each for each in (place, *place.parents) if each.exists())
    if not there.is_dir():
        raise UsageError(f"'{there}' is not a folder.", "Give --output a new or empty folder.")
    if place.is_dir() and any(place.iterdir()):
        raise UsageError(
            f"The folder '{place}' is not empty, and what goes there is written whole.",
            "Give --output a new folder, or remove this one.",
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir():
        place.rmdir()


def digest(files: Iterable[str | Path]) -> str:
    """A digest of the files' names, sizes and both ends: quick, and different for another model or data set."""
    summary = hashlib.sha256()
    for path in map(Path, files):
        size = path.stat().st_size
        summary.update(os.fsencode(f"{path.name}:{size}:"))
        with path.open("rb") as file:
            summary.update(file.read(SAMPLE_BYTES))
            file.seek(max(0, size - SAMPLE_BYTES))
            summary.update(file.read(SAMPLE_BYTES))
    return summary.hexdigest()[:16]
