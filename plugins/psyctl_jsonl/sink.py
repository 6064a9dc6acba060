"""Writes datasets as JSON Lines with a checkpoint beside each, continues both after any crash, and reads them."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from psyctl_core import schema
from psyctl_core.components import Checkpoint, Context, DatasetWriter, Inspection, OutputSink, SinkTarget
from psyctl_core.errors import OutputError
from psyctl_core.figures import counted
from psyctl_core.files import open_to_append, write_atomically, writing
from psyctl_core.records import CaaRecord
from psyctl_jsonl import JsonlConfig

log = logging.getLogger("psyctl")

DAMAGED = (
    "Mend that line, or take it out of a copy. `psyctl dataset.report` shows the others and names every such line."
)

_TO_JSON = json.JSONEncoder(ensure_ascii=False).encode


class JsonlSink(OutputSink):
    """``NAME.jsonl`` holds whole lines only; ``NAME.checkpoint.json`` says how far it had come.

    File names and the checkpoint's first three fields are the specification's ("Output Format").
    """

    def __init__(self, config: JsonlConfig, context: Context) -> None:
        del config, context

    def open(self, target: SinkTarget) -> DatasetWriter:
        """Cut a torn last line off the dataset if there is one, and read the checkpoint."""
        return JsonlWriter(target)

    def read(self, target: SinkTarget) -> Iterator[CaaRecord]:
        """Read the dataset's whole lines; after one that is not a record, the next can still be asked for.

        Raises:
            OutputError: There is no such file, or a line is not a record; the message names it.
        """
        path = _dataset_path(target)
        if not path.exists() and _read_checkpoint(target, 0)[0] is not None:
            return iter(())  # a run that came to no pair
        return map(partial(_record, path=path), _numbered(path))  # a generator would end with its first error

    def location(self, target: SinkTarget) -> str:
        """The dataset's path."""
        return str(_dataset_path(target))

    def targets(self, folder: Path) -> Iterator[SinkTarget]:
        """The datasets that lie there by their files' names."""
        for path in sorted(folder.rglob("caa_dataset_*.jsonl")):
            yield SinkTarget(path.parent, path.stem, "unknown")

    def inspect(self, target: SinkTarget) -> Inspection:
        """Count whole lines; name a torn last line and a checkpoint that cannot be used."""
        path = _dataset_path(target)
        lines, whole = _whole_lines(path)
        problems = []
        if path.exists() and whole < path.stat().st_size:
            problems.append(f"{path} ends in half a line, which the next run cuts off")
        _, problem = _read_checkpoint(target, lines)
        return Inspection(lines, (*problems, *([f"{problem}; the next run rebuilds it"] if problem else [])))


