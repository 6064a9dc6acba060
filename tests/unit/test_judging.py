"""A judge accepts or rejects pairs: by its scores alone, asked once, topped up to the limit, kept with the data.

A finished dataset is judged into a new file, and a judge is compared with a person.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import random
import shutil
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from psyctl_core import (
    BackendError,
    ChatRequest,
    Completion,
    Context,
    ContrastivePair,
    Message,
    OutputError,
    PairJudge,
    PluginError,
    UsageError,
    Verdict,
)
from psyctl_core._engine import asked, labels
from psyctl_core._engine.reading import find_datasets
from psyctl_core._engine.rejudging import begun_from, recorded
from psyctl_core._engine.scores import rank_correlation, spread, summary
from psyctl_core._plugins.registry import discover
from psyctl_core._plugins.selection import Selection
from psyctl_core._store.runs import cost_before
from psyctl_core.cli.app import make_app
from psyctl_core.figures import money
from psyctl_core.testing import FakeBackend, FakeSource
from psyctl_core.testing.fakes import fake_answer, fake_scenario
from psyctl_likelihood import LikelihoodConfig
from psyctl_likelihood.judge import LikelihoodJudge
from psyctl_rubric import RubricConfig
from psyctl_rubric.judge import NOT_JUDGED, RubricJudge, score


def rubric(**options) -> RubricJudge:
    return RubricJudge(RubricConfig(**options), Context())


def noisy(request: ChatRequest) -> Completion:
    """A judge's digit that follows from the line it is shown, by a noise that is known."""
    asked = request.messages[-1].content
    line = asked.rsplit("The line:", 1)[1]
    digit = hashlib.sha256(line.encode()).digest()[0] % 10 if "How strongly" in asked else 9
    return Completion(request.id, str(digit), prompt_tokens=1, completion_tokens=1, cost=request.temperature)


def both(request: ChatRequest) -> Completion:
    """Writer and judge in one backend."""
    return noisy(request) if ":judge:" in request.id else fake_answer(request)


def digit_of(text: str) -> int:
    line = f'\nKim: "{text}"\n\nHow strongly does this line show Extroversion? Answer with one digit from 0 to 9.'
    return hashlib.sha256(line.encode()).digest()[0] % 10


def rejects(path) -> list[dict]:
    return [json.loads(line) for line in (path.with_suffix(".run") / "rejects.jsonl").read_text().splitlines()]


def test_which_pairs_are_accepted_is_exactly_what_the_scores_say(run):
    done = run(limit_samples=60, judge=rubric(), backend=FakeBackend(answer=both))
    records = [json.loads(line) for line in done.lines]
    assert len(records) == 60
    rejected = rejects(done.paths[0])
    assert len(rejected) > 60
    for row in [*records, *rejected]:
        positive, neutral = digit_of(row["positive_text"]) / 9 * 100, digit_of(row["neutral_text"]) / 9 * 100
        scores = row["metadata"]["judge"]["scores"]
        assert (scores["positive"], scores["neutral"]) == (round(positive, 2), round(neutral, 2))
        accepted = positive >= 50 and neutral < 50 and positive - neutral >= 25
        assert accepted == (row in records)
    expected = {"trait not shown", "neutral shows the trait", "too little contrast"}
    assert {row["reason"] for row in rejected} == expected
    taken = sorted(int(row["id"].split("-")[1]) for row in [*records, *rejected])
    assert taken == list(range(taken[-1] + 1))  # the first scenarios in order, none left out


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("block", [0, 6])
def test_thirty_kills_judge_nothing_twice_and_end_with_the_same_bytes(run, tmp_path_factory, separate, block):
    options = {"limit_samples": 12, "checkpoint_interval": 3}
    whole = run(output=tmp_path_factory.mktemp("whole"), judge=rubric(), backend=FakeBackend(answer=both), **options)
    output = tmp_path_factory.mktemp("killed")
    order = random.Random(block)
    answered: list[str] = []
    for _ in range(30):
        kills = {"dies_after": order.randrange(1, 9), "block": block}
        writer = FakeBackend(answer=both, **kills)
        judged_by = {"judge_backend": FakeBackend(answer=noisy, **kills)} if separate else {}
        with contextlib.suppress(PluginError):
            run(output=output, judge=rubric(), backend=writer, **judged_by, **options)
        new = writer.answered + (judged_by["judge_backend"].answered if separate else [])
        if not block:
            assert not set(new) & set(answered)
        answered += new
    judged_by = {"judge_backend": FakeBackend(answer=noisy, block=block)} if separate else {}
    end = run(output=output, judge=rubric(), backend=FakeBackend(answer=both, block=block), **judged_by, **options)
    assert end.lines == whole.lines


