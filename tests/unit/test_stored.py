"""Finished datasets are found, and read as far as their sinks can."""

from __future__ import annotations

import dataclasses
import json

import pytest

from psyctl_core import (
    Context,
    OutputError,
    SinkTarget,
    StoredDataset,
    UsageError,
    check_dataset,
    check_records,
    stored_datasets,
)
from psyctl_core._plugins.blame import Origin
from psyctl_core._plugins.guard import GuardedSink
from psyctl_core.testing import MemorySink
from psyctl_jsonl import JsonlConfig
from psyctl_jsonl.sink import JsonlSink


def test_the_newest_dataset_of_each_trait_or_older_ones_too(run, tmp_path):
    run("Openness, Neuroticism", limit_samples=2)
    run("Openness, Neuroticism", limit_samples=2, fresh=True)
    newest, every = stored_datasets(tmp_path / "out"), stored_datasets(tmp_path / "out", older=True)
    assert sorted(dataset.trait for dataset in newest) == ["Neuroticism", "Openness"]
    assert len(every) == 4
    assert {dataset.location for dataset in newest} < {dataset.location for dataset in every}
    assert [dataset.location for dataset in stored_datasets(newest[0].location)] == [newest[0].location]
    with pytest.raises(UsageError, match="There is no dataset at"):
        stored_datasets(tmp_path / "nowhere", older=True)


def test_records_that_were_read_are_checked_as_the_dataset_is(run, tmp_path):
    run(limit_samples=12)
    (dataset,) = stored_datasets(tmp_path / "out")
    records, problems = dataset.readable()
    assert problems == []
    assert records == list(dataset)
    assert (check_records(dataset, records),) == check_dataset(tmp_path / "out")
    assert check_records(dataset, records[:3]).pairs == 3


def test_a_damaged_line_ends_reading_and_is_named_where_the_rest_is_wanted(run, tmp_path):
    path = run(limit_samples=4).paths[0]
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([lines[0], "{", json.dumps({"id": 1}), lines[3]]) + "\n", encoding="utf-8")
    (dataset,) = stored_datasets(tmp_path / "out")
    with pytest.raises(OutputError, match="Line 2 of"):
        list(dataset)
    records, problems = dataset.readable()
    assert [record.id for record in records] == ["fake-0", "fake-3"]
    assert [problem.partition(" of ")[0] for problem in problems] == ["Line 2", "Line 3"]


def test_a_sink_that_fails_for_ever_or_hands_over_something_else_is_left(tmp_path):
    class Odd(MemorySink):
        def read(self, target):
            class Endless:
                def __iter__(self):
                    return self

                def __next__(self):
                    raise OutputError("The server is gone.")

            return Endless() if target.trait == "gone" else iter(["text"])

    sink = GuardedSink(Odd(), Origin("sink", "odd", "psyctl-odd", "1.0"))
    gone = StoredDataset(SinkTarget(tmp_path, "caa_dataset_1", "gone"), {}, sink)
    assert gone.readable() == ([], ["The server is gone."])
    odd = dataclasses.replace(gone, target=SinkTarget(tmp_path, "caa_dataset_1", "odd"))
    records, (problem,) = odd.readable()
    assert records == []
    assert "psyctl-odd" in problem
    assert "record 1: a str is not a CaaRecord" in problem


def test_a_dataset_whose_sink_cannot_be_had_says_why(tmp_path):
    lost = StoredDataset(SinkTarget(tmp_path, "caa_dataset_1", "Openness"), {}, None, "its sink is not installed")
    records, (problem,) = lost.readable()
    assert records == []
    assert problem.endswith("cannot be read: its sink is not installed.")


def test_a_dataset_that_is_gone_is_one_problem(tmp_path):
    sink = GuardedSink(JsonlSink(JsonlConfig(), Context()), Origin("sink", "jsonl", "psyctl", "0"))
    records, (problem,) = StoredDataset(SinkTarget(tmp_path, "caa_dataset_1", "Openness"), {}, sink).readable()
    assert records == []
    assert "No such file" in problem


def test_nothing_beside_a_dataset_is_no_reject_no_label_and_no_agreement(run, tmp_path):
    run(limit_samples=2)
    (dataset,) = stored_datasets(tmp_path / "out")
    assert (dataset.rejected(), dataset.labels(), dataset.agreement(list(dataset))) == ([], {}, [])
