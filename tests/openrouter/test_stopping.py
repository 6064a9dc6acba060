"""Ctrl-C and SIGTERM while nothing is under way: the run is saved and ends, however long a wait was asked for."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals to send")
ASKED = 300
"""Seconds that a server asks to wait: no test waits so long, so only the signal can have ended the run."""


@pytest.fixture
def typed(tmp_path):
    """Type the command against a server, and end it with the test.

    A shell without job control has what it starts in the background ignore Ctrl-C, and their children do so too.
    """
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    if ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    started = []

    def start(server, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", "from psyctl_core.cli import main; main()",
             "dataset.build.caa", "--source", "starter", "--personality", "Extroversion", "--output", "out",
             "--backend", "openai", "--openai-base-url", server.url, *arguments],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
    if ignored:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def until(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("prompter", ["static", "p2"])
def test_a_wait_that_the_server_asked_for_is_left(serve, typed, number, code, prompter):
    server = serve(faults=["429=1xinf"], retry_after=ASKED)
    process = typed(server, "--openai-model", server.script.models[0], "--prompter", prompter)
    until(lambda: server.log.requests, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_list_of_models_that_never_comes_is_left(serve, typed, number, code):
    server = serve(listing="silent")
    process = typed(server, "--prompter", "static")
    until(lambda: server.log.connections, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "Traceback" not in errors


def test_what_was_answered_before_the_wait_is_kept(serve, stand_in, typed, tmp_path):
    server = serve(latency=0.01)
    process = typed(server, "--openai-model", server.script.models[0], "--prompter", "static")
    until(lambda: server.log.requests >= 40, process)
    server.script.faults, server.script.retry_after = [stand_in.Share("429", 1, math.inf)], ASKED
    until(lambda: server.log.faults, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert "Run the same command again to go on from there." in errors
    rows = next((tmp_path / "out").glob("*.jsonl")).read_text(encoding="utf-8").splitlines()
    assert len(rows) >= 19
    assert all(json.loads(row)["positive"] for row in rows)
