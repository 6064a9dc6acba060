"""The command ``dataset.split``: what the parts hold, what is said, and that nothing is left half-written."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import textwrap

import pytest

from psyctl_core import (
    OutputError,
    PairJudge,
    PluginError,
    Selection,
    UsageError,
    Verdict,
    check_dataset,
    export_dataset,
    open_dataset,
    split_dataset,
)
from psyctl_core import stored_datasets as stored
from psyctl_core._engine.labels import keep_label
from psyctl_core._engine.status import status
from psyctl_core._plugins.registry import discover
from psyctl_core.testing import FakeBackend, FakePrompter, FakeSource, MemorySink
from psyctl_core.testing.fakes import fake_answer, fake_scenario


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def balance_of(records):
    return sum(record.positive == "(1" for record in records) - len(records) / 2


def texts(records):
    return {(r.id, r.situation, r.character, r.positive_text, r.neutral_text, r.trait) for r in records}


def test_a_share_is_held_out_and_the_rest_is_there_to_train(made, tmp_path, type_in, capsys):
    dataset = made("whole", 20)
    type_in("dataset.split", dataset, "--held-out", "0.2", "--output", tmp_path / "parts")
    said = capsys.readouterr().out
    assert "train, Extroversion: 16 pairs, 8 with the positive answer first" in said
    assert "held-out, Extroversion: 4 pairs, 2 with the positive answer first" in said
    assert left(tmp_path / "parts") == ["held-out", "train"]
    train, held_out, whole = (
        list(open_dataset(p)) for p in (tmp_path / "parts/train", tmp_path / "parts/held-out", dataset)
    )
    assert texts(train) | texts(held_out) == texts(whole)
    assert [r.id for r in train] == [r.id for r in whole if r.id in {t.id for t in train}]
    assert [int(r.id.removeprefix("fake-")) // 5 for r in held_out] == [0, 1, 2, 3]


@pytest.mark.parametrize(("given", "sizes"), [
    ("train=0.8,test=0.2", {"train": 17, "test": 4}),
    ("train,val=2,test=0.1", {"train": 17, "val": 2, "test": 2}),
    ("a=0.333,b=0.333,c=0.334", {"a": 7, "b": 7, "c": 7}),
    ("only=5", {"only": 5}),
])  # fmt: skip
def test_parts_have_the_sizes_that_are_asked_for_and_half_of_each_the_positive_answer_first(
    given, sizes, made, tmp_path, type_in
):
    dataset = made("whole", 21, seed=4)
    type_in("dataset.split", dataset, "--parts", given, "--output", tmp_path / "parts")
    found = {name: list(open_dataset(tmp_path / "parts" / name)) for name in sizes}
    assert {name: len(records) for name, records in found.items()} == sizes
    assert all(abs(balance_of(records)) <= 0.5 for records in found.values())
    ids = [record.id for records in found.values() for record in records]
    assert len(ids) == len(set(ids))


def test_what_is_in_no_part_is_said(made, tmp_path):
    (report,) = split_dataset(made("whole", 20), tmp_path / "parts", {"some": 5})
    assert "In no part: 15 pairs." in report.notes


def test_several_answers_to_a_scene_land_in_one_part(made, tmp_path):
    dataset = made("whole", 10, answers_per_scene=3, temperature=0.7, backend=FakeBackend(answer=by_seed))
    assert len(list(open_dataset(dataset))) == 30
    train, held_out = split_dataset(dataset, tmp_path / "parts", {"train": None, "held-out": 7})
    assert (train.pairs, held_out.pairs) == (24, 6)
    assert held_out.notes == ("In 'held-out': 6 pairs, not 7: pairs of one scene stay together.",)
    scenes = [{r.id.partition("#")[0] for r in open_dataset(r.folder)} for r in (train, held_out)]
    assert not scenes[0] & scenes[1]


def by_seed(request):
    answer = fake_answer(request)
    return type(answer)(request.id, f"{answer.text[:-1]} {request.seed}.")


def test_equal_scene_texts_land_in_one_part(made, tmp_path):
    def make(offset):
        scenario = fake_scenario(offset // 2)
        return type(scenario)(f"row-{offset}", offset, scenario.situation, scenario.character, scenario.dialogue)

    dataset = made("whole", source=FakeSource(20, make=make), backend=FakeBackend(answer=numbered))
    split_dataset(dataset, tmp_path / "parts", {"train": None, "test": 0.3})
    train, test = ({r.situation for r in open_dataset(tmp_path / "parts" / name)} for name in ("train", "test"))
    assert not train & test
    assert (len(train), len(test)) == (7, 3)


def numbered(request):
    return type(fake_answer(request))(request.id, f"{fake_answer(request).text[:-1]} {request.id.replace(':', ' ')}.")


def test_a_scene_of_several_traits_is_in_the_same_part_of_each(made, tmp_path):
    def answer(request):  # every trait lacks other scenes
        asked, found = " ".join(m.content for m in request.messages), fake_answer(request)
        lost = any(trait in asked and f"stop {n}" in asked for trait, n in (("Openness", 3), ("Neuroticism", 1)))
        return type(found)(request.id, "" if lost else found.text)

    dataset = made(
        "whole", 40, traits="Openness, Neuroticism", backend=FakeBackend(answer=answer), prompter=FakePrompter()
    )
    reports = split_dataset(dataset, tmp_path / "parts", {"train": None, "test": 0.25})
    assert [(r.part, r.trait) for r in reports] == [
        ("train", "Neuroticism"), ("train", "Openness"), ("test", "Neuroticism"), ("test", "Openness"),
    ]  # fmt: skip
    assert left(tmp_path / "parts/train") == ["neuroticism", "openness"]
    scenes = [{record.id for record in open_dataset(report.folder)} for report in reports]
    assert scenes[0] != scenes[1]
    assert not (scenes[0] | scenes[1]) & (scenes[2] | scenes[3])


def test_run_json_says_what_a_part_was_made_from(made, tmp_path):
    dataset = open_dataset(made("whole", 10, seed=3))
    split_dataset(dataset.target.folder, tmp_path / "parts", {"train": None, "test": 3})
    run = open_dataset(tmp_path / "parts/test").run
    made_from = run["identity"]["made_from"]
    (parent,) = made_from["datasets"]
    assert parent["name"] == dataset.target.name
    assert parent["pairs"] == 3
    file = next(dataset.target.folder.glob("*.jsonl"))
    assert parent["digest"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert made_from["how"] == "split"
    assert made_from["part"] == "test"
    assert {name: part["pairs"] for name, part in made_from["parts"].items()} == {"train": 7, "test": 3}
    assert made_from["seed"] == 3
    assert run["parents"] == [dataset.run]
    assert run["personas"] == dataset.run["personas"]
    assert run["statistics"]["accepted"] == 3


def test_parts_are_told_from_each_other_and_all_are_found(made, tmp_path, type_in, capsys):
    made("whole", 20, limit_samples=12)
    split_dataset(tmp_path / "whole", tmp_path / "parts", {"train": None, "test": 4})
    found = stored(tmp_path / "parts")
    assert len({dataset.target.name for dataset in found}) == len(found) == 2
    with pytest.raises(UsageError, match="More than one of these datasets is of 'extroversion'"):
        split_dataset(tmp_path / "parts", tmp_path / "again", {"a": 1, "b": 1})
    with pytest.raises(UsageError, match="holds 2 datasets"):
        open_dataset(tmp_path / "parts")
    type_in("dataset.status", tmp_path / "parts")
    said = capsys.readouterr().out
    assert f"4 pairs of {open_dataset(tmp_path / 'whole').target.name}, as its part 'test'" in " ".join(said.split())
    assert "%" not in said  # the parent's limit is not a part's


def test_the_other_commands_take_a_part_as_any_dataset(made, tmp_path, type_in, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["psyctl", "dataset.report"])  # a plugin's command is imported when it is typed
    made("whole", 30)
    split_dataset(tmp_path / "whole", tmp_path / "parts", {"train": None, "test": 10})
    part = tmp_path / "parts" / "train"
    (found,) = status(part, discover())
    assert (found.state, found.records, found.problems) == ("complete", 20, ())
    (checkup,) = check_dataset(part)
    assert checkup.pairs == 20
    (exported,) = export_dataset(part, tmp_path / "csv", "csv", held_out=4)
    assert (exported.pairs, exported.notes) == (16, ())
    for words in (("dataset.show", part), ("dataset.report", part, "--html", tmp_path / "page.html")):
        type_in(*words)
    assert "Extroversion" in (tmp_path / "page.html").read_text(encoding="utf-8")
    checkpoint = json.loads(next(part.glob("*.checkpoint.json")).read_text(encoding="utf-8"))
    assert checkpoint["output_file"] == str(next(part.glob("*.jsonl")).resolve())
    assert capsys.readouterr().err == ""


class Judge(PairJudge):
    """Scores as the rubric's judge does, and asks nobody."""

    def requests(self, pair, guide):
        return []

    def verdict(self, pair, guide, completions):
        neutral = 10.0 + 5 * (pair.scenario.offset % 4)
        return Verdict("", {"positive": 80.0, "neutral": neutral, "positive_fit": 90.0, "neutral_fit": 90.0})


