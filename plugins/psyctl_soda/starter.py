"""The scenarios that are shipped with psyctl, written for it, in SODA's shape."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files

from psyctl_core.components import Context, Identity, ScenarioSource
from psyctl_core.records import Scenario, SkippedRow
from psyctl_soda import StarterConfig
from psyctl_soda.scenario import READING_VERSION, digest, to_scenario
from psyctl_soda.shapes.narrated import NarratedReader


class StarterSource(ScenarioSource):
    """Reads ``starter.jsonl`` beside this module."""

    def __init__(self, config: StarterConfig, context: Context) -> None:
        del config, context
        self._lines = (files("psyctl_soda") / "starter.jsonl").read_text(encoding="utf-8").splitlines()
        self._read = NarratedReader()

    def identity(self) -> Identity:
        """A digest of all scenarios, and how they are read."""
        return {"scenarios": digest(*self._lines), "reading": READING_VERSION}

    def total(self) -> int:
        """How many there are."""
        return len(self._lines)

    def describe(self) -> Mapping[str, str]:
        """What they are, for ``psyctl source.preview``."""
        return {"Scenarios": f"{len(self._lines)} of many settings and moods, shipped with psyctl"}

    def scenarios(self, start: int) -> Iterator[Scenario | SkippedRow]:
        """Yield them in the file's order."""
        for offset in range(start, len(self._lines)):
            yield to_scenario(self._read(json.loads(self._lines[offset])), offset)
