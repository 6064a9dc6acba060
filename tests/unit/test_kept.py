"""What an earlier release wrote is read by this one: a file of each schema version is kept beside this test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from psyctl_core import CaaRecord, open_dataset, schema
from psyctl_core._caa.question import FORMAT_VERSION

KEPT = sorted((Path(__file__).parent / "kept").glob("*.jsonl"))


def test_there_is_a_file_of_each_version():
    latest = schema.VERSIONS.items()
    versions = {f"{name}.v{version}.jsonl" for name, last in latest for version in range(1, last + 1)}
    assert {path.name for path in KEPT} == versions


@pytest.mark.parametrize(
    "path", [path for path in KEPT if path.name != "scenario.v1.jsonl"], ids=lambda path: path.name
)
def test_it_holds_to_the_schema_of_today(path):
    """Scenarios of version 1 aside, which were only shown: their 'place' is called 'offset' now."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert rows
    for row in rows:
        assert schema.problem(path.name.partition(".")[0], row) == ""


@pytest.mark.parametrize("path", [path for path in KEPT if path.name.startswith("caa-record")], ids=lambda p: p.name)
def test_its_records_are_read_as_records_of_today(path, tmp_path):
    copy = tmp_path / "caa_dataset_20250107_143022.jsonl"
    copy.write_bytes(path.read_bytes())
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [record.as_json() for record in open_dataset(copy)] == rows
    assert [CaaRecord(**row).as_json() for row in rows] == rows
    assert FORMAT_VERSION >= 1
