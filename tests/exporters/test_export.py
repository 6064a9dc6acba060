"""The command ``dataset.export``: what it writes, what it refuses, and that nothing is left half-written."""

from __future__ import annotations

import json

import pytest

from psyctl_core import (
    DatasetExporter,
    Exported,
    OutputError,
    PluginError,
    UsageError,
    export_dataset,
    open_dataset,
)
from psyctl_core._plugins.registry import discover
from psyctl_core.cli.app import make_app
from psyctl_core.testing import FakeBackend, FakeSource

TARGETS = {
    "caa", "easyedit", "inspect", "repeng", "steering-vectors", "persona-vectors", "aisteer360", "axbench",
    "public-psyctl", "dpo", "bipo", "csv", "parquet",
}  # fmt: skip


@pytest.fixture
def type_in():
    """Type a command in this process."""

    def typed(*words):
        make_app()([str(word) for word in words], standalone_mode=False)

    return typed


class Noting(DatasetExporter):
    """Writes one file of ids, or does what it is told."""

    reads = "ids"

    def __init__(self, act=None):
        self.act, self.seen = act, []

    def export(self, pairs, held_out, target):
        self.seen.append(([r.id for r in pairs], [r.id for r in held_out], target))
        (target.folder / "ids.txt").write_text("".join(f"{r.id}\n" for r in pairs), encoding="utf-8")
        return self.act(target) if self.act else Exported(("ids.txt",), "read it")


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_bare_option_lists_every_target_with_what_it_reads(type_in, capsys):
    type_in("dataset.export", "--to")
    listed = capsys.readouterr().out
    assert {line for line in listed.splitlines() if not line.startswith(" ")} == TARGETS
    assert listed.count("  reads:  ") == listed.count("  writes: ") == len(TARGETS)
    assert "the token before the last" in listed
    type_in("dataset.export", "somewhere", "--to", "--held-out", "3")
    assert capsys.readouterr().out == listed


@pytest.mark.parametrize("to", sorted(TARGETS - {"persona-vectors"}))
def test_every_target_says_what_it_wrote_and_what_to_run_next(to, type_in, dataset, tmp_path, capsys):
    place = tmp_path / "new" / "export"
    type_in("dataset.export", dataset, "--to", to, "--output", place, "--held-out", 4)
    said = capsys.readouterr().out
    assert said.startswith("Extroversion: 8 pairs, 4 more held out, from ")
    written = {str(path) for path in place.rglob("*") if path.is_file()}
    assert {line.strip() for line in said.splitlines() if line.startswith("  ")} == written
    assert "\nNext: " in said
    assert left(tmp_path / "new") == ["export"]


def test_the_same_dataset_gives_the_same_files(dataset, tmp_path):
    for name in ("one", "other"):
        export_dataset(dataset, tmp_path / name, "inspect", held_out=2)
    one, other = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("one", "other"))
    assert one == other
    assert set(one) == {"extroversion.jsonl", "extroversion_heldout.jsonl"}


def test_what_is_held_out_shares_no_scene_with_the_rest(run, tmp_path):
    run(source=FakeSource(6), answers_per_scene=2, personas=2)
    (report,) = export_dataset(tmp_path / "out", tmp_path / "export", noting := Noting(), held_out=3)
    ((pairs, kept, _),) = noting.seen
    assert not {id.partition("#")[0] for id in pairs} & {id.partition("#")[0] for id in kept}
    assert (report.pairs, report.held_out) == (8, 4)
    assert "Held out: 4 pairs, not 3: pairs of one scene stay together." in report.notes


def test_several_traits_get_a_folder_each(run, tmp_path, type_in, capsys):
    run("Openness, Neuroticism", source=FakeSource(3))
    type_in("dataset.export", tmp_path / "out", "--to", "csv", "--output", tmp_path / "csv")
    assert "2 datasets, a folder each in " in capsys.readouterr().out
    names = sorted(path.relative_to(tmp_path / "csv").as_posix() for path in (tmp_path / "csv").rglob("*.csv"))
    assert names == ["neuroticism/neuroticism.csv", "openness/openness.csv"]


def test_a_strangers_sink_and_exporter_work(install, run, tmp_path):
    install("psyctl-line", STRANGER)
    run(source=FakeSource(4), sink="line")
    (report,) = export_dataset(tmp_path / "out", tmp_path / "ids", "ids")
    assert (tmp_path / "ids" / "ids.txt").read_text().split() == [r.id for r in open_dataset(tmp_path / "out")]
    assert report.next == "read it"


STRANGER = """
import dataclasses
from psyctl_core import Component, Exported, DatasetExporter, hookimpl
from psyctl_jsonl.sink import JsonlSink

@dataclasses.dataclass(frozen=True)
class Config:
    pass

class Line(JsonlSink):
    pass

class Ids(DatasetExporter):
    reads = "ids"
    def __init__(self, config, context):
        pass
    def export(self, pairs, held_out, target):
        (target.folder / "ids.txt").write_text("".join(f"{record.id}\\n" for record in pairs))
        return Exported(("ids.txt",), "read it")

@hookimpl
def psyctl_output_sinks():
    return [Component("line", "psyctl_line:Line", Config, "Lines")]

@hookimpl
def psyctl_dataset_exporters():
    return [Component("ids", "psyctl_line:Ids", Config, "Ids")]
"""


def test_an_unfinished_run_is_shown_as_such(run, tmp_path, type_in, capsys):
    run(source=FakeSource(8), backend=FakeBackend(dies_after=9, in_flight=1), raises=PluginError)
    type_in("dataset.export", tmp_path / "out", "--to", "csv", "--output", tmp_path / "csv")
    assert "Note: The run is not finished (stopped): these are the pairs so far." in capsys.readouterr().out


