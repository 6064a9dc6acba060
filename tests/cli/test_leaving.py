"""What a run leaves behind: an exit code that a script can act on, a summary about the run, no folder for nothing."""

from __future__ import annotations

import json
import os

import pytest

from psyctl_core import BackendError, ExitCode, PluginError, SourceError, UsageError, plan_caa
from psyctl_core._engine.watching import LOG_FILE
from psyctl_core.cli.app import make_app
from psyctl_core.cli.render import plan as print_plan
from psyctl_core.cli.render import summary
from psyctl_core.figures import counted, duration, money, per_cent, rate
from psyctl_core.records import Completion
from psyctl_core.testing import FakeBackend, FakeSource
from psyctl_core.testing.fakes import fake_answer


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BackendError("The key is refused."), 1),
        (BackendError("The server is down.", later=True), 75),
        (SourceError("The Hub is down.", "Try again.", later=True), 75),
        (PluginError("A stranger's plugin knows it, too.", later=True), 75),
        (UsageError("That makes no sense."), 2),
    ],
)
def test_an_error_says_itself_whether_to_try_again(error, code):
    assert error.exit_code == code
    assert error.later is (code == ExitCode.LATER)


def test_help_names_the_codes(capsys):
    with pytest.raises(SystemExit):
        make_app()(["dataset.build.caa", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "4 done, with fewer pairs than wanted; 75 try later" in told


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (counted(1, "pair"), "1 pair"),
        (counted(1_234, "pair"), "1,234 pairs"),
        (money(0), "$0.00"),
        (money(1234.5), "$1,234.50"),
        (money(0.0123), "$0.0123"),
        (money(0.000042), "$0.000042"),
        (duration(4.23), "4.2 s"),
        (duration(59.7), "1 min 00 s"),
        (duration(200), "3 min 20 s"),
        (duration(3_599.9), "1 h 00 min"),
        (duration(3_900), "1 h 05 min"),
        (duration(86_399), "1 d 0 h"),
        (duration(183_600), "2 d 3 h"),
        (rate(0.5249), "0.52/s"),
        (rate(0.05, "pairs"), "3 pairs/min"),
        (per_cent(999, 1000), "99%"),
    ],
)
def test_numbers_money_and_time_are_written_in_one_way(told, text):
    assert told == text


@pytest.mark.parametrize("quiet", [False, True])
def test_a_source_that_ran_out_is_said_in_any_case(run, capsys, quiet):
    report = run("Openness, Extroversion", source=FakeSource(30), limit_samples=1_500).report
    pairs = report.datasets[0].pairs
    assert [each.trait for each in report.short] == ["Openness", "Extroversion"]
    summary(report, quiet=quiet)
    told = capsys.readouterr()
    line = f"Fewer than wanted: {pairs} of 1,500 pairs of Openness; the source has no more scenarios."
    assert line in (told.err if quiet else told.out)
    if quiet:
        assert told.out.splitlines() == [each.location for each in report.datasets]


def test_a_run_that_has_all_it_wanted_is_not_short(run):
    assert run(source=FakeSource(30), limit_samples=5).report.short == ()
    assert run(source=FakeSource(30)).report.short == ()


def test_the_summary_tells_of_the_run_once_and_a_row_a_trait(run, capsys):
    backend = FakeBackend(answer=lambda request: Completion(request.id, fake_answer(request).text, cost=0.001))
    report = run("Openness, Extroversion", backend=backend, limit_samples=3).report
    summary(report, quiet=False)
    told = capsys.readouterr().out
    assert told.count("Requests") == told.count("Rate") == told.count("Cost") == 1
    assert "$0.0090 over all resumes" in told
    rows = [line.split() for line in told.splitlines()]
    assert ["Openness", "3", "3", "0"] in rows
    assert ["Extroversion", "3", "3", "0"] in rows
    assert "unknown" not in told


class _Free(FakeBackend):
    is_free = True


def test_what_costs_no_money_has_no_cost(run, capsys):
    report = run(backend=_Free(), limit_samples=1).report
    assert report.is_free
    summary(report, quiet=False)
    told = capsys.readouterr().out
    assert "Cost" not in told
    assert "unknown" not in told


def planned(output, **options):
    return plan_caa(
        "Openness", output, source=options.pop("source", None) or FakeSource(1000), prompter="static",
        backend=FakeBackend(), **options,
    )  # fmt: skip


def test_a_plan_counts_what_is_there_and_goes_by_the_rate_so_far(run, tmp_path, capsys):
    run("Openness", limit_samples=10, output=tmp_path / "out")
    found = planned(tmp_path / "out", limit_samples=25)
    assert found.pairs == {"Openness": 10}
    assert found.requests == 2 * 15
    assert found.seconds is not None
    print_plan(found)
    told = capsys.readouterr().out
    assert told.startswith("Calls  30 (30 for pairs); more for each rejected pair\n")
    assert "at the rate of the run so far" in told
    done = planned(tmp_path / "out", limit_samples=10)
    assert (done.requests, done.cost or 0) == (0, 0)
    print_plan(done)
    assert capsys.readouterr().out.startswith("Calls  0: nothing is lacking\nMoney  none\nTime   none\n")


