"""The backend ``openvino`` holds to the contract for backends, with the real engine and the embedded model."""

from __future__ import annotations

import pytest

from psyctl_core.testing import BackendContract
from psyctl_openvino.backend import QUEUED


class TestOpenVino(BackendContract):
    requests = 6
    most_ahead = 4 + QUEUED

    @pytest.fixture(autouse=True)
    def _one_engine(self, embedded):
        """Loaded once for all tests: what is tested is what becomes of its requests."""
        self.backend = embedded
