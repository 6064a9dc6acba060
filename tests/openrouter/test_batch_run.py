"""A run in batches as it is typed: seen from another terminal, stopped while it waits, and taken up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals to send"),
]
COMMAND = [sys.executable, "-c", "from psyctl_core.cli import main; main()"]
BUILD = ("dataset.build.caa", "--source", "starter", "--prompter", "static", "--personality", "Openness,Extroversion",
         "--limit-samples", "70", "--progress", "json")  # fmt: skip


@pytest.fixture
def options(serve):
    """The options of each kind of server that takes batches, which end when ``end`` is called."""

    def make(kind):
        server = serve(batch_looks=10**9)
        url = server.url if kind == "openrouter" else server.url.replace("/api/v1", "/v1")
        model = ("--openai-model", server.script.models[0]) if kind == "openai" else ()
        return server, ("--backend", kind, f"--{kind}-base-url", url, f"--{kind}-max-workers", "8", *model)

    return make


def dataset(folder):
    return [path.read_bytes() for path in sorted(folder.rglob("*.jsonl")) if path.name.startswith("caa_")]


@pytest.mark.parametrize("kind", ["openrouter", "openai"])
def test_a_run_that_waits_is_seen_stopped_and_taken_up(options, psyctl, tmp_path, kind):
    server, asked = options(kind)
    key = {"OPENROUTER_API_KEY": "sk-or-v1-stand-in"}
    batch = (*BUILD, *asked, f"--{kind}-batch", f"--{kind}-batch-poll", "0.05")
    process = subprocess.Popen(
        [*COMMAND, *batch, "--output", "out"],
        cwd=tmp_path, env={**os.environ, **key}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    progress = tmp_path / "out" / ".psyctl.progress.json"
    try:
        while not (progress.exists() and "a batch, " in progress.read_text(encoding="utf-8")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        shown = psyctl("dataset.status", "out").stdout
        assert "a batch, 0 of 209 done, since " in shown
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130, errors
    notes = [event["text"] for event in map(json.loads, errors.splitlines()) if event["event"] == "note"]
    assert any(note.startswith("The batch batch_1 of 209 requests goes on at http://") for note in notes)
    assert not any("under way at a kill" in note for note in notes)
    left = psyctl("dataset.status", "out").stdout
    assert "a batch of 209 requests is under way at http://" in left
    assert "(batch_1); the same command takes it up" in left
    for each in server._batches.values():
        each["looks"] = 1
    assert psyctl(*batch, "--output", "out", **key).returncode == 0
    assert set(server.log.answered.values()) == {1}
    assert server.log.batches == [209]
    assert "batch" not in psyctl("dataset.status", "out").stdout
    assert psyctl(*BUILD, *asked, "--output", "plain", **key).returncode == 0
    assert dataset(tmp_path / "out") == dataset(tmp_path / "plain")
    run = json.loads(next((tmp_path / "out").rglob("run.json")).read_text(encoding="utf-8"))
    assert run["statistics"]["lost_requests"] == 0
    assert run["statistics"]["requests"] == 210


def test_a_judge_asks_in_batches_of_its_own(options, psyctl, tmp_path):
    server, asked = options("openrouter")
    server.script.batch_looks = 2
    key = {"OPENROUTER_API_KEY": "sk-or-v1-stand-in"}
    judged = (*BUILD[:6], "Extroversion", "--limit-samples", "120", *asked, "--judge", "rubric",
              "--rubric-difference", "10", "--judge-backend", "openrouter", "--judge-openrouter-base-url", server.url,
              "--judge-openrouter-model", "qwen/qwen3-30b-a3b")  # fmt: skip
    batched = ("--openrouter-batch", "--openrouter-batch-poll", "0.05", "--judge-openrouter-batch",
               "--judge-openrouter-batch-poll", "0.05")  # fmt: skip
    assert psyctl(*judged, *batched, "--output", "out", **key).returncode in (0, 4)
    assert set(server.log.answered.values()) == {1}
    assert len(server.log.batches) >= 2
    assert psyctl(*judged, "--output", "plain", **key).returncode in (0, 4)
    assert dataset(tmp_path / "out") == dataset(tmp_path / "plain")
    assert not list((tmp_path / "out").rglob("batches.sqlite"))
