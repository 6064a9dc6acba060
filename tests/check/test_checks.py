"""The single checks: what they count, and when they cannot tell."""

from __future__ import annotations

import importlib
import random
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psyctl_check import CHECKS
from psyctl_check.figures import binomial_p, wilson
from psyctl_check.likeness import NEAR, jaccard, twins
from psyctl_check.texts import grams, words
from psyctl_core import Check, CheckedPair, CheckFacts
from psyctl_core._plugins.registry import discover

PLAIN = (
    "power",
    "order",
    "length",
    "length-ratio",
    "refusals",
    "openings",
    "near-duplicates",
    "sides-alike",
    "language",
)


@pytest.mark.parametrize("check", [check for check in CHECKS if check.name != "power"], ids=lambda check: check.name)
def test_of_one_pair_a_check_cannot_tell(found, check):
    if check.extra:
        pytest.importorskip("sklearn", reason="the extra 'check' is not installed")
        pytest.importorskip("vaderSentiment", reason="the extra 'check' is not installed")
    pair = CheckedPair("1", "Yes, I will.", "No.", question="?", labels=("(1", "(2"), positive_is_first=True)
    assert found(check.name, [pair]).value is None


@pytest.mark.parametrize("name", PLAIN)
def test_answers_of_nothing_but_signs_break_no_check(found, name):
    assert found(name, [CheckedPair(str(i), "...", "?!") for i in range(100)], CheckFacts()).text


@pytest.mark.parametrize("name", ["bag-of-words", "function-words", "wrong-side", "sentiment"])
def test_neither_do_they_break_one_with_a_library(found, name):
    pytest.importorskip("sklearn", reason="the extra 'check' is not installed")
    pytest.importorskip("vaderSentiment", reason="the extra 'check' is not installed")
    assert found(name, [CheckedPair(str(i), "...", "?!") for i in range(100)], CheckFacts()).text


def test_beyond_a_threshold_is_above_it_or_below_where_fail_is_the_lesser_one():
    assert [Check("x", "a:b", "", "", 0.1, 0.2).verdict(v) for v in (0.1, 0.15, 0.2, 0.21)] == [
        "ok",
        "look",
        "look",
        "fail",
    ]
    assert [Check("x", "a:b", "", "", 80, 30).verdict(v) for v in (80, 79, 30, 29)] == ["ok", "look", "look", "fail"]
    assert Check("x", "a:b", "", "", 0.1).verdict(9.0) == "look"


def placed(firsts) -> list[CheckedPair]:
    return [CheckedPair(str(i), "a", "b", positive_is_first=first) for i, first in enumerate(firsts)]


def test_the_order_is_even_to_within_one_pair(found):
    assert found("order", placed([True, False] * 20)).verdict == "ok"
    assert found("order", placed([True, False] * 19 + [True, True])).verdict == "ok"
    assert found("order", placed([True, False] * 18 + [True] * 4)).verdict == "look"
    assert found("order", placed([True] * 60 + [False] * 20)).verdict == "fail"


def test_the_order_is_even_in_every_fifth_too(found):
    told = found("order", placed([True] * 20 + [False] * 20 + [True, False] * 30))
    assert told.verdict == "fail"
    assert told.value == 0.5
    assert told.worst[0] == ("pairs 1 to 20", "20 of 20 have the positive answer first")


def test_a_file_without_an_order_is_told_of(found):
    assert "does not say" in found("order", placed([None] * 40)).text


@given(st.integers(1, 300), st.data())
def test_the_exact_test_sums_the_tail(n, data):
    import math

    hits = data.draw(st.integers(0, n))
    low = min(hits, n - hits)
    exact = min(1.0, 2 * sum(math.comb(n, k) for k in range(low + 1)) / 2**n)
    assert binomial_p(hits, n) == pytest.approx(exact)


def test_wilsons_interval_is_the_published_one():
    # Newcombe 1998, table I, method 3: 81 of 263, 15 of 148
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)


