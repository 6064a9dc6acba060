"""Texts are made fit to be quoted, and no script is harmed by it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psyctl_soda.scenario import neutral_name
from psyctl_soda.text import clean, clean_name, is_machine_text, spoken
from psyctl_soda.values import as_list, objects_in, texts_in


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("  two \t words\r\n", "two words"),
        ("hi_comma_ you &amp; me&nbsp;too", "hi, you & me too"),
        ("a<br/>b <b>bold</b><p class='x'>c", "a b bold c"),
        ("1 < 2 and <|im_end|> {{x}} {x} <b and c>", "1 < 2 and <|im_end|> {{x}} {x} <b and c>"),
        ("R&D &copy &nosuch; &#233; &#x1F600;", "R&D &copy &nosuch; é 😀"),
        ("e\u0301", "é"),
        ("می\u200cخواهم بروم", "می\u200cخواهم بروم"),
        ("क्\u200dष", "क्\u200dष"),
        (
            "👩\u200d👩\u200d👧 ❤\ufe0f 🏴\U000e0067\U000e0062\U000e007f",
            "👩\u200d👩\u200d👧 ❤\ufe0f 🏴\U000e0067\U000e0062\U000e007f",
        ),
        ("ខ្ញុំ\u200bទៅ", "ខ្ញុំ\u200bទៅ"),
        ("שלום\u200f!", "שלום\u200f!"),
        ("safe\u202egnp.exe\u202c", "safegnp.exe"),
        ("\ufeffBOM soft\u00adhyphen", "BOM softhyphen"),
        ("a\0b\x1bc\x7fd\u2028e\u3000f", "a b c d e f"),
        ("lone \ud83d half", "lone \ufffd half"),
        ("\u200d\u200c", ""),
        ("   ", ""),
        (None, ""),
        (7, ""),
        (["x"], ""),
    ],
)
def test_clean(raw, text):
    assert clean(raw) == text


@given(st.text(alphabet=st.characters(categories=["Lu", "Ll", "Lo", "Lm", "Mn", "Mc", "Nd", "Po", "So"])))
def test_printed_characters_of_every_script_stay(text):
    expected = unicodedata.normalize("NFC", text).replace("_comma_", ",")
    if "&" not in text and "<" not in text:
        assert clean(text).replace(" ", "") == expected.replace(" ", "")


@given(st.text())
def test_clean_is_one_line_and_final(text):
    once = clean(text)
    assert once == once.strip()
    assert "\n" not in once
    once.encode("utf-8")
    if "&" not in text and "<" not in text and "_comma_" not in once:
        assert clean(once) == once


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ('"Hello there"', "Hello there"), ('It changes lives."', "It changes lives."), ('"So he said', "So he said"),
        ('He said "no"', 'He said "no"'), ('"A" and "B"', '"A" and "B"'), ("“Hello”", "Hello"), ('"', ""), ('""', ""),
    ],
)  # fmt: skip
def test_quotation_marks_around_or_left_over_go(raw, words):
    assert spoken(raw) == words


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("Mara", "Mara"), (" Person behind  her ", "Person behind her"), ("#Person1#", "Person 1"),
        ("user_02", "User 2"),
        ("Mr. Saunders", "Mr. Saunders"), ("True", "True"), ("**Bo**:", "Bo"), ("민지", "민지"), ("O'Neil", "O'Neil"),
        ("", ""), ("***", ""), ("x" * 101, ""), (None, ""), (3, ""), ("Agent 007", "Agent 7"), ("R2D2", "R2D2"),
    ],
)  # fmt: skip
def test_names(raw, name):
    assert clean_name(raw) == name


@pytest.mark.parametrize(
    ("text", "machine"),
    [
        ("```py\nx = 1\n```", True), ("<functioncall> {}", True), ('{"name": "f", "arguments": {}}', True),
        ("[{'role': 'x'}]", True), ("import os\nimport sys\nprint(1)", True), ("int main() {\n  return 0;\n}", True),
        ("[laughs]", False), ("{sigh}", False), ("Well;\nso be it", False), ("From: me\nTo: you\nHi", False),
        ("if you go\nfor a walk\nwith me", False), ("class is over\nimport duty is high", False),
        ("It is `x`, no?", False),
    ],
)  # fmt: skip
def test_code_and_tool_calls_are_told_from_speech(text, machine):
    assert is_machine_text(text) is machine


@pytest.mark.parametrize(
    ("value", "items"),
    [
        (["a", None], ["a", None]), (("a",), ["a"]), ('["a", "b"]', ["a", "b"]), ("['a', 'it\\'s']", ["a", "it's"]),
        ("['a' \"b\"\n 'c']", ["a", "b", "c"]), ("['a' nan None]", ["a", None, None]),
        ("[{'x': 1}\n {'x': 2}]", [{"x": 1}, {"x": 2}]),
        ({"t": ["a", "b"], "n": [1, 2], "other": 3}, [{"t": "a", "n": 1}, {"t": "b", "n": 2}]), ("[laughs]", None),
        ("[1, 2", None), ("text", None), (7, None), ({"a": 1}, None), ("['\\d']", ["\\d"]),
        ("[" * 5000 + "]" * 5000, None),
    ],
)  # fmt: skip
def test_lists_are_read_back_from_their_spelling(value, items):
    assert as_list(value) == items


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=9), lambda inner: st.lists(inner, max_size=3), max_leaves=5
    )
)
def test_reading_values_never_fails(value):
    for spelled in (value, repr(value), str(value).replace(",", "")):
        as_list(spelled)
        texts_in(spelled)
        objects_in(spelled)


def test_neutral_names():
    assert [neutral_name(number) for number in (0, 1, 25, 26)] == ["Person A", "Person B", "Person Z", "Person 27"]
