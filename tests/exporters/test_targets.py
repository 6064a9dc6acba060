"""What tools that are no packages assert of their files: columns, letters, scores, types and beginnings."""

from __future__ import annotations

import dataclasses
import json

import pandas
import pytest

from psyctl_core import Context, ExportTarget
from psyctl_core.records import prompt_of
from psyctl_exporters import NoConfig
from psyctl_exporters.tables import BipoExporter, CsvExporter


def json_of(path):
    return json.loads(path.read_text(encoding="utf-8"))


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def is_balanced(rows, key, letters):
    """Whether each letter is the answer with the trait equally often."""
    return {letter: sum(row[key] == letter for row in rows) for letter in letters} == dict.fromkeys(
        letters, len(rows) // 2
    )


def test_caa_has_both_orders_and_tests_of_what_is_held_out(exported, records):
    place = exported("caa", held_out=4) / "datasets"
    rows = json_of(place / "generate" / "extroversion" / "generate_dataset.json")
    assert len(rows) == 16
    keys = ("answer_matching_behavior", "answer_not_matching_behavior")
    assert all({row[key] for key in keys} == {"(A)", "(B)"} for row in rows)
    assert is_balanced(rows, keys[0], ("(A)", "(B)"))
    by_text = {record.positive_text for record in records}
    for row in rows:
        scene, _, options = row["question"].rpartition("\n\nChoices:\n")
        first, second = options.removeprefix(" (A) ").split("\n (B) ")
        assert {"(A)": first, "(B)": second}[row[keys[0]]] in by_text
        assert scene.endswith("say?")
    tests = json_of(place / "test" / "extroversion" / "test_dataset_ab.json")
    open_ended = json_of(place / "test" / "extroversion" / "test_dataset_open_ended.json")
    assert (len(tests), len(open_ended)) == (8, 4)
    assert not {row["question"] for row in tests} & {row["question"] for row in rows}
    assert [set(row) for row in open_ended] == [{"question"}] * 4


def test_caa_without_a_test_says_how_to_get_one(dataset, tmp_path):
    from psyctl_core import export_dataset

    (report,) = export_dataset(dataset, tmp_path / "caa", "caa")
    assert not (tmp_path / "caa" / "datasets" / "test").exists()
    assert any("--held-out" in note for note in report.notes)


def test_easyedit_finds_its_files_through_its_table_of_formats(exported, records):
    yaml = pytest.importorskip("yaml")
    place = exported("easyedit", held_out=2)
    table = yaml.safe_load((place / "dataset_format.yaml").read_text(encoding="utf-8"))["train"]
    found = {name: json_of(place / entry["file_path"]) for name, entry in table.items()}
    assert {name: len(rows) for name, rows in found.items()} == {
        "extroversion": 10, "extroversion_choices": 20, "extroversion_heldout": 2, "extroversion_heldout_choices": 4,
    }  # fmt: skip
    for name, rows in found.items():
        assert all(set(row) == set(table[name]["field_names"]) for row in rows)
    assert is_balanced(found["extroversion_choices"], "matching", ("(A)", "(B)"))
    texts = {(record.positive_text, record.neutral_text) for record in records}
    assert {(row["matching"], row["not_matching"]) for row in found["extroversion"]} <= texts


def test_inspect_has_a_sample_for_each_order(exported, records):
    rows = lines_of(exported("inspect") / "extroversion.jsonl")
    assert len({row["id"] for row in rows}) == 24
    assert is_balanced(rows, "target", "AB")
    positives = {record.id: record.positive_text for record in records}
    assert all(row["choices"]["AB".index(row["target"])] == positives[row["metadata"]["pair"]] for row in rows)


def test_aisteer360_has_lists_of_one_length(exported, records):
    lists = json_of(exported("aisteer360") / "extroversion.json")
    assert list(lists) == ["prompts", "positives", "negatives"]
    assert lists["prompts"] == [prompt_of(record) for record in records]
    assert len(lists["positives"]) == len(lists["negatives"]) == len(records)


def test_axbench_selects_its_rows_by_concept_and_type(exported, records):
    folder = exported("axbench", held_out=3) / "generate"
    table = pandas.read_parquet(folder / "train_data.parquet")
    (concept,) = lines_of(folder / "metadata.jsonl")
    assert table["concept_id"].dtype == "int64"
    positive = table[table["output_concept"] == concept["concept"]]
    negative = table[table["output_concept"] == "EEEEE"]
    assert set(positive["concept_id"]) == {concept["concept_id"]}
    assert set(negative["concept_id"]) == {-1}
    assert len(positive) == len(negative) == len(records) - 3
    genre = concept["concept_genres_map"][concept["concept"]][0]
    assert set(table["concept_genre"]) == {genre}
    assert len(pandas.read_parquet(folder / "train_data_heldout.parquet")) == 6


def test_the_other_psyctl_finds_one_file_in_its_folder(exported, records):
    place = exported("public-psyctl", held_out=2)
    (file,) = (place / "extroversion").glob("*.jsonl")
    rows = lines_of(file)
    assert len(rows) == 10
    assert all(set(row) == {"situation", "char_name", "positive", "neutral"} for row in rows)
    assert rows[0]["positive"] in {record.positive_text for record in records}
    assert [path.name for path in (place / "extroversion_heldout").iterdir()] == ["extroversion_heldout.jsonl"]


def test_bipo_reads_its_two_files(exported, records):
    folder = exported("bipo", held_out=2) / "data" / "extroversion"
    train = pandas.read_csv(folder / "train.csv")
    assert list(train.columns) == ["question", "matching", "not_matching"]
    assert (len(train), len(pandas.read_csv(folder / "test.csv"))) == (10, 2)
    assert set(train["matching"]) <= {record.positive_text for record in records}


def test_tables_have_every_field(exported, records, tmp_path):
    table = pandas.read_csv(exported("csv") / "extroversion.csv", keep_default_na=False)
    wanted = [
        {**record.as_json(), "metadata": json.dumps(record.metadata) if record.metadata else ""} for record in records
    ]
    assert table.to_dict("records") == wanted
    (tmp_path / "exported").rename(tmp_path / "csv")
    assert pandas.read_parquet(exported("parquet") / "extroversion.parquet").to_dict("records") == wanted


@pytest.mark.parametrize("made", [BipoExporter, CsvExporter])
def test_an_answer_that_pandas_takes_for_none_is_told(made, records, tmp_path):
    odd = [dataclasses.replace(records[0], positive_text="None"), records[1]]
    done = made(NoConfig(), Context()).export(odd, [], target(tmp_path))
    assert any("pandas reads 1 answer such as 'None' as missing" in note for note in done.notes)


def target(folder):
    return ExportTarget(folder, "extroversion", "Extroversion", folder)
