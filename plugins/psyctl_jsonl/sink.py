"""Writes a dataset as JSON Lines with a checkpoint beside it, and continues both after any crash."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from psyctl_core import schema
from psyctl_core.components import Checkpoint, Context, OutputSink, SinkTarget
from psyctl_core.errors import OutputError
from psyctl_core.files import write_atomically
from psyctl_core.records import CaaRecord
from psyctl_core.run import now, writing
from psyctl_jsonl import JsonlConfig

log = logging.getLogger("psyctl")


class JsonlSink(OutputSink):
    """``NAME.jsonl`` holds whole lines only; ``NAME.checkpoint.json`` says how far it had come.

    File names and the checkpoint's first three fields are the specification's ("Output Format").
    """

    def __init__(self, config: JsonlConfig, context: Context) -> None:
        del config, context
        self._name = ""
        self._path = Path()
        self._checkpoint_path = Path()
        self._file: BinaryIO | None = None

    def open(self, target: SinkTarget) -> Checkpoint | None:
        """Cut a torn last line off the dataset if there is one, and read the checkpoint."""
        self._point_at(target)
        lines, whole = self._whole_lines()
        if self._path.exists() and whole < (size := self._path.stat().st_size):
            log.warning("%s ended in half a line of %d bytes; it is cut off.", self._path, size - whole)
            with writing(self._path):
                os.truncate(self._path, whole)
        checkpoint, problem = self._read_checkpoint(lines)
        if problem:
            log.warning("%s; it is rebuilt from the dataset.", problem)
        return checkpoint

    def inspect(self, target: SinkTarget) -> tuple[int | None, list[str]]:
        """Count whole lines; name a torn last line and a checkpoint that cannot be used."""
        self._point_at(target)
        lines, whole = self._whole_lines()
        problems = []
        if self._path.exists() and whole < self._path.stat().st_size:
            problems.append(f"{self._path} ends in half a line, which the next run cuts off")
        _, problem = self._read_checkpoint(lines)
        return lines, problems + ([f"{problem}; the next run rebuilds it"] if problem else [])

    def record_ids(self, start: int) -> Iterator[str]:
        """Read the ids back from the dataset's lines."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            for number, line in enumerate(islice(file, start, None), start + 1):
                try:
                    yield str(json.loads(line)["id"])
                except (ValueError, KeyError, TypeError) as error:
                    raise OutputError(
                        f"Failed to load checkpoint {self._checkpoint_path}: it cannot be rebuilt, because line "
                        f"{number} of {self._path} is no record of psyctl's ({error}).",
                        "Repair or remove that line, or start another file with --fresh.",
                    ) from error

    def write(self, record: CaaRecord) -> None:
        """Append one line and hand it to the operating system."""
        line = json.dumps(record.as_json(), ensure_ascii=False) + "\n"
        with writing(self._path):
            if self._file is None:
                self._file = self._path.open("ab", buffering=0)
            elif not os.fstat(self._file.fileno()).st_nlink:
                raise FileNotFoundError(errno.ENOENT, "the file is gone")
            data = line.encode("utf-8", errors="replace")
            while data:
                data = data[self._file.write(data) or 0 :]

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Flush the dataset to the disk, then replace the checkpoint."""
        data = {
            "num_generated": checkpoint.num_generated,
            "output_file": str(self._path.resolve()),
            "timestamp": now(),
            "format_version": schema.VERSION,
            "run": self._name,
            "resume": {
                "place": checkpoint.place,
                "accepted": checkpoint.accepted,
                "rejected": dict(checkpoint.rejected),
                "skipped": dict(checkpoint.skipped),
                "exhausted": checkpoint.exhausted,
            },
        }
        with writing(self._checkpoint_path):
            if self._file is not None:
                os.fsync(self._file.fileno())
            write_atomically(self._checkpoint_path, json.dumps(data, ensure_ascii=False, indent=2) + "\n")

    def location(self) -> str:
        """The dataset's path."""
        return str(self._path)

    def close(self) -> None:
        """Close the dataset."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _point_at(self, target: SinkTarget) -> None:
        self._name = target.name
        self._path = target.folder / f"{target.name}.jsonl"
        self._checkpoint_path = target.folder / f"{target.name}.checkpoint.json"

    def _whole_lines(self) -> tuple[int, int]:
        """How many whole lines the dataset has, and how many bytes they take."""
        lines, size = 0, 0
        if self._path.exists():
            with self._path.open("rb") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        lines, size = lines + 1, size + len(line)
        return lines, size

    def _read_checkpoint(self, lines: int) -> tuple[Checkpoint | None, str]:
        """The checkpoint, or None and what is wrong with it, if anything."""
        try:
            data = json.loads(self._checkpoint_path.read_text(encoding="utf-8"))
            wrong = schema.problem("checkpoint", data)
        except FileNotFoundError:
            return None, ""
        except (OSError, ValueError) as error:
            wrong = str(error)
        if not wrong and data["run"] != self._name:
            wrong = f"it belongs to {data['run']}"
        if not wrong and data["resume"]["accepted"] > lines:
            wrong = f"it counts {data['resume']['accepted']} records and the dataset holds {lines}"
        if wrong:
            return None, f"The checkpoint {self._checkpoint_path} cannot be used ({wrong})"
        return Checkpoint(num_generated=data["num_generated"], **data["resume"]), ""
