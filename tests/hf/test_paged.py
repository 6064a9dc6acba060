"""Transformers' continuous batching: when it is chosen, and that whatever happens to it every request is answered."""

from __future__ import annotations

import logging
import threading
from types import SimpleNamespace

import pytest
import torch
import transformers

from psyctl_core import UsageError
from psyctl_hf import HfConfig, loading, paged

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
paging = pytest.mark.skipif(
    not hasattr(transformers, "ContinuousBatchingConfig"),
    reason="this Transformers has no continuous batching that fits",
)


@pytest.fixture
def continuous(backend, tiny_model):
    """A backend that is told to use it; it is closed when the test ends."""
    made = backend(tiny_model, batching="continuous", repetition_penalty=1.0, batch_size=8)
    yield made
    made.close()


def done(made, asked) -> dict[str, tuple[str, str]]:
    return {c.id: (c.text, c.finish_reason) for c in made.generate(asked)}


@paging
def test_block_after_block_is_answered_as_by_the_own_loop(continuous, requests, answers, tiny_model):
    before = set(threading.enumerate())
    first, second = requests(6, max_tokens=9), requests(9, max_tokens=6)
    assert done(continuous, first) == answers(tiny_model, first, repetition_penalty=1.0)
    engine = continuous._generator._paged
    assert done(continuous, second) == answers(tiny_model, second, repetition_penalty=1.0)
    assert continuous._generator._paged is engine
    assert {reason for _, reason in done(continuous, requests(30, max_tokens=40)).values()} == {"stop", "length"}
    assert set(threading.enumerate()) > before
    continuous.close()
    assert not {thread for thread in set(threading.enumerate()) - before if not thread.daemon}


@paging
def test_whoever_leaves_is_not_answered_later(continuous, requests, answers, tiny_model):
    walk = continuous.generate(requests(9, max_tokens=12))
    next(walk)
    walk.close()
    asked = requests(5)
    assert done(continuous, asked) == answers(tiny_model, asked, repetition_penalty=1.0)


@paging
def test_where_the_engine_breaks_the_rest_is_answered_without_it(
    continuous, requests, answers, tiny_model, monkeypatch, caplog
):
    model = continuous._loaded()._model
    forward, main, steps = model.forward, threading.current_thread(), []

    def fails(*args, **options):
        if threading.current_thread() is not main:
            steps.append(1)
            if len(steps) > 12:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB\nand more")
        return forward(*args, **options)

    monkeypatch.setattr(model, "forward", fails)
    asked = requests(12, max_tokens=20)
    with caplog.at_level(logging.WARNING, "psyctl"):
        found = done(continuous, asked)
    assert found == answers(tiny_model, asked, repetition_penalty=1.0)
    assert (
        "Continuous batching failed (CUDA out of memory. Tried to allocate 2.00 GiB): going on without" in caplog.text
    )
    assert len(steps) == 13
    assert model.config._attn_implementation == "sdpa"
    assert done(continuous, asked) == found
    assert len(steps) == 13


def test_a_transformers_without_it_is_no_obstacle(continuous, requests, answers, tiny_model, monkeypatch, caplog):
    model = continuous._loaded()._model
    monkeypatch.setattr(type(model), "init_continuous_batching", None)
    asked = requests(5)
    assert done(continuous, asked) == answers(tiny_model, asked, repetition_penalty=1.0)
    assert "going on without it" in caplog.text


def test_what_it_cannot_do_is_refused_where_it_was_asked_for(backend, requests, continuous, tiny_model):
    with pytest.raises(UsageError, match="no repetition penalty") as caught:
        done(backend(tiny_model, batching="continuous"), requests(2))
    assert "--hf-batching auto" in caught.value.hint
    with pytest.raises(UsageError, match="seeds apart"):
        done(continuous, requests(2, temperature=0.7))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"flash": ""}, "flash attention is not installed"),
        ({"device": "cpu"}, "made for GPUs"),
        ({"device": "mps"}, "made for GPUs"),
        ({"penalty": 1.1}, "no repetition penalty"),
        ({"temperature": 0.5}, "seeds apart"),
        ({"map": {"a": 0, "b": 1}}, "several devices"),
        ({"map": {"": 0}}, ""),
        ({"batching": "own"}, "--hf-batching own"),
        ({"batching": "continuous", "device": "cpu", "flash": ""}, ""),
        ({"batching": "continuous", "penalty": 1.1}, "no repetition penalty"),
    ],
)
def test_when_it_is_chosen(requests, monkeypatch, change, why):
    case = {"flash": "flash_attention_2", "device": "cuda", "penalty": 1.0, "temperature": 0.0, "map": {}, **change}
    monkeypatch.setattr(paged, "flash_attention", lambda: case["flash"])
    model = SimpleNamespace(device=torch.device(case["device"]), hf_device_map=case["map"])
    config = HfConfig(model="x", batching=case.get("batching", "auto"))
    said = paged.why_not(model, config, case["penalty"], requests(1, temperature=case["temperature"])[0])
    assert why in said
    assert bool(why) == bool(said)


def test_on_a_cpu_it_is_not_chosen(backend, requests, tiny_model):
    made = backend(tiny_model, repetition_penalty=1.0)
    done(made, requests(3))
    assert made._generator._paged is None


def test_the_penalty_is_for_small_models(tiny_model, backend):
    small = SimpleNamespace(parameters=lambda: [torch.empty(10_000, 10_000, device="meta")])
    large = SimpleNamespace(parameters=lambda: [torch.empty(100_000, 20_000, device="meta")])
    assert loading.pick_penalty(None, small) == 1.1
    assert loading.pick_penalty(None, large) == 1.0
    assert loading.pick_penalty(1.2, large) == 1.2
    assert backend(tiny_model)._loaded()._penalty == 1.1


@paging
def test_it_would_drop_the_penalty():
    """Why a penalty goes another way; once this fails, `why_not` can let it through."""
    from transformers import RepetitionPenaltyLogitsProcessor

    assert RepetitionPenaltyLogitsProcessor.supports_continuous_batching is False
