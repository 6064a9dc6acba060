"""The scenarios that are shipped with psyctl, written for it, in SODA's shape."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files

from psyctl_core.components import Context, Identity, ScenarioSource
from psyctl_core.records import Scenario, SkippedRow
from psyctl_soda import StarterConfig
from psyctl_soda.rows import row_id, to_scenario


class StarterSource(ScenarioSource):
    """Reads ``starter.jsonl`` beside this module."""

    def __init__(self, config: StarterConfig, context: Context) -> None:
        del config, context
        self._lines = (files("psyctl_soda") / "starter.jsonl").read_text(encoding="utf-8").splitlines()

    def identity(self) -> Identity:
        """A digest of all scenarios."""
        return {"scenarios": row_id(len(self._lines), *self._lines)}

    def total(self) -> int:
        """How many there are."""
        return len(self._lines)

    def scenarios(self, start: int) -> Iterator[Scenario | SkippedRow]:
        """Yield them in the file's order."""
        for place in range(start, len(self._lines)):
            yield to_scenario(json.loads(self._lines[place]), place)
