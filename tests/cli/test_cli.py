"""The commands as they are typed: what they print, their exit codes, and that no traceback shows."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys

import pytest

import psyctl_hub
import psyctl_report
import psyctl_steering

BUILD = ("dataset.build.caa", "--personality", "Extroversion", "--output", "out")
SPECIFIED = (
    "personality", "output", "model", "openrouter-api-key", "openrouter-model", "openrouter-max-workers", "dataset",
    "limit-samples", "batch-size", "source", "prompter", "backend", "sink", "seed", "temperature", "max-tokens",
    "fresh", "dry-run", "quiet", "debug",
)  # fmt: skip
LOCAL = (*BUILD, "--model", "embedded", "--prompter", "static")


PLUGINS = (psyctl_hub, psyctl_report, psyctl_steering)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",), ("dataset.build.caa", "--help"), ("plugins.list",),
        *((command.name, "--help") for plugin in PLUGINS for command in plugin.psyctl_commands()),
    ],
)  # fmt: skip
def test_help_imports_nothing_heavy_and_writes_nothing(tmp_path, arguments):
    heavy = {"torch", "transformers", "safetensors", "gguf", "datasets", "numpy", "pandas", "huggingface_hub", "jinja2",
             "requests", "jsonschema", "ray"}  # fmt: skip
    code = (
        "import sys\nfrom psyctl_core.cli import main\n"
        f"sys.argv = ['psyctl', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"sys.exit(', '.join({heavy!r} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert " ".join(["psyctl", *arguments[:-1]]) in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_help_names_every_specified_option(psyctl):
    text = psyctl("dataset.build.caa", "--help").stdout
    for option in SPECIFIED:
        assert f"--{option}" in text
    for variable in ("PSYCTL_INFERENCE_BATCH_SIZE", "PSYCTL_CHECKPOINT_INTERVAL", "OPENROUTER_API_KEY"):
        assert variable in text


def test_plugins_list_as_json(psyctl):
    rows = json.loads(psyctl("plugins.list", "--json").stdout)
    hf = next(row for row in rows if row["name"] == "hf")
    assert hf["kind"] == "backend"
    assert hf["distribution"] == "psyctl"
    assert hf["problem"] == ""
    assert hf["summary"]


def test_plugins_list_shows_a_broken_plugin_and_why(psyctl, install):
    install("psyctl-broken", "1 / 0")
    done = psyctl("plugins.list")
    assert done.returncode == 0
    assert "BROKEN: ZeroDivisionError" in done.stdout
    assert "starter" in done.stdout


def test_version(psyctl):
    assert psyctl("--version").stdout.startswith("psyctl ")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, ""),
        (("dataset.build.caa",), 2, "--personality"),
        (("dataset.build",), 2, "No such command"),
        ((*BUILD, "--limit", "3"), 2, "--limit"),
        (BUILD, 2, "No model and no key"),
        ((*BUILD, "--model", "embedded", "--openrouter-api-key", "k"), 2, "ask for different backends"),
        ((*BUILD, "--backend", "hff"), 2, "Did you mean 'hf'?"),
        ((*BUILD, "--backend", "hf"), 2, "needs a model"),
        ((*LOCAL, "--source", "sodas"), 2, "Did you mean 'soda'?"),
        ((*LOCAL, "--openrouter-max-workers", "4"), 2, "belongs to the backend 'openrouter'"),
        ((*LOCAL, "--limit-samples", "0"), 2, "--limit-samples 1 or more"),
        ((*LOCAL, "--limit-samples", "-5"), 2, "--limit-samples 1 or more"),
        ((*LOCAL, "--batch-size", "0"), 2, "batch size of 0"),
        ((*LOCAL, "--hf-min-p", "1"), 2, "min-p of 1.0"),
        ((*LOCAL, "--temperature", "9"), 2, "--temperature from 0 to 2"),
        ((*LOCAL, "--max-tokens", "0"), 2, "--max-tokens 1 or more"),
        ((*LOCAL, "--checkpoint-interval", "0"), 2, "checkpoint interval"),
        ((*LOCAL, "--personality", " "), 2, "The personality is empty"),
        ((*LOCAL, "--personality", "Openness,openness"), 2, "same trait"),
        ((*LOCAL, "--source", "starter", "--personality", "Sarcasm"), 2, "no description of 'Sarcasm'"),
        ((*LOCAL, "--dataset", "missing.jsonl"), 1, "Dataset 'missing.jsonl' not found"),
        ((*LOCAL, "--dataset", "username/none"), 1, "Dataset 'username/none' cannot be reached"),
        ((*BUILD, "--source", "starter", "--model", "username/none"), 1, "Model 'username/none' cannot be reached"),
        ((*BUILD, "--source", "starter", "--model", "./none.gguf"), 2, "no such file or folder"),
        ((*LOCAL, "--source", "starter", "--output", "/proc/none/out"), 1, "Cannot write to the output folder"),
        (("dataset.show", "nowhere"), 2, "There is no dataset"),
    ],
)
def test_an_ordinary_mistake_gets_one_clear_message(psyctl, arguments, code, words):
    done = psyctl(*arguments)
    assert done.returncode == code, done.stderr
    assert words in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback(psyctl):
    done = psyctl(*LOCAL, "--limit-samples", "0", "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_a_broken_plugin_that_is_not_chosen_hurts_nobody(psyctl, install):
    install("psyctl-broken", "1 / 0")
    done = psyctl(*LOCAL, "--source", "starter", "--limit-samples", "2", "--dry-run")
    assert done.returncode == 0, done.stderr


def test_a_dry_run_shows_the_plan_and_writes_nothing(psyctl, tmp_path):
    command = (*BUILD, "--model", "embedded", "--source", "starter", "--limit-samples", "5", "--dry-run")
    done = psyctl(*command)
    assert done.returncode == 0, done.stderr
    calls, money, time = done.stdout.splitlines()[:3]
    assert calls == "Calls  14 (10 for pairs, 4 for personas); more for each rejected pair"
    assert money == "Money  none: it is computed here"
    assert time.startswith("Time   not known before the first answers: --sample 20 tells")
    assert "model=embedded" in done.stdout
    assert "Example request" not in done.stdout
    shown = psyctl(*command, "--show-prompts").stdout
    for words in ("Persona prompt 1, Extroversion", "Persona prompt 2, neutral", "Example request", "What does"):
        assert words in shown, words
    planned = json.loads(psyctl(*command, "--json").stdout)
    assert (planned["requests"], planned["cost"], planned["pairs"]) == (14, 0.0, {"Extroversion": 0})
    assert not (tmp_path / "out").exists()


PLUGIN = """
import dataclasses
from psyctl_core import Component, hookimpl
from psyctl_core.testing import FakeBackend