@pytest.fixture
def usual(run, tmp_path):
    """A run whose answers come as they come, once for all examples of the same traits."""

    @functools.cache
    def of(traits):
        backend = FakeBackend(answer=both)
        return run(traits, output=tmp_path / f"whole {traits}", judge=rubric(), backend=backend, limit_samples=5)

    return of


@pytest.mark.slow
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    in_flight=st.integers(1, 30), seed=st.integers(0, 99), block=st.sampled_from([0, 4, 10]),
    judge_block=st.sampled_from([None, 0, 4]), traits=st.sampled_from(["Extroversion", "Extroversion, Openness"]),
)  # fmt: skip
def test_the_order_in_which_answers_and_verdicts_come_changes_nothing(
    run, usual, tmp_path_factory, in_flight, seed, block, judge_block, traits
):
    whole = usual(traits)
    backend = FakeBackend(answer=both, in_flight=in_flight, order_seed=seed, block=block)
    other = {} if judge_block is None else {"judge_backend": FakeBackend(answer=noisy, block=judge_block)}
    again = run(traits, output=tmp_path_factory.mktemp("b"), judge=rubric(), backend=backend, limit_samples=5, **other)
    assert again.lines == whole.lines
    assert len(set(backend.answered)) == len(backend.answered)


def test_a_judge_of_its_own_gets_its_requests_and_the_writer_none_of_them(run):
    judge_backend = FakeBackend(answer=noisy)
    done = run(limit_samples=5, judge=rubric(), judge_backend=judge_backend)
    assert judge_backend.answered
    assert all(":judge:" in id for id in judge_backend.answered)
    assert not any(":judge:" in id for id in done.backend.answered)
    assert judge_backend.starts == judge_backend.closes == 1
    saved = json.loads(next(done.paths[0].with_suffix(".run").glob("run.json")).read_text())
    assert saved["identity"]["judge_backend"]["component"]["name"] == "FakeBackend"
    assert saved["statistics"]["requests"] == len(judge_backend.answered) + len(done.backend.answered)


def test_a_model_that_grades_itself_is_said(run, caplog):
    run(limit_samples=2, judge=rubric(), backend=FakeBackend(answer=both))
    assert "likes its own" in caplog.text
    caplog.clear()
    run(limit_samples=2, judge=rubric(), judge_backend=FakeBackend(answer=noisy))
    assert "likes its own" not in caplog.text


def test_the_budget_is_one_for_writer_and_judge(run, tmp_path):
    def dear(request):
        completion = noisy(request) if ":judge:" in request.id else fake_answer(request)
        return Completion(completion.id, completion.text, cost=0.01)

    writer, other = FakeBackend(answer=dear, in_flight=1), FakeBackend(answer=dear, in_flight=1)
    run(judge=rubric(), backend=writer, judge_backend=other, limit_samples=10, max_cost=0.4, raises=BackendError)
    saved = json.loads(next(tmp_path.rglob("run.json")).read_text())
    assert 0.35 <= saved["statistics"]["cost"] <= 0.4  # what an answer may cost is set aside before it is asked for
    assert len(writer.answered) == 20
    assert 15 <= len(other.answered) <= 20


@pytest.mark.parametrize("text", ["I would say it is quite strong.", "", "95", "450°F", "-", "ten"])
def test_a_judge_without_scores_rejects_and_ends_the_run_after_twenty(run, text):
    def useless(request):
        return Completion(request.id, text) if ":judge:" in request.id else fake_answer(request)

    done = run(judge=rubric(), backend=FakeBackend(answer=useless), raises=BackendError)
    assert "could not score 20 pairs in a row" in str(done.error)
    assert not done.lines


