"""What requests may cost: prices, token counts, and what is set aside for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psyctl_core.budget import Budget
from psyctl_core.errors import BackendError
from psyctl_core.figures import money
from psyctl_core.records import ChatRequest
from psyctl_openrouter import storable

BYTES_A_TOKEN = 4.0
"""UTF-8 bytes a token, about, in English prose."""

MIN_BYTES_A_TOKEN = 2.0
"""The same where a count must not turn out too small."""

MAX_PRICE = 1_000.0
"""More US dollars than a token or a request can be listed at."""

TOKENS_A_MESSAGE = 8
"""What a chat template adds to each message, about."""


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars a prompt token, a completion token and a request."""

    prompt: float
    completion: float
    request: float = 0.0

    def __str__(self) -> str:
        each = f" and {money(self.request)} a request" if self.request else ""
        return f"{money(1e6 * self.prompt)} a million tokens read, {money(1e6 * self.completion)} generated{each}"

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        """US dollars for one request of that size."""
        return self.request + prompt_tokens * self.prompt + completion_tokens * self.completion


def prices_of(model: Mapping[str, Any]) -> Prices | None:
    """A model's prices as ``GET /models`` lists them, or ``None`` where they vary or cannot be read."""
    pricing = model.get("pricing")
    if not isinstance(pricing, dict):
        return None
    told = [pricing.get("prompt"), pricing.get("completion"), pricing.get("request") or 0.0]
    prices = [price for price in map(storable.number, told) if price is not None]
    # Routers that choose a model for each request list -1.
    return Prices(*prices) if len(prices) == len(told) and 0 <= min(prices) <= max(prices) <= MAX_PRICE else None


def prompt_tokens(request: ChatRequest, bytes_a_token: float = BYTES_A_TOKEN) -> int:
    """About how many tokens a request's prompt has."""
    texts = [message.content for message in request.messages] + [request.prefill]
    size = sum(len(text.encode("utf-8", "replace")) for text in texts)
    return round(size / bytes_a_token) + TOKENS_A_MESSAGE * len(texts)


class Spending:
    """Sets what each try may cost against the run's budget. Not for several threads.

    Attributes:
        budget: What the run may spend; replaced when the backend is started.
        prices: The model's prices, or ``None`` where they are not known.
        thinking: Tokens that a try may use beyond its answer's.
    """

    def __init__(self, budget: Budget | None = None) -> None:
        self.budget = budget or Budget(None)
        self.prices: Prices | None = None
        self.thinking = 0

    def reserve(self, request: ChatRequest, share: float = 1.0) -> float | None:
        """Set aside the most that one try may cost, at a share of the price; ``None`` where that crosses the limit."""
        worst = self.worst(request)
        return self.budget.reserve(None if worst is None else share * worst)

    def reserve_under_way(self, worst: float) -> float:
        """Set aside what an earlier process sent may cost, whatever the limit."""
        return self.budget.reserve(worst, is_under_way=True) or 0.0

    def settle(self, reserved: float, cost: float | None) -> None:
        """Book what a try cost instead of what was set aside; if it is not known, all of that."""
        self.budget.settle(reserved, cost)

    def refusal(self) -> BackendError:
        """The error for a request that does not fit."""
        return self.budget.refusal(priceless=self.prices is None)

    def worst(self, request: ChatRequest) -> float | None:
        """The most that one try may cost in US dollars, or ``None`` where no price is known."""
        if self.prices is None:
            return None
        tokens = prompt_tokens(request, MIN_BYTES_A_TOKEN)
        return self.prices.cost(tokens, request.max_tokens + self.thinking)
