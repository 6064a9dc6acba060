"""The scenarios shipped with psyctl are varied, from the first twenty on, and every one is usable."""

from __future__ import annotations

import json
import re
from collections import Counter
from importlib.resources import files
from itertools import combinations
from typing import Any

import pytest

from psyctl_core import Context, Scenario, schema
from psyctl_core._plugins.problems import scenario_as_json as as_json
from psyctl_soda import StarterConfig
from psyctl_soda.starter import StarterSource

ROWS = [json.loads(line) for line in (files("psyctl_soda") / "starter.jsonl").read_text(encoding="utf-8").splitlines()]


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def test_every_row_is_a_scenario_and_reading_can_begin_anywhere():
    source = StarterSource(StarterConfig(), Context())
    items = list(source.scenarios(0))
    assert len(items) == source.total() == len(ROWS) >= 300
    assert all(isinstance(item, Scenario) and schema.problem("scenario", as_json(item)) == "" for item in items)
    assert list(source.scenarios(150)) == items[150:]
    assert len({item.character for item in items}) > 280


def test_who_speaks_is_named_in_the_scene_and_they_take_turns():
    for row in ROWS:
        turns, speakers = row["dialogue"], row["speakers"]
        first, second = speakers[:2]
        assert first != second, row
        assert speakers == [(first, second)[n % 2] for n in range(len(turns))], row
        assert 2 <= len(turns) <= 6, row
        assert all(turns), row
        assert 5 <= len(words(turns[0])) <= 40, row
        assert 8 <= len(words(row["narrative"])) <= 60, row
        assert first.split()[-1] in row["narrative"], row
        assert row["narrative"].endswith((".", "!", "?")), row
        assert not re.search(r'["{}<>_]|  |\n', " ".join([row["narrative"], *turns])), row


def test_no_scene_is_there_twice_or_nearly():
    assert len({row["narrative"] for row in ROWS}) == len({row["dialogue"][0] for row in ROWS}) == len(ROWS)
    runs = []
    for row in ROWS:
        said = words(" ".join([row["narrative"], *row["dialogue"]]))
        runs.append(set(zip(said, said[1:], said[2:], strict=False)))
    assert max(len(one & other) / len(one | other) for one, other in combinations(runs, 2)) < 0.1


def test_names_and_ties_are_evenly_spread():
    names = Counter(name.split()[-1] for row in ROWS for name in {*row["speakers"]})
    assert max(names.values()) <= 2
    openings = Counter(tuple(words(row["dialogue"][0])[:3]) for row in ROWS)
    assert max(openings.values()) <= 0.03 * len(ROWS)
    assert len({row["relation"] for row in ROWS}) >= 150
    asked = sum("?" in row["dialogue"][0] for row in ROWS) / len(ROWS)
    assert 0.3 < asked < 0.7  # where everybody is asked for a decision, most answers are "I'm not sure"
    unknown = [row for row in ROWS if row["speakers"][1].split()[-1] not in row["narrative"]]
    assert 0.25 < len(unknown) / len(ROWS) < 0.75  # in SODA's rows, who answers is not in the scene in 7 of 10


@pytest.mark.parametrize("count", [20, 100, 300, len(ROWS)])
def test_the_first_ones_alone_are_varied(count):
    first: list[dict[str, Any]] = ROWS[:count]
    circles = Counter(row["circle"] for row in first)
    assert len(circles) == 7
    assert max(circles.values()) - min(circles.values()) <= 1
    for column, least in (("setting", 0.9), ("mood", 0.55), ("relation", 0.5)):
        assert len({row[column] for row in first}) >= least * count, column
