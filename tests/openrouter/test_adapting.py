"""What is learnt from a refusal: which words name which field or role, and what is never changed."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from psyctl_core.budget import Budget
from psyctl_core.errors import BackendError
from psyctl_openrouter.adapting import Adapter, Dialect, change_for
from psyctl_openrouter.outcome import Service
from psyctl_openrouter.payload import chat_body
from psyctl_openrouter.words import error_of

SENT = ("model", "messages", "max_tokens", "temperature", "seed", "stream", "stop", "reasoning", "provider")
SERVICE = Service("The server", "--openai", "http://localhost:8000/v1", "a/b", "", priced=False)


def learnt(said, *, fields=(), used=None, sent=SENT, begun=False):
    change = change_for(said, fields, used or Dialect(), sent, begun=begun)
    return change and change[0]


@pytest.mark.parametrize(
    "said",
    [
        "System role not supported",
        "jinja2.exceptions.TemplateError: System role not supported",
        "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
        "Developer instruction is not enabled for models/gemma-3-27b-it",
        "Only user and assistant roles are supported!",
        "Conversation roles must alternate user/assistant/user/assistant/...",
        "system messages are not allowed",
        "Invalid role: the role 'system' must be one of user, assistant",
        "This model does not support system prompts",
    ],
)
def test_a_refused_system_role_puts_its_text_into_the_users_turn(said):
    assert learnt(said) == Dialect(system=False)


def test_the_place_of_a_role_is_enough():
    assert learnt("Input should be 'user'", fields=("messages.0.role",)) == Dialect(system=False)
    assert learnt("Input should be 'user'", fields=("messages.2.role",), begun=True) == Dialect(prefill=False)


@pytest.mark.parametrize(
    "said",
    [
        "Prefilling assistant messages is not supported",
        "This model does not support assistant message prefill. The conversation must end with a user message.",
        "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant",
        "Assistant response prefill is incompatible with enable_thinking.",
        "Unexpected fields in the request: {'continue_final_message'}",
        "Cannot set both `add_generation_prompt` and `continue_final_message` to True",
    ],
)
def test_a_refused_beginning_is_left_out(said):
    assert learnt(said, begun=True) == Dialect(prefill=False)
    assert learnt(said, begun=False) in (None, Dialect(system=False))


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        ("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
         "max_completion_tokens"),
        ("Unrecognized request argument supplied: max_tokens", "max_completion_tokens"),
        ("max_tokens is deprecated, use max_output_tokens", "max_output_tokens"),
    ],
)  # fmt: skip
def test_the_limit_has_another_name(said, limit):
    assert learnt(said) == Dialect(limit=limit)


@pytest.mark.parametrize(
    ("said", "fields", "omitted"),
    [
        ("Extra inputs are not permitted", ("seed",), {"seed"}),
        (
            "seed: Extra inputs are not permitted; stop: Extra inputs are not permitted",
            ("seed", "stop"),
            {"seed", "stop"},
        ),
        ("Unrecognized request argument supplied: seed", (), {"seed"}),
        ("Unknown parameter: 'seed'.", (), {"seed"}),
        ("property 'seed' is unsupported", (), {"seed"}),
        ("x does not support parameters: ['seed', 'stop']", (), {"seed", "stop"}),
        ('Invalid JSON payload received. Unknown name "seed": Cannot find field.', (), {"seed"}),
        ("unknown field `seed`, expected one of `messages`, `temperature`, `stop`", (), {"seed"}),
        ("temperature is not supported with this model", (), {"temperature"}),
        (
            "'temperature' does not support 0 with this model. Only the default (1) value is supported.",
            ("temperature",),
            {"temperature"},
        ),
        ("'stop' is not supported by this model", (), {"stop"}),
        ("`temperature` is deprecated for this model.", (), {"temperature"}),
        ("unknown field `reasoning`", (), {"reasoning"}),
        ("The `stream` parameter is not allowed", (), {"stream"}),
    ],
)
def test_a_refused_field_is_left_out(said, fields, omitted):
    assert learnt(said, fields=fields) == Dialect(omitted=frozenset(omitted))


@pytest.mark.parametrize(
    ("said", "fields"),
    [
        ("`temperature` must be strictly positive", ()),
        ("temperature must be greater than 0", ("temperature",)),
        ("Input should be less than or equal to 2", ("temperature",)),
        ("Reasoning is mandatory for this endpoint and cannot be disabled", ()),
        ("The provider field is not supported", ()),
        ("Unknown model", ("model",)),
        ("The lamp is not lit", ()),
        ("You must stop asking", ()),
        ("max_tokens must be at most 16", ()),
        ("No such thing: the message is empty", ()),
    ],
)
def test_what_the_user_decides_or_nothing_names_is_not_changed(said, fields):
    assert learnt(said, fields=fields) is None


def test_each_thing_is_learnt_once_and_said_once_by_however_many_threads(caplog):
    caplog.set_level(logging.WARNING, "psyctl")
    adapter = Adapter(SERVICE)
    used = adapter.dialect
    with ThreadPoolExecutor(8) as pool:
        again = list(pool.map(lambda _: adapter.learn("Unknown: 'seed'", (), used, SENT, begun=False), range(50)))
    assert all(again)
    assert adapter.notes == ["`seed` is left out"]
    assert len(caplog.records) == 1
    assert "The server said \"Unknown: 'seed'\", so `seed` is left out from now on." in caplog.text


def test_a_server_that_refuses_for_ever_is_believed():
    adapter = Adapter(SERVICE)
    for number in range(40):
        adapter.learn(f"unknown field `x_{number}`", (), adapter.dialect, [f"x_{number}"], begun=False)
    assert len(adapter.notes) == 12


def test_a_body_keeps_to_what_was_learnt(ask):
    (request,) = ask(1)
    dialect = Dialect(system=False, prefill=False, limit="max_completion_tokens", omitted=frozenset({"seed"}))
    body = chat_body(request, model="a", prefill=True, extra={}, when_begun={"continue": True}, dialect=dialect)
    assert body == {
        "model": "a",
        "messages": [{"role": "user", "content": "You are Ann.\n\nScene 0. What does Ann say?"}],
        "max_completion_tokens": 64,
        "temperature": 0.0,
        "stream": False,
    }


def test_the_fields_of_an_error_are_found_wherever_they_stand():
    detail = [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]
    for wrapped in ({"detail": detail}, {"message": {"detail": detail}}, {"error": {"message": {"detail": detail}}}):
        problem = error_of(wrapped)
        assert problem.fields == ("seed",)
        assert problem.message == "seed: Extra inputs are not permitted"
    assert error_of({"error": {"message": "no", "param": "messages[0].role"}}).fields == ("messages.0.role",)


def test_the_first_refusal_costs_one_request_and_the_next_process_learns_by_itself(serve, connect, ask):
    for _ in range(2):
        server = serve(faults=["nosystem=1xinf"])
        backend = connect(server)
        assert len(list(backend.generate(ask(20)))) == 20
        assert server.log.requests == 21
        assert backend.adaptations() == ("system text is put into the user's message",)


def test_all_of_a_strict_servers_fields_are_left_out_in_one_round(serve, connect, ask):
    server = serve(faults=["strict=1xinf"], models=["a"], priced=False)
    backend = connect(server, kind="openai", model="a", reasoning="none", prefill="on")
    assert len(list(backend.generate(ask(10)))) == 10
    assert server.log.requests <= 10 + 2  # the beginning, then the rest


def test_a_refused_temperature_value_names_the_option(serve, connect, ask):
    server = serve(faults=["positive=1xinf"])
    with pytest.raises(BackendError, match="must be strictly positive") as caught:
        list(connect(server).generate(ask(10)))
    assert "Give another --temperature, such as 0.01" in caught.value.hint
    assert connect(server).adaptations() == ()


@pytest.mark.parametrize(
    ("reasoning", "fields"),
    [
        ("default", {}),
        ("none", {"reasoning_effort": "none",
                  "chat_template_kwargs": {"enable_thinking": False, "thinking": False}, "max_tokens": 64}),
        ("low", {"reasoning_effort": "low",
                 "chat_template_kwargs": {"enable_thinking": True, "thinking": True}, "max_tokens": 64 + 1024}),
    ],
)  # fmt: skip
def test_thinking_is_switched_off_or_given_room_with_one_option(serve, connect, ask, monkeypatch, reasoning, fields):
    backend = connect(serve(models=["a"], priced=False), kind="openai", model="a", reasoning=reasoning)
    backend.start(Budget(None))
    sent, send = [], backend._client.chat
    monkeypatch.setattr(backend._client, "chat", lambda body: sent.append(json.loads(body)) or send(body))
    list(backend.generate(ask(1)))
    plain = {"model", "messages", "max_tokens", "temperature", "seed", "stream"}
    assert set(sent[0]) == plain | set(fields)
    assert {name: sent[0][name] for name in fields} == fields
