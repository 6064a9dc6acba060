"""What an earlier release wrote is read by this one: a file of each schema version is kept beside this test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from psyctl_core import CaaRecord, schema
from psyctl_core.question import FORMAT_VERSION

KEPT = sorted((Path(__file__).parent / "kept").glob("*.jsonl"))


def test_there_is_a_file_of_each_version():
    versions = {f"{name}.v{version}.jsonl" for name in schema.NAMES for version in range(1, schema.VERSION + 1)}
    assert {path.name for path in KEPT} == versions


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_it_holds_to_the_schema_of_today(path):
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert rows
    for row in rows:
        assert schema.problem(path.name.partition(".")[0], row) == ""


def test_its_records_are_records_of_today():
    path = next(path for path in KEPT if path.name.startswith("caa-record"))
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert CaaRecord(**row).as_json() == row
    assert FORMAT_VERSION >= 1
