"""The scenarios shipped with psyctl are varied, and every one is usable."""

from __future__ import annotations

import json

from psyctl_core import Context, Scenario, schema
from psyctl_core._plugins.guard import scenario_as_json as as_json
from psyctl_soda import StarterConfig
from psyctl_soda.starter import StarterSource


def test_the_starter_is_varied_and_every_row_is_usable():
    source = StarterSource(StarterConfig(), Context())
    items = list(source.scenarios(0))
    assert len(items) == source.total() >= 200
    assert all(isinstance(item, Scenario) and schema.problem("scenario", as_json(item)) == "" for item in items)
    assert list(source.scenarios(150)) == items[150:]
    rows = [json.loads(line) for line in source._lines]
    for column, least in (("setting", 150), ("relation", 100), ("mood", 100), ("narrative", len(rows))):
        assert len({row[column] for row in rows}) >= least, column
    assert len({item.character for item in items}) > 150
    named_first = [
        row["narrative"].find(row["speakers"][0]) < row["narrative"].find(row["speakers"][1]) for row in rows
    ]
    assert 40 < sum(named_first) < len(rows) - 40
