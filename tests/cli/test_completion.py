"""What shells complete, by the protocol of their scripts, and in a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from psyctl_core._caa.traits import KNOWN
from psyctl_core.cli import completion

BUILD = "psyctl dataset.build.caa"


@pytest.fixture
def completed(psyctl):
    """What bash is offered for the last word of a line."""

    def complete(line, **environment):
        words = line.split(" ")
        done = psyctl(
            COMP_WORDS="\n".join(words), COMP_CWORD=str(len(words) - 1), _PSYCTL_COMPLETE="complete_bash", **environment
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout.splitlines()

    return complete


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("psyctl dataset.b", ["dataset.build.caa"]),
        (f"{BUILD} --personality ", list(KNOWN)),
        (f"{BUILD} --personality Extroversion,N", ["Extroversion,Neuroticism", "Extroversion,Narcissism"]),
        (f"{BUILD} --source s", ["soda", "starter"]),
        (f"{BUILD} --sink ", ["jsonl"]),
        (f"{BUILD} --judge ", ["likelihood", "rubric"]),
        (f"{BUILD} --judge-backend openr", ["openrouter"]),
        (f"{BUILD} --model e", ["embedded"]),
        (f"{BUILD} --model ./", [""]),
        (f"{BUILD} --recipe ", [""]),
        (f"{BUILD} --contrast ", ["neutral", "opposite"]),
        (f"{BUILD} --shape me", ["messages"]),
        (f"{BUILD} --openrouter-pat", ["--openrouter-patience"]),
        (f"{BUILD} --judge-openvino-dev", ["--judge-openvino-device"]),
        (f"{BUILD} --recipe none.yaml --pers", ["--personality", "--persona-file", "--personas"]),
        ("psyctl recipe.show --hf-dt", ["--hf-dtype"]),
        ("psyctl dataset.export x --to rep", ["repeng"]),
        ("psyctl dataset.check x --only order,pow", ["order,power"]),
        ("psyctl dataset.judge x --judge r", ["rubric"]),
        ("psyctl dataset.report --ht", ["--html"]),
        ("psyctl source.preview --source st", ["starter"]),
        ("psyctl plugins.check open", ["openrouter", "openai", "openvino"]),
        ("psyctl dataset.show ", [""]),
    ],
)  # fmt: skip
def test_words_are_completed(completed, line, offered):
    assert sorted(completed(line)) == sorted(offered)


def test_two_dashes_offer_what_help_lists(completed):
    found = completed(f"{BUILD} --")
    assert {"--personality", "--hf-device", "--help-all"} <= set(found)
    assert "--openrouter-patience" not in found


def test_a_strangers_component_is_completed_with_its_values(completed, install):
    install(
        "psyctl-diary",
        "from dataclasses import dataclass\nfrom psyctl_core import Component, hookimpl, option\n"
        "@dataclass(frozen=True)\nclass Config:\n    tone: str = option('', help='How', suggest=('warm', 'cold'))\n"
        "@hookimpl\ndef psyctl_scenario_sources():\n"
        "    print('noise')\n    return [Component('diary', 'nowhere:Source', Config, 'A diary')]\n",
    )
    assert completed(f"{BUILD} --source di") == ["diary"]
    assert completed(f"{BUILD} --diary-tone ") == ["warm", "cold"]


def test_a_broken_plugin_stops_no_completion(completed, install):
    install("psyctl-broken", "1 / 0")
    assert completed(f"{BUILD} --source sta") == ["starter"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_offered_the_same(psyctl, shell):
    done = psyctl(
        _PSYCTL_COMPLETE=f"complete_{shell}",
        _TYPER_COMPLETE_ARGS=f"{BUILD} --backend openr",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    assert done.returncode == 0, done.stderr
    assert "openrouter" in done.stdout
    assert "openvino" not in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_shown_for_each_shell(psyctl, shell):
    done = psyctl(_PSYCTL_COMPLETE=f"source_{shell}")
    assert done.returncode == 0, done.stderr
    assert f"complete_{shell}" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_with_the_installed_script(tmp_path):
    program = tmp_path / "psyctl"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'from psyctl_core.cli import main; main()' \"$@\"\n")
    program.chmod(0o755)
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    source = {**environment, "_PSYCTL_COMPLETE": "source_bash"}
    shown = subprocess.run(["psyctl"], env=source, capture_output=True, text=True, check=True).stdout
    script = (
        f"{shown}\nCOMP_WORDS=(psyctl dataset.build.caa --backend open); COMP_CWORD=3; "
        "_psyctl_completion psyctl; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["openrouter", "openai", "openvino"], done.stderr


def test_a_trait_that_is_named_is_not_offered_again():
    assert completion.traits("Openness, Ex") == ["Openness, Extroversion"]
    assert "Openness,Openness" not in completion.traits("Openness,")
    assert len(completion.traits("Openness,")) == len(KNOWN) - 1
