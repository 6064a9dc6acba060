"""`--backend openai` against a real server: `transformers serve` with a tiny model on loopback."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from psyctl_core import schema

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("fastapi") is None, reason="transformers[serving] is not installed"),
]


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


def test_a_dataset_from_a_real_server(psyctl, server, tiny_model, tmp_path):
    done = psyctl(
        "dataset.build.caa", "--backend", "openai", "--openai-base-url", server, "--openai-model", str(tiny_model),
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