def test_a_plan_says_that_the_source_has_fewer_than_wanted(tmp_path, capsys):
    found = planned(tmp_path / "out", source=FakeSource(30), limit_samples=5_000)
    assert found.scenarios is not None
    assert found.scenarios <= 30
    assert found.requests == 2 * found.scenarios
    print_plan(found)
    assert "fewer than the 5,000 pairs wanted" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_a_plan_says_what_another_dataset_would_be_begun_for(run, tmp_path, capsys):
    run("Openness", limit_samples=3, output=tmp_path / "out")
    found = planned(tmp_path / "out", seed=7, limit_samples=3)
    assert (found.pairs, found.requests) == ({"Openness": 0}, 6)
    print_plan(found)
    assert "other settings (sampling.seed: 0 -> 7): another dataset is begun" in capsys.readouterr().out
    fresh = planned(tmp_path / "out", limit_samples=3, fresh=True)
    assert (fresh.pairs, fresh.others) == ({"Openness": 0}, {})


def test_another_dataset_says_what_it_pays_for(run, tmp_path, caplog):
    run("Openness", limit_samples=3, output=tmp_path / "out")
    run("Openness", limit_samples=1_200, max_scenarios=2, seed=7, output=tmp_path / "out")
    assert "sampling.seed: 0 -> 7" in caplog.text
    assert "and pays for 1,200 pairs" in caplog.text


def test_a_failed_run_leaves_no_folder_and_takes_none_that_was_there(run, tmp_path):
    class Refused(FakeBackend):
        def start(self, budget):
            raise BackendError("The key is refused.")

    run("Openness, Extroversion", backend=Refused(), output=tmp_path / "a" / "b", raises=BackendError)
    assert not (tmp_path / "a").exists()
    (tmp_path / "mine").mkdir()
    run("Openness, Extroversion", backend=Refused(), output=tmp_path / "mine", raises=BackendError)
    assert {path.name for path in (tmp_path / "mine").iterdir()} <= {".psyctl.lock"}


def test_what_was_answered_keeps_its_folder_and_its_log(run, tmp_path):
    run("Openness", backend=FakeBackend(dies_after=7), output=tmp_path / "a" / "b", raises=PluginError)
    (log,) = (tmp_path / "a" / "b").glob(f"*.run/{LOG_FILE}")
    assert "error: Ended: " in log.read_text(encoding="utf-8")


@pytest.mark.skipif(os.name == "nt", reason="Windows deletes no open file")
def test_the_log_is_no_way_out_of_the_folder(run, tmp_path):
    """A link in the log's place is not followed."""
    first = run("Openness", limit_samples=2, output=tmp_path / "out")
    (log,) = (tmp_path / "out").glob(f"*.run/{LOG_FILE}")
    log.unlink()
    log.symlink_to(tmp_path / "elsewhere")
    run("Openness", limit_samples=4, output=tmp_path / "out")
    assert len(first.lines) == 2
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("progress", ["", "{", "[]", '{"format_version": 1, "event": "progress", "time": "x"}'])
def test_a_damaged_progress_file_is_none(run, tmp_path, progress):
    from psyctl_core._engine.status import status
    from psyctl_core._plugins.registry import discover

    run("Openness", limit_samples=2, output=tmp_path / "out")
    (tmp_path / "out" / ".psyctl.progress.json").write_text(progress, encoding="utf-8")
    (found,) = status(tmp_path / "out", discover())
    assert (found.state, found.records, found.progress) == ("complete", 2, {})


def test_a_report_and_a_plan_are_json(run, tmp_path):
    report = run("Openness", limit_samples=2, output=tmp_path / "out").report
    assert json.loads(json.dumps(report.as_json()))["datasets"][0]["pairs"] == 2
    assert json.loads(json.dumps(planned(tmp_path / "out", limit_samples=4).as_json()))["pairs"] == {"Openness": 2}


PLUGIN = """
import dataclasses
from psyctl_core import Component, hookimpl
from psyctl_core.testing import FakeBackend

@dataclasses.dataclass(frozen=True)
class Config:
    pass

@hookimpl
def psyctl_inference_backends():
    return [Component("fake", "psyctl_fake:make", Config, "A fake")]

def make(config, context):
    return FakeBackend()
"""


@pytest.mark.parametrize("bound", [(), ("--max-scenarios", "4", "--quiet")])
def test_fewer_than_wanted_is_exit_code_4(psyctl, install, bound):
    install("psyctl-fake", PLUGIN)
    done = psyctl(
        "dataset.build.caa", "--source", "starter", "--prompter", "static", "--personality", "Openness",
        "--backend", "fake", "--limit-samples", "400", "--output", "out", *bound,
    )  # fmt: skip
    assert done.returncode == ExitCode.FEWER, done.stderr
    assert "Fewer than wanted: " in (done.stderr if bound else done.stdout)
    assert len(done.stdout.splitlines()) == 1 or not bound


def test_pairs_are_shown_by_trait_at_random_and_under_their_files_name(psyctl, run, tmp_path):
    paths = run("Openness, Extroversion", limit_samples=9).paths
    shown = psyctl("dataset.show", "out", "--trait", "openness", "--sample", "--count", "4").stdout
    assert shown.startswith("=== Openness: out/openness/")
    assert "Openness: {character} is " in shown
    assert "Extroversion" not in shown
    numbers = [int(line.split(".")[0]) for line in shown.splitlines() if line.split(".")[0].isdigit()]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 4
    assert len(paths) == 2
    missing = psyctl("dataset.show", "out", "--trait", "Sarcasm")
    assert missing.returncode == 2
    assert "There are: " in missing.stderr
