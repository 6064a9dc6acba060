"""What holds whatever a server sends: time, size and memory have limits, and a signal is heard."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from psyctl_core.budget import Budget
from psyctl_core.errors import BackendError
from psyctl_openrouter import network, storable
from psyctl_openrouter.client import MAX_BODY, Client, scrub
from psyctl_openrouter.retrying import RetryPolicy

CHAT = json.dumps({"model": "a", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}).encode()


@pytest.fixture
def client_of():
    """A client for a server: ``client_of(server, timeout=0.2)``."""
    made = []

    def make(server, timeout=20.0):
        made.append(Client(server.url, "", connections=16, timeout=timeout))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.mark.parametrize("kind", ["dripheaders", "dripping", "drip", "slow", "endless"])
def test_an_answer_has_a_deadline_from_its_first_byte_to_its_last(serve, client_of, kind):
    client = client_of(serve(faults=[f"{kind}=1xinf"], slow_seconds=60, models=()), timeout=0.2)
    assert client.chat(CHAT).trouble in (network.TIMED_OUT, network.TOO_MUCH if kind == "endless" else "")


def test_a_list_that_never_comes_has_a_shorter_deadline(serve, client_of):
    client = client_of(serve(listing="silent"))
    assert client.get("/models", authorized=True, timeout=0.1).trouble == network.TIMED_OUT


@pytest.mark.parametrize("kind", ["dripheaders", "dripping"])
def test_a_dripping_server_can_be_left_at_once(serve, client_of, kind):
    server = serve(faults=[f"{kind}=1xinf"], models=())
    client = client_of(server, timeout=600.0)
    replies = []
    thread = threading.Thread(target=lambda: replies.append(client.chat(CHAT)))
    thread.start()
    while not server.log.requests:
        time.sleep(0.005)
    while thread.is_alive():  # it may not have read the headers yet
        client.abort()
        thread.join(0.01)
    assert replies[0].trouble or not replies[0].body.strip()


def test_no_thread_is_left(serve, client_of):
    client = client_of(serve(models=()))
    client.chat(CHAT)
    client.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "psyctl-deadlines"]


@pytest.mark.parametrize("kind", ["endless", "bomb"])
def test_an_answer_without_an_end_is_cut_off(serve, client_of, kind):
    reply = client_of(serve(faults=[f"{kind}=1xinf"], models=())).chat(CHAT)
    assert (reply.trouble, reply.body) == (network.TOO_MUCH, b"")


@pytest.mark.parametrize("style", ["long", "packed"])
def test_long_and_packed_answers_are_read(serve, client_of, style):
    reply = client_of(serve(styles=[f"{style}=1"], models=())).chat(CHAT)
    assert json.loads(reply.body)["choices"]
    assert len(reply.body) < MAX_BODY


def test_a_long_answer_is_kept_only_as_far_as_it_can_be_of_use(serve, connect, ask):
    (completion,) = connect(serve(styles=["long=1"])).generate(ask(1))
    assert len(completion.text) == storable.MAX_TEXT
    assert completion.finish_reason == "length"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell a process's own peak")
def test_sixteen_workers_against_endless_bodies_stay_small(serve, tmp_path):
    server = serve(faults=["endless=0.5xinf", "bomb=0.5xinf"])
    code = (
        "import re, sys\n"
        "from psyctl_core import build_caa\n"
        "from psyctl_core.errors import PsyctlError\n"
        "from psyctl_core.testing import FakeSource\n"
        "from psyctl_openrouter import OpenRouterConfig\n"
        "config = OpenRouterConfig(api_key='sk-x', base_url=sys.argv[1], max_workers=16, timeout=5.0)\n"
        "try:\n"
        "    build_caa('Openness', sys.argv[2], backend=config, source=FakeSource(500), prompter='static')\n"
        "except PsyctlError as error:\n"
        "    print(error.message)\n"
        "peak = re.search('VmHWM:\\\\s+(\\\\d+)', open('/proc/self/status').read())\n"  # a parent's peak is not in it
        "print(int(peak[1]) // 1024)\n"
    )
    command = [sys.executable, "-c", code, server.url, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=300, check=True)
    message, peak = done.stdout.strip().splitlines()
    assert "has no end" in message
    assert int(peak) < 300


@pytest.mark.parametrize("worth", [2**63, 10**400, -1, float("nan"), float("inf"), 1e308, True, "7", None, [], 1.5e300])
def test_numbers_from_outside_are_finite_and_believable(worth):
    assert storable.tokens(worth) is None
    assert storable.dollars(worth) is None


def test_numbers_that_can_be_are_taken():
    assert (storable.tokens(12), storable.tokens(12.0), storable.tokens(0)) == (12, 12, 0)
    assert (storable.dollars(0), storable.dollars(0.25)) == (0.0, 0.25)


def test_text_from_outside_can_be_stored():
    assert storable.text("a\ud83db") == "a\ufffdb"
    assert storable.text("a\U0001f600b") == "a\U0001f600b"
    assert scrub("a\ud83db\x1b[2J\u202e", "").isprintable()
    assert len(storable.text("x" * 3_000_000)) == storable.MAX_TEXT


def test_a_half_emoji_is_in_no_way_of_an_answer(serve, connect, ask):
    (completion,) = connect(serve(styles=["surrogate=1"])).generate(ask(1))
    assert completion.text.startswith("\ufffd ")
    completion.text.encode("utf-8")


@pytest.mark.parametrize("style", ["giants", "digits"])
def test_absurd_numbers_are_unknown(serve, connect, ask, style):
    completions = list(connect(serve(styles=[f"{style}=1"])).generate(ask(3)))
    assert {(c.prompt_tokens, c.completion_tokens, c.cost, c.unpriced) for c in completions} == {
        (None, None, None, True)
    }


def test_a_server_that_cannot_be_believed_still_keeps_to_a_budget(serve, connect, ask):
    server = serve(styles=["giants=1"])
    backend = connect(server, max_workers=4)
    backend.start(Budget(0.001))
    with pytest.raises(BackendError, match="budget"):
        list(backend.generate(ask(500)))
    assert server.log.requests < 100


def test_a_drained_backend_ends_with_what_is_under_way_and_asks_nothing_more(serve, connect, ask):
    server = serve(latency=0.02)
    backend = connect(server, max_workers=4)
    got = []
    for completion in backend.generate(ask(500)):
        got.append(completion)
        backend.stop()
    assert len(got) == server.log.requests <= 10


def test_a_drained_backend_does_not_wait_for_a_limit_to_pass(serve, connect, ask):
    server = serve(faults=["429=1xinf"], retry_after=600)
    backend = connect(server, policy=RetryPolicy())
    threading.Timer(0.2, backend.stop).start()
    assert list(backend.generate(ask(5))) == []
    assert server.log.requests == 1


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://gpu.example/v1", "gpu.example"),
        ("http://192.168.1.7:8000/v1", "192.168.1.7"),
        ("http://localhost.example/v1", "localhost.example"),
    ],
)
def test_a_key_over_http_to_another_host_is_warned_of(connect, caplog, url, host):
    for kind in ("openai", "openrouter"):
        connect(None, kind=kind, base_url=url, api_key="sk-secret-key", model="a")
    assert [
        r.getMessage() for r in caplog.records if f"The API key goes to {host} without encryption" in r.getMessage()
    ]
    assert len(caplog.records) == 2
    assert "sk-secret" not in caplog.text


@pytest.mark.parametrize(
    "url", ["http://localhost:1/v1", "http://127.3.2.1/v1", "http://[::1]:8000/v1", "https://gpu.example/v1"]
)
def test_a_key_that_stays_here_or_is_encrypted_is_not(connect, caplog, url):
    caplog.set_level(logging.WARNING, "psyctl")
    connect(None, kind="openai", base_url=url, api_key="sk-secret-key", model="a")
    connect(None, kind="openai", base_url="http://gpu.example/v1", model="a")  # no key
    assert not caplog.records
