"""Completions are kept the moment they arrive, found again by what was asked, and gone at the end."""

from __future__ import annotations

import dataclasses

import pytest

from psyctl_core import ChatRequest, Completion, Message, OutputError
from psyctl_core._store import journal
from psyctl_core._store.journal import FILE, NEUTRAL_FILE, PERSONA, Journal
from psyctl_core.records import Usage

BACKEND = {"name": "fake", "model": "m"}
REQUEST = ChatRequest("1:neutral", (Message("user", "Hi"),), 'Kim: "', ("\n",), 10, 0.5, 7)
ANSWER = Completion("1:neutral", "Hello.", "stop", 3, 2, 0.25)


def test_an_answer_is_found_again_by_another_process_under_the_new_requests_id(tmp_path):
    Journal(tmp_path, BACKEND, Usage()).put(REQUEST, 1, ANSWER)
    journal = Journal(tmp_path, BACKEND, Usage())
    assert journal.get(REQUEST) == ANSWER
    assert journal.get(dataclasses.replace(REQUEST, id="other")).id == "other"


def test_what_was_under_way_at_a_kill_is_booked_as_lost_once(tmp_path):
    killed = Journal(tmp_path, BACKEND, Usage())
    killed.put(REQUEST, 1, ANSWER)
    killed.under_way(3)
    journal = Journal(tmp_path, BACKEND, Usage())
    assert journal.lost == 3
    assert journal.usage().lost_requests == 3
    assert journal.usage().likely_cost() == 4 * 0.25
    journal.under_way(5)
    journal.close()  # an orderly end: nothing was under way
    again = Journal(tmp_path, BACKEND, Usage())
    assert again.lost == 0
    assert again.usage().lost_requests == 3


@pytest.mark.parametrize(
    "change",
    [
        {"messages": (Message("user", "Ho"),)},
        {"messages": (Message("system", "Hi"),)},
        {"prefill": ""},
        {"stop": ()},
        {"max_tokens": 11},
        {"temperature": 0.0},
        {"seed": 8},
    ],
)
def test_whatever_decides_the_answer_is_part_of_the_key(tmp_path, change):
    Journal(tmp_path, BACKEND, Usage()).put(REQUEST, 1, ANSWER)
    assert Journal(tmp_path, BACKEND, Usage()).get(dataclasses.replace(REQUEST, **change)) is None
    assert Journal(tmp_path, {**BACKEND, "model": "other"}, Usage()).get(REQUEST) is None


def test_usage_counts_every_answer_once_whatever_is_forgotten(tmp_path):
    journal = Journal(tmp_path, BACKEND, Usage(requests=5, cost=1.0))
    for place in (PERSONA, 0, 1, 2):
        journal.put(dataclasses.replace(REQUEST, seed=place), place, ANSWER)
    total = journal.usage()
    assert (total.requests, total.cost, total.prompt_tokens) == (9, 2.0, 12)
    journal.forget_before(2, total)
    assert Journal(tmp_path, BACKEND, Usage()).usage() == total
    assert Journal(tmp_path, BACKEND, Usage()).get(dataclasses.replace(REQUEST, seed=0)) is None
    assert Journal(tmp_path, BACKEND, Usage()).get(dataclasses.replace(REQUEST, seed=PERSONA)) is not None


def test_a_partly_known_cost_is_booked_as_far_as_known(tmp_path):
    journal = Journal(tmp_path, BACKEND, Usage())
    for seed, unpriced in enumerate((False, False, False, True)):
        journal.put(dataclasses.replace(REQUEST, seed=seed), 0, dataclasses.replace(ANSWER, unpriced=unpriced))
    usage = Journal(tmp_path, BACKEND, Usage()).usage()
    assert (usage.cost, usage.unpriced_requests) == (1.0, 1)
    assert usage.likely_cost() == pytest.approx(4 / 3)


def test_what_a_free_backend_answered_is_not_of_unknown_cost(tmp_path):
    journal = Journal(tmp_path, BACKEND, Usage())
    answer = dataclasses.replace(ANSWER, cost=None)
    for seed, is_free in enumerate((False, True, True)):
        journal.put(dataclasses.replace(REQUEST, seed=seed), 0, answer, is_free=is_free)
    usage = Journal(tmp_path, BACKEND, Usage()).usage()
    assert (usage.requests, usage.cost, usage.unpriced_requests) == (3, None, 1)


def test_it_is_gone_when_the_run_is_complete_but_for_the_neutral_answers(tmp_path):
    journal = Journal(tmp_path, BACKEND, Usage())
    with_trait = dataclasses.replace(REQUEST, id="1:openness", seed=8)
    for request in (REQUEST, with_trait):
        journal.put(request, 1, ANSWER)
    journal.close(remove=True)
    assert [path.name for path in tmp_path.iterdir()] == [NEUTRAL_FILE]
    later = Journal(tmp_path / "another", BACKEND, Usage(), [tmp_path])
    assert later.neutral(REQUEST) == ANSWER
    assert later.neutral(with_trait) is None
    assert later.usage() == Usage()


def test_without_a_neutral_answer_nothing_is_left(tmp_path):
    journal = Journal(tmp_path, BACKEND, Usage())
    journal.put(dataclasses.replace(REQUEST, id="1:openness"), 1, ANSWER)
    journal.close(remove=True)
    assert list(tmp_path.iterdir()) == []


def test_damaged_neutral_answers_are_told_with_the_way_out(tmp_path):
    (tmp_path / NEUTRAL_FILE).write_bytes(b"no database at all, " * 100)
    with pytest.raises(OutputError, match=NEUTRAL_FILE) as caught:
        Journal(tmp_path, BACKEND, Usage())
    assert "delete it" in str(caught.value)


def test_a_damaged_file_is_told_with_the_way_out(tmp_path):
    (tmp_path / FILE).write_bytes(b"no database at all, " * 100)
    with pytest.raises(OutputError, match="journal") as caught:
        Journal(tmp_path, BACKEND, Usage())
    assert "delete it" in str(caught.value)


def test_a_run_whose_journal_cannot_be_begun_leaves_no_folder(run, tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "_TABLES", "no SQL")
    run(limit_samples=1, raises=OutputError)
    assert not list((tmp_path / "out").glob("*.run"))
