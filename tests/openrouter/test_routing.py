"""What OpenRouter is told about who may answer, for how much, and that no other model slips in."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psyctl_core.budget import Budget
from psyctl_core.components import Context
from psyctl_core.errors import BackendError, UsageError
from psyctl_core.options import settings
from psyctl_openrouter import DEFAULT_MODEL, OpenRouterConfig
from psyctl_openrouter.backend import OpenRouterBackend
from psyctl_openrouter.naming import is_same_model
from psyctl_openrouter.routing import fields_of


def test_nothing_is_sent_that_was_not_asked_for():
    assert fields_of(OpenRouterConfig()) == {"reasoning": {"enabled": False}, "max_tokens": 0}


def test_every_preference_becomes_its_field():
    fields = fields_of(
        OpenRouterConfig(
            provider="a,b", only="a,b,c", ignore="d", sort="throughput", max_price="0.5, 1.5", quantizations="fp8",
            data_collection="deny", zdr=True, require_parameters=True, enforce_distillable_text=True,
            allow_fallbacks=False, service_tier="flex",
        )
    )  # fmt: skip
    assert fields["service_tier"] == "flex"
    assert fields["provider"] == {
        "order": ["a", "b"], "only": ["a", "b", "c"], "ignore": ["d"], "sort": "throughput",
        "max_price": {"prompt": 0.5, "completion": 1.5}, "quantizations": ["fp8"], "data_collection": "deny",
        "zdr": True, "require_parameters": True, "enforce_distillable_text": True, "allow_fallbacks": False,
    }  # fmt: skip
    assert fields_of(OpenRouterConfig(max_price="2"))["provider"] == {"max_price": {"prompt": 2.0, "completion": 2.0}}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"only": "a", "ignore": "b,A"}, "The provider a stands in --openrouter-only and in --openrouter-ignore"),
        ({"provider": "b", "ignore": "b"}, "The provider b stands in --openrouter-provider and in"),
        ({"max_price": "cheap"}, "'cheap' is no price"),
        ({"max_price": "-1"}, "'-1' is no price"),
        ({"max_price": "nan"}, "'nan' is no price"),
        ({"max_price": "1,2,3"}, "'1,2,3' is no price"),
        ({"session_id": "x" * 257}, "cannot name a session"),
        ({"session_id": "a\r\nX-Evil: 1"}, "cannot name a session"),
    ],
)
def test_what_contradicts_itself_or_is_no_value_is_refused(fields, words):
    with pytest.raises(UsageError) as caught:
        OpenRouterBackend(OpenRouterConfig(**fields), Context())
    assert words in caught.value.message
    assert caught.value.hint


def test_the_tier_and_the_session_make_no_other_run_and_the_providers_do():
    def identity(**fields):
        return settings(OpenRouterConfig(**fields), identity=True)

    assert identity() == identity(service_tier="flex", session_id="mine")
    for fields in ({"only": "a"}, {"ignore": "a"}, {"sort": "price"}, {"max_price": "1"}, {"zdr": True},
                   {"require_parameters": True}, {"enforce_distillable_text": True}):  # fmt: skip
        assert identity() != identity(**fields)


# Sessions.


def test_all_calls_of_a_process_are_one_session_and_the_bodies_stay_the_same(serve, connect, ask):
    server = serve()
    for _ in range(2):
        backend = connect(server)
        assert len(list(backend.generate(ask(5)))) == 5
    first, second = server.log.sessions
    assert first != second
    assert first.startswith("psyctl-")
    assert set(server.log.sessions.values()) == {5}
    assert set(server.log.answered.values()) == {2}


def test_a_session_can_be_named(serve, connect, ask):
    server = serve()
    list(connect(server, session_id="pairs of May").generate(ask(3)))
    assert dict(server.log.sessions) == {"pairs of May": 3}
    own = serve(models=["a"], priced=False)
    list(connect(own, kind="openai", model="a").generate(ask(1)))
    assert dict(own.log.sessions) == {"": 1}


# The flex tier.


def test_flex_is_booked_at_what_is_charged(serve, connect, ask, caplog):
    server = serve()
    backend = connect(server, service_tier="flex")
    backend.start(Budget(None))
    completions = list(backend.generate(ask(10)))
    prices = server.script.prompt_price, server.script.completion_price
    listed = sum(c.prompt_tokens * prices[0] + c.completion_tokens * prices[1] for c in completions)
    assert sum(c.cost for c in completions) == pytest.approx(listed / 2) == pytest.approx(server.log.charged)
    assert not caplog.records


def test_another_tier_than_flex_is_said_once_and_costs_what_it_costs(serve, connect, ask, caplog):
    server = serve(tier="default")
    backend = connect(server, service_tier="flex", max_workers=4)
    backend.start(Budget(None))
    cost = sum(completion.cost for completion in backend.generate(ask(10)))
    assert cost == pytest.approx(server.log.charged)
    assert [r.getMessage() for r in caplog.records] == [
        "OpenRouter served the tier 'default' instead of flex, at that tier's price."
    ]


def test_the_estimate_knows_flex_and_says_what_it_counts_on(serve, connect, ask, caplog):
    server = serve()
    whole = connect(server).estimate(ask(1)[0], 100)
    half = connect(server, service_tier="flex").estimate(ask(1)[0], 100)
    assert half.cost == pytest.approx(whole.cost / 2)
    assert f"what is served without it costs the listed one, ${whole.cost:.4f} for all" in caplog.text


def test_a_budget_holds_where_flex_is_not_served(serve, connect, ask):
    server = serve(tier="default")
    backend = connect(server, service_tier="flex", max_workers=8)
    backend.start(Budget(0.001))
    with pytest.raises(BackendError, match="budget"):
        list(backend.generate(ask(500)))
    assert server.log.charged <= 0.001


def test_where_nobody_has_flex_the_run_stops_and_names_the_option(serve, connect, ask):
    with pytest.raises(BackendError, match="No endpoints found for the service tier flex") as caught:
        list(connect(serve(faults=["noflex=1xinf"]), service_tier="flex").generate(ask(5)))
    assert "tier" in caught.value.hint


# Probabilities.

CHOICES = {"choices": ("0", "1"), "prefill": ""}


def test_providers_must_know_what_probabilities_are(serve, connect, ask):
    server = serve()
    backend = connect(server, only="a")
    list(backend.generate(ask(2)))
    list(backend.generate(ask(3, **CHOICES)))
    assert dict(server.log.providers) == {
        json.dumps({"only": ["a"]}): 2,
        json.dumps({"only": ["a"], "require_parameters": True}): 3,
    }


def test_where_none_does_it_is_asked_without_and_that_is_said_once(serve, connect, ask, caplog):
    server = serve(faults=["picky=1xinf"])
    backend = connect(server, max_workers=4)
    assert {c.finish_reason for c in backend.generate(ask(30, **CHOICES))} == {"stop"}
    assert server.log.requests <= 30 + 4
    assert len(backend.adaptations()) == 1
    (line,) = [record.getMessage() for record in caplog.records]
    assert 'said "No endpoints found that can handle the requested parameters", so providers need not know' in line


def test_who_requires_it_keeps_it(serve, connect, ask):
    server = serve(faults=["picky=1xinf"])
    with pytest.raises(BackendError, match="No endpoints found that can handle") as caught:
        list(connect(server, require_parameters=True).generate(ask(5, **CHOICES)))
    assert "provider is left" in caught.value.hint


def test_a_model_that_is_not_there_still_ends_a_run_of_probabilities(serve, connect, ask):
    server = serve(faults=["404=1xinf"])
    with pytest.raises(BackendError, match="has nothing for model"):
        list(connect(server).generate(ask(5, **CHOICES)))
    assert server.log.requests <= 4


# Availability.


def test_what_says_when_it_is_available_is_waited_for(serve, connect, ask):
    server = serve(faults=["soon=1x1"], retry_after=0.01)
    assert {c.finish_reason for c in connect(server).generate(ask(10))} == {"stop"}


def test_what_says_that_waiting_is_no_use_stops_at_once(serve, connect, ask):
    server = serve(faults=["never=1xinf"])
    with pytest.raises(BackendError, match="waiting does not help: No provider is left") as caught:
        list(connect(server).generate(ask(10)))
    assert server.log.requests == 1
    assert "--openrouter-model" in caught.value.hint


# The reasoning that a model requires.


@pytest.mark.parametrize(
    ("told", "reasoning", "words", "hint"),
    [
        ({"mandatory": True}, "none", "always reasons", "--openrouter-reasoning low"),
        ({"mandatory": True, "supported_efforts": ["high", "minimal"]}, "none", "always", "reasoning high: it allows"),
        ({"mandatory": False, "supported_efforts": ["high"]}, "low", "how to reason 'low': it knows high", "high"),
        ({"mandatory": True, "supported_efforts": ["xhigh"]}, "low", "it knows xhigh", "another --openrouter-model"),
    ],
)
def test_reasoning_that_a_model_cannot_do_is_found_before_anything_is_paid(
    serve, connect, ask, told, reasoning, words, hint
):
    server = serve(reasoning=told)
    for step in (lambda b: b.start(Budget(None)), lambda b: b.estimate(ask(1)[0], 10)):
        with pytest.raises(BackendError) as caught:
            step(connect(server, reasoning=reasoning))
        assert words in caught.value.message
        assert hint in caught.value.hint
    assert server.log.requests == 0


@pytest.mark.parametrize("told", [None, {"mandatory": False}, {"mandatory": "yes"}, {"supported_efforts": "x"}, [1], 3])
def test_reasoning_that_is_not_told_or_fits_goes_on(serve, connect, told):
    for reasoning in ("none", "low"):
        connect(serve(reasoning=told), reasoning=reasoning).start(Budget(None))


# The model that answers.


@pytest.mark.parametrize(
    ("asked", "answered", "canonical"),
    [
        ("qwen/qwen3-30b-a3b", "qwen/qwen3-30b-a3b", ""),
        ("qwen/qwen3-30b-a3b:free", "qwen/qwen3-30b-a3b", ""),
        ("qwen/qwen3-30b-a3b:floor", "qwen/qwen3-30b-a3b:free", ""),
        ("qwen/qwen3-30b-a3b", "Qwen/Qwen3-30B-A3B", ""),
        ("openai/gpt-4o", "openai/gpt-4o-2024-08-06", ""),
        ("openai/gpt-4o-2024-08-06", "openai/gpt-4o", ""),
        ("openai/gpt-4o", "gpt-4o-2024-08-06", ""),
        ("mistralai/mistral-large", "mistralai/mistral-large-2407", ""),
        ("anthropic/claude-sonnet-4", "anthropic/claude-4-sonnet-20250522", ""),
        ("anthropic/claude-haiku-4.5", "anthropic/claude-4.5-haiku-20251001", ""),
        ("google/gemini-2.0-flash", "google/gemini-2.0-flash-001", ""),
        ("x/y", "z/other-name-20250101", "z/other-name-20250101"),
        ("openai/chatgpt-4o-latest", "openai/chatgpt-4o-2025-03-01", ""),
        ("~anthropic/claude-sonnet-latest", "anthropic/claude-4.5-sonnet-20250929", ""),
        ("deepseek/deepseek-r1:nitro", "deepseek/deepseek-r1-0528", ""),
    ],
)
def test_names_of_one_model(asked, answered, canonical):
    assert is_same_model(asked, answered, canonical)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("openai/gpt-4o", "openai/gpt-4o-mini"),
        ("openai/gpt-4o-mini", "openai/gpt-4o-mini-search"),
        ("qwen/qwen3-next-80b-a3b-instruct", "qwen/qwen3-30b-a3b"),
        ("meta-llama/llama-3.1-405b-instruct", "meta-llama/llama-3.1-405b"),
        ("meta-llama/llama-3.1-8b-instruct", "meta-llama/llama-3.3-8b-instruct"),
        ("mistralai/mistral-large-2407", "mistralai/mistral-large-2411"),
        ("anthropic/claude-sonnet-4", "anthropic/claude-sonnet-4.5"),
        ("~anthropic/claude-sonnet-latest", "anthropic/claude-opus-4"),
    ],
)
def test_names_of_two_models(asked, answered):
    assert not is_same_model(asked, answered)


@given(st.from_regex(r"[a-z]{2,8}/[a-z]{2,8}(-[a-z0-9]{1,4}){0,4}", fullmatch=True), st.sampled_from(["", ":free"]))
def test_every_name_is_its_own_whatever_the_variant(name, variant):
    assert is_same_model(f"{name}{variant}", name)
    assert is_same_model(name, f"{name}{variant}")


def test_an_answer_by_another_model_is_refused_with_both_names(serve, connect, ask):
    server = serve(answers_as="qwen/qwen3-30b-a3b")
    backend = connect(server)
    backend.start(Budget(None))
    with pytest.raises(BackendError) as caught:
        list(backend.generate(ask(10)))
    assert f"answered with the model 'qwen/qwen3-30b-a3b' where '{DEFAULT_MODEL}' was asked" in caught.value.message
    assert server.log.requests == 2  # a second scenario decides


def test_the_canonical_name_of_the_list_is_the_same_model(serve, connect, ask):
    name = "qwen/something-else-20250911"
    server = serve(answers_as=name, canonical=name)
    backend = connect(server)
    backend.start(Budget(None))
    assert {c.finish_reason for c in backend.generate(ask(5))} == {"stop"}


def test_a_router_may_answer_with_any_model_and_that_is_said(serve, connect, ask, caplog):
    server = serve(models=["openrouter/auto"], prompt_price=-1, answers_as="a/b")
    backend = connect(server, model="openrouter/auto")
    backend.start(Budget(None))
    assert {c.finish_reason for c in backend.generate(ask(5))} == {"stop"}
    assert "openrouter/auto is no model: OpenRouter chooses one for each request" in caplog.text


def test_servers_of_ones_own_call_their_model_what_they_like(serve, connect, ask, caplog):
    caplog.set_level(logging.WARNING, "psyctl")
    server = serve(models=["a"], priced=False, answers_as="/models/whatever.gguf")
    assert {c.finish_reason for c in connect(server, kind="openai", model="a").generate(ask(5))} == {"stop"}
    assert not caplog.records
