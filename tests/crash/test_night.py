"""A night in small: budget, kill, a trait added, finished, watched; and every number is the same everywhere."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PAIRS = int(os.environ.get("PSYCTL_NIGHT_PAIRS", "60"))
"""`PSYCTL_NIGHT_PAIRS=400` takes some minutes."""


@pytest.fixture
def night():
    spec = importlib.util.spec_from_file_location("psyctl_night", Path(__file__).with_name("night.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_whatever_befalls_a_night_every_number_agrees(night, tmp_path):
    found = night.sleepless(PAIRS, tmp_path)
    assert found.wrong == []
    assert found.figures["pairs"] == dict.fromkeys(night.TRAITS, PAIRS)
    assert set(found.figures["states it saw"]) == {"running", "resumable", "complete"}
    assert {"429", "502", "close", "empty", "slow", "moderation"} <= set(found.figures["faults"])