@given(st.lists(st.lists(st.sampled_from("abcde"), min_size=1, max_size=12), min_size=2, max_size=25))
def test_near_duplicates_are_those_that_comparing_every_two_finds(texts):
    lines = [" ".join(text) for text in texts]

    def members(line: str) -> frozenset[tuple[str, ...]]:
        tokens = words(line)
        return frozenset(grams(tokens, min(3, len(tokens))))

    sets = [members(line) for line in lines]
    expected = {i for i in range(len(sets)) for j in range(len(sets)) if i != j and jaccard(sets[i], sets[j]) >= NEAR}
    found = twins(lines)
    assert set(found) == expected
    assert all(number != twin and jaccard(sets[number], sets[twin]) >= NEAR for number, twin in found.items())


def test_an_answer_that_goes_on_is_a_near_duplicate_to_the_last_gram():
    """The longer one's own grams are all rarer than those they share: the tightest case of the prefix."""
    begin = "a b c d e f g h i"
    assert twins([begin, f"{begin} j k l"]) == {0: 1, 1: 0}
    assert twins([begin, f"{begin} j k l m"]) == {}


def test_ten_thousand_answers_that_begin_alike_are_compared_soon():
    draw = random.Random(1)
    names = [f"word{i}" for i in range(2000)]
    lines = [f"I am so glad that you came here to see {' '.join(draw.sample(names, 9))}" for _ in range(10_000)]
    assert twins([*lines, lines[0] + " today"]) == {0: 10_000, 10_000: 0}


def test_refusals_are_told_from_what_people_say(found):
    refusing = (
        "As an AI language model, I have no preferences.", "I’m just an AI, so I would not know.",
        "I can't help with that.",
        "I cannot assist with this request.", "I am unable to comply with it.", "I don't have personal opinions.",
    )  # fmt: skip
    human = (
        "As an assistant manager, I can say so.", "I can't help with the move on Sunday.",
        "I don't have feelings for him.",
        "I'm not able to help you before noon.", "I won't be there.", "The guidelines say so.", "I am an artist.",
    )  # fmt: skip
    pairs = [CheckedPair(str(i), "I will be in the garden with you.", human[i % 7]) for i in range(70)]
    assert found("refusals", pairs).value == 0
    for text in refusing:
        assert found("refusals", [*pairs, CheckedPair("x", text, "It is on the shelf.")]).worst == [
            ("x", f"positive: {text}")
        ]


def test_trait_words_are_the_traits_its_synonyms_and_the_personas(found):
    pairs = [CheckedPair(str(i), "I am so outgoing.", "I am at home.") for i in range(20)]
    assert found("trait-words", pairs, CheckFacts("Extroversion")).value == 1
    assert found("trait-words", pairs, CheckFacts("Boldness", keywords=("outgoing",))).value == 1
    assert found("trait-words", pairs, CheckFacts("Boldness")).value == 0
    assert "--trait" in found("trait-words", pairs, CheckFacts()).text


def test_an_echo_is_of_the_persona_of_the_same_side_with_the_characters_name_in_it(found):
    personas = ("{character} is loud and merry.", "{character} is plain and calm.")
    pair = CheckedPair("1", "You know that Kim is loud and merry.", "It is what it is.", character="Kim")
    echo = found("persona-echo", [pair] * 10, CheckFacts("x", personas))
    assert echo.value == pytest.approx(2 / 5)
    assert "'kim is loud and'" in echo.worst[0][1]
    assert (
        found(
            "persona-echo",
            [replace(pair, positive=pair.neutral, neutral=pair.positive)] * 10,
            CheckFacts("x", personas),
        ).value
        == 0
    )


