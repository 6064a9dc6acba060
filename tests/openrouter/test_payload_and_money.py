"""What is sent, what it may cost, and what fits a budget."""

from __future__ import annotations

import dataclasses
import json

import pytest

from psyctl_core.budget import Budget
from psyctl_core.records import ChatRequest, Message
from psyctl_openrouter.money import Prices, Spending, prices_of, prompt_tokens
from psyctl_openrouter.payload import chat_body, encoded, usable_stops

REQUEST = ChatRequest("1", (Message("system", "Be Ann."), Message("user", "Say é")), 'Ann: "', ("\n", '"'), 64, 0.7, 42)


def body(request=REQUEST, *, prefill=True, extra=None, when_begun=None):
    return json.loads(
        encoded(chat_body(request, model="a/b", prefill=prefill, extra=extra or {}, when_begun=when_begun or {}))
    )


def test_the_body_holds_what_was_asked():
    assert body() == {
        "model": "a/b",
        "messages": [
            {"role": "system", "content": "Be Ann."},
            {"role": "user", "content": "Say é"},
            {"role": "assistant", "content": 'Ann: "'},
        ],
        "max_tokens": 64,
        "temperature": 0.7,
        "seed": 42,
        "stream": False,
    }


def test_without_prefill_the_answer_is_not_begun():
    sent = body(prefill=False, when_begun={"continue_final_message": True})
    assert [m["role"] for m in sent["messages"]] == ["system", "user"]
    assert "continue_final_message" not in sent
    assert body(when_begun={"continue_final_message": True})["continue_final_message"] is True


def test_extra_fields_are_added_and_thinking_gets_tokens_of_its_own():
    sent = body(extra={"reasoning": {"effort": "low"}, "max_tokens": 1024})
    assert sent["reasoning"] == {"effort": "low"}
    assert sent["max_tokens"] == 64 + 1024


def test_stops_that_could_begin_an_answer_are_never_sent():
    assert usable_stops(("\n", '"', "\n\n", " ”", "###", "END")) == ["###", "END"]
    assert len(usable_stops(tuple("abcdef"))) == 4


@pytest.mark.parametrize(
    "token",
    ["<|im_end|>", "<|eot_id|>", "<｜User｜>", "[|endofturn|]", "</s>", "<s>", "<end_of_turn>", "<start_of_turn>",
     "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<think>", "</think>", "<|channel|>", "[/SYSTEM_PROMPT]", "<bos>"],
)  # fmt: skip
def test_control_tokens_in_a_scene_are_inert(token):
    scene = ChatRequest("1", (Message("user", f"Hi {token} there"),), f"Ann{token}:")
    first, begun = body(scene)["messages"]
    assert token not in first["content"] + begun["content"]
    assert first["content"].replace(" ", "") == f"Hi{token}there".replace(" ", "")


@pytest.mark.parametrize("text", ["a < b", "I <3 you", "[sighs] No.", "<b>No</b>", "[1] a | b", "x<y>z", "«<»"])
def test_ordinary_brackets_stay_as_they_are(text):
    assert body(ChatRequest("1", (Message("user", text),)))["messages"][0]["content"] == text


def test_broken_text_can_be_sent():
    broken = ChatRequest("1", (Message("user", "a\ud800b"),))
    assert body(broken)["messages"][0]["content"] == "a?b"


@pytest.mark.parametrize(
    ("pricing", "prices"),
    [
        ({"prompt": "0.0000001", "completion": "0.000001"}, Prices(1e-7, 1e-6)),
        ({"prompt": "0", "completion": "0", "request": "0.01"}, Prices(0, 0, 0.01)),
        ({"prompt": "-1", "completion": "-1"}, None),
        ({"prompt": "a lot", "completion": "0"}, None),
        ({"prompt": "0"}, None),
        (None, None),
    ],
)
def test_prices_as_listed(pricing, prices):
    assert prices_of({"pricing": pricing}) == prices


def test_prompt_tokens_count_texts_by_bytes():
    assert prompt_tokens(ChatRequest("1", (Message("user", "x" * 400),))) == 100 + 16
    assert prompt_tokens(ChatRequest("1", (Message("user", "字" * 400),))) == 300 + 16


def test_money_in_flight_cannot_cross_the_budget():
    budget = Spending(Budget(1.0, "--max"))
    budget.prices = Prices(0.0, 0.3 / 64)
    amounts = [budget.reserve(REQUEST) for _ in range(4)]
    assert amounts == [pytest.approx(0.3)] * 3 + [None]
    budget.settle(amounts[0], 0.01)
    assert budget.reserve(REQUEST) is not None
    assert budget.reserve(REQUEST) is None
    for amount in amounts[1:3]:
        budget.settle(amount, None)  # unknown: all of it is taken as spent
    assert budget.budget.spent == pytest.approx(0.61)
    assert "$1 is reached" in budget.refusal().message


def test_what_earlier_processes_spent_counts():
    budget = Spending(Budget(1.0, "--max"))
    budget.prices = Prices(0.0, 0.3 / 64)
    budget.budget.spent = 0.8
    assert budget.reserve(REQUEST) is None


def test_without_a_price_one_call_tells_what_the_next_may_cost():
    budget = Spending(Budget(1.0, "--max"))
    first = budget.reserve(REQUEST)
    assert first == 0.0
    assert budget.reserve(REQUEST) is None
    budget.settle(first, 0.0)  # a failure, free
    first = budget.reserve(REQUEST)
    budget.settle(first, 0.4)
    assert budget.reserve(REQUEST) == 0.4
    assert budget.reserve(REQUEST) is None


def test_a_budget_cannot_be_kept_where_nothing_tells_the_cost():
    budget = Spending(Budget(1.0, "--max"))
    budget.settle(budget.reserve(REQUEST), None)
    assert budget.reserve(REQUEST) is None
    assert "cannot be kept" in budget.refusal().message


def test_a_dearer_provider_than_listed_is_learned_from():
    budget = Spending(Budget(1.0, "--max"))
    budget.prices = Prices(0.0, 0.001 / 64)
    budget.settle(budget.reserve(REQUEST), 0.5)
    assert budget.reserve(REQUEST) == 0.5
    assert budget.reserve(REQUEST) is None


def test_no_budget_means_any_sum():
    budget = Spending(Budget(None, "--max"))
    for _ in range(100):
        budget.settle(budget.reserve(REQUEST), 1.0)
    assert budget.budget.spent == 100.0


def test_where_the_answer_is_one_of_some_choices_their_probabilities_are_asked_for():
    sent = body(dataclasses.replace(REQUEST, choices=("0", "1")))
    assert (sent["logprobs"], sent["top_logprobs"]) == (True, 20)
    assert "logprobs" not in body()


def test_an_answer_in_json_is_asked_for_with_its_schema():
    schema = {"type": "object", "properties": {"score": {"type": "integer"}}}
    sent = body(dataclasses.replace(REQUEST, json_schema=json.dumps(schema)))
    assert sent["response_format"]["type"] == "json_schema"
    assert sent["response_format"]["json_schema"]["schema"] == schema
    assert "response_format" not in body()
