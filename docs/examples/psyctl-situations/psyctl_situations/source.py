"""The source: one situation a row."""

import csv
import hashlib
from pathlib import Path

from psyctl_core import Scenario, ScenarioSource, SkippedRow, SourceError, UsageError


class Situations(ScenarioSource):
    """Reads the columns ``situation`` and ``character`` of a CSV file."""

    def __init__(self, config, context):
        if not config.path:
            raise UsageError("No file of situations is named.", "Give --situations-path FILE.csv.")
        self._path = Path(config.path)
        try:
            self._digest = hashlib.sha256(self._path.read_bytes()).hexdigest()[:16]
        except OSError as error:
            raise SourceError(f"Cannot read '{self._path}': {error.strerror}.", "Check --situations-path.") from error

    def identity(self):
        """Another content is another dataset."""
        return {"content": self._digest}

    def scenarios(self, start):
        """Yield the rows from ``start`` on."""
        with self._path.open(newline="", encoding="utf-8-sig") as file:
            for offset, row in enumerate(csv.DictReader(file)):
                if offset < start:
                    continue
                situation = (row.get("situation") or "").strip()
                character = (row.get("character") or "").strip()
                if situation and character:
                    yield Scenario(f"situation-{offset}", offset, situation, character)
                else:
                    yield SkippedRow(offset, "no situation or character")
