"""SODA-shaped rows become scenarios, from the package and from local files of every kind."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psyctl_core import Context, Scenario, SkippedRow, SourceError, Turn, schema
from psyctl_core.pairing import _as_json
from psyctl_soda import SodaConfig, StarterConfig
from psyctl_soda.rows import NO_DIALOGUE, NO_NAMES, ONE_SPEAKER, to_scenario
from psyctl_soda.source import SodaSource
from psyctl_soda.starter import StarterSource

ROW = {
    "narrative": "Mara brings her bicycle to Ilo's workshop on a rainy day.",
    "dialogue": ["The chain slips. Can you mend it today?", "Let me have a look.", "Thank you."],
    "speakers": ["Mara", "Ilo", "Mara"],
}
ROWS = [
    ROW,
    {"narrative": "Two guards.", "dialogue": ["Quiet night.", "", "Too quiet."], "speakers": ["A", "B", "B"]},
    {"narrative": "A monologue.", "dialogue": ["To be or not to be."], "speakers": ["Hamlet"]},
    {"narrative": "One speaks twice.", "dialogue": ["Hello?", "Anyone?", "Yes."], "speakers": ["A", "A", "B"]},
]


def test_the_second_speaker_answers_the_first():
    scenario = to_scenario(ROW, 7)
    assert isinstance(scenario, Scenario)
    assert scenario.character == "Ilo"
    assert scenario.dialogue == (Turn("Mara", "The chain slips. Can you mend it today?"),)
    assert scenario.situation == ROW["narrative"]
    assert scenario.place == 7


def test_two_turns_in_a_row_are_both_heard():
    scenario = to_scenario(ROWS[3], 0)
    assert isinstance(scenario, Scenario)
    assert [turn.text for turn in scenario.dialogue] == ["Hello?", "Anyone?"]
    assert scenario.character == "B"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dialogue": []}, NO_DIALOGUE),
        ({"dialogue": None}, NO_DIALOGUE),
        ({"dialogue": float("nan")}, NO_DIALOGUE),
        ({"dialogue": ["", " "], "speakers": ["A", "B"]}, NO_DIALOGUE),
        ({"speakers": ["Mara", "Ilo"]}, NO_NAMES),
        ({"speakers": ["Mara", "", "Mara"]}, NO_NAMES),
        ({"speakers": None}, NO_NAMES),
        ({"speakers": ["Mara", "x" * 101, "Mara"]}, NO_NAMES),
        ({"speakers": ["Mara"] * 3}, ONE_SPEAKER),
    ],
)
def test_rows_without_a_scenario_are_skipped_with_a_reason(change, reason):
    assert to_scenario({**ROW, **change}, 3) == SkippedRow(3, reason)


@pytest.mark.parametrize(
    "spelled",
    [
        '["It\'s late.", "So it is."]',
        "[\"It's late.\", 'So it is.']",
        "[\"It's late.\" 'So it is.']",
        "[\"It's late.\"\n 'So it is.']",
    ],
)
def test_lists_that_a_csv_round_trip_turned_into_text_are_read(spelled):
    scenario = to_scenario({"narrative": "Dusk.", "dialogue": spelled, "speakers": "['A' 'B']"}, 0)
    assert isinstance(scenario, Scenario)
    assert scenario.dialogue == (Turn("A", "It's late."),)


def test_ids_depend_on_content_and_place():
    assert to_scenario(ROW, 1).id == to_scenario(dict(ROW), 1).id
    assert len({to_scenario(ROW, 1).id, to_scenario(ROW, 2).id, to_scenario({**ROW, "narrative": "x"}, 1).id}) == 3


TEXTS = st.none() | st.text(max_size=30) | st.integers() | st.floats() | st.just("{x} <|im_end|> {{y}}")
LISTS = st.lists(TEXTS, max_size=5) | TEXTS


@given(st.fixed_dictionaries({}, optional={"narrative": TEXTS, "dialogue": LISTS, "speakers": LISTS}))
def test_any_row_gives_a_valid_scenario_or_a_reason(row):
    item = to_scenario(row, 0)
    if isinstance(item, Scenario):
        assert schema.problem("scenario", _as_json(item)) == ""
        assert item.dialogue[-1].speaker != item.character
    else:
        assert item.reason


def test_the_starter_is_varied_and_every_row_is_usable():
    source = StarterSource(StarterConfig(), Context())
    items = list(source.scenarios(0))
    assert len(items) == source.total() >= 200
    assert all(isinstance(item, Scenario) for item in items)
    assert list(source.scenarios(150)) == items[150:]
    rows = [json.loads(line) for line in source._lines]
    for column, least in (("setting", 150), ("relation", 100), ("mood", 100), ("narrative", len(rows))):
        assert len({row[column] for row in rows}) >= least, column
    assert len({item.character for item in items}) > 150
    named_first = [
        row["narrative"].find(row["speakers"][0]) < row["narrative"].find(row["speakers"][1]) for row in rows
    ]
    assert 40 < sum(named_first) < len(rows) - 40


def read(path) -> list[Scenario | SkippedRow]:
    return list(SodaSource(SodaConfig(dataset=str(path)), Context()).scenarios(0))


def write(path, kind: str):
    frame = pd.DataFrame(ROWS)
    if kind == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif kind == "json":
        frame.to_json(path, orient="records")
    elif kind == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_local_files_of_every_kind_give_the_same_scenarios(tmp_path, kind):
    path = tmp_path / f"rows.{kind}"
    write(path, kind)
    items = read(path)
    assert [getattr(item, "character", getattr(item, "reason", "")) for item in items] == ["Ilo", "B", ONE_SPEAKER, "B"]
    assert list(SodaSource(SodaConfig(dataset=str(path)), Context()).scenarios(2)) == items[2:]


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path):
    for name in ("b", "a"):
        pd.DataFrame([{**ROW, "narrative": name}]).to_json(tmp_path / f"{name}.jsonl", orient="records", lines=True)
    assert [item.situation for item in read(tmp_path)] == ["a", "b"]


def test_real_rows(shared_data):
    items = read(shared_data / "soda.jsonl")
    assert len(items) == 70
    assert sum(isinstance(item, Scenario) for item in items) >= 60
    for name in ("soda_all_columns", "soda_numpy_strings"):
        rows = read(shared_data / f"{name}.jsonl")
        assert len(rows) == 5
        assert all(isinstance(row, Scenario) for row in rows), name


def test_identity_changes_with_the_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    write(path, "jsonl")
    before = SodaSource(SodaConfig(dataset=str(path)), Context()).identity()
    moved = path.rename(tmp_path / "rows2.jsonl").rename(path)
    assert SodaSource(SodaConfig(dataset=str(moved)), Context()).identity() == before
    path.write_text(path.read_text().replace("rainy", "sunny"))
    assert SodaSource(SodaConfig(dataset=str(path)), Context()).identity() != before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"text": ["hello"], "label": [1]}, "Columns found: text, label; wanted: narrative, dialogue, speakers"),
        ({"narrative": ["x"], "dialogue": [["a"]], "speakers": [["A"]]}, "no row holds a dialogue"),
    ],
)
def test_unusable_files_are_told_with_their_columns(tmp_path, content, words):
    path = tmp_path / "rows.parquet"
    pd.DataFrame(content).to_parquet(path)
    with pytest.raises(SourceError, match=words):
        read(path)


def test_missing_paths_are_told(tmp_path):
    for name in ("./missing.jsonl", str(tmp_path / "nowhere"), "rows.parquet"):
        with pytest.raises(SourceError, match="no such file or folder"):
            SodaSource(SodaConfig(dataset=name), Context())
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(SourceError, match="no file that can be read"):
        SodaSource(SodaConfig(dataset=str(tmp_path / "notes.txt")), Context())
    with pytest.raises(SourceError, match="no dataset file"):
        SodaSource(SodaConfig(dataset=str(tmp_path)), Context())


def test_a_hub_name_offline_is_told_in_the_specifications_spirit():
    with pytest.raises(SourceError, match=r"Dataset 'username/no-such-set' (not found|cannot be reached)"):
        SodaSource(SodaConfig(dataset="username/no-such-set"), Context()).identity()
