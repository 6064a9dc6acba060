"""Traits are read from what people type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psyctl_core import PsyctlError, UsageError
from psyctl_core._caa.traits import KNOWN, SYNONYMS, parse_traits


def names(text: str) -> list[str]:
    return [trait.name for trait in parse_traits(text)]


def test_a_comma_separated_list():
    assert names("Extroversion, Machiavellianism") == ["Extroversion", "Machiavellianism"]


@pytest.mark.parametrize(
    ("typed", "meant"), [("Extraversion", "Extroversion"), ("neuroticism", "Neuroticism"), (" OPENNESS ", "Openness")]
)
def test_known_spellings_are_folded(typed, meant):
    assert names(typed) == [meant]


def test_a_free_form_trait_keeps_its_spelling():
    assert [(t.name, t.slug) for t in parse_traits("Dry humour")] == [("Dry humour", "dry-humour")]
    assert parse_traits("외향성")[0].slug == "외향성"


def test_a_likely_typing_error_is_pointed_out(caplog):
    assert names("Machiavelianism") == ["Machiavelianism"]
    assert "did you mean 'Machiavellianism'?" in caplog.text


@pytest.mark.parametrize("typed", ["Introversion", "Disagreeableness", "Sarcasm", "Honesty", "Curiosity", *KNOWN])
def test_other_traits_are_no_typing_errors(typed, caplog):
    names(typed)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "empty"),
        (" , ,", "empty"),
        ("Openness, openness", "the same trait"),
        ("Extraversion, Extroversion", "the same trait"),
        ("Openness,Openness", "twice"),
        ("Dry humour, dry-humour", "the same trait"),
        ("neutral", "cannot be a trait's name"),
        ("...", "cannot be a trait's name"),
        ("x" * 81, "cannot be a trait's name"),
        ("a\x07b", "cannot be a trait's name"),
    ],
)
def test_what_cannot_be_used_is_told(typed, words):
    with pytest.raises(UsageError, match=words):
        parse_traits(typed)


def test_every_synonym_means_a_known_trait():
    assert set(SYNONYMS.values()) <= set(KNOWN)


@given(st.text(max_size=60))
def test_any_text_gives_traits_with_usable_folders_or_an_error(text):
    try:
        traits = parse_traits(text)
    except PsyctlError:
        return
    assert all(trait.slug and "/" not in trait.slug and not trait.slug.startswith(".") for trait in traits)
