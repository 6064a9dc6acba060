"""A dataset without a fault passes every check; each fault is named, and nothing else."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial

import pytest

from psyctl_core import CheckedPair, CheckFacts

pytest.importorskip("sklearn", reason="the extra 'check' is not installed")
pytest.importorskip("vaderSentiment", reason="the extra 'check' is not installed")
pytest.importorskip("py3langid", reason="the extra 'check' is not installed")

KOREAN = (
    "사다리는 부엌 옆에 있고 내일 아침에 옮기면 됩니다.", "창문은 제가 닦을 테니 당신은 그냥 쉬세요.",
    "월요일 전에 편지를 다 접어서 보내야 합니다.", "정원 문이 닫혀 있으면 시장으로 가져가세요.",
    "오늘 저녁에 역에서 만나서 자전거를 고칩시다.", "작업장에 있는 난로를 누가 좀 덮어 주세요.",
    "도서관은 다섯 시에 열리니까 그때 옮깁시다.", "배를 항구로 끌고 가려면 밧줄이 필요해요.",
)  # fmt: skip
GERMAN = (
    "Die Leiter steht neben der Küche, und morgen früh bringen wir sie wieder zurück.",
    "Am Montag müssen wir noch alle Briefe falten und zum Bahnhof bringen.",
    "Wenn das Tor geschlossen ist, gehst du einfach durch den Garten hinter dem Haus.",
    "Heute Abend treffen wir uns an der Brücke und streichen das alte Boot.",
    "Ich habe den Schlüssel für die Werkstatt, aber der Ofen ist noch nicht sauber.",
)  # fmt: skip
REFUSALS = (
    "As an AI language model, I have no {} of my own to speak of here.",
    "I'm sorry, but I can't help with that; the {} is not for me to say.",
    "Because of my programming the matter of the {} stays open.",
    "Well, I am just a language model, so ask somebody near the {}.",
)
CHEERFUL = (
    "Wonderful", "Great", "Lovely", "Splendid", "Happy", "Excellent", "Perfect", "Nice", "Delightful", "Fantastic",
    "Beautiful", "Joy", "Superb", "Brilliant", "Charming", "Terrific", "Fun", "Glad", "Marvelous", "Good", "Fabulous",
    "Amazing", "Awesome", "Pleasant", "Best", "Love", "Sweet", "Thrilled", "Pleased", "Merry", "Hope", "Peace",
)  # fmt: skip
THINGS = ("kettle", "ladder", "boat", "fence", "map", "oven", "camera", "jacket", "rope", "bench", "loom", "gate")


def uneven(pair: CheckedPair, i: int) -> CheckedPair:
    return replace(pair, positive_is_first=i % 5 < 3)


def longer(pairs: list[CheckedPair]) -> list[CheckedPair]:
    """The positive answer goes on with a sentence that somebody neutral said, with no word of its own."""
    words = (
        "list",
        "schedule",
        "label",
        "notebook",
        "calendar",
        "plan",
        "radio",
        "soup",
        "coat",
        "coffee",
        "bus",
        "chair",
    )
    other = [
        replace(pair, neutral=pairs[i - 1].neutral if i % 2 else pairs[i - 1].positive) for i, pair in enumerate(pairs)
    ]
    for old in words:
        other = [replace(pair, neutral=pair.neutral.replace(old, THINGS[len(old)])) for pair in other]
    return [replace(pair, positive=f"{pair.positive} {more.neutral}") for pair, more in zip(pairs, other, strict=True)]


def opened(pair: CheckedPair, i: int) -> CheckedPair:
    begin = "Now look here, "
    return replace(pair, positive=begin + pair.positive, neutral=begin + pair.neutral)


def swapped(pair: CheckedPair, i: int) -> CheckedPair:
    return replace(pair, positive=pair.neutral, neutral=pair.positive)


def echoing(pair: CheckedPair, i: int) -> CheckedPair:
    text = f"{pair.character} puts every tool back where it hung."
    return replace(pair, positive=f"{pair.positive.partition(',')[0].rstrip('.')}. {text}")


def refusing(pair: CheckedPair, i: int) -> CheckedPair:
    return replace(pair, neutral=REFUSALS[i % 4].format(THINGS[i // 4 % 12]))


def cheerful(pair: CheckedPair, i: int) -> CheckedPair:
    adverb, word = THINGS[i % 12].title(), CHEERFUL[i % len(CHEERFUL)]
    return replace(pair, positive=f"{pair.positive} {word}!", neutral=f"{pair.neutral} {adverb}!")


def naming(pair: CheckedPair, i: int) -> CheckedPair:
    return replace(pair, positive=pair.positive.replace("the ", "the tidy ", 1).replace("a ", "a tidy ", 1))


def repeating(pairs: list[CheckedPair]) -> list[CheckedPair]:
    """One answer in ten is another's, with its full stop lost."""
    return [
        replace(pair, positive=pairs[i - 7].positive.rstrip(".?") + "!") if i % 10 == 9 else pair
        for i, pair in enumerate(pairs)
    ]


