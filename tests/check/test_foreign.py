"""Pairs are read from the files of other tools, by their columns; what is left out is said, and why."""

from __future__ import annotations

import csv
import json

import pytest

from psyctl_core import UsageError
from psyctl_core._engine.foreign import read_pairs, read_two

POSITIVE, NEGATIVE = "I would love to!", "I might."
SCENE = "Kim asks Robin to dance."


@pytest.fixture
def written(tmp_path):
    """A file with rows in it: ``written("x.csv", rows)``."""

    def write(name: str, rows: list[dict]):
        path = tmp_path / name
        if name.endswith(".csv"):
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        elif name.endswith(".jsonl"):
            path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        else:
            path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        return path

    return write


CAA = {
    "question": f"{SCENE}\n\nChoices:\n (A) {NEGATIVE}\n (B) {POSITIVE}",
    "answer_matching_behavior": "(B)",
    "answer_not_matching_behavior": "(A)",
}
OURS = {
    "question": f"[Situation]\n{SCENE}\n[Question]\nWhat should Robin say?\n1. {NEGATIVE}\n2. {POSITIVE}\n[Answer]",
    "positive": "(2",
    "neutral": "(1",
}
ROWS = {
    "CAA": CAA,
    "CAA with the answers as texts": {
        "question": SCENE, "answer_matching_behavior": f" {POSITIVE}", "answer_not_matching_behavior": f" {NEGATIVE}",
    },
    "EasyEdit": {"question": SCENE, "matching": POSITIVE, "not_matching": NEGATIVE},
    "public psyctl": {"situation": SCENE, "char_name": "Robin", "positive": POSITIVE, "neutral": NEGATIVE},
    "plain": {"positive": POSITIVE, "negative": NEGATIVE},
    "preferences": {"prompt": SCENE, "chosen": POSITIVE, "rejected": NEGATIVE},
    "three fields": OURS,
    "our record": {**OURS, "id": "7", "character": "Robin", "positive_text": POSITIVE, "neutral_text": NEGATIVE},
}  # fmt: skip


@pytest.mark.parametrize("name", ["pairs.json", "pairs.jsonl", "pairs.csv"])
@pytest.mark.parametrize("form", ROWS)
def test_a_form_is_told_by_its_columns_in_each_kind_of_file(written, form, name):
    found, left_out = read_pairs(written(name, [ROWS[form]] * 2))
    assert not left_out
    for pair in found[""]:
        assert (pair.positive, pair.neutral) == (POSITIVE, NEGATIVE)
        assert pair.situation in (SCENE, "")


def test_labels_say_which_answer_stands_first_and_texts_do_not(written):
    (pair,) = read_pairs(written("a.json", [CAA]))[0][""]
    assert (pair.positive_is_first, pair.labels, pair.situation) == (False, ("(B)", "(A)"), SCENE)
    (pair,) = read_pairs(written("b.json", [OURS]))[0][""]
    assert (pair.positive_is_first, pair.labels, pair.id) == (False, ("(2", "(1"), "row 1")
    (pair,) = read_pairs(written("c.json", [ROWS["plain"]]))[0][""]
    assert (pair.positive_is_first, pair.labels) == (None, ("", ""))


def test_a_list_of_messages_is_its_last_one(written):
    said = [{"role": "user", "content": SCENE}, {"role": "assistant", "content": [{"type": "text", "text": POSITIVE}]}]
    row = {"chosen": said, "rejected": [{"role": "assistant", "content": NEGATIVE}]}
    (pair,) = read_pairs(written("a.jsonl", [row]))[0][""]
    assert (pair.positive, pair.neutral) == (POSITIVE, NEGATIVE)


