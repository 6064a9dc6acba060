"""What the tests of the HTTP backends share: the stand-in server, quick backends, and requests to ask."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from pathlib import Path

import pytest

from psyctl_core.components import Context
from psyctl_core.records import ChatRequest, Message
from psyctl_openrouter import OpenAIConfig, OpenRouterConfig
from psyctl_openrouter.backend import OpenAIBackend, OpenRouterBackend
from psyctl_openrouter.retrying import RetryPolicy

KEY = "sk-or-v1-0123456789abcdef0123456789abcdef"
QUICK = RetryPolicy(retries=5, outage_timeout=0.0, min_failures=20, first=0.001, ceiling=0.01, grace=5.0)


def _load_server():
    path = Path(__file__).with_name("server.py")
    spec = importlib.util.spec_from_file_location("psyctl_stand_in_server", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_SERVER = _load_server()


@pytest.fixture
def stand_in():
    """The stand-in server's module."""
    return _SERVER


@pytest.fixture(autouse=True)
def no_keys_around(monkeypatch):
    """Nothing in the environment decides a test."""
    for name in ("OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def serve(stand_in):
    """Start stand-in servers in threads: ``serve(latency=0.1, faults=["429=0.5"])``."""
    with contextlib.ExitStack() as stack:

        def start(*, faults=(), styles=(), **fields):
            fields.setdefault("retry_after", 0.01)
            script = stand_in.Script(
                faults=[stand_in.Share.parse(f) for f in faults],
                styles=[stand_in.Share.parse(s) for s in styles],
                **fields,
            )
            return stack.enter_context(stand_in.running(script))

        yield start


@pytest.fixture
def connect():
    """Make backends that talk to a server, and close them: ``connect(server, max_workers=8)``."""
    with contextlib.ExitStack() as stack:

        def make(server, *, policy=QUICK, kind="openrouter", **fields):
            if kind == "openrouter":
                config = OpenRouterConfig(**{"api_key": KEY, "base_url": server and server.url, **fields})
                backend = OpenRouterBackend(config, Context(), policy)
            else:
                config = OpenAIConfig(**{"base_url": server and server.url, **fields})
                backend = OpenAIBackend(config, Context(), policy)
            stack.callback(backend.close)
            return backend

        yield make


def make_request(number, **fields):
    """A request like the pipeline's, different for each number."""
    return ChatRequest(
        id=f"{number}:neutral",
        messages=(Message("system", "You are Ann."), Message("user", f"Scene {number}. What does Ann say?")),
        **{"prefill": 'Ann: "', "stop": ("\n", '"'), "max_tokens": 64, "seed": number, **fields},
    )


@pytest.fixture
def ask():
    """Make a number of requests."""
    return lambda count, **fields: [make_request(number, **fields) for number in range(count)]