@dataclasses.dataclass(frozen=True)
class Config:
    pass

class Backend(FakeBackend):
    pass

def make(config, context):
    return Backend()

@hookimpl
def psyctl_inference_backends():
    return [Component("fake", "psyctl_fake:make", Config, "A fake")]
"""


def test_a_run_prints_a_summary_and_quiet_the_path_alone(psyctl, install, tmp_path):
    install("psyctl-fake", PLUGIN)
    command = (*BUILD, "--source", "starter", "--prompter", "static", "--backend", "fake", "--limit-samples", "6")
    done = psyctl(*command)
    assert done.returncode == 0, done.stderr
    path = next((tmp_path / "out").glob("*.jsonl"))
    for words in ("Extroversion", f"out/{path.name}", "     6    6         0", "pairs/s", "Tokens", "dataset.show"):
        assert words in done.stdout, words
    again = psyctl(*command, "--quiet")
    assert again.stdout == f"out/{path.name}\n"
    assert again.stderr == ""
    assert "Already complete" in psyctl(*command).stdout
    shown = psyctl("dataset.show", "out", "--count", "2")
    assert shown.stdout.count("neutral (") == 2
    summary = json.loads(psyctl(*command, "--json").stdout)
    assert (summary["datasets"][0]["pairs"], summary["requests"]) == (6, 0)


def test_the_personas_are_seen_before_anything_is_asked_and_afterwards(psyctl, install):
    install("psyctl-fake", PLUGIN)
    done = psyctl(*BUILD, "--source", "starter", "--prompter", "static", "--backend", "fake", "--limit-samples", "2")
    assert done.stderr.index("The neutral persona: {character} is") < done.stderr.index("The Extroversion persona: {")
    shown = psyctl("dataset.show", "out").stdout
    assert shown.index("Extroversion: {character} is ") < shown.index("1. ")
    assert "neutral: {character} is " in shown
    assert "outgoing" not in psyctl("dataset.show", "out", "--no-personas").stdout
    assert "{character} is thrilled" in psyctl("dataset.status", "out", "--details").stdout


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such terminals")
def test_what_was_understood_stays_on_a_terminal_while_notes_come_and_go(install, tmp_path):
    import pty

    install("psyctl-fake", PLUGIN)
    row = {"dialogue": ["Is it late?", "Yes."], "speakers": ["Vera", "Olaf"]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    typed = (*BUILD, "--dataset", "rows.jsonl", "--prompter", "static", "--backend", "fake", "--limit-samples", "1")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from psyctl_core.cli import main; main()", *typed],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "300"},
    )  # fmt: skip
    os.close(theirs)
    told = b""
    with contextlib.suppress(OSError):  # the other end was closed
        while part := os.read(ours, 65536):
            told += part
    assert process.wait(timeout=60) == 0, told
    lines = [re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", line).strip() for line in told.decode().splitlines()]
    assert any(line.startswith("Reading rows.jsonl as soda") and "speaks last: Vera" in line for line in lines)
    assert any(line.startswith("The Extroversion persona: {character} is") for line in lines)


def test_a_closed_pipe_on_stdout_is_told(install, tmp_path):
    install("psyctl-fake", PLUGIN)
    typed = " ".join((*BUILD, "--source starter --prompter static --backend fake --limit-samples 3"))
    command = f"({sys.executable} -c 'from psyctl_core.cli import main; main()' {typed}; echo $? >&2) | true"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert len(next((tmp_path / "out").glob("*.jsonl")).read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "command",
    ["show out", "check out --only order", "export out --to caa --output there", "merge out --output there",
     "split out --held-out 2 --output there", "judge out --check 2", "report out"],
)  # fmt: skip
def test_that_older_runs_are_left_out_is_told_once(psyctl, run, command):
    run(limit_samples=12)
    run(limit_samples=12, fresh=True)
    done = psyctl(*f"dataset.{command}".split())
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Older datasets in 'out' are left out: 1.") == 1
