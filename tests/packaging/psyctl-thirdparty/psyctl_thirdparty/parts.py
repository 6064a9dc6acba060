"""The components themselves, imported only when chosen."""

from __future__ import annotations

from pathlib import Path

from psyctl_core import Completion, InferenceBackend, Scenario, ScenarioSource


class Lines(ScenarioSource):
    """One situation a line."""

    def __init__(self, config, context):
        self._lines = Path(config.path).read_text(encoding="utf-8").splitlines()

    def scenarios(self, start):
        """Yield the lines from ``start`` on."""
        for offset in range(start, len(self._lines)):
            yield Scenario(f"line-{offset}", offset, self._lines[offset], "Sam")


class Echo(InferenceBackend):
    """Says back the end of the prompt."""

    def __init__(self, config, context):
        self._shout = config.shout

    def generate(self, requests):
        """Answer with the persona that was asked for."""
        for request in requests:
            text = request.messages[-1].content.split("\n\n")[-2]
            yield Completion(request.id, text.upper() if self._shout else text)
