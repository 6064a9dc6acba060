"""Which records share a scene, how they are parted, and how their order is balanced."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from psyctl_core import CaaRecord
from psyctl_core._caa.question import balanced, in_order, positive_stands_first
from psyctl_core._engine.scenes import parted, parted_alike, scenes


def record(id, situation="", first=True):
    plain = CaaRecord("", "(1", "(2", id, "Extroversion", "Kim", situation or f"At stop {id}.", "Yes!", "Perhaps.")
    return in_order(plain, positive_first=first)


def test_answers_to_one_scene_and_equal_scenes_are_one():
    records = [record("a"), record("b"), record("a#2"), record("c", "AT  stop\nb."), record("b#2", "Elsewhere.")]
    assert scenes(records) == [0, 1, 0, 1, 1]


def test_ids_that_only_look_like_further_answers_are_scenes_of_their_own():
    assert scenes([record("file#1"), record("file#2"), record("other")]) == [0, 1, 2]


@given(st.data())
def test_sizes_are_met_exactly_where_every_record_has_its_own_scene(data):
    sizes = data.draw(st.lists(st.integers(0, 20), max_size=4))
    rest = data.draw(st.integers(0, 20))
    count = sum(sizes) + rest
    parts = parted(list(range(count)), sizes, {})
    assert [parts.count(part) for part in range(len(sizes) + 1)] == [*sizes, rest]


@given(st.integers(1, 60), st.data())
def test_a_part_is_spread_evenly(count, data):
    wanted = data.draw(st.integers(1, count))
    places = [place for place, part in enumerate(parted(list(range(count)), [wanted], {})) if part == 0]
    assert len(places) == wanted
    for i, place in enumerate(places):  # one in each stretch, or in the record behind it
        assert int(i * count / wanted) <= place <= (i + 1) * count / wanted


def test_what_comes_in_turns_is_in_every_part():
    for turns in (2, 3, 4, 5):
        parts = parted(list(range(40 * turns)), [40], {})
        found = Counter(place % turns for place, part in enumerate(parts) if part == 0)
        assert len(found) == turns
        assert min(found.values()) >= 40 / turns / 2


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.data())
def test_no_scene_is_in_two_parts_and_sizes_are_off_by_a_scene_at_most(scene_of, data):
    wanted = data.draw(st.integers(0, len(scene_of)))
    parts = parted(scene_of, [wanted], {})
    assert len(set(zip(scene_of, parts, strict=True))) == len(set(scene_of))
    largest = max(scene_of.count(scene) for scene in scene_of)
    assert abs(parts.count(0) - wanted) <= largest


@given(st.integers(1, 30), st.integers(1, 4), st.data())
def test_scenes_of_one_size_are_parted_exactly(count, size, data):
    wanted = data.draw(st.integers(0, count))
    parts = parted([place // size for place in range(count * size)], [wanted * size], {})
    assert parts.count(0) == wanted * size


@given(st.lists(st.integers(0, 40), min_size=5, unique=True), st.lists(st.integers(0, 40), min_size=5, unique=True))
def test_a_scene_of_two_datasets_is_in_the_same_part_of_both(one, other):
    both = [[record(str(number)) for number in numbers] for numbers in (one, other)]
    (held_a, rest_a), (held_b, rest_b) = parted_alike(both, [[2], [2]])
    assert not {r.id for r in held_a} & {r.id for r in rest_b}
    assert not {r.id for r in held_b} & {r.id for r in rest_a}
    assert len(held_a) == 2
    assert len(held_a) + len(rest_a) == len(one)
    assert len(held_b) + len(rest_b) == len(other)


@given(st.lists(st.booleans(), max_size=40), st.integers(0, 3))
def test_of_every_two_neighbours_one_has_the_positive_answer_first(orders, seed):
    records = [record(str(number), first=first) for number, first in enumerate(orders)]
    found = balanced(records, seed)
    firsts = [each.positive == "(1" for each in found]
    assert all(sum(firsts[place : place + 2]) == 1 for place in range(0, len(found) - 1, 2))
    assert abs(2 * sum(firsts) - len(found)) <= 1
    assert [each.id for each in found] == [each.id for each in records]
    changed = sum(a != b for a, b in zip(records, found, strict=True))
    uneven = sum(len(set(orders[p : p + 2])) == 1 for p in range(0, len(orders) - 1, 2))
    assert changed == uneven  # one of two where both stood alike, and no other
    for each in found:
        options = (each.positive_text, each.neutral_text)
        first, second = options if each.positive == "(1" else options[::-1]
        assert each.question.endswith(f"\n1. {first}\n2. {second}\n[Answer]")


def test_the_seed_decides_which_of_two_is_turned_as_it_does_in_a_run():
    records = [record(str(number)) for number in range(40)]
    firsts = [each.positive == "(1" for each in balanced(records, 5)]
    assert firsts == [positive_stands_first(place, 5) for place in range(40)]
