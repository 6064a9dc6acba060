"""The page about scale: its tables are what its script prints, and what it calls measured was measured."""

from __future__ import annotations

import json
import re
import runpy

import pytest

PAGE = "docs/explanation/scale.md"


@pytest.fixture
def script(read, tmp_path, capsys) -> tuple[dict[str, object], list[str]]:
    """The names of the page's script, and the lines that it prints."""
    ((_, text),) = read(PAGE).blocks("python")
    (tmp_path / "scale.py").write_text(text, encoding="utf-8")
    names = runpy.run_path(str(tmp_path / "scale.py"))
    return names, capsys.readouterr().out.splitlines()


@pytest.fixture
def report(root) -> dict[str, dict]:
    """What the benchmarks found."""
    return json.loads((root / "tests" / "benchmarks" / "report.json").read_text(encoding="utf-8"))


@pytest.fixture
def found(report) -> dict[str, float]:
    """What the benchmark of scale found, by what it is."""
    return {row["what"]: float(row["value"].replace(",", "")) for row in report["scale"]["rows"]}


def test_the_tables_are_what_the_script_prints(script, read):
    text = read(PAGE).text
    rows = [line for line in script[1] if line.startswith("|")]
    body = "\n".join(line for line in text.splitlines() if re.match(r"\| (\d+|normal|flex|batch) \|", line))
    assert body == "\n".join(rows)


def test_what_is_told_between_the_tables_is_what_the_script_prints(script, read):
    prose = " ".join(re.sub(r"```.*?```", "", read(PAGE).text, flags=re.DOTALL).split())
    first, *_, disk, time = script[1]
    answers, questions, _ = (number.replace(",", "") for number in re.findall(r"\d[\d,]*", first))
    assert f"are {int(answers) / 1e6} million answers" in prose
    assert f"takes {int(questions) / int(answers):.1f} times as many requests again" in prose
    gigabytes, batches, _ = re.findall(r"\d[\d,]*", disk)
    assert f"{gigabytes} GB of records" in prose
    assert f"{batches} batches of 50,000 requests" in prose
    own, with_ray = re.findall(r"\d+", time)
    assert f"would take {own} minutes for everything, {with_ray} through Ray" in prose


def test_a_smaller_set_costs_what_the_page_says(script, read, found):
    names, _ = script
    answers = 10_000 / (found["% of scenes accepted"] / 100) * 9
    prose = " ".join(read(PAGE).text.split())
    assert f"about {round(answers, -3):,.0f} answers" in prose
    assert f"${names['dollars'](answers, names['READ'], names['WRITTEN']):.2f} of the API below" in prose


def test_what_was_measured_is_what_the_benchmarks_found(script, report, found, read):
    names, _ = script
    assert names["READ"] == found["writer: tokens read a request"]
    assert names["WRITTEN"] == round(found["tokens written an answer"])
    assert names["ASKED"] == found["judge: requests a scene"]
    assert names["ASKED_READ"] == found["judge: tokens read a request"]
    assert names["OWN_RATE"] == found["psyctl itself: answers a second of one core"]
    assert names["RECORD"] == found["bytes a record"]
    assert names["TRAITS"] + 1 == found["writer: requests a scene"]
    assert f"Scenes that gave a pair | {found['% of scenes accepted']} %" in read(PAGE).text
    new = round(found["writer: of these new"])
    assert f"begin with alike | {new} |" in read(PAGE).text
    eight = next(row for row in report["ray_cluster"]["rows"] if row["workers"] == 8)
    assert f"eight Ray workers reach | {eight['share']} |" in read(PAGE).text
    assert eight["share"] >= names["SHARE"]