def test_a_judged_part_is_judged_again_by_its_scores(made, tmp_path, type_in):
    made("whole", 16, judge=Selection("rubric", instance=Judge()))
    split_dataset(tmp_path / "whole", tmp_path / "parts", {"train": None, "test": 4})
    part = tmp_path / "parts" / "train"
    assert open_dataset(part).run["statistics"]["scores"]["positive"]["scored"] == 12
    type_in("dataset.judge", part, "--rubric-neutral", "21", "--rubric-difference", "0", "--quiet")
    judged = open_dataset(part)
    assert judged.run["identity"]["source"]["own"]["dataset"] == sorted(part.glob("*.jsonl"))[0].stem
    neutral = [record.metadata["judge"]["scores"]["neutral"] for record in judged]
    assert set(neutral) == {10.0, 15.0, 20.0}


def test_a_persons_labels_go_along(made, tmp_path):
    dataset = open_dataset(made("whole", 10))
    for id, label in (("fake-1", "right"), ("fake-4", "wrong")):
        keep_label(dataset.run_folder, id, label)
    split_dataset(dataset.target.folder, tmp_path / "parts", {"train": None, "test": 2})
    labels = [open_dataset(tmp_path / "parts" / name).labels() for name in ("train", "test")]
    assert labels[0] | labels[1] == {"fake-1": "right", "fake-4": "wrong"}
    assert all(
        {r.id for r in open_dataset(tmp_path / "parts" / n)} >= set(own)
        for n, own in zip(("train", "test"), labels, strict=True)
    )


