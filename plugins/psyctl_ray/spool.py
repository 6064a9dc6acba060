"""Keeps answers between a worker and the driver, in files that outlive either: nothing answered is asked twice."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from psyctl_core.errors import OutputError
from psyctl_core.files import write_atomically
from psyctl_core.records import ChatRequest, Completion

SUFFIX = ".answers"

MARK = "driver"
"""A file in the spool by which a worker sees that it is the driver's folder."""


def key_of(request: ChatRequest) -> str:
    """A digest of all that decides the answer; the request's id only names it."""
    row = json.dumps({**dataclasses.asdict(request), "id": ""}, sort_keys=True)
    return hashlib.sha256(row.encode("utf-8", "surrogatepass")).hexdigest()


def is_marked(folder: Path, mark: str) -> bool:
    """Whether a folder is the one that the driver marked, as far as this machine sees it."""
    try:
        return (folder / MARK).read_text(encoding="utf-8") == mark
    except OSError:
        return False


class SpoolFile:
    """One worker's answers to what it was given last, a line each.

    What it was given before is safe with the driver by then, so the file begins anew with each block.

    Args:
        folder: The spool; ``None`` keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / f"{uuid.uuid4().hex}{SUFFIX}"
        self._number: int | None = None
        self._keys: dict[str, str] = {}

    @property
    def name(self) -> str:
        """The file's name in the spool."""
        return "" if self._path is None else self._path.name

    def begin(self, requests: Sequence[ChatRequest]) -> None:
        """Forget what was kept, and get ready for the answers to these. Raises OSError."""
        if self._path is None:
            return
        self._keys = {request.id: key_of(request) for request in requests}
        if self._number is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)
            self._number = os.open(self._path, flags, 0o666)
        os.ftruncate(self._number, 0)

    def keep(self, completion: Completion) -> None:
        """Append an answer in one write; failures are asked again. Raises OSError."""
        if self._number is not None and completion.finish_reason != "error":
            row = {**dataclasses.asdict(completion), "id": self._keys[completion.id]}
            os.write(self._number, json.dumps(row).encode() + b"\n")


class Spool:
    """The driver's side: what earlier processes and dead workers left.

    Args:
        folder: The spool; made if there is none.

    Attributes:
        mark: What the file :data:`MARK` in it says.

    Raises:
        OutputError: It cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, int] = {}
        self._found: dict[str, Completion] = {}
        self._own: set[str] = set()
        self.mark = uuid.uuid4().hex
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / MARK, self.mark)
        except OSError as error:
            raise OutputError(
                f"The spool {folder} cannot be made: {error.strerror or error}.", "Give another --ray-spool."
            ) from error

    def is_written_by(self, name: str) -> None:
        """A living worker of this process writes this file: it is not read before the worker is dead."""
        self._own.add(name)

    def was_left(self, name: str) -> None:
        """The worker that wrote this file is dead."""
        self._own.discard(name)

    def look(self) -> None:
        """Read what is new in files that nobody of this process writes."""
        try:
            files = [each for each in os.scandir(self.folder) if each.name.endswith(SUFFIX)]
        except OSError:
            return
        for file in files:
            if file.name not in self._own and file.stat().st_size > self._read.get(file.name, 0):
                self._take_from(Path(file.path))

    def taken(self, requests: Iterable[ChatRequest]) -> Iterator[Completion]:
        """The answers that there are; each is given once."""
        for request in requests:
            if self._found and (found := self._found.pop(key_of(request), None)) is not None:
                yield dataclasses.replace(found, id=request.id)

    def has(self, request: ChatRequest) -> bool:
        """Whether there is an answer to a request."""
        return bool(self._found) and key_of(request) in self._found

    def remove(self, names: Sequence[str]) -> None:
        """Delete files whose answers are safe, and the folder if nothing else is in it."""
        for name in names:
            (self.folder / name).unlink(missing_ok=True)
        if not any(self.folder.glob(f"*{SUFFIX}")):
            (self.folder / MARK).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # somebody else's file
                self.folder.rmdir()

    def clear(self) -> None:
        """Delete all that was kept."""
        self.remove([file.name for file in self.folder.glob(f"*{SUFFIX}")])

    def _take_from(self, path: Path) -> None:
        """Take over whole lines; a last one that was cut off by a kill is no answer."""
        try:
            with path.open("rb") as file:
                file.seek(self._read.get(path.name, 0))
                lines = file.read().splitlines(keepends=True)
        except OSError:
            return
        for line in lines:
            if not line.endswith(b"\n"):
                return
            self._read[path.name] = self._read.get(path.name, 0) + len(line)
            try:
                completion = Completion(**json.loads(line))
            except (ValueError, TypeError):
                continue
            self._found[completion.id] = completion
