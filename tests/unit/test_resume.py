"""The same command continues: nothing lost, nothing doubled, nothing asked again that is written."""

from __future__ import annotations

import functools
import json
import os
from itertools import accumulate

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from psyctl_core import BackendState, Completion, OutputError, PluginError, UsageError
from psyctl_core._store import runs
from psyctl_core.testing import FakeBackend, FakeSource
from psyctl_core.testing.fakes import fake_answer


def sometimes(request):
    """Every fifth scenario's answers fail."""
    place = int(request.id.split(":")[0])
    return Completion(request.id, "", "error", error="moderation") if place % 5 == 4 else fake_answer(request)


def test_the_same_command_again_asks_nothing_and_changes_nothing(run):
    first = run(limit_samples=7)
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in first.paths[0].parent.rglob("*") if p.is_file()}
    again = run(limit_samples=7)
    after = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in first.paths[0].parent.rglob("*") if p.is_file()}
    assert after == before
    assert again.backend.asked == []
    assert again.backend.starts == 0
    assert again.report.datasets[0].new_pairs == 0


@pytest.mark.parametrize("block", [0, 4])
def test_killed_between_its_last_pair_and_its_last_checkpoint_it_still_knows_what_it_skipped(run, block):
    def again(source=None):
        backend = FakeBackend(answer=sometimes, block=block)
        return run(limit_samples=7, source=source or FakeSource(99, skip=lambda place: place % 3 == 0), backend=backend)

    whole = again()
    checkpoint = whole.paths[0].with_suffix(".checkpoint.json")
    kept = json.loads(checkpoint.read_text())["resume"]
    checkpoint.unlink()
    end = again()
    assert end.report.datasets[0].skipped == whole.report.datasets[0].skipped == {"skipped on purpose": 4}
    assert end.report.datasets[0].rejected == whole.report.datasets[0].rejected
    assert json.loads(checkpoint.read_text())["resume"] == kept
    assert end.backend.starts == 0
    checkpoint.unlink()
    with pytest.raises(OutputError, match="which the source does not yield there"):
        again(FakeSource(3))


def test_a_raised_limit_goes_on_in_the_same_file(run):
    first = run(limit_samples=7, backend=FakeBackend(answer=sometimes))
    more = run(limit_samples=12, backend=FakeBackend(answer=sometimes))
    assert more.paths == first.paths
    assert more.lines[:7] == first.lines
    assert len(more.lines) == 12
    assert len(more.backend.asked) == 2 * 6


def test_a_lower_limit_leaves_what_is_there(run):
    first = run(limit_samples=7)
    assert run(limit_samples=3).lines == first.lines


def test_an_exhausted_source_is_not_read_again(run):
    run(source=FakeSource(4))
    again = run(source=FakeSource(4))
    assert again.backend.asked == []
    assert len(again.lines) == 4


@pytest.fixture
def undisturbed(run, tmp_path):
    """The run that nothing befalls, once for all examples of the same traits."""

    @functools.cache
    def of(traits):
        return run(traits, limit_samples=12, output=tmp_path / f"whole {traits}", backend=FakeBackend(answer=sometimes))

    return of


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stops=st.lists(st.integers(0, 25), max_size=4),
    block=st.sampled_from([0, 4, 10]),
    interval=st.sampled_from([1, 3, 100]),
    torn=st.integers(0, 40),
    drop_checkpoint=st.booleans(),
    traits=st.sampled_from(["Extroversion", "Extroversion, Openness"]),
)
def test_stopped_anywhere_it_ends_as_if_undisturbed(
    run, undisturbed, tmp_path_factory, stops, block, interval, torn, drop_checkpoint, traits
):
    whole = undisturbed(traits)
    output = tmp_path_factory.mktemp("stopped")
    options = {"limit_samples": 12, "output": output, "checkpoint_interval": interval}
    answered: set[str] = set()
    for after in stops:
        backend = FakeBackend(dies_after=after, answer=sometimes, block=block)
        try:
            run(traits, backend=backend, **options)
            killed = False
        except PluginError:
            killed = True
        assert block or not answered & {request.id for request in backend.asked}
        answered |= set(backend.answered)
        for path in output.rglob("caa_dataset_*.jsonl"):
            if killed:
                path.write_bytes(path.read_bytes()[: path.stat().st_size - torn])
        if drop_checkpoint:
            for path in output.rglob("*.checkpoint.json"):
                path.unlink()
    backend = FakeBackend(answer=sometimes, block=block)
    end = run(traits, backend=backend, **options)
    assert end.lines == whole.lines
    assert [d.rejected for d in end.report.datasets] == [d.rejected for d in whole.report.datasets]
    assert block or not answered & {request.id for request in backend.asked}
    assert not list(output.rglob("journal.sqlite*"))
    assert {json.loads(p.read_text())["status"] for p in output.rglob("run.json")} == {"complete"}
    if not block:
        assert end.report.usage.requests == whole.report.usage.requests


