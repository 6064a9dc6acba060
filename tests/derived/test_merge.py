"""The command ``dataset.merge``: unions with each pair once, balanced, and saying what they come from."""

from __future__ import annotations

import json

import pytest

from psyctl_core import OutputError, UsageError, export_dataset, merge_datasets, open_dataset, split_dataset
from psyctl_core._engine.labels import keep_label
from psyctl_core._engine.status import status
from psyctl_core._plugins.registry import discover
from psyctl_core.testing import FakeBackend, FakePrompter, FakeSource
from psyctl_core.testing.fakes import fake_answer, fake_scenario


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def other(request):
    found = fake_answer(request)
    return type(found)(request.id, f"Other {found.text}")


def later(offset):
    scenario = fake_scenario(offset + 100)
    return type(scenario)(scenario.id, offset, scenario.situation, scenario.character, scenario.dialogue)


def test_two_datasets_become_one_with_half_of_the_positive_answers_first(made, tmp_path, type_in, capsys):
    made("a", 9)
    made("b", source=FakeSource(6, make=later), seed=2)
    type_in("dataset.merge", tmp_path / "a", tmp_path / "b", "--output", tmp_path / "both")
    said = capsys.readouterr().out
    records = list(open_dataset(tmp_path / "both"))
    assert [r.id for r in records] == [r.id for name in "ab" for r in open_dataset(tmp_path / name)]
    firsts = [r.positive == "(1" for r in records]
    assert all(sum(firsts[place : place + 2]) == 1 for place in range(0, 14, 2))
    assert f"Extroversion: 15 pairs, {sum(firsts)} with the positive answer first" in said
    assert "The datasets were made differently (sampling.seed: 0 -> 2); run.json has it all." in said


def test_parts_that_are_merged_are_the_whole_again(made, tmp_path):
    made("whole", 21, traits="Openness, Neuroticism")
    split_dataset(tmp_path / "whole", tmp_path / "parts", {"train": None, "val": 3, "test": 0.2})
    merge_datasets([tmp_path / "parts"], tmp_path / "again")
    for trait in ("openness", "neuroticism"):
        again, whole = (
            {(r.id, r.positive_text) for r in open_dataset(tmp_path / n / trait)} for n in ("again", "whole")
        )
        assert again == whole
    assert [found.state for found in status(tmp_path / "again", discover())] == ["complete", "complete"]


def test_each_trait_is_merged_by_itself(made, tmp_path):
    made("a", 4, traits="Openness, Neuroticism")
    made("b", source=FakeSource(3, make=later), traits="Neuroticism")
    reports = merge_datasets([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
    assert {report.trait: report.pairs for report in reports} == {"Openness": 4, "Neuroticism": 7}
    assert left(tmp_path / "all") == ["neuroticism", "openness"]


def test_doubles_are_kept_once_and_said(made, tmp_path):
    made("a", 6)
    made("b", 9)
    (report,) = merge_datasets([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    assert report.pairs == 9
    assert report.notes == ("There more than once: 6 pairs; each is kept once, as it stands first.",)
    made_from = open_dataset(tmp_path / "both").run["identity"]["made_from"]
    assert [parent["pairs"] for parent in made_from["datasets"]] == [6, 3]
    assert made_from["doubles"] == 6


def test_different_pairs_of_one_id_are_refused_or_get_an_id_of_their_own(made, tmp_path, type_in):
    made("a", 4)
    made("b", 4, backend=FakeBackend(answer=other))
    made("c", 4, backend=FakeBackend(answer=other))
    paths = [tmp_path / name for name in "abc"]
    with pytest.raises(UsageError, match=r"a\W.* and .*b\W.* have different pairs with the id 'fake-0'") as caught:
        type_in("dataset.merge", *paths, "--output", tmp_path / "all")
    assert "--renumber" in caught.value.hint
    assert not (tmp_path / "all").exists()
    type_in("dataset.merge", *paths, "--renumber", "--output", tmp_path / "all")
    ids = [record.id for record in open_dataset(tmp_path / "all")]
    assert ids == [f"fake-{n}" for n in range(4)] + [f"fake-{n}#2" for n in range(4)]
    train, test = split_dataset(tmp_path / "all", tmp_path / "parts", {"train": None, "test": 2})
    assert (train.pairs, test.pairs) == (6, 2)  # both answers to one scene


def test_run_json_joins_what_the_datasets_say_and_holds_theirs(made, tmp_path):
    made("a", 4)
    made("b", source=FakeSource(4, make=later), prompter=FakePrompter(), temperature=0.5)
    merge_datasets([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    a, b, both = (open_dataset(tmp_path / name).run for name in ("a", "b", "both"))
    assert both["parents"] == [a, b]
    assert both["identity"]["source"] == a["identity"]["source"]
    assert both["identity"]["prompter"]["component"]["name"] == "static | FakePrompter"
    assert both["identity"]["sampling"]["temperature"] == "0.8 | 0.5"
    assert both["personas"]["positive"] == a["personas"]["positive"]
    assert both["personas"]["positive 2"] == b["personas"]["positive"]
    (exported,) = export_dataset(tmp_path / "both", tmp_path / "csv", "csv")
    assert exported.pairs == 8


@pytest.mark.usefixtures("shared_sink")
def test_datasets_of_different_sinks_are_merged_and_that_is_said(made, tmp_path):
    made("a", 4, sink="shared")
    made("b", source=FakeSource(4, make=later))
    paths = [tmp_path / "a", tmp_path / "b"]
    (report,) = merge_datasets(paths, tmp_path / "both")
    assert len(report.notes) == 1
    assert "They were kept by sink 'jsonl'" in report.notes[0]
    assert "sink 'shared'" in report.notes[0]
    assert left(tmp_path / "both")[-1] == "pairs.sqlite"
    assert len(list(open_dataset(tmp_path / "both"))) == 8
    merge_datasets(paths, tmp_path / "lines", sink="jsonl")
    assert list(map(vars_of, open_dataset(tmp_path / "lines"))) == list(map(vars_of, open_dataset(tmp_path / "both")))


def vars_of(record):
    return record.as_json()


def test_labels_of_all_go_along(made, tmp_path):
    made("a", 4)
    made("b", source=FakeSource(4, make=later))
    keep_label(open_dataset(tmp_path / "a").run_folder, "fake-1", "right")
    keep_label(open_dataset(tmp_path / "b").run_folder, "fake-101", "wrong")
    merge_datasets([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    assert open_dataset(tmp_path / "both").labels() == {"fake-1": "right", "fake-101": "wrong"}


def test_nothing_is_merged_where_one_line_is_damaged_or_no_pair_is_there(made, tmp_path):
    (file,) = made("a", 3).glob("*.jsonl")
    made("b", source=FakeSource(4, make=later))
    row = json.loads(file.read_text(encoding="utf-8").splitlines()[0])
    file.write_text(json.dumps({**row, "positive": "(3"}) + "\n", encoding="utf-8")
    with pytest.raises(OutputError, match=r"Line 1 of .* is not a CAA record"):
        merge_datasets([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    file.write_bytes(b"")
    with pytest.raises(UsageError, match=r"There are no pairs in .* yet"):
        merge_datasets([tmp_path / "a"], tmp_path / "both")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no dataset"):
        merge_datasets([tmp_path / "b", tmp_path / "empty"], tmp_path / "both")
    with pytest.raises(UsageError, match="where it would be taken for a newer run"):
        merge_datasets([tmp_path / "b"], tmp_path / "b" / "both")
    assert left(tmp_path) == ["a", "b", "empty"]