def test_what_has_no_score_is_asked_once_more_and_counted_apart(run):
    def shy(request):
        if ":judge:" not in request.id:
            return fake_answer(request)
        if not request.json_schema:
            return Completion(request.id, "Well.")
        return replace(noisy(request), text=f'{{"score": {noisy(request).text}}}')

    done = run(limit_samples=3, judge=rubric(), backend=FakeBackend(answer=shy))
    assert len(done.lines) == 3


def test_failed_verdicts_reject_the_pair_as_not_judged(run):
    def failing(request):
        if ":judge:" not in request.id:
            return fake_answer(request)
        place = int(request.id.split(":")[0])
        return Completion(request.id, "", "error", error="moderation") if place % 3 == 0 else noisy(request)

    done = run(limit_samples=6, judge=rubric(), backend=FakeBackend(answer=failing))
    reasons = {int(row["id"].split("-")[1]): row["reason"] for row in rejects(done.paths[0])}
    assert all(reasons[place] == NOT_JUDGED for place in reasons if place % 3 == 0)
    assert NOT_JUDGED in reasons.values()


def test_hardly_anything_accepted_ends_the_run_with_the_scores_spread(run):
    def stern(request):
        if ":judge:" not in request.id:
            return fake_answer(request)
        place = int(request.id.split(":")[0])
        asked = request.messages[-1].content
        digit = 9 if place % 20 == 0 and "Answer a" in asked else 3
        return Completion(request.id, str(digit))

    done = run(judge=rubric(), backend=FakeBackend(answer=stern), source=FakeSource(2000), raises=BackendError)
    assert "scenarios in a row" in str(done.error) or "of the last 500" in str(done.error)
    assert "median 33" in str(done.error)


def test_a_bound_on_scenarios_ends_the_run_is_said_and_can_be_raised(run, caplog):
    first = run(limit_samples=50, judge=rubric(), backend=FakeBackend(answer=both), max_scenarios=30)
    seen = len(first.lines) + len(rejects(first.paths[0]))
    assert seen == 30
    assert f"--max-scenarios 30 is reached: {len(first.lines)} of 50 pairs of Extroversion." in caplog.text
    again = run(limit_samples=50, judge=rubric(), backend=FakeBackend(answer=both), max_scenarios=30)
    assert not again.backend.answered
    more = run(limit_samples=50, judge=rubric(), backend=FakeBackend(answer=both), max_scenarios=45)
    assert more.lines[: len(first.lines)] == first.lines
    assert len(more.lines) + len(rejects(more.paths[0])) == 45


def test_other_thresholds_begin_another_file_and_no_judge_leaves_the_identity_as_it_was(run):
    run(limit_samples=2, judge=rubric(), backend=FakeBackend(answer=both))
    both_files = run(limit_samples=2, judge=rubric(positive=30), backend=FakeBackend(answer=both))
    assert len(both_files.paths) == 1  # an object handed over is known by its class alone
    plain = run(limit_samples=2)
    assert len(plain.paths) == 2
    saved = [json.loads(p.read_text()) for p in plain.paths[0].parent.glob("*.run/run.json")]
    assert sorted("judge" in run_file["identity"] for run_file in saved) == [False, True]


def test_a_backend_for_no_judge_is_refused(run):
    done = run(judge_backend=FakeBackend(), raises=UsageError)
    assert "no judge" in str(done.error)


class Endless(PairJudge):
    def requests(self, pair, guide):
        return [ChatRequest("", (Message("user", "?"),))]

    def verdict(self, pair, guide, completions):
        return self.requests(pair, guide)


class Odd(Endless):
    def verdict(self, pair, guide, completions):
        return Verdict("", {"positive": float("nan")})


class Mute(Endless):
    def verdict(self, pair, guide, completions):
        return []


@pytest.mark.parametrize(("judge", "said"), [(Endless, "4 times"), (Odd, "positive=nan"), (Mute, "neither a verdict")])
def test_a_judge_that_breaks_its_contract_is_blamed(run, judge, said):
    done = run(judge=judge(), raises=PluginError)
    assert said in str(done.error)
    assert judge.__name__ in str(done.error)