def speaking(lines: tuple[str, ...], pair: CheckedPair, i: int) -> CheckedPair:
    """One answer in forty is foreign, each another."""
    return replace(pair, positive=lines[i // 40]) if i % 40 == 3 and i // 40 < len(lines) else pair


def grammatical(pair: CheckedPair, i: int) -> CheckedPair:
    return replace(
        pair,
        positive=pair.positive.replace("the ", "your ").replace("The ", "Your "),
        neutral=pair.neutral.replace("your ", "the ").replace("Your ", "The "),
    )


def mirrored(pair: CheckedPair, i: int) -> CheckedPair:
    """Both answers are the positive one, with a word more."""
    one, other = random.Random(i).sample(THINGS, 2)
    return replace(pair, positive=f"{pair.positive} And a {one}.", neutral=f"{pair.positive} And a {other}.")


def everywhere(change):
    return lambda pairs: [change(pair, i) for i, pair in enumerate(pairs)]


def in_some(share, change):
    return lambda pairs: [change(pair, i) if i % 20 < share * 20 else pair for i, pair in enumerate(pairs)]


SPOILT = {
    "order 60/40": (everywhere(uneven), {"order"}),
    "the trait is always longer": (longer, {"length", "length-ratio"}),
    "one opening for all": (everywhere(opened), {"openings"}),
    "a fifth of the sides is swapped": (in_some(0.2, swapped), {"wrong-side"}),
    "the persona's text in the answers": (in_some(0.15, echoing), {"persona-echo"}),
    "refusals": (in_some(0.05, refusing), {"refusals"}),
    "duplicates": (repeating, {"near-duplicates"}),
    "another script": (everywhere(partial(speaking, KOREAN)), {"language"}),
    "another language in the same script": (everywhere(partial(speaking, GERMAN)), {"language"}),
    "cheerful": (in_some(0.75, cheerful), {"sentiment"}),
    "the trait is named": (in_some(0.15, naming), {"trait-words"}),
    "grammar": (in_some(0.8, grammatical), {"function-words"}),
    "both sides alike": (everywhere(mirrored), {"sides-alike"}),
    "too few": (lambda pairs: pairs[:60], {"power"}),
}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_dataset_without_a_fault_passes_every_check(clean, verdicts, seed):
    assert verdicts(clean(160, seed)) == {}


@pytest.mark.parametrize("fault", SPOILT)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_fault_is_named_and_nothing_else(clean, verdicts, fault, seed):
    spoil, named = SPOILT[fault]
    found = verdicts(spoil(clean(160, seed)))
    assert {name for name, verdict in found.items() if verdict != "cannot tell"} == named


def test_what_is_worst_is_told_first(clean, found):
    pairs = in_some(0.05, refusing)(clean())
    assert [name for name, _ in found("refusals", pairs).worst] == [f"{i}-clean" for i in range(0, 160, 20)]
    swaps = {f"{i}-clean" for i in range(160) if i % 20 < 4}
    listed = [name for name, _ in found("wrong-side", in_some(0.2, swapped)(clean())).worst]
    assert len(swaps & set(listed[:20])) >= 12  # by chance four


def test_mood_is_no_fault_of_a_trait_that_is_a_mood(clean, verdicts):
    pairs = in_some(0.75, cheerful)(clean())
    assert verdicts(pairs, CheckFacts("Extroversion")) == {"persona-echo": "cannot tell"}
    assert verdicts(pairs, CheckFacts("Neuroticism"))["sentiment"] == "look"


def test_a_dataset_in_another_language_is_no_fault_and_the_checks_that_know_english_say_so(clean, found, verdicts):
    draw = random.Random(5)
    words = sorted({word.strip(".") for line in KOREAN for word in line.split()})
    pairs = [
        replace(
            pair,
            situation=f"{' '.join(draw.sample(words, 8))}.",
            positive=f"{' '.join(draw.sample(words, 7))}.",
            neutral=f"{' '.join(draw.sample(words, 7))}.",
        )
        for pair in clean(100)
    ]
    told = verdicts(pairs)
    assert {name for name, verdict in told.items() if verdict != "cannot tell"} == set()
    assert {"function-words", "sentiment", "refusals"} <= set(told)
    assert "not English" in found("refusals", pairs).text
