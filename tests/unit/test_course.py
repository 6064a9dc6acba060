"""The course of a run: what is noted, what a kill leaves, and that a damaged file stops nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psyctl_core import OutputError, build_caa, stored_datasets
from psyctl_core._engine import work
from psyctl_core._store import course
from psyctl_core._store.course import Moment
from psyctl_core.testing import FakeBackend, FakePrompter, FakeSource


def moment(seconds, accepted=0):
    return Moment(seconds, accepted * 2, 10, 20, None, accepted, {"empty answer": 1}, {})


def test_what_is_appended_is_read(tmp_path):
    moments = [moment(0.0), moment(5.5, 3)]
    for each in moments:
        course.append(tmp_path, each)
    assert course.read(tmp_path) == moments
    assert course.read(tmp_path / "nowhere") == []


def test_after_a_kill_the_later_lines_count(tmp_path):
    for each in (moment(0.0), moment(5.0, 2), moment(10.0, 4), moment(6.0, 4), moment(11.0, 9)):
        course.append(tmp_path, each)
    assert [each.seconds for each in course.read(tmp_path)] == [0.0, 5.0, 6.0, 11.0]


GOOD = {
    "seconds": 1, "requests": 1, "prompt_tokens": 1, "completion_tokens": 1, "cost": None, "accepted": 1,
    "rejected": {}, "skipped": {},
}  # fmt: skip
WRONG = (
    {"rejected": 7}, {"seconds": "1"}, {"accepted": -1}, {"cost": float("nan")}, {"skipped": {"a": None}}, {"more": 1},
)  # fmt: skip


@given(st.text() | st.sampled_from(["[" * 5000, "{}", *(json.dumps(GOOD | wrong) for wrong in WRONG)]))
def test_a_line_that_is_no_moment_is_passed_over(tmp_path_factory, line):
    folder = tmp_path_factory.mktemp("course")
    course.append(folder, moment(1.0))
    with (folder / course.COURSE_FILE).open("a", encoding="utf-8", errors="replace") as file:
        file.write(f"{line}\n")
    course.append(folder, moment(2.0))
    assert course.read(folder) == [moment(1.0), moment(2.0)]


def test_a_run_notes_its_beginning_its_end_and_moments_between(tmp_path, monkeypatch):
    monkeypatch.setattr(work, "NOTED_EVERY", 0.0)
    build_caa(
        "Openness, Neuroticism", tmp_path, source=FakeSource(6), prompter=FakePrompter(), backend=FakeBackend(),
        limit_samples=6,
    )  # fmt: skip
    for dataset in stored_datasets(tmp_path):
        found = dataset.course()
        assert found[0].accepted == 0
        assert found[-1].accepted == 6
        assert len(found) >= 3
        assert [each.seconds for each in found] == sorted(each.seconds for each in found)
        assert found[-1].requests == dataset.run["statistics"]["requests"]


def test_a_resumed_run_goes_on_and_a_finished_one_notes_no_more(tmp_path):
    def build(limit):
        build_caa(
            "Openness", tmp_path, source=FakeSource(9), prompter=FakePrompter(), backend=FakeBackend(),
            limit_samples=limit,
        )  # fmt: skip
        (dataset,) = stored_datasets(tmp_path)
        return [each.accepted for each in dataset.course()]

    first = build(4)
    assert (first[0], first[-1]) == (0, 4)
    second = build(8)
    assert (second[0], second[-1]) == (0, 8)
    assert build(8) == second


def test_a_course_that_cannot_be_written_names_the_file(tmp_path):
    (tmp_path / course.COURSE_FILE).mkdir()
    with pytest.raises(OutputError, match=r"Cannot write .*course\.jsonl"):
        course.append(tmp_path, moment(1.0))
