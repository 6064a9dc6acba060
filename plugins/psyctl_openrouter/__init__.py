"""The backends ``openrouter`` and ``openai``: answers over HTTP, from OpenRouter or a server of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from psyctl_core.components import Component
from psyctl_core.hookspecs import hookimpl
from psyctl_core.options import option

DEFAULT_MODEL = "qwen/qwen3-next-80b-a3b-instruct"
OPENROUTER_URL = "https://openrouter.ai/api/v1"
LOCAL_URL = "http://localhost:8000/v1"

MAX_WORKERS_HELP = "Requests on their way at the same time"
TIMEOUT_HELP = "Seconds to wait for an answer"
RETRIES_HELP = "How often one request is tried again before it counts as failed"
BATCH_HELP = "Ask in batches: about half the price, within 24 hours; the same command takes up what is under way"
BATCH_SIZE_HELP = "Requests in one batch at most"
BATCH_POLL_HELP = "Seconds between two looks at a batch at most"
BATCH_ORPHAN_HELP = "What became of a batch that nobody can tell of, as the message asks: CODE=ID or CODE=resubmit"
PATIENCE_HELP = "Seconds of nothing but failures after which the run stops, saved"


@dataclass(frozen=True, slots=True)
class OpenRouterConfig:
    """Settings of the ``openrouter`` backend.

    The base URL decides who answers, so it is part of a run's identity as the model and the routing are.
    The answer is begun for the model by default: OpenRouter documents it, and a model that does not
    honour it mostly still answers in character.
    """

    api_key: str = option("", help="OpenRouter API key", env="OPENROUTER_API_KEY", secret=True, identity=False)
    model: str = option(DEFAULT_MODEL, help="OpenRouter model")
    max_workers: int = option(1, help=MAX_WORKERS_HELP, identity=False)
    max_cost: float | None = option(
        None,
        help="US dollars the run may cost in all, resumes included; it stops before more is spent",
        identity=False,
        rare=True,
    )
    provider: str = option("", help="Providers to use, comma-separated, in this order", rare=True)
    allow_fallbacks: bool = option(True, help="Let other providers answer when those cannot", rare=True)
    only: str = option("", help="Providers that alone may answer, comma-separated", rare=True)
    ignore: str = option("", help="Providers that may not answer, comma-separated", rare=True)
    sort: Literal["default", "price", "throughput", "latency"] = option(
        "default",
        help="Which provider to prefer: the cheapest, or the quickest by tokens a second or to the first one",
        rare=True,
    )
    max_price: str = option(
        "",
        help="Dollars for a million tokens read, and generated, above which no provider is used, such as 0.5,1.5",
        rare=True,
    )
    quantizations: str = option("", help="Number formats to accept, comma-separated, such as fp8,bf16", rare=True)
    data_collection: Literal["allow", "deny"] = option(
        "allow", help="deny: only providers that do not keep or train on what is sent", rare=True
    )
    zdr: bool = option(False, help="Only providers that keep nothing at all (zero data retention)", rare=True)
    enforce_distillable_text: bool = option(
        False,
        help="Only models whose terms allow that others are trained on what they write",
        rare=True,
    )
    require_parameters: bool = option(
        False, help="Only providers that know every field that is sent, such as the seed", rare=True
    )
    service_tier: Literal["default", "flex"] = option(
        "default",
        help="flex: about half the price, for longer waits, where a provider has it",
        identity=False,
        rare=True,
    )
    batch: bool = option(False, help=BATCH_HELP, identity=False, rare=True)
    batch_size: int = option(50_000, help=BATCH_SIZE_HELP, identity=False, rare=True)
    batch_poll: float = option(300.0, help=BATCH_POLL_HELP, identity=False, rare=True)
    batch_orphan: str = option("", help=BATCH_ORPHAN_HELP, identity=False, rare=True)
    session_id: str = option(
        "",
        help="Name under which OpenRouter groups the calls, and keeps to one provider; left out, a new one each time",
        identity=False,
        rare=True,
    )
    reasoning: Literal["none", "low", "medium", "high"] = option(
        "none", help="How much a reasoning model may think, beyond --max-tokens and at your cost"
    )
    prefill: Literal["on", "off"] = option(
        "on", help="Begin the answer for the model; off for models that refuse it", rare=True
    )
    timeout: float = option(120.0, help=TIMEOUT_HELP, identity=False, rare=True)
    retries: int = option(5, help=RETRIES_HELP, identity=False, rare=True)
    patience: float = option(60.0, help=PATIENCE_HELP, identity=False, rare=True)
    base_url: str = option(OPENROUTER_URL, help="Where the API is", env="OPENROUTER_BASE_URL", rare=True)


@dataclass(frozen=True, slots=True)
class OpenAIConfig:
    """Settings of the ``openai`` backend.

    Where the servers are is no part of a run's identity, since all of them have the same model: they may change
    from one resume to the next.

    Beginning the answer is off by default: there is no common way to ask for it. vLLM wants two extra
    fields, which stricter servers refuse; others end the begun turn and answer with another one.
    """

    base_url: str = option(
        LOCAL_URL,
        help="Where the server's API is, mostly ending in /v1; several with commas, or @FILE with one a line",
        env="OPENAI_BASE_URL",
        identity=False,
    )
    model: str = option("", help="Model to ask for; left out, the only one the server lists")
    api_key: str = option(
        "", help="API key, if the server wants one", env="OPENAI_API_KEY", secret=True, identity=False
    )
    max_workers: int = option(1, help=f"{MAX_WORKERS_HELP}, at each server", identity=False)
    reasoning: Literal["default", "none", "low", "medium", "high"] = option(
        "default", help="How much a reasoning model may think: none, or so much beyond --max-tokens; default: as it is"
    )
    prefill: Literal["on", "off"] = option(
        "off", help="Begin the answer for the model; works with vLLM and llama.cpp, not with every server", rare=True
    )
    batch: bool = option(False, help=BATCH_HELP, identity=False, rare=True)
    batch_size: int = option(50_000, help=BATCH_SIZE_HELP, identity=False, rare=True)
    batch_poll: float = option(300.0, help=BATCH_POLL_HELP, identity=False, rare=True)
    batch_orphan: str = option("", help=BATCH_ORPHAN_HELP, identity=False, rare=True)
    timeout: float = option(120.0, help=TIMEOUT_HELP, identity=False, rare=True)
    retries: int = option(5, help=RETRIES_HELP, identity=False, rare=True)
    patience: float = option(60.0, help=PATIENCE_HELP, identity=False, rare=True)


@hookimpl
def psyctl_inference_backends() -> Sequence[Component]:
    """Offer ``openrouter`` and ``openai``."""
    return [
        Component(
            name="openrouter",
            factory="psyctl_openrouter.backend:OpenRouterBackend",
            config=OpenRouterConfig,
            summary="Models in the cloud through openrouter.ai, paid per call",
            implied_by=("api_key",),
        ),
        Component(
            name="openai",
            factory="psyctl_openrouter.backend:OpenAIBackend",
            config=OpenAIConfig,
            summary="Any server that speaks /v1/chat/completions: vLLM, llama.cpp, Ollama, TGI and others",
            implied_by=("base_url",),
        ),
    ]
