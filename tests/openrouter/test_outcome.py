"""How replies are sorted: every failure class of the API's error page, alone."""

from __future__ import annotations

import json
import math

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


@pytest.mark.parametrize(
    ("wrapped", "said"),
    [
        ([{"error": {"code": 400, "message": "Words", "status": "INVALID_ARGUMENT"}}], "Words"),
        ({"error": "Words"}, "Words"),
        ({"error": {"message": "Words"}}, "Words"),
        ({"error": ["Words", "More"]}, "Words; More"),
        ({"errors": [{"message": "Words"}]}, "Words"),
        ({"detail": "Words"}, "Words"),
        ({"detail": [{"loc": ["body", "messages", 0], "msg": "Words"}]}, "messages.0: Words"),
        ({"title": "Bad Request", "detail": "Words"}, "Words"),
        ({"msg": "Words", "code": 1301}, "Words"),
        ({"error_message": "Words"}, "Words"),
        ({"fault": {"faultstring": "Words"}}, "Words"),
        ({"Error": {"Message": "Words"}}, "Words"),
        ({"error": {"message": '{"error": {"message": "Words"}}'}}, "Words"),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": '{"detail": "Words"}'}}},
         "Provider returned error: Words"),
        ({"error": {"type": "x", "details": {"reason": "Words"}}}, "Words"),
        ("Words", "Words"),
    ],
)  # fmt: skip
def test_a_servers_words_are_found_in_whatever_they_are_wrapped(wrapped, said):
    assert error_of(wrapped).message == said
    assert f": {said}." in sort_reply(reply(400, wrapped), LOCAL).message


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"Words.", "HTTP 400: Words"),
        (b"<html><head><title>Sign &amp; in</title></head></html>", "HTTP 400, a web page 'Sign & in'"),
        (b"<!doctype html><body><h1>No</h1>", "HTTP 400, a web page 'No'"),
        (b"\xef\xbb\xbf<!DOCTYPE html>", "HTTP 400, a web page"),
        (b"", "HTTP 400"),
        (b'{"half', "HTTP 400"),
    ],
)
def test_words_that_are_not_json_are_told_too(body, said):
    assert f": {said}." in sort_reply(reply(400, body), LOCAL).message


@pytest.mark.parametrize(
    "data",
    [
        [{"id": "a/b", "description": "A model", "details": {"family": "x"}}],
        {"models": [{"name": "a", "description": "x"}]},
        {"data": [{"id": "a"}], "message": "ok"},
        {"message": {"role": "assistant", "content": "Hi"}, "done": True},
        {"error": None, "choices": [{}]},
        {},
        7,
        None,
    ],
)
def test_what_is_not_an_error_is_not_taken_for_one(data):
    assert error_of(data) is None


def test_nesting_without_end_is_not_followed():
    deep = {}
    for _ in range(200):
        deep = {"error": [deep]}
    assert error_of({"error": {"message": "x", "details": deep}}).message == "x"
    assert sort_reply(reply(400, {"error": deep}), LOCAL).message


