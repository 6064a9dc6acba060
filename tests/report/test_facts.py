"""What the page tells is what lies in the files."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psyctl_core import CaaRecord, Moment, stored_datasets
from psyctl_core.records import Usage
from psyctl_report import making
from psyctl_report.course import MARKS, by_reason, course_plots, rates, thinned
from psyctl_report.facts import GROUP, SHOWN, ShownPair, facts_of, grouped, margin_of, sampled
from psyctl_report.plots import LOOKS, Series, axis, curves, figure, histogram, share_bar, short
from psyctl_report.texts import openings, spread, telling_words


def facts(folder, room=SHOWN):
    (found,) = stored_datasets(folder)
    return facts_of(found, room)


def test_counts_texts_and_checks_are_those_of_the_files(dataset, make):
    found = facts(dataset([make.record(number) for number in range(12)]))
    assert (found.trait, found.other, found.records, found.total) == ("Openness", "neutral", 12, 12)
    assert found.problems == []
    assert found.is_finished
    assert found.lengths[0][0] == len("Oh wow, look at tree 0!")
    assert found.openings == ([("oh wow look", 12)], [("the bus is", 12)])
    assert {each.word for each in found.telling[0]} == {"oh", "wow", "look", "at", "tree"}
    assert [pair.order for pair in found.pairs[:3]] == ["first", "second", "first"]
    assert [result.check.name for result in found.checkup.results if result.verdict == "fail"] == ["power", "openings"]
    assert sum("openings" in pair.checks for pair in found.pairs) == 12  # it fails
    assert sum("sides-alike" in pair.checks for pair in found.pairs) == 5  # it is ok


def test_best_worst_and_borderline_pairs_stand_first_and_in_one_group_each(dataset, make):
    records = [make.record(n, metadata=make.scored(50 + n * 0.25, 10)) for n in range(100)]
    rejects = [make.rejected(n, metadata=make.scored(n, 10)) for n in range(45)]
    found = facts(dataset(records, rejects=rejects))
    groups = [pair.group for pair in found.pairs]
    assert groups == ["best"] * GROUP + ["worst"] * GROUP + ["borderline"] * GROUP + [""] * 85
    margins = [pair.margin for pair in found.pairs]
    assert margins[0] == 50 + 99 * 0.25 - 10
    assert margins[GROUP] == 40
    assert margins[2 * GROUP] == 34
    assert len({pair.number for pair in found.pairs}) == found.total == 145
    accepted, refused = found.scores["positive"]
    assert (len(accepted), len(refused)) == (100, 45)


def test_a_pair_without_a_score_or_of_a_stranger_judge_is_sorted_by_what_there_is():
    assert margin_of({}) is None
    assert margin_of({"positive": 70.0, "neutral": None}) is None
    assert margin_of({"positive": 70.0, "neutral": 30.0, "scene": 5.0}) == 40
    assert margin_of({"gone": None, "quality": 0.4}) == 0.4


def test_labels_stand_with_their_pairs_and_their_agreement_in_rows(dataset, make):
    records = [make.record(n, metadata=make.scored(80, 10)) for n in range(3)]
    found = facts(dataset(records, labels={"id-0": "right", "id-2": "wrong"}))
    assert [pair.label for pair in sorted(found.pairs, key=lambda pair: pair.number)] == ["right", "", "wrong"]
    assert ("Agreement", "1 of 2 (50 %)") in found.agreement


def test_a_damaged_label_is_told_and_the_rest_is_shown(dataset, make):
    folder = dataset([make.record(0), make.record(1)], labels={"id-0": "perhaps", "id-1": "right"})
    found = facts(folder)
    assert found.records == 2
    assert len(found.problems) == 1
    assert "Line 1 of" in found.problems[0]


def test_a_damaged_line_is_named_and_the_lines_after_it_are_shown(dataset, make):
    folder = dataset([make.record(number) for number in range(4)])
    (path,) = folder.glob("*.jsonl")
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([lines[0], '{"question": 7', lines[2], lines[3]]) + "\n", encoding="utf-8")
    found = facts(folder)
    assert [pair.pair.id for pair in found.pairs] == ["id-0", "id-2", "id-3"]
    assert f"Line 2 of {path} is not a CAA record" in found.problems[0]
    assert found.problems[1] == "run.json counts 4 pairs, and 3 could be read."


def test_rejects_and_labels_that_cannot_be_read_are_told_and_the_pairs_shown(dataset, make):
    folder = dataset([make.record(0)])
    (beside,) = folder.glob("*.run")
    for name in ("rejects.jsonl", "labels.jsonl"):
        (beside / name).mkdir()
    found = facts(folder)
    assert found.records == 1
    assert len(found.problems) == 2
    assert "The rejected pairs cannot be read: " in found.problems[0]
    assert "labels.jsonl" in found.problems[1]


def test_a_dataset_without_its_run_folder_says_that_its_making_is_not_known(dataset, make, tmp_path):
    folder = dataset([make.record(0)])
    (path,) = folder.glob("*.jsonl")
    alone = tmp_path / "alone" / path.name
    alone.parent.mkdir()
    alone.write_bytes(path.read_bytes())
    found = facts(alone)
    assert found.records == 1
    assert "There is no run.json that can be read" in found.problems[0]


def test_records_of_the_first_version_are_shown(root_of_kept):
    assert facts(root_of_kept).records > 0


@pytest.fixture
def root_of_kept(request):
    return request.config.rootpath / "tests" / "unit" / "kept" / "caa-record.v1.jsonl"


@given(st.integers(0, 60), st.integers(1, 30), st.sets(st.integers(0, 59), max_size=8))
def test_a_sample_fills_its_room_keeps_the_order_and_what_is_named(total, room, linked):
    pairs = [shown(number) for number in range(total)]
    sample = sampled(pairs, room, {str(number) for number in linked})
    numbers = [pair.number for pair in sample]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == min(total, room)
    named = [number for number in sorted(linked) if number < total]
    assert set(named[:room]) <= set(numbers)


def shown(number):
    pair = CaaRecord("", "(1", "(2", str(number), "t", "c", "s", "p", "n")
    return ShownPair(number, pair, {}, None)


def test_pairs_without_scores_stay_as_they_are():
    pairs = [shown(number) for number in range(50)]
    assert grouped(pairs) == pairs


def test_words_that_both_sides_have_as_often_tell_nothing():
    ours, theirs = telling_words([("the cat is glad", "the dog is here")] * 9 + [("here", "glad")], 5)
    assert {each.word: (each.positive, each.neutral) for each in ours} == {"cat": (9, 0), "glad": (9, 1)}
    assert {each.word for each in theirs} == {"dog", "here"}


def test_openings_that_one_answer_has_are_no_pattern():
    assert openings(["Oh, no, not that", "Oh no not now", "Well then"], 5) == [("oh no not", 2)]


def test_the_spread_is_told_in_words():
    assert spread([1, 2, 3, 4, 100]) == "median 3, 80 % from 1 to 100"
    assert spread([]) == "none"


@given(st.floats(-1e6, 1e6, allow_subnormal=False), st.just(0.0) | st.floats(0.01, 1e6))
def test_an_axis_holds_both_ends_in_few_bins(low, reach):
    begin, width, bins = axis(low, low + reach)
    assert begin <= low
    assert begin + width * bins >= low + reach - width * 1e-6
    assert 1 <= bins <= 17


def test_a_plot_has_a_title_for_each_mark_and_says_the_same_in_words(parsed):
    drawn = histogram("Lengths", [Series("ours", "positive", [1, 1, 2]), Series("<b>", "neutral", [3])])
    page = parsed(str(drawn))
    (plot,) = [each for each in page.all_of("svg") if each.get("role") == "img"]
    assert plot["aria-label"] == "Lengths. ours: median 1, 80 % from 1 to 2; <b>: median 3, 80 % from 3 to 3"
    assert len(page.all_of("title")) == 3
    assert "<b>" not in str(drawn)
    assert str(histogram("Nothing", [Series("ours", "positive", [])])) == ""
    assert 'width="100.0"' in share_bar(7.0, "positive", "too long")


def moment(seconds, accepted=0, cost=None, **rejected):
    return Moment(float(seconds), 2 * accepted, 1000 * accepted, 10 * accepted, cost, accepted, rejected, {})


def test_the_course_is_drawn_with_a_title_for_each_mark_and_the_same_in_words(parsed):
    course = [moment(0), moment(60, 30, empty=1), moment(180, 90, 0.5, empty=4, identical=1)]
    plots = [parsed(str(plot)) for plot in course_plots(course)]
    labels = [next(svg for svg in plot.all_of("svg") if "role" in svg)["aria-label"] for plot in plots]
    after = ", after 3 minutes of generating"
    assert labels == [
        f"Pairs. pairs: 0 at the beginning, 90 at the end{after}",
        "Rejected scenarios, by reason. empty: 0 at the beginning, 4 at the end; "
        f"identical: 0 at the beginning, 1 at the end{after}",
        f"Pairs a minute. pairs a minute: 30 at the beginning, 30 at the end{after}",
        f"Tokens. read: 0 at the beginning, 90,000 at the end; written: 0 at the beginning, 900 at the end{after}",
        f"Cost, in US dollars. cost as far as told: 0 at the beginning, 0.5 at the end{after}",
    ]
    assert [len(plot.all_of("circle")) for plot in plots] == [3, 6, 2, 6, 3]
    assert all(len(plot.all_of("title")) == len(plot.all_of("circle")) for plot in plots)
    assert "read, at 1 minutes of generating: 30,000" in plots[3].text


def test_a_course_of_one_moment_or_of_one_time_is_not_drawn():
    assert course_plots([]) == course_plots([moment(1)]) == course_plots([moment(1), moment(1, 3)]) == []
    assert str(curves("Nothing", "s", [0.0, 1.0], {})) == ""


@given(st.lists(st.integers(0, 500), max_size=120))
def test_a_long_course_is_thinned_with_both_ends_kept(times):
    course = [moment(seconds, n) for n, seconds in enumerate(sorted(times))]
    few = thinned(course)
    assert len(few) <= MARKS
    assert len({each.seconds for each in few}) == len(few)
    if course:
        assert few[0].seconds == course[0].seconds
        assert few[-1] == course[-1]
    assert all(rate >= 0 for rate in rates(few))


def test_reasons_without_a_line_of_their_own_share_the_last():
    rejected = {f"reason {n}": 10 - n for n in range(8)}
    lines = by_reason([moment(0), moment(1, **rejected)], lambda each: each.rejected)
    assert list(lines) == ["reason 0", "reason 1", "reason 2", "reason 3", "4 other reasons"]
    assert len(lines) == len(LOOKS)
    assert sum(values[-1] for values in lines.values()) == sum(rejected.values())


def test_figures_are_short_and_whole_where_they_can_be():
    assert [figure(value) for value in (0.0, 0.5, 3.14159, 12.0, 93396.4)] == ["0", "0.5", "3.14", "12", "93,396"]
    assert [short(value) for value in (0.5, 999, 93396, 1.5e6)] == ["0.5", "999", "93.4K", "1.5M"]


def test_a_course_that_cannot_be_read_is_told_and_one_without_is_said(dataset, make, parsed):
    folder = dataset([make.record(0)])
    (beside,) = folder.glob("*.run")
    assert len(facts(folder).course) >= 2
    (beside / "course.jsonl").unlink()
    assert (facts(folder).course, facts(folder).problems) == ([], [])
    (beside / "course.jsonl").mkdir()
    assert "The run's course cannot be read: " in facts(folder).problems[0]


def test_what_it_cost_says_what_is_not_known():
    assert making.cost_of(Usage(requests=4)) == "none: nothing that was asked costs"
    assert making.cost_of(Usage(requests=4, unpriced_requests=4)) == "not known: no answer told its price"
    assert making.cost_of(Usage(cost=1.5, unpriced_requests=3)) == "$1.5000; the price of 3 answers was not told"
    assert making.cost_of(Usage(cost=1.0, unpriced_requests=1)) == "$1.0000; the price of 1 answer was not told"
    assert "2 lost requests may have cost" in making.cost_of(Usage(cost=0.0, lost_requests=2))


def test_every_value_of_run_json_has_a_row(dataset, make):
    folder = dataset([make.record(0)])
    (path,) = folder.glob("*.run/run.json")
    run = json.loads(path.read_text(encoding="utf-8"))
    rows = dict(making.everything(run))
    assert rows["identity.sampling.max_tokens"] == "64"
    assert rows["settings.limit_samples"] == "1"
    assert dict(making.made_by(run))["prompter"] == "FakePrompter"
    assert making.personas_of(run)[0][0] == "neutral (neutral)"


def test_a_curve_may_lie_below_nothing_and_its_words_are_escaped():
    drawn = curves("Effect <b>", "share", [-0.1, 0.0, 0.1], {"effect": [-0.2, 0.0, 0.3]}, "-0.2 at <b>")
    assert "&lt;b&gt;" in drawn
    assert "<b>" not in drawn
    assert drawn.count("<circle") == drawn.count("</title>") == 3
    assert 'role="img"' in drawn
    heights = [float(found) for found in re.findall(r'cy="([\d.]+)"', drawn)]
    (zero,) = (float(found) for found in re.findall(r'd="M46 ([\d.]+)H', drawn))
    assert heights[0] > heights[1] == zero > heights[2]


@pytest.mark.parametrize("text", ["{", "[]", '{"format_version": 9}', ""])
def test_a_measurement_that_cannot_be_read_is_a_problem_and_the_page_is_made(dataset, make, text):
    folder = dataset([make.record(number) for number in range(3)])
    (beside,) = folder.glob("*.run")
    (beside / "steering.json").write_text(text, encoding="utf-8")
    found = facts(folder)
    assert found.steering == {}
    assert ["steering.json" in problem for problem in found.problems] == [True]
