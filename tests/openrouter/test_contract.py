"""The backends ``openrouter`` and ``openai`` hold to the contract for backends, against the stand-in server."""

from __future__ import annotations

from typing import ClassVar

import pytest

from psyctl_core.testing import BackendContract


class TestOpenRouter(BackendContract):
    most_ahead = 100
    kind = "openrouter"
    model: ClassVar[dict[str, str]] = {}

    @pytest.fixture(autouse=True)
    def _server(self, serve, connect):
        server = serve(faults=["429=0.2"])
        self.backend = lambda: connect(server, kind=self.kind, max_workers=4, **self.model)


class TestOpenAI(TestOpenRouter):
    kind = "openai"
    model: ClassVar[dict[str, str]] = {"model": "qwen/qwen3-30b-a3b"}