def test_rejected_scenarios_stay_with_the_dataset_and_that_is_said(made, tmp_path):
    def answer(request):
        found = fake_answer(request)
        return type(found)(request.id, "" if "stop 3" in request.messages[-1].content else found.text)

    made("whole", 20, backend=FakeBackend(answer=answer))
    train, _ = split_dataset(tmp_path / "whole", tmp_path / "parts", {"train": None, "test": 4})
    name = open_dataset(tmp_path / "whole").target.name
    assert f"Rejected scenarios (1) stay listed with {name} alone." in train.notes
    assert open_dataset(train.folder).run["statistics"]["rejected"] == {}


def test_building_into_a_part_begins_another_dataset(made, run, tmp_path):
    made("whole", 10)
    split_dataset(tmp_path / "whole", tmp_path / "parts", {"train": None, "test": 4})
    part = tmp_path / "parts" / "train"
    before = next(part.glob("*.jsonl")).read_bytes()
    run(output=part, source=FakeSource(10))
    assert len(list(part.glob("*.jsonl"))) == 2
    assert sorted(part.glob("*.jsonl"))[0].read_bytes() == before
    assert len(list(open_dataset(part))) == 10  # the newest


@pytest.mark.usefixtures("shared_sink")
def test_a_strangers_sink_keeps_the_parts_of_its_datasets(made, tmp_path, type_in, capsys):
    dataset = made("whole", 20, sink="shared")
    type_in("dataset.split", dataset, "--held-out", "5", "--output", tmp_path / "parts")
    assert "held-out, Extroversion: 5 pairs" in capsys.readouterr().out
    assert not list((tmp_path / "parts").rglob("*.jsonl"))
    assert len(list(open_dataset(tmp_path / "parts" / "train"))) == 15
    assert [found.state for found in status(tmp_path / "parts", discover())] == ["complete", "complete"]
    type_in("dataset.split", dataset, "--held-out", "5", "--sink", "jsonl", "--output", tmp_path / "lines")
    assert len(list((tmp_path / "lines").rglob("*.jsonl"))) == 2
    theirs, lines = (texts(open_dataset(tmp_path / place / "train")) for place in ("parts", "lines"))
    assert theirs == lines


