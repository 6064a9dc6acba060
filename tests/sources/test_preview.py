"""``psyctl source.preview`` as it is typed: for files, for any source, as text and as JSON."""

from __future__ import annotations

import json
import re
import signal
import sys
from pathlib import Path

import pytest

from psyctl_core.cli import main

ROW = {"narrative": "At the quay.", "dialogue": ["Is the old boat still here?", "Yes."], "speakers": ["Ann", "Bo"]}


def test_it_tells_shape_reason_columns_scenarios_and_skips(psyctl, jsonl):
    path = jsonl([ROW, ROW, {**ROW, "speakers": []}, {**ROW, "narrative": "At sea."}, {**ROW, "narrative": "Here."}])
    done = psyctl("source.preview", "--dataset", str(path), "--count", "2")
    assert done.returncode == 0, done.stderr
    for words in (
        "soda: SODA and its simplified forms", "columns narrative, dialogue and speakers",
        "narrative, dialogue, speakers",
        "5 rows, 3 of them with a scenario", "2 (repeats an earlier row: 1, names do not match the turns: 1)",
        "Scenario 2 (3-", "At sea.", 'Ann: "Is the old boat still here?"', "What does Bo say, in", "Nothing was asked",
    ):  # fmt: skip
        assert words in done.stdout, words
    assert "Scenario 3" not in done.stdout


def test_as_json(psyctl, jsonl):
    done = psyctl("source.preview", "--dataset", str(jsonl([ROW, {}])), "--rows", "2", "--json")
    seen = json.loads(done.stdout)
    assert seen["description"]["Recognised by"] == "columns narrative, dialogue and speakers"
    assert seen["rows"] == 2
    assert seen["found"] == 1
    assert seen["skipped"] == {"no dialogue": 1}
    (scenario,) = seen["scenarios"]
    assert scenario["character"] == "Bo"
    assert scenario["dialogue"] == [{"speaker": "Ann", "text": "Is the old boat still here?"}]
    assert scenario["prompt"].endswith('such a person would say?\n\nBo: "')


SOURCE = """
import dataclasses
from psyctl_core import Component, Scenario, SkippedRow, hookimpl, option
from psyctl_core.components import ScenarioSource

@dataclasses.dataclass(frozen=True)
class Config:
    greeting: str = option("Hello", help="What is said.")

class Source(ScenarioSource):
    def __init__(self, config, context):
        self.config, self.seed = config, context.seed

    def scenarios(self, start):
        yield SkippedRow(0, "too shy")
        yield Scenario("one", 1, f"{self.config.greeting} {self.seed}", CHARACTER)

@hookimpl
def psyctl_scenario_sources():
    return [Component("mine", "psyctl_mine:Source", Config, "Mine")]

CHARACTER = "Bo"
"""


def test_any_source_is_shown(psyctl, install):
    install("psyctl-mine", SOURCE)
    done = psyctl("source.preview", "--source", "mine", "--mine-greeting", "Good day", "--seed", "7")
    assert done.returncode == 0, done.stderr
    for words in ("source 'mine' (from psyctl-mine 1.0)", "Good day 7", "1 (too shy: 1)"):
        assert words in done.stdout, words
    assert "319 of many settings" in psyctl("source.preview", "--source", "starter").stdout


def test_the_source_that_the_how_to_shows_works_as_written(psyctl, install, tmp_path):
    page = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "own-data.md"
    (code,) = re.findall(r"^```py\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    install("psyctl-letters", code, module="my_letters")
    (tmp_path / "letters.txt").write_text("Will you visit us this spring?\n", encoding="utf-8")
    done = psyctl("source.preview", "--source", "letters")
    assert done.returncode == 0, done.stderr
    assert 'Robin: "Will you visit us this spring?"' in done.stdout


def test_an_unusable_source_is_blamed(psyctl, install):
    install("psyctl-mine", SOURCE.replace('CHARACTER = "Bo"', "CHARACTER = ''"))
    done = psyctl("source.preview", "--source", "mine")
    assert done.returncode == 1
    assert "source 'mine' (from psyctl-mine 1.0) yielded something unusable: character" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--source", "sodas"), 2, "Did you mean 'soda'?"),
        (("--dataset", "none.jsonl"), 1, "no such file or folder"),
        (("--dataset", "x.jsonl", "--columns", "text"), 2, "is not of the form PART=COLUMN"),
        (("--dataset", "x.jsonl", "--columns", "situation=a,situation=b"), 2, "gives a part twice"),
        (("--dataset", "x.jsonl", "--columns", "speaker=a"), 2, "gives neither situation nor line"),
        (("--dataset", "x.jsonl", "--columns", "line=,speaker=a"), 2, "names no column for line"),
        (("--dataset", "rows.jsonl", "--columns", "line=nope"), 2, "there is no such column"),
        (("--dataset", "rows.jsonl"), 1, "--columns situation=text"),
        (("--model", "embedded"), 2, "--model"),
    ],
)
def test_mistakes_are_told(jsonl, monkeypatch, capsys, tmp_path, arguments, code, words):
    jsonl([{"text": "It rains.", "n": 1}])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["psyctl", "source.preview", *arguments])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == code
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