class JsonlWriter(DatasetWriter):
    """One open dataset."""

    def __init__(self, target: SinkTarget) -> None:
        self._name = target.name
        self._path = _dataset_path(target)
        self._checkpoint_path = _checkpoint_path(target)
        self._file: BinaryIO | None = None
        if self._path.is_symlink():
            raise OutputError(
                f"The dataset {self._path} is a link, and links are not followed.", "Give the folder that holds it."
            )
        lines, whole = _whole_lines(self._path)
        if self._path.exists() and whole < (size := self._path.stat().st_size):
            log.warning("%s ended in half a line of %s; it is cut off.", self._path, counted(size - whole, "byte"))
            with writing(self._path):
                os.truncate(self._path, whole)
        self._size = whole
        self._last, problem = _read_checkpoint(target, lines)
        if problem:
            log.warning("%s; it is rebuilt from the dataset.", problem)

    def last_checkpoint(self) -> Checkpoint | None:
        """The checkpoint as it was read."""
        return self._last

    def record_ids(self, start: int) -> Iterator[str]:
        """Read the ids back from the dataset's lines."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            for number, line in enumerate(islice(file, start, None), start + 1):
                try:
                    yield str(json.loads(line)["id"])
                except (ValueError, KeyError, TypeError, RecursionError) as error:
                    raise OutputError(
                        f"Failed to load checkpoint {self._checkpoint_path}: it cannot be rebuilt, because line "
                        f"{number} of {self._path} is not a record of psyctl's ({error}).",
                        "Repair or remove that line, or start another file with --fresh.",
                    ) from error

    def write(self, record: CaaRecord) -> None:
        """Append one line and hand it to the operating system."""
        data = (_TO_JSON(record.as_json()) + "\n").encode("utf-8", errors="replace")
        with writing(self._path):
            if self._file is None:
                self._file = open_to_append(self._path)
            now = os.fstat(self._file.fileno())
            if not now.st_nlink:
                raise FileNotFoundError(errno.ENOENT, "the file is gone")
            if now.st_size != self._size:
                raise OSError(errno.EBUSY, "another program has changed the file")
            while data:
                written = self._file.write(data) or 0
                self._size += written
                data = data[written:]

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Flush the dataset to the disk, then replace the checkpoint."""
        data: dict[str, Any] = {
            "num_generated": checkpoint.num_generated,
            "output_file": str(self._path.resolve()),
            "timestamp": datetime.now().isoformat(),
            "format_version": schema.VERSIONS["checkpoint"],
            "run": self._name,
            "resume": {
                "place": checkpoint.offset,
                "accepted": checkpoint.accepted,
                "rejected": dict(checkpoint.rejected),
                "skipped": dict(checkpoint.skipped),
                "exhausted": checkpoint.exhausted,
            },
        }
        data["digest"] = _digest(data)
        with writing(self._checkpoint_path):
            if self._file is not None:
                os.fsync(self._file.fileno())
            write_atomically(self._checkpoint_path, json.dumps(data, ensure_ascii=False, indent=2) + "\n")

    def close(self) -> None:
        """Close the dataset."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _dataset_path(target: SinkTarget) -> Path:
    return target.folder / f"{target.name}.jsonl"


def _checkpoint_path(target: SinkTarget) -> Path:
    return target.folder / f"{target.name}.checkpoint.json"


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise OutputError(
            f"The dataset {path} cannot be read: {error.strerror or error}.", "Give a dataset of psyctl's."
        ) from error


def _numbered(path: Path) -> Iterator[tuple[int, bytes]]:
    """The whole lines, from 1."""
    with _opened(path) as file:
        yield from ((number, line) for number, line in enumerate(file, 1) if line.endswith(b"\n"))


def _record(numbered: tuple[int, bytes], path: Path) -> CaaRecord:
    number, line = numbered
    try:
        row = json.loads(line)
        wrong = schema.problem("caa-record", row)
    except (ValueError, RecursionError) as error:
        wrong = str(error)
    if wrong:
        raise OutputError(f"Line {number} of {path} is not a CAA record: {wrong}.", DAMAGED)
    return CaaRecord(**row)


def _whole_lines(path: Path) -> tuple[int, int]:
    """How many whole lines the dataset has, and how many bytes they take."""
    lines, size = 0, 0
    if path.exists():
        with _opened(path) as file:
            for line in file:
                if line.endswith(b"\n"):
                    lines, size = lines + 1, size + len(line)
    return lines, size


def _digest(data: Mapping[str, Any]) -> str:
    """What tells that nobody changed from where a run goes on."""
    parts = json.dumps([data["run"], data["num_generated"], data["resume"]], sort_keys=True)
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def _read_checkpoint(target: SinkTarget, lines: int) -> tuple[Checkpoint | None, str]:
    """The checkpoint, or None and what is wrong with it, if anything."""
    path = _checkpoint_path(target)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        wrong = schema.problem("checkpoint", data)
    except FileNotFoundError:
        return None, ""
    except (OSError, ValueError, RecursionError) as error:
        wrong = str(error)
    if not wrong and data["run"] != target.name:
        wrong = f"it belongs to {data['run']}"
    if not wrong and data.get("digest", _digest(data)) != _digest(data):
        wrong = "it was changed since it was written"
    if not wrong and data["resume"]["accepted"] > lines:
        wrong = f"it counts {counted(data['resume']['accepted'], 'record')} and the dataset holds {lines}"
    if wrong:
        return None, f"The checkpoint {path} cannot be used ({wrong})"
    resume = dict(data["resume"])
    return Checkpoint(num_generated=data["num_generated"], offset=resume.pop("place"), **resume), ""
