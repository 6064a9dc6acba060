"""Writes a dataset as JSON Lines with a checkpoint beside it, and continues both after any crash."""

from __future__ import annotations

import dataclasses
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
        self._path = Path()
        self._checkpoint_path = Path()
        self._file: BinaryIO | None = None

    def open(self, target: SinkTarget) -> Checkpoint | None:
        """Cut a torn last line off the dataset if there is one, and read the checkpoint."""
        self._path = target.folder / f"{target.name}.jsonl"
        self._checkpoint_path = target.folder / f"{target.name}.checkpoint.json"
        lines = self._cut_torn_line()
        checkpoint = self._read_checkpoint()
        if checkpoint and checkpoint.accepted > lines:
            log.warning(
                "%s holds %d records but its checkpoint counts %d; going by the dataset.",
                self._path, lines, checkpoint.accepted,
            )  # fmt: skip
            return None
        return checkpoint

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
                        f"Line {number} of {self._path} is no record of psyctl's ({error}).",
                        "Repair or remove that line, or start another file with --fresh.",
                    ) from error

    def write(self, record: CaaRecord) -> None:
        """Append one line and hand it to the operating system."""
        line = json.dumps(dataclasses.asdict(record), ensure_ascii=False) + "\n"
        with writing(self._path):
            if self._file is None:
                self._file = self._path.open("ab", buffering=0)
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

    def _cut_torn_line(self) -> int:
        """Cut off whatever follows the last line end; return the number of whole lines."""
        if not self._path.exists():
            return 0
        lines, end = 0, 0
        with writing(self._path), self._path.open("r+b") as file:
            for line in file:
                if line.endswith(b"\n"):
                    lines, end = lines + 1, end + len(line)
                else:
                    log.warning("%s ended in half a line of %d bytes; it is cut off.", self._path, len(line))
                    file.truncate(end)
        return lines

    def _read_checkpoint(self) -> Checkpoint | None:
        try:
            data = json.loads(self._checkpoint_path.read_text(encoding="utf-8"))
            wrong = schema.problem("checkpoint", data)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            wrong = str(error)
        if wrong:
            log.warning(
                "Failed to load checkpoint %s (%s); it is rebuilt from the dataset.",
                self._checkpoint_path,
                wrong,
            )
            return None
        return Checkpoint(num_generated=data["num_generated"], **data["resume"])
