"""The pages with Python in them, worked through from top to bottom with the embedded model, on fewer pairs."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

FEWER = {
    "steering.measure": [
        "--controls",
        "2",
        "--doses=-0.1,0,0.1",
        "--items",
        "pairs",
        "--layer",
        "-1",
        "--dtype",
        "auto",
    ],
    "steering.try": ["--max-tokens", "8"],
}
"""What makes a command quick whose options have much to do by default."""


def with_fewer_pairs(text: str) -> str:
    """The same text asking for two pairs, or three instead of sixty and more, and for one that is held out."""

    def fewer(match: re.Match[str]) -> str:
        name, number = match.groups()
        return f"{name}{1 if name.startswith(('held', '--held')) else 3 if int(number) >= 60 else 2}"

    return re.sub(r"((?:--|\b)(?:limit.samples|held.out)(?: |=|: ))(\d+)(?![\d.])", fewer, text)


def runs_here(words: list[str]) -> bool:
    """Whether a command needs neither the network, nor a model, dataset or vector that is not here."""
    if "steering" in words[0]:
        given = [words[at + 1] for at, word in enumerate(words) if word in ("--dataset", "--vector")]
        return all(Path(path).exists() for path in [*given, *(word for word in words if word.startswith("./dataset"))])
    if words[0] != "dataset.build.caa":
        return True
    if "--recipe" in words:
        words = [*words, *Path(words[words.index("--recipe") + 1]).read_text(encoding="utf-8").split()]
    has_scenes = "starter" in words or ("--dataset" in words and Path(words[words.index("--dataset") + 1]).exists())
    return "embedded" in words and has_scenes


@pytest.fixture
def measured_on_less(monkeypatch):
    """Have steering measured on one passage of neutral text, one prompt and a few of the questionnaire's statements."""
    pytest.importorskip("torch", reason="the extra 'hf' is not installed")
    from psyctl_steering import damage, measuring

    texts, factors, answers = damage.neutral_texts, measuring.factors, measuring.answers
    monkeypatch.setattr(damage, "neutral_texts", lambda lent: texts(lent)[:1])
    monkeypatch.setattr(measuring, "SAYS", measuring.SAYS[:1])
    monkeypatch.setattr(measuring, "answers", lambda *given, **options: answers(*given, **{**options, "max_tokens": 8}))
    monkeypatch.setattr(measuring, "factors", lambda: {name: each[:2] for name, each in factors().items()})


def test_the_page_works_as_written(
    python_page, shell_commands, loaded_once, measured_on_less, typed_here, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    module = types.ModuleType("page")  # a dataclass looks up the module that it is made in
    monkeypatch.setitem(sys.modules, "page", module)
    for name, text in python_page.files().items():
        Path(name).write_text(with_fewer_pairs(text), encoding="utf-8")
    for language, text in python_page.blocks("bash", "python"):
        text = with_fewer_pairs(text)
        if language == "python":
            exec(compile(text, str(python_page), "exec"), vars(module))
            continue
        for command in shell_commands(text, str(python_page)):
            words = [*command.words, *FEWER.get(command.words[0], [])]
            if runs_here(words):
                # What so few pairs do to a model is within the noise, which the exit code says.
                expected = (0, 3) if words[0] == "steering.measure" else (0,)
                done = typed_here(*words)
                assert done.returncode in expected, done.stderr
