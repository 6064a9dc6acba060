"""Every shape: recognised by columns and values, right about who speaks and who answers, and never in trouble."""

from __future__ import annotations

import copy
import math
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from psyctl_core import Scenario, SkippedRow, SourceError, schema
from psyctl_core._plugins.problems import scenario_as_json as as_json
from psyctl_soda import SodaConfig
from psyctl_soda.scenario import MAX_TEXT, to_scenario
from psyctl_soda.shapes import SHAPES, Sample, recognise, summary


def told(item: Scenario | SkippedRow) -> tuple[str, str, str] | str:
    """An item in the form the examples expect."""
    if isinstance(item, SkippedRow):
        return item.reason
    last = item.dialogue[-1] if item.dialogue else None
    return (item.character, last.speaker if last else "", last.text if last else "")


def check(item: Scenario | SkippedRow) -> None:
    """What must hold for any row whatever."""
    if isinstance(item, SkippedRow):
        assert item.reason
        return
    assert schema.problem("scenario", as_json(item)) == ""
    assert not item.dialogue or item.dialogue[-1].speaker != item.character
    assert sum(len(turn.text) for turn in item.dialogue) <= MAX_TEXT
    for text in (item.situation, item.character, *(t.text for t in item.dialogue), *(t.speaker for t in item.dialogue)):
        assert text == text.strip()
        assert not any(ord(ch) < 32 or ch in "\x7f\x85\u2028\u2029" for ch in text)
        text.encode("utf-8")


def test_the_example_is_read_as_it_should_be(example, jsonl, source):
    path = jsonl(example.rows)
    made = source(path)
    assert [told(item) for item in made.scenarios(0)] == example.expected
    assert made.identity()["shape"] == example.shape
    description = made.describe()
    assert description["Shape"].startswith(f"{example.shape}: ")
    assert set(description["Columns used"].split(", ")) <= {column for row in example.rows for column in row}


def test_ids_depend_on_content_and_place_and_nothing_else(example, jsonl, source):
    path = jsonl(example.rows)
    first, second = ([i for i in source(path, seed=s).scenarios(0) if isinstance(i, Scenario)] for s in (1, 2))
    assert first == second
    moved = jsonl([example.rows[0], *example.rows] if example.shape != "utterances" else example.rows, "moved.jsonl")
    if example.shape != "utterances":
        later = [item for item in source(moved).scenarios(0) if isinstance(item, Scenario)]
        assert not {item.id for item in first[1:]} & {item.id for item in later}
        assert {i.id.partition("-")[2] for i in first} == {i.id.partition("-")[2] for i in later}


def test_the_shapes_can_be_chosen_by_name(jsonl, source, examples):
    names = {shape.NAME for shape in SHAPES}
    assert (
        set(get_args(get_type_hints(SodaConfig)["shape"])) == {"auto", *names} == {"auto", *(e.shape for e in examples)}
    )
    assert all(summary(name) for name in names)
    path = jsonl([{"narrative": "Alice is at a party.", "dialogue": "A: Hello there!\nB: Hi."}])
    assert source(path).identity()["shape"] == "script"
    assert source(path, shape="bare").identity()["shape"] == "bare"
    with pytest.raises(SourceError, match="do not have the shape 'sharegpt'"):
        source(path, shape="sharegpt").identity()


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ({"text": "hello", "label": 1}, "--columns situation=text"),
        ({"said": ["Hello", "Hi"], "who": ["Bo", "Al"]}, "--columns line=said,speaker=who"),
        ({"what happens": "It rains. " * 9, "hero": "Bo"}, "--columns 'situation=what happens,character=hero'"),
        ({"id": "1", "title": "T", "answers": {"text": ["Bo"], "answer_start": [3]}}, "--columns situation="),
        ({"context": "wizard_of_wikipedia", "free_messages": ["Hello"]}, "--columns line=free_messages"),
        ({"n": 1, "flag": True, "nothing": None, "nested": {"a": 1}}, "--columns situation=COLUMN"),
    ],
)  # fmt: skip
def test_an_unknown_shape_is_told_with_columns_a_row_and_a_line_to_try(jsonl, source, row, line):
    with pytest.raises(SourceError) as caught:
        source(jsonl([row] * 3)).identity()
    for column in row:
        assert f"{column} (" in caught.value.message
    assert "A row: {" in caught.value.hint
    assert line in caught.value.hint


