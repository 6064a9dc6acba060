"""The check coherence: what extract.steering prints, and pairs that pull in opposite directions."""

from __future__ import annotations

import pytest

from psyctl_core import CheckedPair, CheckFacts, check_dataset
from psyctl_steering.coherent import MOST, coherence


def checked(records, *, swapped=False):
    """The records as checks see them; with ``swapped`` every other pair has its sides the wrong way round."""
    pairs = []
    for number, record in enumerate(records):
        texts = (record.positive_text, record.neutral_text)
        positive, neutral = texts[::-1] if swapped and number % 2 else texts
        pairs.append(CheckedPair(record.id, positive, neutral, record.situation, record.character))
    return pairs


def test_without_a_model_it_says_how_to_name_one_and_imports_none(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    finding = coherence([CheckedPair(str(n), "Yes!", "No.") for n in range(5)], CheckFacts("x"))
    assert finding.value is None
    assert "--model" in finding.text


def test_two_pairs_tell_nothing():
    assert coherence([CheckedPair(str(n), "Yes!", "No.") for n in range(2)], CheckFacts("x", model="any")).value is None


@pytest.mark.slow
def test_it_is_what_an_extraction_prints_and_swapped_pairs_undo_it(records, tiny_model, lent):
    from psyctl_steering import extract

    facts = CheckFacts("Extroversion", model=str(tiny_model))
    finding = coherence(checked(records), facts)
    (layer,) = [layer for layer in extract(lent, records).layers if f" {layer} " in finding.text]
    assert finding.value == pytest.approx(extract(lent, records).layers[layer].coherence, abs=0.02)  # another precision
    assert finding.interval[0] < finding.value < finding.interval[1]

    spoiled = coherence(checked(records, swapped=True), facts)
    assert spoiled.value < finding.value
    assert {name for name, _ in spoiled.worst} <= {record.id for record in records}
    assert spoiled.worst


@pytest.mark.slow
def test_of_many_pairs_some_are_read_and_it_is_said(tiny_model):
    pairs = [CheckedPair(f"row {n}", f"I love all {n} of them!", f"There are {n}.") for n in range(MOST + 40)]
    finding = coherence(pairs, CheckFacts("x", model=str(tiny_model)))
    assert f", {MOST} of {MOST + 40} pairs" in finding.text


@pytest.mark.slow
def test_of_a_file_of_another_tool_and_a_model_that_is_not_there(tmp_path, tiny_model):
    rows = "\n".join(f'"I love it, {n} times!","It is {n}."' for n in range(12))
    (tmp_path / "plain.csv").write_text(f"positive,negative\n{rows}\n", encoding="utf-8")
    (checkup,) = check_dataset(tmp_path / "plain.csv", only=["coherence"], model=str(tiny_model))
    assert checkup.results[0].verdict in ("ok", "look", "fail")
    (checkup,) = check_dataset(tmp_path / "plain.csv", only=["coherence"], model=str(tmp_path / "nowhere"))
    assert checkup.results[0].verdict == "cannot tell"
    assert "nowhere" in checkup.results[0].finding.text
    assert checkup.results[0].way_out
