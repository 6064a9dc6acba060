"""The crash harness, short."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def harness():
    spec = importlib.util.spec_from_file_location("psyctl_crash_harness", Path(__file__).with_name("harness.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def check(outcome, kills: int) -> None:
    assert outcome.kills >= kills
    assert outcome.different == []
    assert outcome.paid_twice == []
    assert outcome.forgotten == []


@pytest.mark.parametrize("traits", ["Extroversion", "Extroversion, Openness"])
def test_killed_against_the_misbehaving_server(harness, traits):
    check(harness.crash_server(kills=6, seed=7, pairs=40, traits=traits), 6)


def test_killed_and_told_to_stop_while_the_model_describes_and_answers(harness):
    outcome = harness.crash_server(
        kills=4,
        signals=4,
        seed=7,
        pairs=20,
        traits="Extroversion, Openness, Neuroticism",
        prompter="p2",
        server_seed=harness.P2_SEED,
    )
    check(outcome, 4)
    assert outcome.signals == 4


@pytest.mark.parametrize("judge", ["itself", "another"])
def test_killed_while_pairs_are_written_and_judged(harness, judge):
    check(harness.crash_server(kills=5, seed=7, pairs=12, judge=harness.JUDGES[judge]), 5)


@pytest.mark.parametrize(("api", "is_listed"), [("openrouter", True), ("openrouter", False), ("openai", True)])
def test_killed_while_batches_are_made_waited_for_and_taken_over(harness, api, is_listed):
    check(harness.crash_batches(kills=3, seed=7, api=api, pairs=90, is_listed=is_listed), 3)


def test_killed_with_a_local_model(harness, tiny_model):
    check(harness.crash_local(kills=2, seed=7, model=str(tiny_model), pairs=6), 2)


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra 'ray' is not installed")
@pytest.mark.skipif(sys.platform != "linux", reason="workers are found under /proc")
def test_killed_workers_and_driver_on_a_ray_cluster(harness):
    outcome = harness.crash_ray(kills=4, seed=7, pairs=30, nodes=2)
    check(outcome, 4)
    assert outcome.asked_again == 0
