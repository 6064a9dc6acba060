"""The plugins that pages have somebody write do in a whole job, or on the command line, what the pages say."""

from __future__ import annotations

import csv
import json
import sys
import types
from pathlib import Path

import pytest

from psyctl_core import Completion, Context, build_caa, open_dataset
from psyctl_core.testing import FakeBackend, FakePrompter, FakeSource

KEPT = Path(__file__).resolve().parents[1] / "unit" / "kept" / "caa-record.v1.jsonl"


@pytest.fixture
def written(read, monkeypatch, tmp_path):
    """What a page's Python defines; the part that checks it is left out."""

    def of(page: str, blocks: int) -> dict:
        module = types.ModuleType("page")  # a dataclass looks up the module that it is made in
        monkeypatch.setitem(sys.modules, "page", module)
        monkeypatch.chdir(tmp_path)
        for _, text in read(page).blocks("python")[:blocks]:
            exec(compile(text, page, "exec"), vars(module))
        return vars(module)

    return of


def test_the_backend_answers_the_default_prompter_and_scenarios(written, tmp_path):
    page = written("docs/how-to/write-a-backend.md", 1)
    asked = []

    class StandIn(page["Institute"]):
        def post(self, body):
            asked.append(body["messages"][-1]["content"])
            if "adjectives" in asked[-1]:
                return "curious, quick" if "Openness" in asked[-1] else "plain, calm"
            if "Alex" in asked[-1]:
                kind = "loves new ideas and asks" if "Openness" in asked[-1] else "takes things as they come and asks"
                return f"Alex {kind} what others think of them. Alex talks about many things."
            return asked[-1].split("\n\n")[-2]  # the persona's part of the prompt

    backend = StandIn(page["InstituteConfig"](), Context())
    report = build_caa("Openness", tmp_path, source=FakeSource(12), prompter="p2", backend=backend, limit_samples=6)
    assert report.datasets[0].pairs == 6
    assert sum("adjectives" in text for text in asked) == 2  # once with the trait, once neutral


def test_the_prompter_describes_in_a_job(written, tmp_path):
    prompter = written("docs/how-to/write-a-prompter.md", 1)
    made = prompter["OneQuestion"](prompter["OneQuestionConfig"](), Context())

    def answer(request):
        text = request.messages[-1].content
        return Completion(request.id, f"Alex talks. {len(text)}" if "Alex" in text else f"So {hash(text)}.")

    report = build_caa(
        "Openness", tmp_path, source=FakeSource(3), prompter=made, backend=FakeBackend(answer=answer)
    )  # fmt: skip
    assert report.datasets[0].pairs == 3
    run = json.loads((report.datasets[0].run_folder / "run.json").read_text(encoding="utf-8"))
    assert run["personas"]["positive"]["description"].startswith("{character} talks.")


def test_the_sink_serves_two_traits_and_is_read_again(written, install, tmp_path):
    page = written("docs/how-to/write-a-sink.md", 1)
    sink = page["Shared"](None, None)
    report = build_caa(
        "Openness, Neuroticism", tmp_path / "out", source=FakeSource(4), prompter=FakePrompter(),
        backend=FakeBackend(), sink=sink,
    )  # fmt: skip
    for dataset in report.datasets:
        target = types.SimpleNamespace(folder=dataset.run_folder.parent, name=dataset.run_folder.stem)
        assert [record.trait for record in sink.read(target)] == [dataset.trait] * 4
        assert sink.inspect(target).records == 4


OFFER = """

from psyctl_core import Component, hookimpl


@dataclasses.dataclass(frozen=True)
class SharedConfig:
    pass


@hookimpl
def psyctl_output_sinks():
    return [Component("shared", f"{__name__}:Shared", SharedConfig, "One SQLite file for all runs of a folder")]
"""


def test_the_sink_is_reported_checked_and_exported_without_a_line_for_it(read, install, psyctl, tmp_path):
    (_, code), *_ = read("docs/how-to/write-a-sink.md").blocks("python")
    install("psyctl-shared", code + OFFER)
    build_caa(
        "Openness, Neuroticism", tmp_path / "out", source=FakeSource(12), prompter=FakePrompter(),
        backend=FakeBackend(), sink="shared",
    )  # fmt: skip
    assert not list((tmp_path / "out").rglob("caa_dataset_*.jsonl"))
    report = psyctl("dataset.report", "out")
    assert report.stdout.endswith("report.html: Neuroticism, 12 pairs; Openness, 12 pairs.\n"), report.stderr
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("<article") == 24
    assert "pairs.sqlite#caa_dataset_" in page
    check = psyctl("dataset.check", "out", "--only", "order", "--trait", "Openness")
    assert "pairs.sqlite#caa_dataset_" in check.stdout, check.stderr
    assert "the positive answer stands first in 6 of 12 pairs" in check.stdout
    export = psyctl("dataset.export", "out", "--to", "caa", "--output", "caa", "--held-out", "2")
    assert export.returncode == 0, export.stderr
    file = tmp_path / "caa" / "openness" / "datasets" / "generate" / "openness" / "generate_dataset.json"
    assert len(json.loads(file.read_text(encoding="utf-8"))) == 20  # ten pairs, each in both orders


def test_the_command_writes_a_dataset_whichever_sink_has_it(read, install, psyctl, tmp_path):
    offer, command = (text for _, text in read("docs/how-to/extend.md").blocks("python"))
    install("psyctl-csv", offer)
    (tmp_path / "site" / "psyctl_csv_export.py").write_text(command, encoding="utf-8")
    assert "dataset.csv" in psyctl("--help").stdout
    done = psyctl("dataset.csv", str(KEPT), "--file", "pairs.csv")
    assert done.stdout == "Wrote pairs.csv.\n", done.stderr
    with (tmp_path / "pairs.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [record.id for record in open_dataset(KEPT)]
    missing = psyctl("dataset.csv", "nowhere")
    assert missing.returncode == 2
    assert "There is no dataset at 'nowhere'" in missing.stderr
    unwritable = psyctl("dataset.csv", str(KEPT), "--file", "nowhere/pairs.csv")
    assert unwritable.returncode == 1
    assert "Choose another --file" in unwritable.stderr


def test_the_check_finds_what_it_looks_for_beside_the_others(read, install, psyctl, tmp_path):
    offer, function = (text for _, text in read("docs/how-to/write-a-check.md").blocks("python"))
    install("psyctl-shouting", offer)
    (tmp_path / "site" / "psyctl_shouting_check.py").write_text(function, encoding="utf-8")
    rows = [{"positive": f"Door {number}!", "negative": f"Window {number}."} for number in range(12)]
    (tmp_path / "pairs.json").write_text(json.dumps(rows), encoding="utf-8")
    done = psyctl("dataset.check", "pairs.json", "--only", "shouting", "--worst", "1")
    assert done.returncode == 3, done.stderr
    assert "fail         shouting  12 positive and 0 neutral answers alone have" in done.stdout
    assert "row 1: Door 0! / Window 0." in done.stdout
    assert psyctl("dataset.check", "pairs.json", "--only", "shouting", "--threshold", "shouting=1,1").returncode == 0
