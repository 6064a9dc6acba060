"""The source ``soda`` holds to the contract for sources, in order and shuffled."""

from __future__ import annotations

import pytest

from psyctl_core.testing import SourceContract

ROWS = [
    {"narrative": f"Robin waits at stop {n}.", "dialogue": [f"Is this bus {n}?", "Yes."], "speakers": ["Robin", "Kim"]}
    for n in range(40)
]
ODD = [{"narrative": "", "dialogue": [], "speakers": []}, ROWS[3], {"narrative": "Only this."}]


class TestSoda(SourceContract):
    shuffle = False

    @pytest.fixture(autouse=True)
    def _rows(self, jsonl, source):
        path = jsonl([*ROWS[:9], *ODD, *ROWS[9:]])
        self.source = lambda: source(path, seed=3, shuffle=self.shuffle)


class TestSodaShuffled(TestSoda):
    shuffle = True