def test_a_dataset_without_a_run_folder_says_that_nobody_can_tell(dataset, tmp_path):
    (file,) = dataset.glob("*.jsonl")
    alone = tmp_path / file.name
    alone.write_bytes(file.read_bytes() + b'{"question": "half a li')
    (report,) = export_dataset(alone, tmp_path / "csv", "csv")
    assert report.trait == "Extroversion"
    assert any("nobody can tell whether it is finished" in note for note in report.notes)
    assert any("ends in half a line" in note for note in report.notes)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (("nowhere", "--to", "csv", "--output", "x"), "There is no dataset at '.*nowhere'"),
        (("empty", "--to", "csv", "--output", "x"), "holds no dataset"),
        (("out", "--to", "cvs", "--output", "x"), "There is no exporter named 'cvs'"),
        (("out", "--to", "csv"), "Nothing says where to export to"),
        (("--to", "csv", "--output", "x"), "Nothing says which dataset to export"),
        (("out", "--to", "csv", "--output", "full"), "is not empty, and what goes there is written whole"),
        (("out", "--to", "csv", "--output", "full/file"), "is not a folder"),
        (("out", "--to", "csv", "--output", "x", "--held-out", "12"), "12 pairs cannot be held out of the 12 in "),
        (("out", "--to", "persona-vectors", "--output", "x"), "persona-vectors holds prompts in the chat template"),
        (("out", "--to", "csv", "--output", "x", "--template-model", "m"), "but the exporter is 'csv'"),
    ],
)  # fmt: skip
def test_what_cannot_be_exported_is_said_in_one_line(wanted, message, dataset, tmp_path, type_in, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    before = left(tmp_path)
    with pytest.raises(UsageError, match=message) as caught:
        type_in("dataset.export", *wanted)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert left(tmp_path) == before


def test_a_damaged_line_is_named_with_its_number_and_nothing_is_written(dataset, tmp_path):
    (file,) = dataset.glob("*.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:2], b'{"question": 1}\n', *lines[3:]]))
    with pytest.raises(OutputError, match=r"Line 3 of .* is not a CAA record"):
        export_dataset(dataset, tmp_path / "csv", "csv")
    assert left(tmp_path) == ["out"]


def test_an_empty_dataset_says_which_command_fills_it(run, tmp_path):
    run(source=FakeSource(2))
    (file,) = (tmp_path / "out").glob("*.jsonl")
    file.write_bytes(b"")
    with pytest.raises(UsageError, match=r"There are no pairs in .* yet") as caught:
        export_dataset(tmp_path / "out", tmp_path / "csv", "csv")
    assert "psyctl dataset.build.caa" in caught.value.hint


def test_a_place_that_cannot_be_written_is_said_in_one_line(dataset, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file' is not a folder") as caught:
        export_dataset(dataset, tmp_path / "file" / "csv", "csv")
    assert "\n" not in caught.value.message
    assert left(tmp_path) == ["file", "out"]


def full_disk(target):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (full_disk, OutputError, "cannot be written: No space left on device"),
        (lambda target: 1 / 0, PluginError, "Noting.*ZeroDivisionError"),
        (lambda target: None, PluginError, "returned a NoneType, not an Exported"),
        (lambda target: Exported((), "x"), PluginError, "named no file"),
        (lambda target: Exported(("no.txt",), "x"), PluginError, "not in its folder: no.txt"),
        (lambda target: Exported(("/etc/passwd",), "x"), PluginError, "not in its folder: /etc/passwd"),
        (lambda target: Exported(("ids.txt",), ""), PluginError, "did not say what to run next"),
    ],
)
def test_an_exporter_that_fails_leaves_nothing_behind(act, error, message, dataset, tmp_path):
    with pytest.raises(error, match=message):
        export_dataset(dataset, tmp_path / "ids", Noting(act))
    assert left(tmp_path) == ["out"]


def test_an_empty_folder_is_taken_and_a_link_is_not_followed(dataset, tmp_path):
    (tmp_path / "empty").mkdir()
    export_dataset(dataset, tmp_path / "empty", Noting())
    assert left(tmp_path / "empty") == ["ids.txt"]
    (tmp_path / "aim").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "aim")
    with pytest.raises(UsageError, match="is a link, and links are not followed"):
        export_dataset(dataset, tmp_path / "link", Noting())


def test_half_a_character_and_control_codes_break_no_target(dataset, tmp_path, type_in, capsys):
    (file,) = dataset.glob("*.jsonl")
    lines = file.read_text(encoding="utf-8").splitlines()
    row = json.loads(lines[0])
    row["positive_text"], row["situation"] = "Half \ud83d and \x1b[2J\x00.", 'Quote " and\r\n=1+1, here'
    file.write_text("\n".join([json.dumps(row), *lines[1:]]) + "\n", encoding="utf-8")
    for to in sorted(TARGETS - {"persona-vectors"}):
        type_in("dataset.export", dataset, "--to", to, "--output", tmp_path / to)
        capsys.readouterr()
    lists = json.loads((tmp_path / "aisteer360" / "extroversion.json").read_text(encoding="utf-8"))
    assert lists["positives"][0] == "Half \ufffd and \x1b[2J\x00."


def test_a_run_takes_no_exporter_and_shows_none_of_its_options():
    from typer.main import get_command

    build = get_command(make_app()).commands["dataset.build.caa"]
    spellings = {spelling for parameter in build.params for spelling in parameter.opts}
    assert "--template-model" not in spellings
    export = get_command(make_app()).commands["dataset.export"]
    assert "--template-model" in {spelling for parameter in export.params for spelling in parameter.opts}
    assert {entry.origin.name for entry in discover().usable("exporter")} == TARGETS