@pytest.mark.slow
def test_a_dataset_cut_anywhere_in_its_last_two_lines_ends_the_same(run, tmp_path):
    whole = run(limit_samples=4)
    data = whole.paths[0].read_bytes()
    ends = list(accumulate(map(len, data.splitlines(keepends=True))))
    near = (cut for end in ends[1:] for cut in range(end - 4, end + 4))
    cuts = sorted(cut for cut in {*near, *range(ends[1], ends[3], 13)} if ends[1] <= cut < ends[3])
    kept = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    for cut in cuts:
        for path, content in kept.items():
            path.write_bytes(content)
        whole.paths[0].write_bytes(data[:cut])
        again = run(limit_samples=4)
        assert again.paths[0].read_bytes() == data, cut
        assert len(again.backend.asked) <= 4


def test_another_runs_checkpoint_is_not_believed(run, caplog):
    first = run(limit_samples=6)
    second = run(limit_samples=3, fresh=True)
    checkpoints = [path.with_suffix(".checkpoint.json") for path in second.paths]
    checkpoints[1].write_bytes(checkpoints[0].read_bytes())
    more = run(limit_samples=8)
    assert "it belongs to caa_dataset_" in caplog.text
    assert more.paths[1].read_text().splitlines()[:6] == first.lines


@pytest.mark.parametrize("content", ["", "{", "[]", '{"num_generated": "many"}', "null", "\udcff"])
def test_a_corrupt_checkpoint_is_rebuilt_from_the_dataset(run, content, caplog):
    first = run(limit_samples=5)
    checkpoint = first.paths[0].with_suffix(".checkpoint.json")
    checkpoint.write_bytes(content.encode("utf-8", errors="surrogateescape"))
    more = run(limit_samples=8)
    assert more.lines[:5] == first.lines
    assert len(more.lines) == 8
    assert "cannot be used" in caplog.text
    assert str(checkpoint) in caplog.text


def test_a_foreign_line_in_the_dataset_is_refused_with_its_number(run):
    first = run(limit_samples=5)
    first.paths[0].with_suffix(".checkpoint.json").unlink()
    first.paths[0].write_text("\n".join([*first.lines[:2], "not json", *first.lines[2:]]) + "\n")
    failed = run(limit_samples=8, raises=OutputError)
    assert "Failed to load checkpoint" in str(failed.error)
    assert "line 3 of" in str(failed.error)


def test_a_dataset_from_other_scenarios_is_refused(run):
    run(limit_samples=5)
    failed = run(limit_samples=8, source=FakeSource(1000, skip=lambda place: place == 2), raises=None)
    assert len(failed.lines) == 8  # the checkpoint is trusted: only what follows is read
    failed.paths[0].with_suffix(".checkpoint.json").unlink()
    refused = run(limit_samples=9, source=FakeSource(20, skip=lambda place: place == 2), raises=OutputError)
    assert "fake-2" in str(refused.error)


@pytest.mark.parametrize(
    "changed",
    [{"seed": 1}, {"temperature": 0.5}, {"max_tokens": 10}, {"prompter": "p2"}],
)
def test_other_settings_start_another_file_and_say_which(run, changed, caplog):
    first = run(limit_samples=3)
    other = run(limit_samples=3, **changed)
    assert len(other.paths) == 2
    assert first.lines == other.paths[0].read_text().splitlines()
    name = next(iter(changed)).removeprefix("prompter") or "prompter"
    assert name in caplog.text


def test_fresh_starts_another_file(run):
    run(limit_samples=3)
    assert len(run(limit_samples=3, fresh=True).paths) == 2


def test_a_moved_folder_goes_on_there(run, tmp_path):
    first = run(limit_samples=3)
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    more = run(limit_samples=5, output=tmp_path / "elsewhere")
    assert more.lines[:3] == first.lines
    assert len(more.paths) == 1


