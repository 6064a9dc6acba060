"""A sample asks about a few scenarios, tells what all would take, and is paid for once."""

from __future__ import annotations

import json

import pytest

from psyctl_core import BuildConfig, Completion, Sampling, Selection, UsageError, build, sample
from psyctl_core._engine.sampling import forecast
from psyctl_core.cli import render
from psyctl_core.records import Usage
from psyctl_core.testing import FakeBackend, FakeSource
from psyctl_core.testing.fakes import fake_answer


def job(output, backend, **options):
    return BuildConfig(
        options.pop("traits", "Openness, Extroversion"),
        output,
        {
            "source": Selection("fake", instance=FakeSource(400)),
            "prompter": Selection("static"),
            "backend": Selection("fake", instance=backend),
        },
        sampling=Sampling(),
        **options,
    )


def priced(request):
    offset = int(request.id.partition(":")[0])
    if offset % 5 == 4:
        return Completion(request.id, "", "error", 100, 0, 0.001, error="moderation")
    answer = fake_answer(request)
    return Completion(request.id, answer.text, prompt_tokens=100, completion_tokens=10, cost=0.001)


def test_a_sample_is_the_beginning_of_the_run_and_tells_what_the_rest_takes(tmp_path, capsys):
    first = FakeBackend(answer=priced)
    found = sample(job(tmp_path / "out", first, limit_samples=200), 20)
    assert [dataset.pairs for dataset in found.report.datasets] == [16, 16]
    assert len(first.asked) == 60
    ahead = found.forecast
    assert ahead.pairs == 2 * 184
    assert ahead.requests == 3 * 230
    assert (ahead.prompt_tokens, ahead.completion_tokens) == (69_000, 5_520)
    assert ahead.cost == pytest.approx(0.69)
    assert [check.pairs for check in found.checks] == [16, 16]
    render.sample(found)
    told = " ".join(capsys.readouterr().out.split())
    assert "Openness 16 20 80%" in told
    assert "368 pairs, for 200 pairs of each trait" in told
    assert "about $0.6900 more" in told
    rest = FakeBackend(answer=priced)
    build(job(tmp_path / "out", rest, limit_samples=200))
    assert len(rest.asked) == pytest.approx(ahead.requests, abs=5)  # the last scenario needed is one with a pair
    whole = FakeBackend(answer=priced)
    build(job(tmp_path / "whole", whole, limit_samples=200))
    assert sorted(r.id for r in first.asked + rest.asked) == sorted(r.id for r in whole.asked)
    for trait in ("openness", "extroversion"):
        parts, one = (next((tmp_path / name / trait).glob("caa_dataset_*.jsonl")) for name in ("out", "whole"))
        assert parts.read_bytes() == one.read_bytes()


def test_the_same_sample_again_asks_nothing(tmp_path):
    sample(job(tmp_path, FakeBackend(answer=priced), limit_samples=200), 20)
    again = FakeBackend(answer=priced)
    found = sample(job(tmp_path, again, limit_samples=200), 20)
    assert again.asked == []
    assert found.forecast.requests == 690


def test_a_sample_that_is_over_is_no_bound_that_was_reached(tmp_path, caplog):
    caplog.set_level("WARNING", "psyctl")
    sample(job(tmp_path, FakeBackend(answer=priced), limit_samples=200), 20)
    assert "reached" not in caplog.text
    sample(job(tmp_path, FakeBackend(answer=priced), limit_samples=200, max_scenarios=25), 30)
    assert "--max-scenarios 25 is reached: 20 of 200 pairs of Openness." in caplog.text


def test_what_a_sample_was_of_is_no_option_of_the_run(tmp_path):
    found = sample(job(tmp_path, FakeBackend(answer=priced), limit_samples=200, traits="Openness"), 20)
    run = json.loads((found.report.datasets[0].run_folder / "run.json").read_text(encoding="utf-8"))
    assert "max_scenarios" not in run["settings"]


def test_a_sample_of_nothing_is_refused_by_its_own_name(tmp_path):
    with pytest.raises(UsageError, match="sample of 0 scenarios") as refused:
        sample(job(tmp_path / "out", FakeBackend()), 0)
    assert "--sample 1" in refused.value.hint
    assert not (tmp_path / "out").exists()


def test_without_a_pair_or_a_limit_it_says_so(tmp_path, capsys):
    none = FakeBackend(answer=lambda request: Completion(request.id, "", "error", error="moderation"))
    found = sample(job(tmp_path / "none", none, limit_samples=9), 5)
    assert found.forecast is None
    render.sample(found)
    assert "cannot be told: no scenario gave a pair" in capsys.readouterr().out
    found = sample(job(tmp_path / "all", FakeBackend(), traits="Openness"), 5)
    render.sample(found)
    assert "995 pairs, for 1,000 pairs of each trait" in capsys.readouterr().out


def test_personas_are_paid_once_and_reckoned_out():
    ahead = forecast([(10, 0)], 20, Usage(requests=24, cost=24.0), 4, 10.0)
    assert (ahead.requests, ahead.cost, ahead.seconds) == (20, 20.0, 10.0)
    assert forecast([(20, 3)], 20, Usage(requests=50), 4, 10.0).requests == 0


def test_the_command_prints_it_and_goes_on_from_there(psyctl, fakes, tmp_path):
    words = (
        "dataset.build.caa", "--source", "fakes", "--prompter", "static", "--personality", "Openness",
        "--backend", "fakes", "--limit-samples", "3", "--output", "out",
    )  # fmt: skip
    told = psyctl(*words, "--sample", "2", "--json")
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert found["summary"]["requests"] == 4
    assert found["summary"]["usage"]["cost"] is None
    shown = psyctl(*words, "--sample", "2", "--quiet")
    assert shown.returncode == 0, shown.stderr
    assert "The same command without --sample goes on from there" in shown.stdout
    done = psyctl(*words)
    assert done.returncode == 0, done.stderr
