"""Real rows from public data sets, where they lie beside the checkout."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from psyctl_core import Scenario, schema
from psyctl_core._plugins.problems import scenario_as_json as as_json

EXPECTED = {
    "soda": ("soda", 70, {}),
    "soda_all_columns": ("soda", 5, {}),
    "soda_numpy_strings": ("soda", 5, {}),
    "synthetic_persona_chat": ("script", 59, {"repeats an earlier row": 1}),
    "messages_ultrachat": ("messages", 60, {}),
    "messages_content_parts": ("messages", 29, {"repeats an earlier row": 1}),
    "sharegpt_glaive": ("sharegpt", 54, {"repeats an earlier row": 5, "code or a tool call": 1}),
    "sgd": ("objects", 3, {}),
    "multiwoz22": ("objects", 2, {}),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_real_rows(shared_data, source, name):
    made = source(shared_data / f"{name}.jsonl")
    items = list(made.scenarios(0))
    shape, count, skipped = EXPECTED[name]
    assert made.identity()["shape"] == shape
    scenarios = [item for item in items if isinstance(item, Scenario)]
    assert len(scenarios) == count
    assert Counter(item.reason for item in items if not isinstance(item, Scenario)) == skipped
    for scenario in scenarios:
        assert schema.problem("scenario", as_json(scenario)) == ""
        assert scenario.dialogue[-1].speaker != scenario.character
    assert [item for item in items if item.offset >= 2] == list(made.scenarios(2))


def test_who_speaks_and_who_answers_in_real_soda(shared_data, source):
    """The first speaker's turns are quoted, and the second one answers, whatever the turns' parity."""
    rows = [json.loads(line) for line in (shared_data / "soda.jsonl").read_text(encoding="utf-8").splitlines()]
    for item in source(shared_data / "soda.jsonl").scenarios(0):
        assert isinstance(item, Scenario)
        row = rows[item.offset]
        names = [name for name, text in zip(row["speakers"], row["dialogue"], strict=True) if text.strip()]
        assert {turn.speaker for turn in item.dialogue} == {names[0]}
        assert item.character == next(name for name in names if name != names[0])
        assert item.situation == " ".join(row["narrative"].split())
