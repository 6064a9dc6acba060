"""The tutorial's plugin: its pages show the files of the example, and the installed example does what they say."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess

import pytest

PAGE = "docs/tutorial/first-plugin.md"


@pytest.fixture
def page(request) -> str:
    return (request.config.rootpath / PAGE).read_text(encoding="utf-8")


def test_the_page_shows_the_examples_files(page, example):
    shown = re.findall(r"`([\w/.]+)`:\n\n```(?:toml|python-file)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    files = {path for path in example.rglob("*") if path.suffix in (".py", ".toml") and "build" not in path.parts}
    assert {example / name for name, _ in shown} == files
    for name, text in shown:
        assert text == (example / name).read_text(encoding="utf-8"), name


@pytest.mark.slow
def test_its_commands_work_as_typed(page, example, environment, check, tmp_path):
    for path in (example / "tests").glob("*.py"):
        shutil.copy(path, tmp_path)
    (csv,) = re.findall(r"```csv\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "stop.csv").write_text(csv, encoding="utf-8")
    lines = [line[2:].split() for line in page.replace("\\\n", "").splitlines() if line.startswith("$ ")]
    assert [words[0] for words in lines] == ["pip", "python", *["psyctl"] * 5]
    printed = {}
    for command, *words in lines[1:]:
        # The environment has no model: another stranger's backend stands in for the embedded one.
        arguments = " ".join(words).replace("--model embedded", "--backend echo").split()
        printed[arguments[0]] = check(environment / command, *arguments, cwd=tmp_path).stdout
    assert "Nothing is wrong" in printed["plugins.check"]
    assert "3 scenarios in all of its 3 items" in printed["plugins.check"]
    assert "Rain falls" in printed["source.preview"]
    assert "complete" in printed["dataset.status"]
    assert "Rain falls" in printed["dataset.show"]
    database = sqlite3.connect(next((tmp_path / "out").glob("*.sqlite")))
    assert [row[0] for row in database.execute("SELECT id FROM pairs ORDER BY number")] == [
        f"situation-{n}" for n in range(3)
    ]
    database.close()


@pytest.mark.slow
def test_strangers_can_be_switched_off(environment, tmp_path):
    def listed(*arguments, **variables):
        command = [environment / "psyctl", *arguments, "plugins.list"]
        return subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert "sqlite" in listed(COLUMNS="200")
    for off in (
        listed("--no-plugins", COLUMNS="200"),
        listed(PSYCTL_DISABLE_PLUGINS="psyctl_Situations", COLUMNS="200"),
    ):
        assert "sqlite" not in off
        assert "switched off" in off
        assert "starter" in off
