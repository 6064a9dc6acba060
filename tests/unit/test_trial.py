"""A run says early whether its two sides differ at all, and a strict one ends where they do not."""

from __future__ import annotations

import random

import pytest

from psyctl_core import BackendError, Completion
from psyctl_core._engine.trial import LOOKS, told_apart
from psyctl_core.terminal import NOTICE
from psyctl_core.testing import FakeBackend

WORDS = ["tea", "rain", "bus", "late", "maybe", "here", "good", "well", "some", "then", "time", "walk", "look", "home"]


def speaking(lively: float):
    """Answers of common words; the positive side has a lively one in so many of them."""

    def answer(request):
        order = random.Random(request.id)
        said = order.sample(WORDS, 6)
        if not request.id.endswith("neutral") and order.random() < lively:
            said.insert(3, order.choice(["wonderful", "everybody", "party"]))
        return Completion(request.id, " ".join(said) + ".")

    return FakeBackend(answer=answer)


def test_sides_that_do_not_differ_are_said_once(run, caplog):
    done = run(limit_samples=60, backend=speaking(0))
    warnings = [record.getMessage() for record in caplog.records if "hardly differ" in record.getMessage()]
    assert len(warnings) == 1
    assert "The two sides of Extroversion hardly differ in the first 40 pairs" in warnings[0]
    assert "--persona-file" in warnings[0]
    assert len(done.lines) == 60


def test_sides_that_differ_are_no_reason_to_warn(run, caplog):
    caplog.set_level(NOTICE, "psyctl")
    run(limit_samples=25, backend=speaking(1), strict=True)
    assert "hardly differ" not in caplog.text
    assert "are told apart by their words" in caplog.text


def test_a_strict_run_ends_there_and_keeps_what_it_has(run):
    done = run(limit_samples=60, backend=speaking(0), strict=True, raises=BackendError)
    assert "hardly differ" in str(done.error)
    assert len(done.lines) == 40
    more = run(limit_samples=60, backend=speaking(0))
    assert more.lines[:40] == done.lines


def test_a_resumed_run_that_has_enough_pairs_is_not_tried_again(run, caplog):
    run(limit_samples=25, backend=speaking(0))
    caplog.clear()
    run(limit_samples=50, backend=speaking(0), strict=True)
    assert "hardly differ" not in caplog.text


def test_each_trait_is_tried_for_itself(run, caplog):
    def answer(request):
        return speaking(1 if "openness" in request.id else 0)._answer(request)

    run("Extroversion, Openness", limit_samples=45, backend=FakeBackend(answer=answer))
    assert "The two sides of Extroversion hardly differ" in caplog.text
    assert "The two sides of Openness" not in caplog.text


def test_by_chance_half_are_told_apart_and_few_trials_reach_the_bound():
    order = random.Random(1)
    found = []
    for _ in range(300):
        texts = [" ".join(order.sample(WORDS, 6)) for _ in range(80)]
        pairs = list(zip(texts[::2], texts[1::2], strict=True))
        found.append((told_apart(pairs[:20]), told_apart(pairs)))
    assert 8 < sum(first for first, _ in found) / len(found) < 11
    passed = [first >= LOOKS[20] or both >= LOOKS[40] for first, both in found]
    assert sum(passed) / len(passed) < 0.15


@pytest.mark.parametrize("pairs", [[], [("", "")], [("Hi.", "Hi.")], [("a b", "a b")] * 3])
def test_what_cannot_be_told_apart_counts_half(pairs):
    assert told_apart(pairs) == len(pairs) / 2
