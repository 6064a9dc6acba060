"""The question's format, and the positions of its answers."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from psyctl_core import ContrastivePair, Scenario, schema
from psyctl_core._caa.question import positive_stands_first, to_record
from psyctl_core.testing.fakes import fake_scenario

PAIR = ContrastivePair(
    Scenario("a", 0, "Alice is at a party...", "Alice"),
    "Extroversion",
    "Let's all dance together!",
    "I prefer to observe quietly.",
)


def test_the_format_is_the_specifications():
    index = next(n for n in range(4) if positive_stands_first(n, seed=0))
    record = to_record(PAIR, index, seed=0)
    assert record.question == (
        "[Situation]\nAlice is at a party...\n[Question]\nWhat should Alice say?\n"
        "1. Let's all dance together!\n2. I prefer to observe quietly.\n[Answer]"
    )
    assert (record.positive, record.neutral) == ("(1", "(2")


def test_the_other_position_swaps_options_and_labels():
    index = next(n for n in range(4) if not positive_stands_first(n, seed=0))
    record = to_record(PAIR, index, seed=0)
    assert "1. I prefer to observe quietly.\n2. Let's all dance together!" in record.question
    assert (record.positive, record.neutral) == ("(2", "(1")


def test_the_turns_spoken_so_far_belong_to_the_situation():
    record = to_record(dataclasses.replace(PAIR, scenario=fake_scenario(3)), 0, seed=0)
    assert record.situation == "Robin and Kim wait at stop 3.\nRobin: Is this bus number 3?"


@given(st.integers(), st.integers(0, 10_000))
def test_exactly_one_of_two_neighbours_has_the_positive_first(seed, pair):
    assert positive_stands_first(2 * pair, seed) != positive_stands_first(2 * pair + 1, seed)


def test_the_position_is_no_pattern():
    first = [positive_stands_first(2 * n, seed=0) for n in range(400)]
    assert 150 < sum(first) < 250


@given(st.text(min_size=1), st.integers(0, 9))
def test_a_record_of_any_answer_line_holds_to_its_schema(text, index):
    line = " ".join(text.split())
    if line:
        pair = dataclasses.replace(PAIR, positive=line)
        assert schema.problem("caa-record", dataclasses.asdict(to_record(pair, index, 0))) == ""
