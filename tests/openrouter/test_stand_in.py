"""The stand-in server itself: as a program, and that it does the same twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import requests

CHAT = {"model": "qwen/qwen3-30b-a3b", "messages": [{"role": "user", "content": "What does Ann say?"}]}


@pytest.fixture
def program():
    """Start the server as a program; yields a function of its arguments that returns the base URL."""
    started = []

    def start(*arguments):
        command = [sys.executable, str(Path(__file__).with_name("server.py")), *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process.stdout.readline().split()[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(10)
        process.stdout.close()


def test_it_runs_as_a_program(program):
    url = program("--fault", "500=1x1", "--key", "sk-x", "--credit", "1")
    root = url.removesuffix("/api/v1")
    with requests.Session() as session:
        session.headers["Authorization"] = "Bearer sk-x"
        assert session.post(f"{url}/chat/completions", json=CHAT, timeout=5).status_code == 500
        answer = session.post(f"{url}/chat/completions", json=CHAT, timeout=5).json()
        assert answer["usage"]["cost"] > 0
        cost = session.get(f"{url}/generation?id={answer['id']}", timeout=5).json()["data"]["total_cost"]
        assert cost == answer["usage"]["cost"]
        assert session.get(f"{url}/key", timeout=5).json()["data"]["limit_remaining"] < 1
        log = session.get(f"{root}/_log", timeout=5).json()
        assert (log["requests"], list(log["answered"].values()), log["faults"]) == (2, [1], {"500": 1})
        session.post(f"{root}/_set", json={"faults": ["401=1xinf"]}, timeout=5)
        session.post(f"{root}/_reset", timeout=5)
        assert session.post(f"{url}/chat/completions", json=CHAT, timeout=5).status_code == 401
        assert session.get(f"{root}/_log", timeout=5).json()["requests"] == 1


def test_the_same_request_gets_the_same_words(stand_in):
    bodies = [json.dumps({**CHAT, "seed": seed}).encode() for seed in range(200)]
    first, second = (
        [
            json.loads(server.post("/v1/chat/completions", body, "").body)["choices"][0]["message"]["content"]
            for body in order
        ]
        for server, order in (
            (stand_in.Server(stand_in.Script()), bodies),
            (stand_in.Server(stand_in.Script()), list(reversed(bodies))),
        )
    )
    assert first == list(reversed(second))
    assert len(set(first)) >= 199


def test_shares_are_read_and_kept(stand_in):
    assert stand_in.Share.parse("429=0.25x3") == stand_in.Share("429", 0.25, 3)
    assert stand_in.Share.parse("empty=1xinf").times == float("inf")
    with pytest.raises(ValueError, match="no fault or style 'oops'"):
        stand_in.Share.parse("oops=1")
    server = stand_in.Server(stand_in.Script(faults=[stand_in.Share.parse("500=0.3")]))
    for seed in range(500):
        server.post("/v1/chat/completions", json.dumps({**CHAT, "seed": seed}).encode(), "")
    assert 110 <= server.log.faults["500"] <= 190