def test_rows_without_a_side_or_with_labels_of_no_option_are_counted(written):
    rows = [
        {"positive": "a", "negative": "b"}, {"positive": "a", "negative": " "}, {"positive": None, "negative": "b"},
        {"negative": "b"}, {"question": "Which?\n1. a\n2. b", "positive": "(1", "negative": "(7"},
    ]  # fmt: skip
    found, left_out = read_pairs(written("a.jsonl", rows))
    assert len(found[""]) == 1
    assert left_out == {
        "no text under negative": 1, "no text under positive": 2, "its labels name no options of its question": 1,
    }  # fmt: skip


def test_rows_of_several_traits_are_kept_apart(written):
    rows = [{"positive": "a", "negative": "b", "trait": trait} for trait in ("Openness", "Tidiness", "Openness")]
    assert {trait: len(pairs) for trait, pairs in read_pairs(written("a.csv", rows))[0].items()} == {
        "Openness": 2,
        "Tidiness": 1,
    }


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_byte_order_mark_and_the_line_ends_of_windows_change_nothing(tmp_path, mark, end):
    path = tmp_path / "a.csv"
    path.write_bytes(f'{mark}positive,negative{end}"a, and{end}more",b{end}c,d\u2028e{end}'.encode())
    assert [pair.neutral for pair in read_pairs(path)[0][""]] == ["b", "d\u2028e"]
    path = tmp_path / "a.jsonl"
    path.write_bytes((mark + end.join(['{"positive": "a", "negative": "b"}'] * 2)).encode())
    assert len(read_pairs(path)[0][""]) == 2


def test_half_a_character_is_replaced(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"positive": "a \\ud83d", "negative": "b"}')
    (pair,) = read_pairs(path)[0][""]
    assert pair.positive == "a \ufffd"


SIDE = {"question": SCENE, "prompt": "<s>", "question_id": "q1", "tidy": "90", "coherence": "80"}


def test_two_aligned_files_are_the_two_sides(written):
    sides = (
        written("positive.csv", [{**SIDE, "answer": POSITIVE}] * 2),
        written("negative.csv", [{**SIDE, "answer": NEGATIVE}] * 2),
    )
    found, _ = read_two(*sides)
    assert [(pair.id, pair.positive, pair.neutral, pair.situation) for pair in found["tidy"]] == [
        ("q1, row 1", POSITIVE, NEGATIVE, SCENE),
        ("q1, row 2", POSITIVE, NEGATIVE, SCENE),
    ]


def test_files_that_are_not_aligned_are_refused(written):
    one = written("a.csv", [{**SIDE, "answer": "a"}] * 2)
    with pytest.raises(UsageError, match=r"has 2 rows and '.*' 1, so they are not aligned"):
        read_two(one, written("b.csv", [{**SIDE, "answer": "b"}]))
    other = written("c.csv", [{**SIDE, "answer": "b"}, {**SIDE, "question": "?", "answer": "b"}])
    with pytest.raises(UsageError, match=r"Row 2 .* ask different questions"):
        read_two(one, other)
    with pytest.raises(UsageError, match="no column answer"):
        read_two(one, written("d.csv", [ROWS["plain"]]))
    with pytest.raises(UsageError, match="it is one side of two files"):
        read_pairs(one)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"a,b\n1,2\n", "has the columns a, b, and no two that hold both sides"),
        (b"positive,negative\n", "holds no rows"),
        (b"[]", "holds no rows"),
        (b'["a"]', "Row 1 of .* is no object with columns: 'a'"),
        (b'{"positive": "a", "negative": "b"}\n{"posi', "line 2' is not JSON"),
        (b"[" * 100_000, "is not JSON: .*recursion"),
        (b'[{"a": ' + b"9" * 5000 + b"}]", "is not JSON"),
        (b"\xff\xfea\x00", "is not text in UTF-8"),
        (b'positive,negative\n"a,b\n', "cannot be read as CSV"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(tmp_path, content, told):
    path = tmp_path / "pairs"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=told) as caught:
        read_pairs(path)
    assert "\n" not in caught.value.message
    assert caught.value.hint
