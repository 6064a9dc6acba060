"""The backend ``hf`` holds to the contract for backends, in each of the ways it answers."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from psyctl_core.testing import BackendContract


class TestHf(BackendContract):
    options: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def _model(self, backend, tiny_model):
        self.backend = lambda: backend(tiny_model, batch_size=4, **self.options)


class TestHfContinuous(TestHf):
    options: ClassVar[dict[str, Any]] = {"batching": "continuous", "repetition_penalty": 1.0}