ODD_TEXTS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            "", " ", "\0\x01\x1b[31m", "{{x}} {x} %s ${y}", "<|im_end|><|im_start|>system", "</s>[INST]", "a" * 5000,
            "م\u200cرحبا كيف حالك؟", "שלום \u202eעולם\u202c", "👩\u200d👧\u200d👦 🏴\ufe0f", "e\u0301" * 50, "\ud800",
            "Ada: hi\nBen: hello\nAda: you", "A: x\\nB: y", "```\ncode\n```", "{\"name\": \"f\"}", "[['", "['a' 'b']",
            "[" * 3000, "User: ", ": :", "&lt;br&gt;&#0;&#1114112;", "_comma_", "\u2028x\u2029", "\ufeff", "١٢٣", "-1",
            "1e999", "NaN", "\u200d",
        ]
    ),
)  # fmt: skip
KEYS = st.sampled_from(["role", "content", "from", "value", "speaker", "text", "utterance", "history", "type", "x"])
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ODD_TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


def _parts(value: Any, path: tuple = ()) -> list[tuple]:
    """The paths of everything inside a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inner for found in _parts(item, (*path, key)))]


def _has(value: Any, key: Any) -> bool:
    if isinstance(value, list):
        return isinstance(key, int) and key < len(value)
    return isinstance(value, dict) and key in value


def _changed(row: dict[str, Any], changes: list[tuple[tuple, Any]]) -> dict[str, Any]:
    row = copy.deepcopy(row)
    for path, value in changes:
        at: Any = row
        for key in path[:-1]:
            at = (
                at[key]
                if (isinstance(at, dict) and key in at)
                or (isinstance(at, list) and isinstance(key, int) and key < len(at))
                else None
            )
        if isinstance(at, dict) or (isinstance(at, list) and isinstance(path[-1], int) and path[-1] < len(at)):
            at[path[-1]] = value
    return row


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_row_gives_a_valid_scenario_or_a_reason(example, data):
    """A shape recognised by good rows meets rows in which anything is missing, null, or something else."""
    match = recognise(Sample.of(example.rows))
    good = data.draw(st.sampled_from(example.rows))
    paths = [path for path in _parts(good) if path]
    changes = data.draw(st.lists(st.tuples(st.sampled_from(paths), ODD), min_size=1, max_size=3))
    row = _changed(good, changes)
    for name in data.draw(st.sets(st.sampled_from(sorted(row)))):
        del row[name]
    rows: Any = [row, good] if match.group else row
    check(to_scenario(match.read(rows), 3))


COLUMNS = st.sampled_from(
    ["dialogue", "speakers", "narrative", "messages", "conversations", "turns", "text", "conv_id", "prompt", "x"]
)


@pytest.mark.slow
@settings(max_examples=150)
@given(st.lists(st.dictionaries(COLUMNS, ODD, max_size=5), min_size=1, max_size=3))
def test_recognising_never_fails_and_what_is_recognised_can_be_read(rows):
    match = recognise(Sample.of(rows))
    if match is not None:
        assert match.why
        assert match.columns
        for row in rows:
            check(to_scenario(match.read([row] if match.group else row), 0))


def test_a_huge_value_takes_no_time(example):
    match = recognise(Sample.of(example.rows))
    for huge in ("a b " * 250_000, ["x"] * 50_000, "[" + "'a' " * 50_000 + "]", math.inf):
        row = {**example.rows[0], match.columns[-1]: huge}
        check(to_scenario(match.read([row] if match.group else row), 0))
