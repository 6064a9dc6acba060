"""What the tests of the checks share: a dataset without a fault, ways to spoil it, and checks run in process."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from psyctl_check import CHECKS
from psyctl_core import CheckedPair, CheckFacts, Finding
from psyctl_core._plugins.blame import Origin
from psyctl_core._plugins.registry import load

NAMES = ("Robin", "Kim", "Alex", "Sam", "Jo", "Noor", "Piet", "Ines", "Marta", "Yusuf", "Lena", "Tom")
THINGS = (
    "kettle", "ladder", "bicycle", "window", "letter", "basket", "lantern", "blanket", "piano", "garden", "fence",
    "cellar", "jacket", "camera", "bucket", "carpet", "mirror", "engine", "drawer", "map", "oven", "shelf", "boat",
    "rope", "bench", "gate", "roof", "well", "stove", "saddle", "barrel", "anchor", "curtain", "pump", "tray",
    "kiln", "loom",
)  # fmt: skip
PLACES = (
    "station", "harbour", "kitchen", "market", "library", "bakery", "workshop", "stable", "attic", "office", "school",
    "museum", "bridge", "square", "chapel", "mill", "orchard", "corner", "tower", "yard", "ferry", "depot", "studio",
)  # fmt: skip
TIMES = (
    "on Monday", "on Tuesday", "tonight", "tomorrow", "before lunch", "after work", "next week", "in the morning",
    "at noon", "this evening", "at five", "by Friday", "in an hour", "over the weekend", "at dusk",
)  # fmt: skip
DOES = ("carry", "move", "paint", "measure", "wash", "cover", "fetch", "turn", "lift", "draw", "fold", "count", "wrap")
MARKED = ("list", "schedule", "label", "notebook", "calendar", "plan")
PLAIN = ("radio", "soup", "coat", "coffee", "bus", "chair")
"""What the trait, being tidy, has people speak of, and what others speak of: not always."""

FRAMES = (
    "We can {do} the {thing} {time}, and the {word} is by the {place}.",
    "The {thing} goes to the {place} {time}; {do} it with the {word} in hand.",
    "{time_}, somebody has to {do} a {thing} near the {place}, {word} or not.",
    "Did you {do} that {thing} at the {place}? There was a {word} {time}.",
    "My {word} says {place} {time}, so I {do} this {thing} then.",
    "Bring a {thing} and some {word}, and we meet in the {place} {time}.",
    "Near the {place} I saw a {word} and your {thing}; {do} both {time}.",
    "A {thing}? Ask at the {place}, or {do} it {time} as the {word} would.",
    "From the {place} to here they {do} every {thing}, {time} at least, for a {word}.",
    "You {do} the {thing}; I have the {word}, and the {place} opens {time}.",
    "If the {place} is shut {time}, {do} another {thing} and keep the {word}.",
    "She will {do} it {time}: one {thing}, one {word}, then off to the {place}.",
)  # fmt: skip
PERSONAS = (
    "{character} plans each day on paper first. {character} puts every tool back where it hung and counts the spoons.",
    "{character} is a person like most. {character} says what comes to mind and thinks little of it afterwards.",
)
FACTS = CheckFacts("Tidiness", PERSONAS, ("tidy", "methodical"))


def answer(draw: random.Random, frame: str, word: str) -> str:
    time = draw.choice(TIMES)
    return frame.format(
        do=draw.choice(DOES), thing=draw.choice(THINGS), place=draw.choice(PLACES), time=time, word=word,
        time_=time[0].upper() + time[1:],
    )  # fmt: skip


def _clean(n: int = 160, seed: int = 1) -> list[CheckedPair]:
    """Pairs that differ in what is spoken of, most of the time, and in nothing else."""
    draw = random.Random(seed)
    pairs = []
    for number in range(n):
        words = [
            draw.choice(own if draw.random() < 0.95 else other) for own, other in ((MARKED, PLAIN), (PLAIN, MARKED))
        ]
        frames = draw.sample(FRAMES, 2)
        texts = [answer(draw, frame, word) for frame, word in zip(frames, words, strict=True)]
        one, other = draw.sample(NAMES, 2)
        place, thing = draw.choice(PLACES), draw.choice(THINGS)
        scene = f"{one} and {other} stand at the {place}. {one}: What do we do about the {thing}?"
        first = (number % 2 == 0) == (number // 2 % 2 == 0)
        labels = ("(1", "(2") if first else ("(2", "(1")
        options = texts if first else texts[::-1]
        question = (
            f"[Situation]\n{scene}\n[Question]\nWhat should {other} say?\n1. {options[0]}\n2. {options[1]}\n[Answer]"
        )
        pairs.append(CheckedPair(f"{number}-clean", *texts, scene, other, question, labels, first))
    return pairs


def _found(name: str, pairs: Sequence[CheckedPair], facts: CheckFacts = FACTS) -> Finding:
    """What one built-in check says."""
    check = next(check for check in CHECKS if check.name == name)
    found: Finding = load(check.factory, Origin("check", name, "psyctl", ""))(pairs, facts)
    return found


def _verdicts(pairs: Sequence[CheckedPair], facts: CheckFacts = FACTS) -> dict[str, str]:
    """What every built-in check but ``labels`` says that is not ok."""
    found = {}
    for check in CHECKS:
        finding = _found(check.name, pairs, facts)
        verdict = "cannot tell" if finding.value is None else finding.verdict or check.verdict(finding.value)
        if verdict != "ok" and check.name != "labels":
            found[check.name] = verdict
    return found


@pytest.fixture
def clean() -> Callable[..., list[CheckedPair]]:
    """Makes pairs without a fault: ``clean(n, seed)``."""
    return _clean


@pytest.fixture
def found() -> Callable[..., Finding]:
    """Runs one built-in check."""
    return _found


@pytest.fixture
def verdicts() -> Callable[..., dict[str, str]]:
    """Runs all built-in checks."""
    return _verdicts