def test_checkpoints_are_written_at_the_interval_and_at_the_end(run, monkeypatch):
    monkeypatch.setenv("PSYCTL_CHECKPOINT_INTERVAL", "4")
    result = run(limit_samples=10, backend=FakeBackend(dies_after=2 * 9, in_flight=1), raises=PluginError)
    checkpoint = json.loads(result.paths[0].with_suffix(".checkpoint.json").read_text())
    assert checkpoint["num_generated"] == 9
    assert checkpoint["output_file"] == str(result.paths[0].resolve())
    assert checkpoint["resume"] == {"place": 9, "accepted": 9, "rejected": {}, "skipped": {}, "exhausted": False}


def test_a_bad_checkpoint_interval_is_a_usage_error(run, monkeypatch):
    monkeypatch.setenv("PSYCTL_CHECKPOINT_INTERVAL", "often")
    assert "PSYCTL_CHECKPOINT_INTERVAL" in str(run(limit_samples=1, raises=UsageError).error)


def test_the_personas_are_described_once(run):
    first = run("Sarcasm", limit_samples=2, prompter="p2")
    again = run("Sarcasm", limit_samples=4, prompter="p2")
    assert sum(request.id.startswith("persona:") for request in first.backend.asked) == 4
    assert not any(request.id.startswith("persona:") for request in again.backend.asked)
    run_file = next(first.paths[0].parent.rglob("run.json"))
    personas = json.loads(run_file.read_text())["personas"]
    assert set(personas) == {"positive", "neutral"}
    assert "{character}" in personas["positive"]["description"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing stops root, or a mode on Windows")
def test_an_unwritable_output_is_told_before_anything_is_asked(run, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    result = run(limit_samples=2, output=tmp_path / "locked" / "out", raises=OutputError)
    assert result.backend.asked == []


def test_an_output_that_is_a_file_is_told_before_anything_is_asked(run, tmp_path):
    (tmp_path / "taken").write_text("a file")
    result = run(limit_samples=2, output=tmp_path / "taken", raises=OutputError)
    assert "Cannot write to the output folder" in str(result.error)
    assert result.backend.asked == []


def test_damaged_rejects_are_said_once_and_half_a_line_is_not(run, caplog):
    first = run(limit_samples=8, backend=FakeBackend(answer=sometimes))
    rejects = first.paths[0].with_suffix(".run") / "rejects.jsonl"
    lines = rejects.read_text(encoding="utf-8").splitlines()
    rejects.write_text("\n".join([*lines, '{"place": 9, "id"']), encoding="utf-8")
    run(limit_samples=12, backend=FakeBackend(answer=sometimes))
    assert "rejects.jsonl" not in caplog.text
    rejects.write_text("\n".join(["not json", *lines]) + "\n", encoding="utf-8")
    assert len(list(runs.rejected_pairs(rejects.parent))) == len(list(runs.rejected_pairs(rejects.parent)))
    assert caplog.text.count("cannot be read: what is there is left out") == 1
    assert f"1 line in {rejects}" in caplog.text


def test_what_each_server_answered_is_added_up_over_resumes(run):
    class Two(FakeBackend):
        def state(self):
            first = len(self.answered) // 3
            return BackendState(answered={"http://a": first, "http://b": len(self.answered) - first})

    run(limit_samples=3, backend=Two())
    more = run(limit_samples=6, backend=Two())
    statistics = json.loads((more.paths[0].with_suffix(".run") / "run.json").read_text())["statistics"]
    assert statistics["answered_by"] == {"http://a": 4, "http://b": 8}
    assert sum(statistics["answered_by"].values()) == statistics["requests"]


def test_what_was_rejected_after_the_last_checkpoint_is_counted_though_nothing_is_lacking(run):
    first = run(limit_samples=12, backend=FakeBackend(answer=sometimes))
    counted = first.report.datasets[0].rejected
    assert sum(counted.values()) == 2
    checkpoint = first.paths[0].with_suffix(".checkpoint.json")
    run_file = first.paths[0].with_suffix(".run") / "run.json"
    data = json.loads(run_file.read_text())
    run_file.write_text(json.dumps({**data, "status": "running", "statistics": {**data["statistics"], "rejected": {}}}))
    saved = json.loads(checkpoint.read_text())
    saved |= {"num_generated": 3, "resume": {**saved["resume"], "place": 3, "accepted": 3, "rejected": {}}}
    checkpoint.write_text(json.dumps(saved))
    again = run(limit_samples=12, backend=FakeBackend(answer=sometimes))
    assert again.backend.asked == []
    assert again.report.datasets[0].rejected == counted
    assert json.loads(run_file.read_text())["statistics"]["rejected"] == counted
