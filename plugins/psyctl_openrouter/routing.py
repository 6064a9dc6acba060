"""What OpenRouter is told about who may answer, at what price, and how much is thought about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from psyctl_core.errors import BackendError, UsageError
from psyctl_openrouter import OpenRouterConfig
from psyctl_openrouter.outcome import Service
from psyctl_openrouter.settings import names

THINKING_TOKENS: Mapping[str, int] = {"none": 0, "low": 1024, "medium": 4096, "high": 8192}
"""Tokens allowed for thinking beyond the answer's own, which are too few for any thought."""

FLEX_SHARE = 0.5
"""What the flex tier costs, of the listed price (OpenRouter, "Service Tiers"); the answer tells what was charged."""

MAX_SESSION = 256
"""Characters of a session's name (OpenRouter API reference, chat completions, ``session_id``)."""


def fields_of(config: OpenRouterConfig) -> dict[str, Any]:
    """The fields ``provider``, ``service_tier`` and ``reasoning`` of each request's body.

    Source: OpenRouter's pages "Provider Routing", "Service Tiers" and "Reasoning Tokens".

    Raises:
        UsageError: Two options contradict each other, or a price is none.
    """
    provider: dict[str, Any] = {
        field: listed
        for field, listed in (
            ("order", names(config.provider)),
            ("only", names(config.only)),
            ("ignore", names(config.ignore)),
            ("quantizations", names(config.quantizations)),
        )
        if listed
    }
    _check(provider)
    if not config.allow_fallbacks:
        provider["allow_fallbacks"] = False
    if config.data_collection == "deny":
        provider["data_collection"] = "deny"
    if config.sort != "default":
        provider["sort"] = config.sort
    if config.max_price:
        provider["max_price"] = _max_price(config.max_price)
    for field in ("zdr", "require_parameters", "enforce_distillable_text"):
        if getattr(config, field):
            provider[field] = True
    thinking = {"enabled": False} if config.reasoning == "none" else {"effort": config.reasoning}
    fields: dict[str, Any] = {"reasoning": thinking, "max_tokens": THINKING_TOKENS[config.reasoning]}
    if provider:
        fields["provider"] = provider
    if config.service_tier != "default":
        fields["service_tier"] = config.service_tier
    return fields


def _check(provider: Mapping[str, Any]) -> None:
    """Refuse providers that are wanted and left out at once. Raises UsageError."""
    wanted = {"provider": provider.get("order", []), "only": provider.get("only", [])}
    for option, listed in wanted.items():
        both = [name for name in listed if name.lower() in map(str.lower, provider.get("ignore", []))]
        if both:
            raise UsageError(
                f"The provider {both[0]} stands in --openrouter-{option} and in --openrouter-ignore.",
                "Take it out of one of them.",
            )


def _max_price(text: str) -> dict[str, float]:
    """The most dollars for a million tokens read, and generated."""
    try:
        prices = [float(part) for part in text.split(",")]
    except ValueError:
        prices = []
    if not 1 <= len(prices) <= 2 or not all(math.isfinite(price) and price >= 0 for price in prices):
        raise UsageError(
            f"'{text}' is no price.",
            "Give --openrouter-max-price like 0.5,1.5: dollars for a million tokens read, and generated.",
        )
    return {"prompt": prices[0], "completion": prices[-1]}


def session_of(name: str) -> str:
    """A session's name as it can be sent in a header. Raises UsageError."""
    name = name.strip()
    if len(name) > MAX_SESSION or not all(" " <= ch <= "~" for ch in name):
        raise UsageError(
            f"'{name[:40]}' cannot name a session: it is longer than {MAX_SESSION} characters, or not plain.",
            "Give --openrouter-session-id letters, digits, hyphens and the like.",
        )
    return name


def check_reasoning(model: Mapping[str, Any], service: Service) -> None:
    """See that the model can think as little, or as much, as is asked.

    Args:
        model: As ``GET /models`` lists it, with ``reasoning: {mandatory, supported_efforts}``.
        service: Who is asked.

    Raises:
        BackendError: It cannot.
    """
    told = model.get("reasoning")
    told = told if isinstance(told, dict) else {}
    efforts = told.get("supported_efforts")
    known = [effort for effort in THINKING_TOKENS if effort != "none"]
    if isinstance(efforts, list) and efforts:
        known = [effort for effort in known if effort in efforts]
    ways = " or ".join(f"{service.flag}-reasoning {effort}" for effort in known)
    hint = f"Give {ways}: it allows tokens for that, at your cost." if ways else f"Choose another {service.flag}-model."
    if service.reasoning == "none" and told.get("mandatory") is True:
        raise BackendError(f"The model '{service.model}' always reasons: that cannot be switched off.", hint)
    if service.reasoning != "none" and isinstance(efforts, list) and efforts and service.reasoning not in known:
        raise BackendError(
            f"The model '{service.model}' does not know how to reason '{service.reasoning}': "
            f"it knows {', '.join(map(str, efforts[:8]))}.",
            hint,
        )
