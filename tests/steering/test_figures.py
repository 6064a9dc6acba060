"""The statistics of a measurement, and the verdict: how often a vector of no use is said to work."""

from __future__ import annotations

import random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psyctl_steering import figures
from psyctl_steering.verdicts import verdict

FINITE = st.floats(-10, 10, allow_nan=False)
SIDED = st.lists(st.tuples(FINITE, st.sampled_from([1, -1])), min_size=2, max_size=40)


@given(SIDED)
def test_the_effect_is_the_mean_of_what_items_add_whatever_the_balance_of_sides(rows):
    values, signs = zip(*rows, strict=True)
    parts = figures.contributions(values, signs)
    sides = {sign: fmean(p for p, s in zip(parts, signs, strict=True) if s == sign) for sign in set(signs)}
    for mean in sides.values():
        assert mean == pytest.approx(figures.effect(values, signs), abs=1e-9) or len(sides) == 1
    if len(sides) == 1:
        assert fmean(parts) == pytest.approx(figures.effect(values, signs), abs=1e-9)


@given(SIDED, FINITE)
def test_what_is_added_to_all_texts_alike_is_no_effect(rows, drift):
    values, signs = zip(*rows, strict=True)
    if len(set(signs)) == 2:
        moved = [value + drift for value in values]
        assert figures.effect(moved, signs) == pytest.approx(figures.effect(values, signs), abs=1e-9)


def test_questionnaire_answers_that_are_all_the_same_have_no_effect():
    """A norm that gives all-neutral answers a score of +26.7 standard deviations has been seen elsewhere."""
    signs = [1] * 18 + [-1] * 6
    assert figures.effect([3.0] * 24, signs) == 0
    assert figures.deviations(0.0, [0.1, -0.1, 0.05, -0.02]) == pytest.approx(0, abs=0.2)
    assert figures.deviations(0.0, [0.0, 0.0]) == 0


def test_slopes_and_wilson_are_the_textbooks():
    assert figures.slope([-1, 0, 1], [2, 4, 6]) == pytest.approx(2)
    assert figures.wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert figures.wilson(0, 10)[0] == 0


@pytest.mark.parametrize(
    ("t", "freedom", "tail"), [(1.729, 19, 0.05), (2.539, 19, 0.01), (0, 5, 0.5), (-1.729, 19, 0.95)]
)
def test_students_tail_is_that_of_the_tables(t, freedom, tail):
    assert figures.student(t, freedom) == pytest.approx(tail, abs=2e-4)


def test_the_bootstrap_is_seeded_and_covers_the_effect():
    drawn = random.Random(0)
    values = [drawn.gauss(0.5, 1) for _ in range(60)]
    interval = figures.bootstrap(values, [1] * 60, 7)
    assert interval == figures.bootstrap(values, [1] * 60, 7)
    assert interval[0] < fmean(values) < interval[1]
    assert interval[1] - interval[0] == pytest.approx(4 / 60**0.5, rel=0.25)


def test_a_vector_of_no_use_is_said_to_work_in_no_more_than_one_of_twenty():
    """Effects as measured: random vectors have a standard deviation of .053 while items alone would say ± .03."""
    drawn = random.Random(1)
    words = [_verdict(drawn, 0.004).word for _ in range(2000)]
    assert words.count("works") <= 0.05 * 2000
    assert words.count("backwards") <= 0.05 * 2000


def test_an_effect_like_that_of_good_pairs_is_found_mostly():
    drawn = random.Random(2)
    words = [_verdict(drawn, 0.2).word for _ in range(300)]
    assert words.count("works") > 0.9 * 300
    assert [_verdict(drawn, -0.25).word for _ in range(20)].count("backwards") > 15


def _verdict(drawn: random.Random, centre: float):
    """One measurement: where the vector is of no use it is one more of the controls."""
    spread = 0.053 if abs(centre) < 0.1 else 0.0
    found = drawn.gauss(centre, spread)
    controls = {
        "random": [drawn.gauss(0.004, 0.053) for _ in range(20)],
        "label-shuffled": [drawn.gauss(0.004, 0.053) for _ in range(20)],
    }
    return verdict(found, (found - 0.03, found + 0.03), 100, controls)


def test_more_layers_tried_need_more_evidence():
    controls = {"random": [(-1) ** i * 0.05 * (0.5 + i / 20) for i in range(20)]}
    words = [verdict(0.1, (0.05, 0.15), 100, controls, tried=tried).word for tried in (1, 10)]
    assert words == ["works", "within the noise"]


def test_few_items_and_broken_texts_are_said():
    controls = {"random": [(-1) ** i * 0.01 for i in range(20)]}
    assert verdict(0.5, (0.4, 0.6), 9, controls).word == "too few items to tell"
    assert verdict(0.5, (0.4, 0.6), 50, controls, repeated=0.5).word == "too damaged"
    assert verdict(0.5, (-0.1, 0.9), 50, controls).word == "within the noise"
    assert verdict(-0.5, (-0.6, -0.4), 50, controls).word == "backwards"
    assert "9 items" in verdict(0.5, (0.4, 0.6), 9, controls).why