@pytest.mark.parametrize(
    ("got", "kind", "reason"),
    [
        (error(429, "You exceeded your current quota", error_type="insufficient_quota"), "fatal", "request refused"),
        (
            reply(429, {"error": {"message": "You exceeded your current quota, check your plan"}}),
            "fatal",
            "request refused",
        ),
        (
            reply(429, {"error": {"message": "You exceeded your current quota"}}, Retry_After="7"),
            "limited",
            "rate limited",
        ),
        (
            reply(429, [{"error": {"message": "You exceeded your current quota", "details": [{"retryDelay": "34s"}]}}]),
            "limited",
            "rate limited",
        ),
        (reply(400, {"error": {"message": "Your credit balance is too low"}}), "fatal", "request refused"),
        (reply(402, {"error": {"message": "Insufficient Balance"}}), "fatal", "request refused"),
        (reply(429, {"error": "Too many tokens per minute"}), "limited", "rate limited"),
        (reply(503, {"error": {"message": "Loading model"}}), "limited", "the model is loading"),
        (
            reply(503, {"error": "Model a/b is currently loading", "estimated_time": 20.0}),
            "limited",
            "the model is loading",
        ),
        (reply(500, {"error": "model is still warming up"}), "limited", "the model is loading"),
        (
            reply(500, {"error": {"message": "the request exceeds the available context size"}}),
            "request_error",
            "input too long",
        ),
        (
            reply(400, {"error": {"type": "exceed_context_size_error", "message": "no"}}),
            "request_error",
            "input too long",
        ),
        (
            reply(400, {"message": "Input length (900) exceeds model's maximum length"}),
            "request_error",
            "input too long",
        ),
        (reply(500, {"error": "The prompt is too long: 900, model maximum 512"}), "request_error", "input too long"),
        (reply(500, {"error": "the request took too long"}), "retry", "provider failed"),
        (reply(400, {"error": {"code": "data_inspection_failed", "message": "x"}}), "request_error", "moderation"),
        (
            reply(400, {"error": {"message": "Input data may contain inappropriate content."}}),
            "request_error",
            "moderation",
        ),
        (
            reply(400, {"error": {"message": "rejected because it was considered high risk"}}),
            "request_error",
            "moderation",
        ),
        (
            reply(400, {"error": {"code": "1301", "message": "系统检测到输入可能包含不安全或敏感内容"}}),
            "request_error",
            "moderation",
        ),
        (reply(200, {"error": "Unexpected endpoint or method. (POST /chat/completions)"}), "fatal", "request refused"),
        (reply(404, {"detail": "Not Found"}), "fatal", "request refused"),
        (reply(404, {"error": {"message": "No endpoints found for a/b."}}), "fatal", "request refused"),
        (reply(501, {"error": "not implemented"}), "refused", "request refused"),
        (reply(407, b""), "fatal", "request refused"),
    ],
)
def test_what_other_servers_say_is_sorted_by_what_mends_it(got, kind, reason):
    outcome = sort_reply(got, LOCAL)
    assert (outcome.kind, outcome.reason) == (kind, reason)


def test_the_reason_of_a_passing_failure_is_kept():
    outcome = sort_reply(reply(500, {"error": {"message": "model runner has unexpectedly stopped"}}), LOCAL)
    assert outcome.detail == "model runner has unexpectedly stopped"


def test_a_wrong_address_is_mended_with_v1_where_it_lacks_that():
    said = reply(200, {"error": "Unexpected endpoint or method. (POST /chat/completions)"})
    bare = Service("The server", "--openai", "http://localhost:1234", "a", "", priced=False)
    assert sort_reply(said, bare).hint == "Check --openai-base-url: try http://localhost:1234/v1."
    assert sort_reply(reply(404, b""), bare).hint.endswith("Check --openai-base-url: try http://localhost:1234/v1.")
    assert "try " not in sort_reply(said, LOCAL).hint
    azure = Service("The server", "--openai", "https://x.openai.azure.com", "a", "", priced=False)
    assert "?api-version=DATE" in sort_reply(reply(404, {"error": {"message": "Resource not found"}}), azure).hint


def test_a_proxy_between_is_named():
    caught = Service(
        "The server", "--openai", "http://localhost:8000/v1", "a", "", priced=False, proxy="http://proxy:3128"
    )
    go_around = "HTTP_PROXY sends this through the proxy http://proxy:3128: set NO_PROXY=localhost to go around it."
    page = reply(200, b"<html><title>Denied</title></html>", Content_Type="text/html")
    assert go_around in sort_reply(page, caught).hint
    assert go_around in sort_reply(reply(403, b"<html><title>Denied</title></html>"), caught).hint
    assert go_around in sort_reply(reply(407, b""), caught).hint
    lost = sort_reply(Reply(trouble=network.CANNOT_CONNECT, detail="no such host", sent=False), caught)
    assert "through the proxy http://proxy:3128; NO_PROXY" in lost.detail


