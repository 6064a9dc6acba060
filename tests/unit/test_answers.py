"""What a model returned becomes one clean line, or a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psyctl_core import Completion, Scenario, Turn
from psyctl_core._caa.answers import CUT_OFF, EMPTY, OUT_OF_CHARACTER, PARROTED, clean_answer

SCENE = Scenario("s", 0, "A kitchen.", "Anna (cook)", (Turn("Bo", "Is it ready?"),))
PREFILL = 'Anna (cook): "'


def cleaned(text: str, finish: str = "stop") -> tuple[str, str]:
    return clean_answer(Completion("r", text, finish), SCENE, PREFILL)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('In a minute."', "In a minute."),
        ("In a minute.", "In a minute."),
        ('Anna (cook): "In a minute."', "In a minute."),
        ('"In a minute."', "In a minute."),
        ("“In a minute.”", "In a minute."),
        ("1. In a minute.", "In a minute."),
        ("- In a minute.", "In a minute."),
        ("**Anna (cook):** In a minute.", "In a minute."),
        ("anna (cook): In a minute.", "In a minute."),
        ("*wipes her hands* In a minute.", "In a minute."),
        ("(laughing) In a minute.", "In a minute."),
        ("Sure, here is the line:\n\nIn a minute.", "In a minute."),
        ("In a minute.\nBo: Hurry up.", "In a minute."),
        ('In a minute." She turned away', "In a minute."),
        ('"In a minute," she said.', "In a minute,"),
        ('I told him "no" and he left.', 'I told him "no" and he left.'),
        ("  In a\tminute. ", "In a minute."),
        ("2 minutes.", "2 minutes."),
        ("Cafe\u0301 au lait?", "Café au lait?"),
        ("もうすぐです。", "もうすぐです。"),
        ("Don't rush 'em.", "Don't rush 'em."),
    ],
)
def test_one_line_of_speech_is_left(text, line):
    assert cleaned(text) == (line, "")


@pytest.mark.parametrize("text", ["", " ", "\n\n", '"', "...", "1. ", PREFILL, "Anna (cook):", "*smiles*"])
def test_nothing_said_is_empty(text):
    assert cleaned(text) == ("", EMPTY)


def test_an_answer_cut_off_ends_with_its_last_whole_sentence():
    assert cleaned("Soon. I only have to", "length") == ("Soon.", "")
    assert cleaned("Soon, I only have to", "length") == ("", CUT_OFF)
    assert cleaned("Soon.\nBo: I only have to", "length") == ("Soon.", "")


def test_what_is_no_answer_is_told():
    assert cleaned("Is it ready?") == ("", PARROTED)
    assert cleaned("As an AI language model, I cannot cook.") == ("", OUT_OF_CHARACTER)


def test_a_failed_call_gives_its_reason():
    assert clean_answer(Completion("r", "x", "error", error="moderation"), SCENE, PREFILL) == ("", "moderation")


@given(st.text(max_size=200), st.sampled_from(["stop", "length"]))
def test_any_text_gives_one_printable_line_or_a_reason(text, finish):
    line, reason = cleaned(text, finish)
    assert bool(line) != bool(reason)
    assert "\n" not in line
    assert all(ch.isprintable() for ch in line)
    assert line == " ".join(line.split())
