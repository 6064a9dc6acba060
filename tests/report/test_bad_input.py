"""What reports, checks and exports do with what is not there, not finished, damaged, older, or not to be written."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from psyctl_core import PsyctlError
from psyctl_core.cli.app import make_app

COMMANDS = {
    "report": ("dataset.report", "{}", "--html", "{}/page.html"),
    "check": ("dataset.check", "{}", "--only", "order,power"),
    "export": ("dataset.export", "{}", "--to", "csv", "--output", "{}/export"),
}


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """Type one of the three commands; gives what it printed, or the error that it ended with."""

    def typed(name, folder, place=tmp_path):
        capsys.readouterr()
        words = [word.format(folder if word == "{}" else place) for word in COMMANDS[name]]
        monkeypatch.setattr(sys, "argv", ["psyctl", *words])  # a plugin's command is made where it was typed
        try:
            make_app()(words, standalone_mode=False)
        except PsyctlError as error:
            return f"{error.message}\n{error.hint}"
        told = capsys.readouterr()
        return told.out + told.err

    return typed


@pytest.fixture
def twelve(dataset, make):
    """A dataset of twelve pairs."""
    return dataset([make.record(n) for n in range(12)])


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def change_run(folder, **values):
    (path,) = folder.glob("*.run/run.json")
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **values}), encoding="utf-8")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_without_a_dataset_is_one_line_and_nothing_is_written(run, tmp_path, name):
    (tmp_path / "empty").mkdir()
    assert "holds no dataset" in run(name, tmp_path / "empty")
    assert "There is no dataset at" in run(name, tmp_path / "nowhere")
    assert files(tmp_path) == {}


@pytest.mark.parametrize("status", ["running", "stopped"])
def test_an_unfinished_run_is_called_one(run, twelve, status):
    change_run(twelve, status=status)
    assert "12 pairs so far" in run("report", twelve)
    line = f"The run is not finished ({status}): these are the pairs so far.\n"
    assert line in run("check", twelve)
    assert line in run("export", twelve)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_damaged_line_is_named_with_its_number(run, twelve, tmp_path, name):
    (path,) = twelve.glob("*.jsonl")
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines[:4], lines[4][:50], *lines[5:]]) + "\n", encoding="utf-8")
    before = files(twelve)
    told = run(name, twelve)
    assert f"Line 5 of {path} is not a CAA record" in told
    if name == "report":
        assert "11 pairs" in told
    else:
        assert "dataset.report" in told
        assert not (tmp_path / "export").exists()
    assert files(twelve) == before


def test_of_many_damaged_lines_the_first_are_told_and_the_rest_counted(run, twelve):
    (path,) = twelve.glob("*.jsonl")
    with path.open("a", encoding="utf-8") as file:
        file.write("no record\n" * 300)
    told = run("report", twelve)
    assert told.count("is not a CAA record") == 10
    assert "And 290 more like that.\n" in told
    assert "12 pairs" in told


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("version", [1, 2])
def test_records_of_every_version_are_read(run, request, tmp_path, name, version):
    kept = request.config.rootpath / "tests" / "unit" / "kept" / f"caa-record.v{version}.jsonl"
    told = run(name, kept)
    assert "Openness" in told
    assert "unknown" not in told
    assert f"{len(kept.read_text(encoding='utf-8').splitlines())} pairs" in told


@pytest.mark.parametrize("name", COMMANDS)
def test_a_run_json_of_another_version_names_both_and_a_way_out(run, twelve, name):
    change_run(twelve, format_version=7)
    told = run(name, twelve)
    assert "run.json: format_version: 1 was expected, and it is 7" in told
    assert "psyctl" in told.splitlines()[1]
    assert "plugins.list" not in told


@pytest.mark.parametrize("name", COMMANDS)
def test_a_run_folder_without_its_dataset_is_one_line(run, twelve, name):
    (path,) = twelve.glob("*.jsonl")
    path.unlink()
    assert f"The dataset {path} cannot be read: {os.strerror(2)}." in run(name, twelve)


@pytest.mark.parametrize("name", ["report", "export"])
def test_a_place_below_a_file_is_refused_and_nothing_half_written(run, twelve, tmp_path, name):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    before = files(tmp_path)
    told = run(name, twelve, tmp_path / "file")
    assert "is not a folder" in told or os.strerror(20) in told
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", ["report", "export"])
@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no file system here that nobody can write to")
def test_a_place_that_nobody_can_write_to_is_refused(run, twelve, name):
    before = files(twelve)
    told = run(name, twelve, "/proc")
    assert "annot " in told
    assert ("--html" if name == "report" else "--output") in told
    assert files(twelve) == before
