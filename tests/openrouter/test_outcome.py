"""How replies are sorted: every failure class of the API's error page, alone."""

from __future__ import annotations

import json

import pytest
import requests

from psyctl_openrouter import network
from psyctl_openrouter.client import Reply, scrub
from psyctl_openrouter.outcome import Service
from psyctl_openrouter.replies import sort_reply
from psyctl_openrouter.words import Problem, error_of, wait_of

KEY = "sk-or-v1-0123456789abcdef0123456789abcdef"
OPENROUTER = Service("OpenRouter", "--openrouter", "https://openrouter.ai/api/v1", "a/b", KEY, priced=True)
LOCAL = Service("The server", "--openai", "http://localhost:8000/v1", "a/b", "", priced=False)


def reply(status, data, **headers):
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, body, requests.structures.CaseInsensitiveDict(headers))


def error(status, message="it failed", *, http=None, headers=None, **metadata):
    body = {"error": {"code": status, "message": message, "metadata": metadata}}
    return reply(http or status, body, **(headers or {}))


def answer(content, finish="stop", cost=0.001, **message):
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "cost": cost}
    return reply(
        200,
        {
            "choices": [{"message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}],
            "usage": usage,
        },
    )


def test_an_answer_is_taken_as_it_is_with_tokens_and_cost():
    outcome = sort_reply(answer('Ann: "Hello."'), OPENROUTER)
    assert (outcome.kind, outcome.text, outcome.finish_reason) == ("answer", 'Ann: "Hello."', "stop")
    assert (outcome.prompt_tokens, outcome.completion_tokens, outcome.cost) == (10, 5, 0.001)


@pytest.mark.parametrize(
    ("got", "kind", "reason"),
    [
        (error(408), "retry", "timed out"),
        (error(500), "retry", "provider failed"),
        (error(502), "retry", "provider failed"),
        (error(503), "retry", "provider failed"),
        (error(503, headers={"Retry_After": "2"}), "retry", "provider overloaded"),
        (error(524), "retry", "provider failed"),
        (error(529, error_type="provider_overloaded"), "retry", "provider overloaded"),
        (error(429), "limited", "rate limited"),
        (error(402, limit_source="openrouter_in_flight_budget"), "limited", "too much money in flight"),
        (error(402, limit_source="openrouter_credits"), "fatal", "request refused"),
        (error(402), "fatal", "request refused"),
        (error(401), "fatal", "request refused"),
        (error(404), "fatal", "request refused"),
        (error(400), "refused", "request refused"),
        (error(422), "refused", "request refused"),
        (error(400, error_type="invalid_prompt"), "refused", "request refused"),
        (error(403), "refused", "forbidden"),
        (error(403, error_type="permission_denied"), "refused", "forbidden"),
        (error(403, reasons=["hate"], flagged_input="x"), "request_error", "moderation"),
        (error(403, error_type="content_policy_violation"), "request_error", "moderation"),
        (error(400, "Blocked by the content filter"), "request_error", "moderation"),
        (error(403, limit_source="openrouter_key_limit"), "fatal", "request refused"),
        (error(413), "request_error", "input too long"),
        (error(400, "maximum context length is 4096 tokens"), "request_error", "input too long"),
        (error(400, error_type="context_length_exceeded"), "request_error", "input too long"),
        (error(502, http=200), "retry", "provider failed"),
        (error(429, http=200), "limited", "rate limited"),
        (error(401, http=200), "fatal", "request refused"),
        (error(None, http=200), "retry", "provider failed"),
        (error(400, http=400, error_type="rate_limit_exceeded"), "limited", "rate limited"),
        (reply(200, b'{"choices": [{"mess'), "retry", "malformed answer"),
        (reply(200, b"<html>oops</html>"), "retry", "a web page, not the API"),
        (reply(200, b"\xff\xfe\x00"), "retry", "malformed answer"),
        (reply(200, b"[" * 100_000), "retry", "malformed answer"),
        (reply(200, b""), "retry", "malformed answer"),
        (reply(200, []), "retry", "malformed answer"),
        (reply(200, {"choices": []}), "retry", "malformed answer"),
        (reply(200, {"choices": ["?"]}), "retry", "malformed answer"),
        (reply(502, b"<html>Bad Gateway</html>"), "retry", "provider failed"),
        (reply(301, b""), "fatal", "request refused"),
        (reply(404, b"<html>not here</html>"), "fatal", "request refused"),
        (Reply(trouble=network.TIMED_OUT), "retry", "timed out"),
        (Reply(trouble=network.LOST), "retry", "connection lost"),
        (Reply(trouble=network.CERTIFICATE, detail="self-signed", sent=False), "fatal", "certificate not accepted"),
        (answer(""), "empty", "empty answer"),
        (answer("  \n"), "empty", "empty answer"),
        (answer(None), "empty", "empty answer"),
        (answer(None, reasoning="Hm."), "empty", "empty answer: all tokens went into reasoning"),
        (answer("", reasoning_content="Hm."), "empty", "empty answer: all tokens went into reasoning"),
        (answer("<think>So she", "length"), "empty", "empty answer: all tokens went into reasoning"),
        (answer("half an ans", "error"), "retry", "provider failed"),
        (answer("", "content_filter"), "request_error", "moderation"),
    ],
)
def test_failures_are_sorted(got, kind, reason):
    outcome = sort_reply(got, OPENROUTER)
    assert (outcome.kind, outcome.reason) == (kind, reason)
    assert bool(outcome.message) == bool(outcome.hint)
    assert outcome.message or kind not in ("fatal", "refused", "empty")


def test_an_error_of_a_choice_counts_although_there_is_text():
    body = {"choices": [{"message": {"content": "Hel"}, "error": {"code": 429, "message": "x"}}]}
    assert sort_reply(reply(200, body), OPENROUTER).kind == "limited"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<think>She is shy.</think>\n\nHello.", "Hello."),
        ("<think>\na\nb\n</think>Hello.", "Hello."),
        ("She is shy.\n</think>\n\nHello.", "Hello."),
        ("Hello.", "Hello."),
        ([{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo."}], "Hello."),
    ],
)
def test_thoughts_are_no_answer(content, text):
    assert sort_reply(answer(content), OPENROUTER).text == text


def test_length_is_told_and_other_reasons_are_a_stop():
    assert sort_reply(answer("Hi", "length"), OPENROUTER).finish_reason == "length"
    assert sort_reply(answer("Hi", None), OPENROUTER).finish_reason == "stop"
    assert sort_reply(answer("Hi", "eos"), OPENROUTER).finish_reason == "stop"


@pytest.mark.parametrize(
    ("got", "cost"),
    [
        (answer("Hi", cost=0.5), 0.5),
        (answer("Hi", cost=0), 0.0),
        (answer("Hi", cost=None), None),
        (answer("Hi", cost="much"), None),
        (answer("Hi", cost=-1), None),
        (answer("Hi", cost=float("nan")), None),
        (answer("", cost=0.25), 0.25),
        (answer("half", "error", cost=None), 0.0),
        (error(429), 0.0),
        (error(502, http=200), 0.0),
        (reply(502, b"<html>"), None),
        (reply(200, b'{"usage": {"co'), None),
        (Reply(trouble=network.CANNOT_CONNECT, sent=False), 0.0),
        (Reply(trouble=network.TIMED_OUT), None),
    ],
)
def test_an_unknown_cost_is_not_zero_and_a_free_failure_is(got, cost):
    assert sort_reply(got, OPENROUTER).cost == cost
    assert sort_reply(got, LOCAL).cost is None


def test_errors_of_other_servers_are_understood():
    assert error_of({"detail": "Unexpected fields in the request: {'a'}"}).message.startswith("Unexpected")
    assert error_of({"object": "error", "message": "too long", "code": 400}).code == 400
    assert error_of({"error": "no such model"}).message == "no such model"
    assert error_of({"error": {"message": "x", "code": "context_length_exceeded"}}).type == "context_length_exceeded"
    assert error_of({"choices": [], "message": "x"}) is None
    assert error_of([]) is None


def test_a_providers_own_words_are_told():
    problem = error(400, "Provider returned error", raw="temperature must be above 0")
    assert "temperature must be above 0" in sort_reply(problem, OPENROUTER).message


@pytest.mark.parametrize(
    ("said", "flag"),
    [
        ("Reasoning is mandatory for this endpoint", "--openrouter-reasoning low"),
        ("This model does not support assistant message prefill", "--openrouter-prefill off"),
        ("temperature is not supported", "--openrouter-model"),
    ],
)
def test_a_refused_request_says_which_setting_may_mend_it(said, flag):
    assert flag in sort_reply(error(400, said), OPENROUTER).hint


@pytest.mark.parametrize(
    ("headers", "metadata", "seconds"),
    [
        ({"Retry-After": "12"}, {}, 12.0),
        ({"retry-after": "0.5"}, {}, 0.5),
        ({"Retry-After": "-3"}, {}, 0.0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:17:00 GMT"}, {}, 20.0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT"}, {}, 0.0),
        ({"Retry-After": "soon"}, {}, None),
        ({"Retry-After": "nan"}, {}, None),
        ({}, {"retry_after_seconds": 17}, 17.0),
        ({}, {"headers": {"Retry-After": "9"}}, 9.0),
        ({"X-RateLimit-Reset": "1800000000000"}, {}, 1_800_000_000 - 1000.0),
        ({"X-RateLimit-Reset": "7"}, {}, 7.0),
        ({}, {"headers": {"X-RateLimit-Reset": "6"}}, 6.0),
        ({"Retry-After": "1", "X-RateLimit-Reset": "7"}, {}, 1.0),
        ({}, {}, None),
    ],
)
def test_how_long_the_server_asks_to_wait(headers, metadata, seconds):
    headers = requests.structures.CaseInsensitiveDict(headers)
    assert wait_of(headers, Problem(metadata=metadata), now=1000.0) == seconds


def test_texts_of_servers_lose_the_key_and_everything_like_one():
    said = f"bad key {KEY}\nor sk-proj-abcd****wxyz\x1b[2J" + "x" * 400
    clean = scrub(said, KEY)
    assert KEY not in clean
    assert "abcd" not in clean
    assert clean.isprintable()
    assert len(clean) <= 300
    for got in (error(401, said), error(400, said), error(402, said), error(404, said)):
        outcome = sort_reply(got, OPENROUTER)
        assert KEY not in repr(outcome)
        assert KEY not in repr(OPENROUTER)
