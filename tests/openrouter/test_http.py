"""The backends against the stand-in server: every failure class alone and mixed, secrets, cancelling, reuse."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
import traceback

import pytest

from psyctl_core.budget import Budget
from psyctl_core.errors import BackendError, UsageError
from psyctl_openrouter import OpenRouterConfig, outcome
from psyctl_openrouter.retrying import RetryPolicy

KEY = "sk-or-v1-0123456789abcdef0123456789abcdef"
PASSING = [
    "429", "429plain", "402busy", "408", "500", "502", "503", "html", "html200", "error200", "limit200", "choice",
    "malformed", "cutoff", "chunkcut", "close", "reset", "empty", "null", "reasoning",
]  # fmt: skip


def answers_of(backend, requests):
    """All completions by id, and the error that ended the run, if one did."""
    completions, error = {}, None
    try:
        for completion in backend.generate(requests):
            assert completion.id not in completions
            completions[completion.id] = completion
    except BackendError as caught:
        error = caught
    return completions, error


def expected_of(serve, connect, requests, **fields):
    """The texts that an undisturbed server gives to the same requests."""
    completions, error = answers_of(connect(serve(), max_workers=8, **fields), requests)
    assert error is None
    return {name: completion.text for name, completion in completions.items()}


def test_answers_come_with_tokens_and_cost(serve, connect, ask):
    server = serve()
    backend = connect(server, max_workers=4)
    backend.start(Budget(None))
    completions, error = answers_of(backend, ask(20))
    assert error is None
    assert len(completions) == 20
    assert len({c.text for c in completions.values()}) == 20
    for completion in completions.values():
        assert completion.finish_reason == "stop"
        assert completion.text.endswith('"')
        assert completion.prompt_tokens
        assert completion.completion_tokens
    assert sum(c.cost for c in completions.values()) == pytest.approx(server.log.charged)
    assert not server.log.stop_strings


@pytest.mark.parametrize("kind", PASSING)
def test_a_passing_failure_is_retried(serve, connect, ask, kind):
    server = serve(faults=[f"{kind}=1x2"])
    completions, error = answers_of(connect(server, max_workers=4), ask(6))
    assert error is None
    assert server.log.faults[kind] == 12
    assert {name: c.text for name, c in completions.items()} == expected_of(serve, connect, ask(6))
    assert set(server.log.answered.values()) == {1}
    charged = kind in ("malformed", "cutoff", "chunkcut", "close")
    unknown = charged or kind in ("html", "html200", "reset")
    assert {c.unpriced for c in completions.values()} == {unknown}
    told = sum(c.cost for c in completions.values())
    assert 0 < told < server.log.charged if charged else told == pytest.approx(server.log.charged)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("moderation", outcome.MODERATION),
        ("filtered", outcome.MODERATION),
        ("413", outcome.TOO_LONG),
        ("context", outcome.TOO_LONG),
        ("empty", outcome.EMPTY),
        ("null", outcome.EMPTY),
        ("reasoning", outcome.ONLY_REASONING),
        ("502", "no answer after retries: provider failed"),
        ("429plain", "no answer after retries: rate limited"),
        ("cutoff", "no answer after retries: answer cut off"),
        ("close", "no answer after retries: connection lost"),
        ("html200", "no answer after retries: a web page, not the API"),
        ("400", outcome.REFUSED),
    ],
)
def test_what_never_passes_fails_that_request_alone(serve, connect, ask, kind, reason):
    server = serve(faults=[f"{kind}=0.2xinf"])
    completions, error = answers_of(connect(server, max_workers=4, policy=RetryPolicy(retries=1, first=0.001)), ask(40))
    assert error is None
    assert len(completions) == 40
    failed = [c for c in completions.values() if c.finish_reason == "error"]
    assert 2 <= len(failed) <= 16
    assert {c.error for c in failed} == {reason}
    assert {c.text for c in failed} == {""}
    assert len(server.log.answered) == 40 - len(failed)


@pytest.mark.parametrize(
    ("kind", "message", "hint"),
    [
        ("401", "refused the API key", "--openrouter-api-key"),
        ("402", "credit is used up", "https://openrouter.ai/settings/credits"),
        ("404", "has nothing for model 'qwen/qwen3-next-80b-a3b-instruct'", "--openrouter-model"),
        ("400", "refused the request", "--openrouter-model"),
        ("guardrail", "spending limit", "reset"),
    ],
)
def test_what_concerns_all_ends_the_run_at_once(serve, connect, ask, kind, message, hint):
    server = serve(faults=[f"{kind}=1xinf"])
    completions, error = answers_of(connect(server, max_workers=4), ask(100))
    assert not completions
    assert message in error.message
    assert "\n" not in error.message
    assert hint in error.hint
    assert server.log.requests <= 4 + 4
    time.sleep(0.05)
    assert server.log.requests <= 4 + 4


def test_all_failures_mixed(serve, connect, ask):
    share = 0.25 / len(PASSING)
    server = serve(faults=[f"{kind}={share}" for kind in PASSING], retry_after=0.001)
    completions, error = answers_of(connect(server, max_workers=16), ask(400))
    assert error is None
    assert {c.finish_reason for c in completions.values()} == {"stop"}
    assert {name: c.text for name, c in completions.items()} == expected_of(serve, connect, ask(400))
    assert len(server.log.answered) == 400
    assert set(server.log.answered.values()) == {1}
    assert 60 <= server.log.faults.total() <= 140
    assert server.log.most_in_flight <= 16


def test_the_same_faults_meet_the_same_requests_whatever_the_order(serve, connect, ask):
    faults = ["500=0.2", "moderation=0.1xinf", "empty=0.1x2"]
    runs = []
    for requests, workers in ((ask(60), 1), (list(reversed(ask(60))), 16)):
        server = serve(faults=faults)
        completions, error = answers_of(connect(server, max_workers=workers), requests)
        assert error is None
        runs.append(({n: (c.text, c.error, c.cost) for n, c in completions.items()}, dict(server.log.faults)))
    assert runs[0] == runs[1]


def test_an_outage_trips_the_breaker_and_the_run_can_go_on(serve, connect, ask):
    server = serve(down=(50, float("inf")))
    first, error = answers_of(connect(server, max_workers=8), ask(200))
    assert len(first) == 50
    assert {c.finish_reason for c in first.values()} == {"stop"}
    assert "times in a row" in error.message
    server.script.down = (0, 0)
    rest = [request for request in ask(200) if request.id not in first]
    second, error = answers_of(connect(server, max_workers=8), rest)
    assert error is None
    assert len(second) == 150
    assert set(server.log.answered.values()) == {1}


def test_a_server_that_is_gone_trips_the_breaker(serve, connect, ask, stand_in):
    with stand_in.running() as server:
        backend = connect(server, max_workers=4)
        assert len(answers_of(backend, ask(4))[0]) == 4
    completions, error = answers_of(backend, ask(10))
    assert not completions
    assert "cannot connect" in error.message


def test_a_rate_limited_server_is_not_overrun(serve, connect, ask):
    server = serve(latency=0.005, capacity=5, retry_after=0.01)
    completions, error = answers_of(connect(server, max_workers=32, policy=RetryPolicy(first=0.01)), ask(200))
    assert error is None
    assert {c.finish_reason for c in completions.values()} == {"stop"}
    assert server.log.faults["capacity"] < 200


def test_the_budget_is_kept(serve, connect, ask):
    server = serve(latency=0.005)
    backend = connect(server, max_workers=16, max_cost=0.001)
    backend.start(Budget(0.001, "--openrouter-max-cost"))
    first, error = answers_of(backend, ask(100))
    assert "budget of $0.001 is reached" in error.message
    assert "--openrouter-max-cost" in error.hint
    assert server.log.charged <= 0.001
    assert sum(c.cost for c in first.values()) == pytest.approx(server.log.charged)
    assert len(first) >= 20

    # The next process learns what was spent, and has nothing to spend unless the budget is raised.
    backend = connect(server, max_workers=16, max_cost=server.log.charged)
    with pytest.raises(BackendError, match="budget"):
        backend.start(Budget(server.log.charged, spent=server.log.charged))
    backend = connect(server, max_workers=16, max_cost=0.1)
    backend.start(Budget(0.1, spent=server.log.charged))
    rest, error = answers_of(backend, [r for r in ask(100) if r.id not in first])
    assert error is None
    assert len(first) + len(rest) == 100
    assert set(server.log.answered.values()) == {1}


def test_credit_that_runs_out_ends_the_run_with_what_was_answered(serve, connect, ask):
    server = serve(credit=0.0005)
    completions, error = answers_of(connect(server, max_workers=4), ask(100))
    assert "credit is used up" in error.message
    assert len(completions) == len(server.log.answered)
    assert len(completions) >= 10


@pytest.mark.parametrize("style", ["echo", "quoted", "newline", "think", "rambling"])
def test_awkward_answers_are_handed_on_without_thoughts(serve, connect, ask, style):
    completions, error = answers_of(connect(serve(styles=[f"{style}=1"]), max_workers=4), ask(8))
    assert error is None
    plain = expected_of(serve, connect, ask(8))
    for name, completion in completions.items():
        assert "think>" not in completion.text
        assert plain[name].rstrip('"') in completion.text
        assert completion.text.startswith('Ann: "') == (style == "echo")


def test_a_prefill_that_is_ignored_does_not_end_the_answer(serve, connect, ask):
    completions, error = answers_of(connect(serve(prefill=False)), ask(4))
    assert error is None
    for completion in completions.values():
        assert completion.text.startswith('"')
        assert len(completion.text) > 10


def test_routing_and_reasoning_are_sent(serve, connect, ask, monkeypatch):
    bodies = []
    for fields in (
        {},
        {
            "provider": "deepinfra, together",
            "allow_fallbacks": False,
            "quantizations": "fp8",
            "data_collection": "deny",
        },
        {"reasoning": "low", "prefill": "off"},
    ):
        backend = connect(serve(), **fields)
        send = backend._client.chat
        monkeypatch.setattr(backend._client, "chat", lambda body, send=send: bodies.append(body) or send(body))
        assert answers_of(backend, ask(1))[1] is None
    assert b'"reasoning":{"enabled":false}' in bodies[0]
    assert b"provider" not in bodies[0]
    assert json.loads(bodies[1])["provider"] == {
        "order": ["deepinfra", "together"],
        "allow_fallbacks": False,
        "quantizations": ["fp8"],
        "data_collection": "deny",
    }
    assert b'"reasoning":{"effort":"low"}' in bodies[2]
    assert b'"max_tokens":1088' in bodies[2]
    assert b'"assistant"' not in bodies[2]


def test_connections_are_reused(serve, connect, ask):
    server = serve(latency=0.002)
    backend = connect(server, max_workers=8)
    for part in range(5):
        answers_of(backend, ask(100)[part * 20 : part * 20 + 20])
    assert server.log.connections <= 8


@pytest.mark.parametrize("kind", ["slow", "drip"])
def test_a_slow_answer_times_out_and_is_asked_for_again(serve, connect, ask, kind):
    server = serve(faults=[f"{kind}=1x1"], slow_seconds=0.4)
    completions, error = answers_of(connect(server, max_workers=4, timeout=0.15), ask(4))
    assert error is None
    assert {c.finish_reason for c in completions.values()} == {"stop"}
    assert {c.unpriced for c in completions.values()} == {True}


def test_closing_cuts_what_is_in_flight_and_leaves_no_thread(serve, connect, ask):
    server = serve(faults=["slow=0.5xinf"], slow_seconds=30)
    backend = connect(server, max_workers=8)
    answers = backend.generate(ask(1000))
    next(answers)
    began = time.monotonic()
    answers.close()
    backend.close()
    assert time.monotonic() - began < 1.0
    assert not [t for t in threading.enumerate() if t.name.startswith("psyctl-")]
    time.sleep(0.1)  # the server may still be reading what was sent before
    seen = server.log.requests
    assert seen <= 2 * 8 + 2
    time.sleep(0.05)
    assert server.log.requests == seen


def test_closing_the_backend_ends_an_abandoned_run(serve, connect, ask):
    backend = connect(serve(faults=["slow=0.5xinf"], slow_seconds=30), max_workers=8)
    abandoned = backend.generate(ask(1000))
    next(abandoned)
    began = time.monotonic()
    backend.close()
    assert time.monotonic() - began < 1.0
    abandoned.close()


def test_a_refusing_port_says_what_is_wrong(connect):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    backend = connect(None, base_url=url, policy=RetryPolicy(retries=1, first=0.001))
    with pytest.raises(BackendError) as caught:
        backend.start(Budget(None))
    assert f"{url}/key cannot be read: cannot connect (Connection refused)." in caught.value.message
    assert "--openrouter-base-url" in caught.value.hint


def test_the_key_is_nowhere(serve, connect, ask, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    shown = []
    kinds = [*PASSING, "401", "402", "400", "404", "guardrail", "moderation"]
    for kind in kinds:
        server = serve(faults=[f"{kind}=1xinf"])
        policy = RetryPolicy(retries=1, first=0.001, outage_timeout=0.0, min_failures=3)
        backend = connect(server, max_workers=2, policy=policy)
        completions, error = answers_of(backend, ask(6))
        shown += [repr(completions), repr(backend), str(vars(backend)), repr(backend._client)]
        link = error
        while link is not None:
            report = traceback.TracebackException.from_exception(link, capture_locals=True)
            shown += [*report.format(), repr(link), repr(link.args)]
            link = link.__cause__ or link.__context__
    for refuse in ({"key": "sk-or-another"}, {"credit": 0.0}, {"models": ("a/b",)}):
        backend = connect(serve(**refuse))
        with pytest.raises(BackendError) as caught:
            backend.start(Budget(None))
        shown += traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    shown += [repr(OpenRouterConfig(api_key=KEY)), caplog.text, *capfd.readouterr()]
    assert "OpenRouter" in "".join(shown)
    assert KEY not in "".join(shown)


@pytest.mark.parametrize("key", ["sk-or-v1 abc", "sk-or-v1-ab\nc", "sk-or-v1-\u2013abc", "“sk-or”"])
def test_a_key_that_cannot_be_one_is_refused_without_showing_it(key):
    with pytest.raises(UsageError) as caught:
        OpenRouterBackendOf(key)
    assert key not in str(caught.value)


def OpenRouterBackendOf(key):  # noqa: N802 - reads as what it makes
    from psyctl_core.components import Context
    from psyctl_openrouter.backend import OpenRouterBackend

    return OpenRouterBackend(OpenRouterConfig(api_key=key), Context())


def test_a_netrc_file_does_not_replace_the_key(serve, connect, ask, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login x password y\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server = serve(key=KEY)
    backend = connect(server)
    backend.start(Budget(None))
    assert len(answers_of(backend, ask(3))[0]) == 3


def test_a_proxy_from_the_environment_is_used(serve, connect, ask, monkeypatch):
    server = serve()
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/api/v1"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    backend = connect(server, base_url="http://nowhere.invalid/api/v1")
    backend.start(Budget(None))
    assert len(answers_of(backend, ask(3))[0]) == 3


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("REQUESTS_CA_BUNDLE", "/no/such/file.pem", "certificate of https://localhost:9/v1 is not accepted"),
        ("https_proxy", "http://", "cannot connect"),
    ],
)
def test_a_wrong_network_setting_is_named(connect, monkeypatch, name, value, message):
    for other in ("no_proxy", "NO_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, value)
    backend = connect(None, base_url="https://localhost:9/v1", policy=RetryPolicy(retries=0))
    with pytest.raises(BackendError) as caught:
        backend.start(Budget(None))
    assert message in caught.value.message


def test_memory_stays_flat(serve, connect, ask):
    backend = connect(serve(), max_workers=8)
    assert len(answers_of(backend, ask(50))[0]) == 50
    flow = backend._flow
    assert [server._jobs.qsize() for server in flow._servers] == [0]
    assert len(backend._client._adapter._connections) <= 8
