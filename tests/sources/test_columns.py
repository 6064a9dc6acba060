"""``--columns``: the columns a user names, holding one value, a list, or a conversation's rows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psyctl_core import Scenario, SkippedRow, schema
from psyctl_core._plugins.problems import scenario_as_json as as_json
from psyctl_soda.scenario import NO_DIALOGUE, NO_NAMES, ONE_SPEAKER, to_scenario
from psyctl_soda.shapes import Sample, custom

QUESTION = "Did you see who took the lantern from the gate?"


@pytest.mark.parametrize(
    ("columns", "row", "expected"),
    [
        ("situation=scene", {"scene": "Alice is at a party."}, ("Alice is at a party.", "", "", "Alice")),
        ("situation=scene,character=hero", {"scene": "Rain.", "hero": "Bo"}, ("Rain.", "", "", "Bo")),
        ("line=said", {"said": QUESTION}, ("", "Person A", QUESTION, "Person B")),
        ("line=said,character=hero", {"said": QUESTION, "hero": "Bo"}, ("", "Person A", QUESTION, "Bo")),
        ("line=said,speaker=who", {"said": QUESTION, "who": "Ann"}, ("", "Ann", QUESTION, "Person A")),
        (
            "situation=s,character=c,speaker=w,line=l",
            {"s": "Rain.", "c": "Bo", "w": "Ann", "l": "Wet?"},
            ("Rain.", "Ann", "Wet?", "Bo"),
        ),
        ("line=l,speaker=w", {"l": [QUESTION, "No."], "w": ["Ann", "Bo"]}, ("", "Ann", QUESTION, "Bo")),
        ("line=l,speaker=w", {"l": [QUESTION, "No."], "w": ["Ann"]}, NO_NAMES),
        ("line=l,speaker=w", {"l": [QUESTION, "No."], "w": "Ann"}, ONE_SPEAKER),
        ("line=l,character=c", {"l": [QUESTION, "No."], "c": "Bo"}, ("", "Person A", QUESTION, "Bo")),
        (
            "line=l,speaker=w,character=c",
            {"l": ["Hi.", "Hello.", QUESTION], "w": ["Ann", "Cy", "Ann"], "c": "Bo"},
            ("", "Ann", QUESTION, "Bo"),
        ),
        (
            "line=talk.text,speaker=talk.by",
            {"talk": [{"by": "Ann", "text": QUESTION}, {"by": "Bo", "text": "No."}]},
            ("", "Ann", QUESTION, "Bo"),
        ),
        ("line=what, they said,speaker=w", {"what, they said": QUESTION, "w": "A"}, ("", "A", QUESTION, "Person A")),
        ("situation=s,line=l", {"s": "Rain.", "l": None}, ("Rain.", "", "", "Person A")),
        ("situation=s,line=l", {"s": None, "l": float("nan")}, NO_DIALOGUE),
    ],
)  # fmt: skip
def test_one_row(columns, row, expected):
    full = dict.fromkeys(row, "some text")
    full |= {name: value for name, value in row.items() if not isinstance(value, str)} if "talk" in row else {}
    match = custom.match(custom.parse(columns), Sample.of([full]))
    item = to_scenario(match.read(row), 0)
    if isinstance(item, SkippedRow):
        assert item.reason == expected
        return
    last = (item.dialogue[-1].speaker, item.dialogue[-1].text) if item.dialogue else ("", "")
    assert (item.situation, *last, item.character) == expected


def test_rows_of_a_conversation(jsonl, read):
    rows = [
        (1, "Ann", QUESTION),
        (1, "Bo", "No."),
        (2, "Cy", "Hello?"),
        (3, "Dee", "Hi."),
        (3, "Eva", QUESTION),
        (3, "Dee", "Me."),
    ]
    path = jsonl({"chat no": chat, "who": who, "words": words} for chat, who, words in rows)
    items = read(path, columns="conversation=chat no,speaker=who,line=words")
    assert [(i.offset, getattr(i, "character", getattr(i, "reason", ""))) for i in items] == [
        (0, "Bo"),
        (2, ONE_SPEAKER),
        (3, "Dee"),
    ]
    assert items[2].dialogue[-1].text == QUESTION


TEXTS = st.text(max_size=20) | st.sampled_from(["A: b", "['a', 'b']", "\ud800", "\0"])
VALUES = st.recursive(
    st.none() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=6,
)  # fmt: skip
PATHS = st.sampled_from(["a", "b", "a.b", "c", "c.a.b"])


@pytest.mark.slow
@settings(max_examples=300)
@given(
    st.dictionaries(st.sampled_from(custom.PARTS), PATHS, min_size=1),
    st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES), min_size=1, max_size=3),
)
def test_any_values_give_a_scenario_or_a_reason(columns, rows):
    good = {"a": {"b": "x"}, "b": "y", "c": {"a": {"b": "z"}}}
    match = custom.match(columns, Sample.of([*rows, good]))
    item = to_scenario(match.read(rows if match.group else rows[0]), 0)
    if isinstance(item, Scenario):
        assert schema.problem("scenario", as_json(item)) == ""
        assert not item.dialogue or item.dialogue[-1].speaker != item.character
    else:
        assert item.reason


def test_columns_are_part_of_the_identity_and_projected(tmp_path, source):
    import pandas as pd

    path = tmp_path / "rows.parquet"
    pd.DataFrame([{"scene": "Rain.", "other": "x", "said": json.dumps(["Wet?", "Yes."])}]).to_parquet(path)
    made = source(path, columns="situation=scene,line=said")
    assert made.identity()["shape"] == "columns"
    assert made.describe()["Columns used"] == "scene, said"
    (item,) = made.scenarios(0)
    assert item.dialogue[0].text == "Wet?"