def test_without_py3langid_another_script_is_still_found(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    pairs = [CheckedPair(str(i), "I am here.", "I am there.", "They meet.") for i in range(20)]
    told = found("language", [*pairs, CheckedPair("x", "Я здесь.", "I am here.", "They meet.")])
    assert told.worst == [("x", "positive, CYRILLIC: Я здесь.")]
    assert "by the script alone" in told.text


def test_a_japanese_answer_to_a_japanese_scene_is_in_its_language(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    pairs = [CheckedPair(str(i), "はい、行きます。", "東京駅。", "駅で会う。") for i in range(20)]
    assert found("language", pairs).value == 0


def choice(labels: tuple[str, str], i: int) -> CheckedPair:
    return CheckedPair(str(i), "a", "b", question="Which?\n1. a\n2. b\n[Answer]", labels=labels)


@pytest.mark.slow  # reading a tokenizer imports much
def test_the_tokenizer_reads_the_digit_as_one_token(found, tiny_model):
    facts = CheckFacts("x", tokenizer=str(tiny_model))
    assert found("labels", [choice(("(1", "(2"), i) for i in range(10)], facts).value == 0
    assert found("labels", [choice(("(A)", "(B)"), i) for i in range(10)], facts).value == 0
    wrong = found("labels", [choice(("(1 ", "(2 "), 0), choice(("(11", "(2"), 1)], facts)
    assert wrong.value == 1
    assert "take" in wrong.worst[1][1]


@pytest.mark.slow
def test_a_tokenizer_that_is_not_there_is_told_in_one_line(found, tmp_path):
    pytest.importorskip("transformers", reason="the extra 'hf' is not installed")
    with pytest.raises(Exception, match=r"The tokenizer '.*nowhere' cannot be had: [^\n]*\.\n"):
        found("labels", [choice(("(1", "(2"), 0)], CheckFacts("x", tokenizer=str(tmp_path / "nowhere")))


def test_the_built_in_checks_are_found_and_have_what_a_reader_needs():
    checks = {registered.origin.name: registered.check for registered in discover().checks()}
    assert {check.name for check in CHECKS} <= set(checks)
    for check in CHECKS:
        assert check.meaning.endswith(".")
        assert "\n" not in check.meaning + check.summary
        module, _, name = check.factory.partition(":")
        if not check.extra:
            assert callable(getattr(importlib.import_module(module), name))


def test_what_has_a_check_of_its_own_is_named_by_no_other(found):
    pytest.importorskip("sklearn", reason="the extra 'check' is not installed")
    same = CheckedPair("x", "I am sorry, but I can't help with that.", "As an AI language model, I have no opinion.")
    pairs = [CheckedPair(f"{i}", f"{i} doors are open here.", f"{i} gates are shut.") for i in range(100)]
    assert found("near-duplicates", [*pairs, *[same] * 30], CheckFacts()).value == 0
    assert found("openings", [*pairs, *[same] * 30], CheckFacts()).value == 0.01
    assert found("openings", [*pairs, *[pairs[0]] * 30], CheckFacts()).value == 0.01
    personas = ("{character} is an outgoing person at home.", "")
    echo = CheckedPair("x", "He is an outgoing person at home.", "I see.", character="He")
    assert found("trait-words", [echo] * 20, CheckFacts("Extroversion", personas)).value == 0


def test_an_opening_of_one_side_alone_is_an_opening_and_no_matter_of_words(clean, verdicts):
    pytest.importorskip("sklearn", reason="the extra 'check' is not installed")
    pytest.importorskip("vaderSentiment", reason="the extra 'check' is not installed")
    opened = [replace(pair, positive=f"So it is, {pair.positive}") for pair in clean()]
    assert set(verdicts(opened)) == {"openings", "length"}  # three words more are longer, too


def test_sides_that_do_not_differ_cannot_tell_a_swap(clean, found):
    pytest.importorskip("sklearn", reason="the extra 'check' is not installed")
    draw = random.Random(2)
    mixed = [
        replace(pair, positive=pair.neutral, neutral=pair.positive) if draw.random() < 0.5 else pair
        for pair in clean(300)
    ]
    assert "hardly tell the sides apart" in found("wrong-side", mixed).text
    assert found("wrong-side", mixed).value is None


def test_the_same_pairs_give_the_same_numbers(clean, found):
    pytest.importorskip("sklearn", reason="the extra 'check' is not installed")
    for name in ("bag-of-words", "function-words", "wrong-side", "near-duplicates"):
        assert found(name, clean(120)) == found(name, clean(120))
