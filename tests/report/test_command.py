"""``psyctl dataset.report``: where the page goes, what it says, and what stops it."""

from __future__ import annotations

import importlib

import pytest

import psyctl_report
from psyctl_core import OutputError, UsageError, build_caa
from psyctl_core.terminal import NOTICE
from psyctl_core.testing import FakeBackend, FakePrompter, FakeSource
from psyctl_report.command import report


def test_the_command_is_offered_and_its_function_is_there():
    (command,) = psyctl_report.psyctl_commands()
    module, _, name = command.factory.partition(":")
    assert command.name == "dataset.report"
    assert getattr(importlib.import_module(module), name) is report


def test_the_page_goes_into_the_folder_or_where_it_is_told_to(dataset, make, tmp_path, capsys):
    folder = dataset([make.record(n) for n in range(3)])
    report(folder)
    assert capsys.readouterr().out == f"Wrote {folder / 'report.html'}: Openness, 3 pairs.\n"
    (file,) = folder.glob("*.jsonl")
    report(file, tmp_path / "there.html")
    assert (tmp_path / "there.html").read_bytes() == (folder / "report.html").read_bytes()


def test_what_is_damaged_is_said_once_and_the_rest_written(dataset, make, capsys):
    folder = dataset([make.record(n) for n in range(3)])
    (path,) = folder.glob("*.jsonl")
    path.write_text("no record\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    report(folder)
    out, err = capsys.readouterr()
    assert err.startswith(f"Line 1 of {path} is not a CAA record")
    assert err.count("\n") == 1
    assert "3 pairs" in out


def test_older_datasets_are_left_out_and_that_is_said(dataset, make, capsys, caplog):
    folder = dataset([make.record(0)])
    dataset([make.record(0), make.record(1)])
    caplog.set_level(NOTICE)
    report(folder)
    assert "2 pairs" in capsys.readouterr().out
    assert f"Older datasets in '{folder}' are left out: 1." in caplog.text
    assert "Older datasets in the folder are left out: 1." in (folder / "report.html").read_text(encoding="utf-8")


def test_a_folder_without_a_dataset_is_one_line(tmp_path):
    with pytest.raises(UsageError, match="holds no dataset"):
        report(tmp_path)
    with pytest.raises(UsageError, match="There is no dataset at"):
        report(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_no_access_is_one_line_and_nothing_half_written(dataset, make, tmp_path):
    folder = dataset([make.record(0)])
    with pytest.raises(OutputError, match=r"Cannot write .*nowhere.report\.html"):
        report(folder, tmp_path / "nowhere" / "report.html")
    (tmp_path / "taken.html").mkdir()
    with pytest.raises(OutputError, match="Cannot write"):
        report(folder, tmp_path / "taken.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "taken.html"]


def test_a_dataset_is_not_replaced_by_its_report(dataset, make):
    folder = dataset([make.record(0)])
    (path,) = folder.glob("*.jsonl")
    before = path.read_bytes()
    with pytest.raises(UsageError, match="is no name for a page"):
        report(folder, path)
    assert path.read_bytes() == before


def test_a_run_json_that_cannot_be_used_is_one_line(dataset, make):
    folder = dataset([make.record(0)], format_version=99)
    with pytest.raises(OutputError, match=r"run\.json: format_version: 1 was expected"):
        report(folder)
    assert not (folder / "report.html").exists()


def test_of_two_datasets_the_one_that_can_be_read_is_shown(dataset, make, tmp_path, capsys):
    folder = tmp_path / "both"
    dataset([make.record(0)], folder=folder / "openness")
    dataset([make.record(0)], folder=folder / "calm", trait="Calm", format_version=99)
    for path in sorted(folder.glob("*/caa*")):  # both of one run
        path.rename(path.with_name("caa_dataset_20260101_000000" + "".join(path.suffixes)))
    capsys.readouterr()
    report(folder)
    out, err = capsys.readouterr()
    assert out.endswith("unknown, 0 pairs; Openness, 1 pair.\n")
    assert "format_version: 1 was expected" in err
    assert err.count("\n") == 1


STRANGER = """
import pickle
from dataclasses import dataclass
from psyctl_core import Component, DatasetWriter, OutputSink, hookimpl

@dataclass(frozen=True)
class Config:
    pass

class Pickles(OutputSink):
    def __init__(self, config, context):
        pass
    def path(self, target):
        return target.folder / f"{target.name}.pickles"
    def open(self, target):
        return Writer(self.path(target))
    def read(self, target):
        with self.path(target).open("rb") as file:
            while True:
                try:
                    yield pickle.load(file)
                except EOFError:
                    return
    def location(self, target):
        return "pickles:" + target.name

class Writer(DatasetWriter):
    def __init__(self, path):
        self.path = path
    def last_checkpoint(self):
        return None
    def record_ids(self, start):
        return iter(())
    def write(self, record):
        with self.path.open("ab") as file:
            pickle.dump(record, file)
    def checkpoint(self, checkpoint):
        pass
    def close(self):
        pass

@hookimpl
def psyctl_output_sinks():
    return [Component("pickles", "psyctl_pickles:Pickles", Config, "Pickles")]
"""


def test_a_strangers_sink_is_reported_as_any_other(install, tmp_path, capsys):
    install("psyctl-pickles", STRANGER)
    folder = tmp_path / "out"
    build_caa(
        "Openness", folder, source=FakeSource(12), prompter=FakePrompter(), backend=FakeBackend(), sink="pickles"
    )  # fmt: skip
    assert not list(folder.glob("*.jsonl"))
    report(folder)
    assert capsys.readouterr().out.endswith("Openness, 12 pairs.\n")
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert html.count("<article") == 12
    assert "pickles:caa_dataset_" in html