def test_the_guide_of_an_unknown_trait_is_asked_for_once_and_kept(run):
    def answer(request):
        if "scoring guides" in request.messages[0].content:
            return Completion(request.id, "very punctual.\n5: on time.\n0: late.")
        if request.id.startswith("persona:"):
            return fake_answer(request)
        return both(request)

    prompter = "p2"
    first = run("Punctuality", limit_samples=2, judge=rubric(), prompter=prompter, backend=FakeBackend(answer=answer))
    saved = json.loads(next(first.paths[0].parent.glob("*.run/run.json")).read_text())
    assert saved["guides"]["Punctuality"].startswith("very punctual")
    more = run("Punctuality", limit_samples=4, judge=rubric(), prompter=prompter, backend=FakeBackend(answer=answer))
    assert not any(request.id.startswith("persona:") for request in more.backend.asked)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", 77.78), (" 7.", 77.78), ("Score: 9", 100.0), ("score is 0", 0.0), ("**8**", 88.89), ("7/9", 77.78),
        ('{"score": 5}', 55.56), ("4.5", 50.0), ("10", None), ("450°F", None), ("7th", None), ("the 7", None),
        ("", None), ("95%", None), ("9 out of 10", 100.0),
    ],
)  # fmt: skip
def test_the_number_is_read_where_the_answer_begins(text, expected):
    assert score(Completion("", text)) == expected


@given(st.lists(st.floats(0.001, 1), min_size=10, max_size=10))
def test_the_score_is_the_mean_of_the_digits_by_their_probability(weights):
    total = sum(weights)
    likely = {str(digit): weight / total for digit, weight in enumerate(weights)}
    expected = sum(int(digit) * p for digit, p in likely.items()) * 100 / 9
    assert score(Completion("", "nonsense", metadata={"choices": likely})) == pytest.approx(expected, abs=0.01)


def test_digits_with_little_of_the_probability_are_no_score():
    assert score(Completion("", "3", metadata={"choices": {"9": 0.2}})) == 33.33
    assert score(Completion("", "3", metadata={"choices": {"9": 0.3}})) == 100.0


def test_each_answer_is_judged_alone_and_the_persona_is_not_shown():
    pair = ContrastivePair(fake_scenario(3), "Extroversion", "Come along!", "No.")
    asked = rubric().requests(pair, "9: a\n5: b\n0: c")
    assert len(asked) == 4
    for request in asked:
        shown = "".join(message.content for message in request.messages)
        assert ("Come along!" in shown) != ("No." in shown)
        assert "Kim" in shown
    assert asked[0].messages[0] == asked[1].messages[0]  # shared, so that caches serve it
    assert len(rubric(fit=0).requests(pair, "")) == 2


def test_scores_are_summed_up_and_length_is_compared():
    scores = [{"positive": float(n), "neutral": None} for n in range(11)]
    found = summary(scores)
    assert found["positive"] == {"scored": 11, "unscored": 0, "mean": 5.0, "p10": 1.0, "p50": 5.0, "p90": 9.0}
    assert found["neutral"] == {"scored": 0, "unscored": 11}
    assert spread(scores) == "positive 1 to 9 (median 5), neutral never scored"
    assert rank_correlation([(1, 10), (2, 20), (3, 900)]) == pytest.approx(1)
    assert rank_correlation([(1, 3), (2, 2), (3, 1)]) == pytest.approx(-1)
    assert rank_correlation([(1, 1), (1, 2), (1, 3)]) is None


def test_a_threshold_out_of_range_is_refused():
    with pytest.raises(UsageError, match="--rubric-fit 120"):
        RubricConfig(fit=120)


@pytest.fixture
def judged(run):
    """A dataset that the rubric judged."""
    return run(limit_samples=8, judge="rubric", backend=FakeBackend(answer=both)).paths[0]


def rejudge(*words: str) -> None:
    make_app()(["dataset.judge", *words], standalone_mode=False)