@pytest.mark.parametrize(
    ("choice", "finish"),
    [
        ({"finish_reason": "length"}, "length"),
        ({"finish_reason": "max_tokens"}, "length"),
        ({"finish_reason": "MAX_TOKENS"}, "length"),
        ({"finish_reason": "max_output_tokens"}, "length"),
        ({"finish_reason": "model_length"}, "length"),
        ({"finish_reason": "stop", "native_finish_reason": "MAX_TOKENS"}, "length"),
        ({"stop_reason": "max_tokens"}, "length"),
        ({"finish_reason": "incomplete"}, "length"),
        ({"finish_reason": "stop", "truncated": True}, "length"),
        ({"finish_reason": "stop", "stop_reason": "max_tokens"}, "stop"),  # vLLM: the stop string
        ({"finish_reason": "eos_token"}, "stop"),
        ({"finish_reason": "end_turn"}, "stop"),
        ({"finish_reason": 7}, "stop"),
    ],
)
def test_a_cut_has_many_names(choice, finish):
    body = {"choices": [{"message": {"content": "Hi"}, **choice}], "usage": {"completion_tokens": 5}}
    assert sort_reply(reply(200, body), LOCAL, limit=64).finish_reason == finish


@pytest.mark.parametrize(
    ("made", "finish"), [(63, "stop"), (64, "length"), (65, "length"), (None, "stop"), (2**63, "stop")]
)
def test_tokens_that_reach_the_limit_are_a_cut_whatever_is_said(made, finish):
    body = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}], "usage": {"completion_tokens": made}}
    assert sort_reply(reply(200, body), LOCAL, limit=64).finish_reason == finish
    assert sort_reply(reply(200, body), LOCAL).finish_reason == "stop"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": ["Hel", "lo."]}, "Hello."),
        ({"content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Hello."}]}, "Hello."),
        ({"content": [{"text": "Hm.", "thought": True}, {"text": "Hello."}]}, "Hello."),
        ({"content": [{"type": "output_text", "text": {"value": "Hello."}}]}, "Hello."),
        ({"content": {"type": "text", "text": "Hello."}}, "Hello."),
        ({"content": "Hello.", "reasoning_content": "Hm."}, "Hello."),
        ({"content": "Hello.", "refusal": ""}, "Hello."),
    ],
)
def test_content_has_many_forms_and_thoughts_are_in_none(message, text):
    assert sort_reply(reply(200, {"choices": [{"message": message}]}), LOCAL).text == text


@pytest.mark.parametrize(
    "body",
    [
        b'data: {"choices": [{"delta": {"content": "Hel"}}]}\n\ndata: {"choices": [{"delta": {"content": "lo."}}]}\n\n'
        b"data: [DONE]\n\n",
        b': alive\n\nevent: x\ndata: {"choices": [{"delta": {"reasoning_content": "Hm.", "content": "Hello."},'
        b' "finish_reason": "stop"}]}\n\n',
        b'{"choices": [{"delta": {"content": "Hel"}}]}\n'
        b'{"choices": [{"delta": {"content": "lo."}, "finish_reason": "stop"}]}\n',
        b'{"message": {"content": "Hel"}, "done": false}\n'
        b'{"message": {"content": "lo."}, "done": true, "done_reason": "stop"}',
        b'{"message": {"role": "assistant", "content": "Hello."}, "done": true, "done_reason": "stop"}',
        b'{"choices": [{"text": "Hello."}]}',
    ],
)
def test_streams_and_other_forms_of_an_answer_are_read(body):
    outcome = sort_reply(reply(200, body), LOCAL)
    assert (outcome.kind, outcome.text, outcome.finish_reason) == ("answer", "Hello.", "stop")


def test_a_stream_that_breaks_off_is_a_cut_and_one_with_an_error_fails():
    begun = b'data: {"choices": [{"delta": {"content": "Hel"}}]}\n\n'
    assert sort_reply(reply(200, begun), LOCAL).finish_reason == "length"
    assert sort_reply(reply(200, b'data: {"error": {"code": 429, "message": "slow"}}\n\n'), LOCAL).kind == "limited"


