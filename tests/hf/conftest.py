"""Backends and requests for the tests of the hf backend."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from psyctl_core import ChatRequest, Context, Message
from psyctl_core._caa.prompts import STOP

pytest.importorskip("transformers", reason="the extra 'hf' is not installed")


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tiny models gain nothing from more, and lose much to whatever else runs on the machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def backend() -> Callable:
    """Makes a backend on the CPU in float32, unless told otherwise."""
    from psyctl_hf import HfConfig
    from psyctl_hf.backend import HfBackend

    def make(model, **options) -> HfBackend:
        return HfBackend(HfConfig(model=str(model), **{"dtype": "float32", "device": "cpu", **options}), Context())

    return make


@pytest.fixture
def requests() -> Callable:
    """Makes requests whose prompts have very different lengths, some of which begin alike."""

    def make(count: int, *, max_tokens: int = 16, temperature: float = 0.0) -> list[ChatRequest]:
        scene = "Robin waits at the stop in the rain. "
        return [
            ChatRequest(
                id=str(n),
                messages=(Message("system", "One line."), Message("user", scene * (n % 5 + 1) + f"Bus {n}?")),
                prefill='Kim: "',
                stop=STOP,
                max_tokens=max_tokens,
                temperature=temperature,
                seed=n,
            )
            for n in range(count)
        ]

    return make


@pytest.fixture
def answers(backend) -> Callable:
    """Asks a new backend, and returns text and finish reason by request."""

    def ask(model, asked, **options) -> dict[str, tuple[str, str]]:
        return {c.id: (c.text, c.finish_reason) for c in backend(model, **options).generate(asked)}

    return ask