def newest(folder: Path) -> Path:
    return max(folder.glob("caa_dataset_*.jsonl"))


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_other_thresholds_need_no_asking_and_accept_what_was_rejected(judged, capsys):
    before, text = rows(judged) + rejects(judged), judged.read_bytes()
    rejudge(str(judged), "--rubric-positive", "30", "--rubric-difference", "5")
    found = rows(newest(judged.parent))
    assert judged.read_bytes() == text
    expected = {
        row["id"] for row in before
        if (s := row["metadata"]["judge"]["scores"])["positive"] >= 30 and s["neutral"] < 50
        and s["positive"] - s["neutral"] >= 5
    }  # fmt: skip
    assert {row["id"] for row in found} == expected
    assert len(found) > 8
    by_id = {row["id"]: row for row in before}
    for row in found:
        old = by_id[row["id"]]
        for name in ("trait", "character", "situation", "positive_text", "neutral_text"):
            assert row[name] == old[name]
        assert row["metadata"]["judge"] == old["metadata"]["judge"]
    assert sorted(row["positive"] for row in found[: len(found) // 2 * 2]) == sorted(["(1", "(2"] * (len(found) // 2))
    saved = json.loads((newest(judged.parent).with_suffix(".run") / "run.json").read_text())
    assert saved["personas"]["positive"]["description"]


def priced(request: ChatRequest) -> Completion:
    return replace(both(request), cost=0.01)


class Unpaid(FakeBackend):
    """A model of one's own."""

    is_free = True


def statistics_of(path: Path) -> dict:
    return json.loads((path.with_suffix(".run") / "run.json").read_text(encoding="utf-8"))["statistics"]


def test_judging_that_costs_nothing_has_no_cost_and_what_the_pairs_cost_is_told(run, capsys):
    made = run(limit_samples=8, judge="rubric", backend=FakeBackend(answer=priced)).paths[0]
    paid = statistics_of(made)["cost"]
    rejudge(str(made), "--rubric-positive", "30")
    told = capsys.readouterr().out
    assert f"Cost before  {money(paid)}, to make the pairs that were judged" in told
    assert "Cost  " not in told.replace("Cost before  ", "")
    found = newest(made.parent)
    assert "Requests     0\n" in told
    assert "Nothing was asked." in told
    assert "complete" not in told
    now = statistics_of(found)
    assert (now["cost"], now["unpriced_requests"], now["requests"]) == (None, 0, 0)
    assert not (found.with_suffix(".run") / "neutral.sqlite").exists(), "nobody adds a trait to what was judged anew"
    shutil.rmtree(made.with_suffix(".run"))
    made.unlink()
    (dataset,) = find_datasets(found, discover())
    assert dataset.cost_before == paid, "known where the first dataset is gone"


def test_what_other_datasets_cost_is_counted_once_a_run_and_never_fails():
    a, b = ({"name": name, "statistics": {"cost": cost}} for name, cost in (("a", 1.0), ("b", 0.5)))
    assert cost_before({}) is None
    assert cost_before({"parents": [{"name": "c"}, {**a, "parents": [b]}, {**b, "parents": [a]}]}) == 1.5
    odd = [5, {"name": 5, "statistics": {"cost": 9}}, {**a, "parents": 7}, {**b, "statistics": [], "parents": "x"}]
    assert cost_before({"parents": odd}) == 1.0


def test_pairs_that_were_made_for_nothing_are_judged_without_a_word_of_money(run, capsys):
    made = run(limit_samples=8, judge="rubric", backend=Unpaid(answer=lambda r: replace(both(r), cost=None))).paths[0]
    rejudge(str(made), "--rubric-positive", "30")
    told = capsys.readouterr()
    assert "$" not in told.out + told.err
    assert statistics_of(made)["unpriced_requests"] == 0


def test_what_a_free_judge_answers_is_not_reckoned_into_what_a_paid_writer_cost(run):
    """A run that goes on would else begin with twice the money spent, and end at half of its budget."""
    writer = FakeBackend(answer=lambda request: replace(fake_answer(request), cost=0.01), dies_after=30)
    judge = Unpaid(answer=lambda request: replace(noisy(request), cost=None))
    options = {"judge": rubric(), "judge_backend": judge, "limit_samples": 30, "checkpoint_interval": 1}
    run(backend=writer, raises=PluginError, **options)
    run(backend=FakeBackend(answer=lambda r: replace(fake_answer(r), cost=0.01)), **options)
    usage = run(backend=FakeBackend(), **options).report.usage
    assert usage.unpriced_requests == 0
    assert usage.likely_cost() == pytest.approx(usage.cost)


def test_only_what_the_judge_is_asked_is_counted_where_pairs_are_judged_anew(run, monkeypatch):
    """Two thousand pairs that are there already are no four thousand requests."""
    path = run(limit_samples=6).paths[0]
    judge = FakeBackend(answer=noisy)
    monkeypatch.setattr(asked, "judge_backend_of", lambda *_: Selection("fake", instance=judge))
    rejudge(str(path))
    assert statistics_of(newest(path.parent))["requests"] == len(judge.answered) > 12


def test_an_unjudged_dataset_needs_somebody_who_answers_the_judge(run):
    path = run(limit_samples=5).paths[0]
    with pytest.raises(UsageError, match=r"5 of 5 pairs .* have no scores of 'rubric'"):
        rejudge(str(path))
    assert newest(path.parent) == path


def test_pairs_of_one_id_are_not_judged_by_each_others_scores(judged, tmp_path):
    first, second, *rest = rows(judged)
    judged.write_text("".join(f"{json.dumps(row)}\n" for row in (first, {**second, "id": first["id"]}, *rest)))
    with pytest.raises(UsageError, match=f"Several pairs in .* have the id '{first['id']}'") as caught:
        rejudge(str(judged))
    assert "dataset.merge" in caught.value.hint
    words = ["dataset.merge", str(judged), "--renumber", "--output", str(tmp_path / "new")]
    make_app()(words, standalone_mode=False)
    rejudge(str(tmp_path / "new"), "--rubric-positive", "30")


def test_labels_are_kept_and_compared(judged, capsys, monkeypatch):
    count = len(rows(judged)) + len(rejects(judged))
    monkeypatch.setattr(sys, "stdin", StringIO("1\n2\n0\n"))
    rejudge(str(judged), "--check", "40")
    told = capsys.readouterr().out
    assert "Labelled" in told
    assert told.count("  1. Kim: ") == 4  # the fourth is not answered
    kept = labels.read_labels(judged.with_suffix(".run"))
    assert len(kept) == 3
    monkeypatch.setattr(sys, "stdin", StringIO("1\n" * count))
    rejudge(str(judged), "--check", str(count))
    told = capsys.readouterr().out
    assert f"{count}: " in told
    assert len(labels.read_labels(judged.with_suffix(".run"))) == count
    assert told.index("Agreement") < told.index("Precision") < told.index("From 0 apart")
    monkeypatch.setattr(sys, "stdin", StringIO("1\n"))
    rejudge(str(judged), "--check", "5")
    assert "  1. Kim: " not in capsys.readouterr().out  # all are labelled


def test_agreement_is_what_person_and_judge_have_in_common(judged):
    registry = discover()

    (dataset,) = find_datasets(judged, registry)
    pairs = recorded(dataset).pairs
    said = {pair.id: "right" if pair in list(dataset) else "wrong" for pair in pairs}
    told = dict(labels.agreement(labels.labelled(pairs, said)))
    assert told["Agreement"] == f"{len(pairs)} of {len(pairs)} (100 %)"
    assert told["Precision"].startswith("8 of 8 (100 %)")
    assert not labels.differing(labels.labelled(pairs, said))
    other = {id: "wrong" if label == "right" else "right" for id, label in said.items()}
    assert dict(labels.agreement(labels.labelled(pairs, other)))["Agreement"] == f"0 of {len(pairs)} (0 %)"


def test_a_person_sees_no_sides_and_either_may_stand_first(judged):

    (dataset,) = find_datasets(judged, discover())
    seen = []

    def show(pair, first):
        seen.append(first)
        return "1"

    found = list(labels.ask_for_labels(recorded(dataset).pairs, {}, 20, 0, show))
    assert {True, False} == set(seen)
    assert [label for _, label in found] == ["right" if first else "wrong" for first in seen]


def test_labels_that_are_none_are_named(tmp_path):
    (tmp_path / labels.FILE).write_text('{"id": "a", "label": "good"}\n{"id": "b", "label": "right"}\n')
    with pytest.raises(OutputError, match=r"Line 1 of .*labels.jsonl is not a label"):
        labels.read_labels(tmp_path)
    (tmp_path / labels.FILE).write_text('{"id": "b", "label": "right"}\n{"id": "c", "la')
    assert labels.read_labels(tmp_path) == {"b": "right"}


def test_a_judging_that_was_stopped_goes_on_from_the_same_pairs(run, judged, monkeypatch):
    """The folder's newest dataset is then the unfinished one."""

    rejudge(str(judged), "--rubric-positive", "30", "--limit-samples", "2")
    made = newest(judged.parent)
    file = made.with_suffix(".run") / "run.json"
    saved = json.loads(file.read_text())
    assert saved["status"] == "complete"
    registry = discover()
    (dataset,) = find_datasets(judged.parent, registry)
    assert begun_from(dataset, registry).target.name == made.stem
    file.write_text(json.dumps({**saved, "status": "stopped"}))
    (dataset,) = find_datasets(judged.parent, registry)
    assert begun_from(dataset, registry).target.name == judged.stem


def test_what_a_judge_of_another_name_scored_is_asked_anew(run):
    done = run(limit_samples=3, judge=rubric(), backend=FakeBackend(answer=both))
    with pytest.raises(UsageError, match="have no scores of 'rubric'"):
        rejudge(str(done.paths[0]))  # an object's name is its class


def told(request: ChatRequest) -> Completion:
    """A model to which an answer is likelier after its own request in three of four scenes."""
    if not request.continuation:
        return fake_answer(request)
    own = fake_answer(replace(request, continuation="")).text == request.continuation
    place = int(request.id.split(":")[0])
    logprob = -1.0 if own and place % 4 else -2.0
    return Completion(request.id, "", prompt_tokens=9, completion_tokens=4, metadata={"logprob": logprob})


def test_an_answer_as_likely_under_the_other_persona_is_rejected(run):
    judge = LikelihoodJudge(LikelihoodConfig(), Context())
    done = run(limit_samples=6, judge=judge, backend=FakeBackend(answer=told))
    assert [json.loads(line)["id"] for line in done.lines] == [f"fake-{n}" for n in (1, 2, 3, 5, 6, 7)]
    assert json.loads(done.lines[0])["metadata"]["judge"]["scores"] == {"positive_gain": 0.25, "neutral_gain": 0.25}
    assert {row["reason"] for row in rejects(done.paths[0])} == {"positive answer is as likely without the trait"}


def test_a_backend_that_tells_no_likelihoods_is_no_judge(run):
    judge = LikelihoodJudge(LikelihoodConfig(), Context())
    done = run(judge=judge, raises=BackendError)
    assert "could not score 20 pairs in a row" in str(done.error)


def test_who_answered_stays_noted_in_what_is_judged_anew(run):
    path = run(
        limit_samples=8, judge="rubric", contrast="opposite", personas=2, prompter="static",
        backend=FakeBackend(answer=both),
    ).paths[0]  # fmt: skip
    before = {row["id"]: row["metadata"] for row in rows(path)}
    assert {(metadata["contrast"], metadata["persona"]) for metadata in before.values()} == {
        ("opposite", 1), ("opposite", 2),
    }  # fmt: skip
    rejudge(str(path), "--rubric-positive", "30", "--rubric-difference", "5")
    after = {row["id"]: row["metadata"] for row in rows(newest(path.parent))}
    for id in before.keys() & after.keys():
        assert after[id]["contrast"] == "opposite"
        assert after[id]["persona"] == before[id]["persona"]
    assert before.keys() & after.keys()


def test_what_is_judged_anew_is_not_called_made_with_other_settings(judged, caplog):
    rejudge(str(judged), "--rubric-positive", "30")
    assert "other settings" not in caplog.text
    rejudge(str(judged), "--rubric-positive", "40")
    assert "was made with other settings (judge.own.settings" in caplog.text


def test_judging_anew_tells_programs_what_came_of_it(judged, capsys, tmp_path):
    rejudge(str(judged), "--rubric-positive", "30", "--json", "--log-file", str(tmp_path / "judge.log"))
    (found,) = json.loads(capsys.readouterr().out)
    assert found["datasets"][0]["pairs"] == len(rows(newest(judged.parent)))
    assert "Done" in (tmp_path / "judge.log").read_text()
