"""Nothing from a file, a server or a plugin reaches the terminal as codes that it would obey."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import psyctl_core
from psyctl_core._store.lock import locked
from psyctl_core.terminal import say_json, visible

CODES = "\x1b[31m\x1b]52;c;aGk=\x07\x9b2J\x00\u202eevil\u2066\u200f\r\x7f"
"""A colour, a way into the clipboard, an erased screen, text turned around."""

BIDI = {"\u061c", *"\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}


def obeyed(text: str) -> set[str]:
    """What a terminal would obey in it."""
    return {c for c in text if c not in "\n\t" and (unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in BIDI)}


@given(st.text(st.characters(codec=None)))
def test_all_that_a_terminal_would_obey_is_spelled_and_the_rest_is_kept(text):
    shown = visible(text)
    assert not obeyed(shown)
    assert visible(shown) == shown
    if not obeyed(text):
        assert shown == text


def test_each_character_is_spelled_as_in_a_string():
    assert visible("a\x1bb\u202ec\n\td\ud83d") == "a\\x1bb\\u202ec\n\td\\ud83d"


@given(st.text(st.characters(codec="utf-8")))
def test_json_is_spelled_in_its_own_way_and_reads_back(text):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        say_json({text: [text]})
    assert not obeyed(printed.getvalue())
    assert json.loads(printed.getvalue()) == {text: [text]}


def test_nothing_else_in_the_core_prints():
    root = Path(psyctl_core.__file__).parent
    for path in root.rglob("*.py"):
        if path == root / "terminal.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("print", "typer.echo", "click.echo"), f"{path}:{node.lineno}"
                assert not called.endswith(("stdout.write", "stderr.write")), f"{path}:{node.lineno}"


def test_a_record_is_shown_without_obeying_it(psyctl, run, tmp_path):
    path = run(limit_samples=2).paths[0]
    first, second = path.read_text(encoding="utf-8").splitlines()
    record = json.loads(first)
    record = {name: text.replace("Answer ", CODES) for name, text in record.items() if isinstance(text, str)}
    path.write_text(json.dumps(record) + "\n" + second + "\n", encoding="utf-8")
    shown = psyctl("dataset.show", str(path))
    assert shown.returncode == 0, shown.stderr
    assert "\\x1b[31m" in shown.stdout
    assert not obeyed(shown.stdout + shown.stderr)


def test_a_run_file_is_shown_without_obeying_it(psyctl, run, tmp_path):
    folder = run(limit_samples=2).paths[0].parent
    file = next(folder.rglob("run.json"))
    data = json.loads(file.read_text(encoding="utf-8"))
    data["trait"] = data["identity"]["source"]["component"]["name"] = CODES
    file.write_text(json.dumps(data), encoding="utf-8")
    for arguments in ([], ["--json"]):
        shown = psyctl("dataset.status", str(folder), *arguments)
        assert shown.returncode == 0, shown.stderr
        assert "evil" in shown.stdout
        assert not obeyed(shown.stdout + shown.stderr)


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_columns_and_rows_are_shown_without_obeying_them(psyctl, tmp_path, arguments):
    row = {"dialogue": ["Hello there.", f"Yes {CODES} I am."], "speakers": ["Vera", "Olaf"], f"rest{CODES}": "x"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    shown = psyctl("source.preview", "--dataset", "rows.jsonl", *arguments)
    assert shown.returncode == 0, shown.stderr
    assert not obeyed(shown.stdout + shown.stderr)


def test_an_unknown_shape_is_told_without_obeying_its_names(psyctl, tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps({f"a{CODES}": 1, f"b{CODES}": 2}) + "\n", encoding="utf-8")
    shown = psyctl("source.preview", "--dataset", "rows.jsonl", "--debug")
    assert shown.returncode == 1
    assert not obeyed(shown.stdout + shown.stderr)


@pytest.mark.parametrize("command", [("plugins.list",), ("plugins.list", "--json"), ("dataset.build.caa", "--help")])
def test_a_plugin_says_nothing_that_is_obeyed(psyctl, install, command):
    install(
        "psyctl-codes",
        "import dataclasses\n"
        "from psyctl_core import Component, hookimpl, option\n"
        f"CODES = {CODES!r}\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class Config:\n"
        "    far: int = option(0, help='Far' + CODES)\n"
        "@hookimpl\n"
        "def psyctl_inference_backends():\n"
        "    return [Component('codes', 'psyctl_codes:make', Config, 'Codes' + CODES)]\n",
    )
    shown = psyctl(*command)
    assert shown.returncode == 0, shown.stderr
    assert "Codes" in shown.stdout or "Far" in shown.stdout
    assert not obeyed(shown.stdout + shown.stderr)


def test_the_owner_of_a_lock_is_told_without_obeying_it(psyctl, run, tmp_path):
    folder = tmp_path / "out"
    run(limit_samples=1)
    with locked(folder):
        (folder / ".psyctl.pid").write_text(CODES, encoding="utf-8")
        told = psyctl(
            "dataset.build.caa", "--source", "starter", "--prompter", "static", "--personality", "X",
            "--backend", "openai", "--openai-model", "m", "--output", str(folder),
        )  # fmt: skip
    assert told.returncode == 75, told.stderr
    assert not obeyed(told.stdout + told.stderr)


def test_a_terminal_of_few_letters_gets_what_it_can_show(psyctl, run):
    path = run(limit_samples=1).paths[0]
    path.write_text(path.read_text(encoding="utf-8").replace("Answer ", "日本語 é "), encoding="utf-8")
    shown = psyctl("dataset.show", str(path), PYTHONIOENCODING="ascii")
    assert shown.returncode == 0, shown.stderr
    assert "\\u65e5\\u672c\\u8a9e \\xe9" in shown.stdout