@pytest.mark.parametrize(
    ("choice", "kind", "reason", "words"),
    [
        ({"finish_reason": "stop"}, "retry", "answer without a message", "without a message, with finish_reason"),
        ({"message": None}, "retry", "answer without a message", "without a message"),
        ({"message": {"content": None, "refusal": "I won't."}}, "refused", "the model refused to answer", "I won't."),
        ({"message": {"content": ""}, "finish_reason": "SAFETY"}, "request_error", "moderation", ""),
        ({"message": {"content": [{"type": "thinking", "thinking": "Hm."}]}}, "empty",
         "empty answer: all tokens went into reasoning", "--openai-reasoning none"),
    ],
)  # fmt: skip
def test_a_choice_without_an_answer_says_what_it_has(choice, kind, reason, words):
    outcome = sort_reply(reply(200, {"choices": [choice]}), LOCAL)
    assert (outcome.kind, outcome.reason) == (kind, reason)
    assert words in outcome.message + outcome.hint


@pytest.mark.parametrize(
    ("set_to", "hint"),
    [
        ("default", "--openai-reasoning none, or"),
        ("none", "give --openai-reasoning low"),
        ("low", "--openai-reasoning high"),
    ],
)
def test_a_model_that_only_thinks_is_helped_by_another_setting_than_the_one_it_has(set_to, hint):
    service = Service("The server", "--openai", "http://localhost:8000/v1", "a", "", priced=False, reasoning=set_to)
    thought = {"choices": [{"message": {"content": "", "reasoning_content": "Hm."}}]}
    assert hint in sort_reply(reply(200, thought), service).hint


def with_logprobs(content, *places):
    body = json.loads(answer(content).body)
    body["choices"][0]["logprobs"] = {"content": list(places)}
    return sort_reply(reply(200, body), OPENROUTER)


def place(token, **likely):
    top = [{"token": text, "logprob": value} for text, value in likely.items()]
    return {"token": token, "logprob": -0.1, "top_logprobs": top}


def test_probabilities_are_those_of_the_first_token_that_says_something():
    found = with_logprobs(" 7", place(" ", x=-0.5), place("7", **{"7": -0.5, " 7": -2.0, "8": -3.0, "Score": -4.0}))
    assert found.likely["7"] == pytest.approx(math.exp(-0.5) + math.exp(-2.0))
    assert found.likely["8"] == pytest.approx(math.exp(-3.0))
    assert sum(found.likely.values()) <= 1.01


@pytest.mark.parametrize(
    "logprobs",
    [None, [], {"content": None}, {"content": [7]}, {"content": [{"token": "7"}]},
     {"content": [{"token": "7", "top_logprobs": [None, {"token": 7, "logprob": -1}, {"token": "7", "logprob": "x"},
                                                  {"token": "7", "logprob": 3}]}]}],
)  # fmt: skip
def test_probabilities_that_make_no_sense_are_none(logprobs):
    body = json.loads(answer("7").body)
    body["choices"][0]["logprobs"] = logprobs
    found = sort_reply(reply(200, body), OPENROUTER)
    assert (found.text, found.likely) == ("7", {})


@pytest.mark.parametrize("wrap", [lambda entry: entry, lambda entry: [{"code": "x"}, entry]])
@pytest.mark.parametrize(
    ("status", "retryable", "kind"),
    [(503, True, "retry"), (404, True, "retry"), (429, True, "limited"), (503, False, "fatal"), (429, False, "fatal")],
)
def test_availability_decides_before_the_words_do(status, retryable, kind, wrap):
    entry = {"code": "no_endpoints", "retryable": retryable, "retry_after": 7}
    body = {"error": {"code": status, "message": "This is too long, flagged and unknown", "availability": wrap(entry)}}
    outcome = sort_reply(reply(status, body), OPENROUTER)
    assert outcome.kind == kind
    if retryable:
        assert outcome.wait == 7
    else:
        assert "waiting does not help" in outcome.message


@pytest.mark.parametrize("told", [None, [], {}, "soon", {"retryable": "yes"}, [[[]]], {"retry_after": float("nan")}])
def test_availability_that_cannot_be_read_changes_nothing(told):
    body = {"error": {"code": 503, "message": "down", "availability": told}}
    outcome = sort_reply(reply(503, body), OPENROUTER)
    assert (outcome.kind, outcome.wait) == ("retry", None)
