"""What p2 finds wrong with a description, what it does then, and what it leaves alone."""

from __future__ import annotations

import itertools
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psyctl_core import BackendError, Context
from psyctl_core._caa.traits import KNOWN
from psyctl_core.records import NEUTRAL
from psyctl_p2 import P2Config
from psyctl_p2.checks import WORDS, flaw
from psyctl_p2.prompter import SUBJECTS, P2Prompter
from psyctl_static.prompter import KEYWORDS_AND_DESCRIPTIONS

GOOD = "Alex is outgoing and talks with everybody. They laugh loudly."
QUIET = "Alex is shy and quiet. They stay at home alone."


@pytest.mark.parametrize(
    ("text", "trait", "wrong"),
    [
        (GOOD, "Extroversion", ""),
        (QUIET, "Extroversion", "speaks of the trait's opposite"),
        ("Alex is never shy, and talkative among strangers.", "Extroversion", ""),
        ("Alex is not at all talkative and stays in a corner.", "Extroversion", "speaks of the trait's opposite"),
        ("Alex is not only outgoing but full of ideas.", "Extroversion", ""),
        ("Alex is a highly intelligent individual who works hard.", "Extroversion", "says nothing of the trait"),
        ("Alex is high in extroversion and goes to see people.", "Extroversion", ""),
        (QUIET, "Introversion", ""),
        (GOOD, "Introversion", "speaks of the trait's opposite"),
        (QUIET, NEUTRAL, ""),
        ("Alex is cold and shows no empathy for anybody.", "Psychopathy", ""),
        ("Alex is dishonest whenever it serves them well.", "Honesty", "speaks of the trait's opposite"),
        ("Alex is honest whatever comes of it, even to friends.", "Honesty", ""),
        ("Alex is not very patient with anybody at all.", "Patience", "speaks of the trait's opposite"),
        ("Alex is fond of cats and of long walks.", "Patience", ""),
        ("Alex is an AI, and outgoing.", "Extroversion", "is about an AI"),
        ("As a large language model I am outgoing.", "Extroversion", "is about an AI"),
        ("I'm sorry, but I cannot describe outgoing people.", "Extroversion", "is a refusal"),
        ("Alex is outgoing and says: I cannot wait!", "Extroversion", ""),
        ("Sure. Write the description only. Alex is outgoing.", "Extroversion", "repeats the request"),
        ("Alex is a person high in Extroversion: outgoing.", "Extroversion", "repeats the request"),
        ("Alex is outgoing. They laugh. They laugh. They laugh.", "Extroversion", "repeats itself"),
        ("Alex is outgoing and talkative and loves the company of", "Extroversion", "is cut off in its first sentence"),
        ("Alex is kind.", NEUTRAL, "is too short"),
        ("알렉스는 모든 사람과 쉽게 이야기하고 늘 먼저 인사를 건넨다.", "외향성", ""),
    ],
)
def test_a_description_is_looked_at(text, trait, wrong):
    assert flaw(text, trait) == wrong


def test_the_low_pole_is_looked_at_the_other_way_round():
    assert flaw(QUIET, "Extroversion", opposite=True) == ""
    assert flaw(GOOD, "Extroversion", opposite=True) == "speaks of the trait itself"
    assert flaw("Alex is low in extroversion and likes a good book.", "Extroversion", opposite=True) == ""
    assert (
        flaw("Alex is clever and works in a large bank.", "Extroversion", opposite=True) == "says nothing of the trait"
    )


def test_the_shipped_descriptions_pass_and_every_known_trait_has_words():
    assert set(WORDS) == set(KNOWN)
    for trait, (_, description) in KEYWORDS_AND_DESCRIPTIONS.items():
        assert flaw(description, trait) == "", trait


@given(st.text(max_size=80), st.sampled_from([*KNOWN, NEUTRAL, "Dry humour", "(x)"]), st.booleans())
def test_any_text_is_looked_at_without_failing(text, trait, opposite):
    assert isinstance(flaw(text, trait, opposite=opposite), str)


def p2(*answers: str, **which):
    asked = []

    def ask(messages, *, max_tokens, prefill=""):
        asked.append(messages[-1].content)
        return answers[len(asked) - 1]

    prompter = P2Prompter(P2Config(), Context())
    return prompter.describe_other("Extroversion", ask, **{"opposite": False, "number": 1, **which}), asked


def test_the_first_request_is_worded_as_ever():
    _, asked = p2("lively, outgoing", GOOD)
    assert asked == [
        "List 8 adjectives that describe a person high in Extroversion. Write them on one line, separated by commas, "
        "and nothing else.",
        "Alex is a person high in Extroversion: lively, outgoing. In two or three sentences, describe how Alex thinks, "
        "feels and talks with other people. Always write 'Alex' or 'they', never 'he' or 'she'. Write the description "
        "only.",
    ]


def test_a_wrong_description_is_asked_for_once_more_in_other_words(caplog):
    persona, asked = p2("shy", QUIET, "outgoing", GOOD)
    assert persona.description.startswith("{character} is outgoing")
    assert persona.keywords == ("outgoing",)
    assert len(set(asked)) == 4
    assert caplog.text == ""


def test_no_keywords_are_asked_for_once_more():
    assert p2("", "outgoing", GOOD)[0].keywords == ("outgoing",)
    with pytest.raises(BackendError, match="gave no keywords for the Extroversion persona"):
        p2("", "")


@pytest.mark.parametrize("second", [("",), ("shy", ""), ("shy", "Alex is a timid loner.")])
def test_what_stays_wrong_is_used_and_told_in_one_line_with_the_ways_out(second, caplog):
    persona, asked = p2("shy", QUIET, *second)
    assert persona.description.startswith("{character} is shy")
    assert len(asked) == 2 + len(second)
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    text = record.getMessage()
    assert "\n" not in text
    for words in ("Extroversion", "too small", persona.description[:20], "--prompter static", "--persona-file"):
        assert words in text


def test_each_number_and_pole_is_asked_for_in_other_words():
    asked = [p2("lively", text, opposite=low, number=n)[1][1]
             for low, text in ((False, GOOD), (True, QUIET)) for n in range(1, len(SUBJECTS) + 1)]  # fmt: skip
    assert all(one != other for one, other in itertools.combinations(asked, 2))
    assert "a person low in Extroversion" in asked[-1]
    assert P2Prompter.descriptions == len(SUBJECTS)