def test_a_sink_that_goes_by_the_folder_is_found_out_and_nothing_is_left(made, tmp_path):
    class ByFolder(MemorySink):
        def open(self, target):
            return self.datasets.setdefault((str(target.folder), target.trait), type(super().open(target))())

    with pytest.raises(OutputError, match="does not find a dataset again whose folder was renamed"):
        split_dataset(made("whole", 6), tmp_path / "parts", {"a": 2, "b": 2}, sink=ByFolder())
    assert left(tmp_path) == ["whole"]


def test_a_sink_that_has_a_dataset_of_that_name_is_not_added_to(made, tmp_path, monkeypatch):
    sink = MemorySink()
    monkeypatch.setattr(
        "psyctl_core._store.runs.free_names", lambda folders, count: ["caa_dataset_20260101_000000"] * count
    )
    with pytest.raises(OutputError, match="has a dataset caa_dataset_20260101_000000 already"):
        split_dataset(made("whole", 6), tmp_path / "parts", {"a": 2, "b": 2}, sink=sink)
    assert left(tmp_path) == ["whole"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (("nowhere", "--held-out", "2"), "There is no dataset at 'nowhere'"),
        (("empty", "--held-out", "2"), "holds no dataset"),
        (("whole",), "Nothing says how to split"),
        (("whole", "--held-out", "2", "--parts", "a,b=1"), "Both --held-out and --parts say how to split"),
        (("whole", "--held-out", "12"), "No pair of .* would be in 'train'"),
        (("whole", "--held-out", "13"), "The parts take 13 pairs, and there are 12 in "),
        (("whole", "--held-out", "0.01"), "No pair of .* would be in 'held-out'"),
        (("whole", "--held-out", "1.5"), "The part 'held-out' cannot be 1.5 of a dataset"),
        (("whole", "--held-out", "0"), "The part 'held-out' cannot be 0 of a dataset"),
        (("whole", "--held-out", "many"), "The size 'many' of the part 'held-out' is no number"),
        (("whole", "--held-out", "0.nan"), "is no number"),
        (("whole", "--parts", "a,b"), "Two parts cannot both be the rest"),
        (("whole", "--parts", "a"), "One part is no split"),
        (("whole", "--parts", "a=1,a=2"), "The part 'a' is named twice"),
        (("whole", "--parts", "../a=1,b"), "A part cannot be called '../a'"),
        (("whole", "--parts", "a=0.7,b=0.7"), "The parts take 17 pairs, and there are 12 in "),
        (("whole", "--held-out", "2", "--sink", "nothing"), "There is no sink named 'nothing'"),
        (("whole", "--held-out", "2", "--output", "full"), "is not empty, and what goes there is written whole"),
        (("whole", "--held-out", "2", "--output", "full/file"), "is not a folder"),
        (("whole", "--held-out", "2", "--output", "whole/parts"), "lies in 'whole', where it would be taken for a new"),
    ],
)  # fmt: skip
def test_what_cannot_be_split_is_said_in_one_line(wanted, message, made, tmp_path, type_in, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made("whole", 12)
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    words = wanted if "--output" in wanted else (*wanted, "--output", "parts")
    with pytest.raises(UsageError, match=message) as caught:
        type_in("dataset.split", *words)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert sorted(tmp_path.rglob("*")) == before


def test_all_pairs_of_one_scene_cannot_be_split(made, tmp_path):
    made("whole", 1, answers_per_scene=6, temperature=0.7, backend=FakeBackend(answer=by_seed))
    with pytest.raises(UsageError, match="too few scenes are there, and pairs of one scene stay together"):
        split_dataset(tmp_path / "whole", tmp_path / "parts", {"train": None, "test": 2})


def test_an_unfinished_run_is_split_and_said_to_be(made, tmp_path):
    made("whole", 12, backend=FakeBackend(dies_after=15, in_flight=1), raises=PluginError)
    train, _ = split_dataset(tmp_path / "whole", tmp_path / "parts", {"train": None, "test": 2})
    assert "The run is not finished (stopped): these are the pairs so far." in train.notes
    assert open_dataset(train.folder).run["status"] == "complete"


def test_a_dataset_without_a_run_folder_is_split(made, tmp_path):
    (file,) = made("whole", 12).glob("*.jsonl")
    alone = tmp_path / "alone" / file.name
    alone.parent.mkdir()
    alone.write_bytes(file.read_bytes())
    train, _ = split_dataset(alone, tmp_path / "parts", {"train": None, "test": 3})
    assert any("nobody can tell whether it is finished" in note for note in train.notes)
    part = open_dataset(train.folder)
    assert (part.trait, part.run["parents"], len(list(part))) == ("Extroversion", [{}], 9)
    assert status(train.folder, discover())[0].state == "complete"


def test_a_damaged_line_is_named_with_its_number_and_nothing_is_written(made, tmp_path):
    (file,) = made("whole", 12).glob("*.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:2], b'{"question": 1}\n', *lines[3:]]))
    with pytest.raises(OutputError, match=r"Line 3 of .* is not a CAA record"):
        split_dataset(tmp_path / "whole", tmp_path / "parts", {"train": None, "test": 3})
    assert left(tmp_path) == ["whole"]


def test_a_place_that_cannot_be_written_is_said_in_one_line(made, tmp_path):
    made("whole", 6)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file' is not a folder"):
        split_dataset(tmp_path / "whole", tmp_path / "file" / "parts", {"train": None, "test": 3})
    with pytest.raises(OutputError, match=r"cannot be written to .*x: ") as caught:
        split_dataset(tmp_path / "whole", tmp_path / ("x" * 300), {"train": None, "test": 3})
    assert "\n" not in caught.value.message
    assert left(tmp_path) == ["file", "whole"]


def test_a_full_disk_leaves_nothing_and_names_the_place(made, tmp_path, monkeypatch):
    made("whole", 6)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("psyctl_jsonl.sink.write_atomically", full)
    with pytest.raises(OutputError) as caught:
        split_dataset(tmp_path / "whole", tmp_path / "parts", {"train": None, "test": 3})
    assert "No space left on device" in caught.value.message
    assert ".new-" not in caught.value.message
    assert left(tmp_path) == ["whole"]


KILLED = """
import os, sys
from psyctl_core import split_dataset
from psyctl_core._plugins.guard import GuardedWriter

write, count = GuardedWriter.write, 0

def dying(self, record):
    global count
    count += 1
    if count == {at}:
        os.kill(os.getpid(), 9)
    write(self, record)

GuardedWriter.write = dying
split_dataset(sys.argv[1], sys.argv[2], {{"train": None, "test": 4}})
"""


@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 10, 19])
def test_killed_in_the_middle_it_leaves_nothing_that_looks_like_a_dataset(at, made, tmp_path):
    made("sets/whole", 20)
    place = tmp_path / "sets" / "parts"
    code = textwrap.dedent(KILLED.format(at=at))
    killed = subprocess.run([sys.executable, "-c", code, tmp_path / "sets" / "whole", place], check=False)
    assert killed.returncode
    assert not place.exists()
    assert [found.state for found in status(tmp_path / "sets", discover())] == ["complete"]
    assert len(stored(tmp_path / "sets", older=True)) == 1
    reports = split_dataset(tmp_path / "sets" / "whole", place, {"train": None, "test": 4})
    assert [report.pairs for report in reports] == [16, 4]


def test_a_link_that_leads_to_itself_is_no_place(made, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match="loop' is a link"):
        split_dataset(made("whole"), tmp_path / "loop", {"train": None, "test": 4})
