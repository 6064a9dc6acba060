"""What requests may cost: prices, token counts, and a budget that money in flight cannot cross."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psyctl_core.records import ChatRequest

BYTES_A_TOKEN = 4.0
"""UTF-8 bytes a token, about, in English prose."""

FEWEST_BYTES_A_TOKEN = 2.0
"""The same where a count must not turn out too small."""

TOKENS_A_MESSAGE = 8
"""What a chat template adds to each message, about."""


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars a prompt token, a completion token and a request."""

    prompt: float
    completion: float
    request: float = 0.0

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        """US dollars for one request of that size."""
        return self.request + prompt_tokens * self.prompt + completion_tokens * self.completion


def prices_of(model: Mapping[str, Any]) -> Prices | None:
    """A model's prices as ``GET /models`` lists them, or ``None`` where they vary or are missing."""
    pricing = model.get("pricing")
    if not isinstance(pricing, dict):
        return None
    try:
        prices = Prices(float(pricing["prompt"]), float(pricing["completion"]), float(pricing.get("request") or 0.0))
    except (KeyError, TypeError, ValueError):
        return None
    # Routers that choose a model for each request list -1.
    return prices if min(prices.prompt, prices.completion, prices.request) >= 0 else None


def prompt_tokens(request: ChatRequest, bytes_a_token: float = BYTES_A_TOKEN) -> int:
    """About how many tokens a request's prompt has."""
    texts = [message.content for message in request.messages] + [request.prefill]
    size = sum(len(text.encode("utf-8", "replace")) for text in texts)
    return round(size / bytes_a_token) + TOKENS_A_MESSAGE * len(texts)


class Budget:
    """What has been spent, what the requests in flight may still cost, and whether another one fits.

    Not for several threads.

    Args:
        limit: US dollars that may be spent in all, or ``None`` for any sum.
        flag: The option that sets the limit, for messages.
    """

    def __init__(self, limit: float | None, flag: str) -> None:
        self.limit = limit
        self.flag = flag
        self.prices: Prices | None = None
        self.thinking = 0
        self.spent = 0.0
        self._reserved = 0.0
        self._in_flight = 0
        self._dearest: float | None = None
        self._untold = False

    def reserve(self, request: ChatRequest) -> float | None:
        """Set aside the most that one try may cost; ``None`` where that could cross the limit.

        Where no price is known, one request at a time goes out until its cost tells.
        """
        if self.limit is None:
            return 0.0
        worst = self._worst(request)
        if worst is None and (self._in_flight or self._untold):
            return None
        amount = worst or 0.0
        if self.spent + self._reserved + amount > self.limit:
            return None
        self._reserved += amount
        self._in_flight += 1
        return amount

    def settle(self, reserved: float, cost: float | None) -> None:
        """Book what a try cost instead of what was set aside; if it is not known, all of that."""
        self.spent += reserved if cost is None else cost
        if self.limit is not None:
            self._reserved -= reserved
            self._in_flight -= 1
            if cost is None:
                self._untold = self._untold or not reserved
            elif cost:  # a failure that was free tells nothing
                self._dearest = max(cost, self._dearest or 0.0)

    def why_not(self) -> tuple[str, str]:
        """A message and a hint for a request that does not fit."""
        if self._untold and self.prices is None and self._dearest is None:
            return (
                f"The budget of ${self.limit:g} cannot be kept: neither a list nor the calls tell this model's price.",
                f"Choose another model, or leave {self.flag} out.",
            )
        return (
            f"The budget of ${self.limit:g} is reached: ${self.spent:.6f} spent, and the next call could cross it.",
            f"Raise {self.flag} and run the same command again: it goes on from what is saved.",
        )

    def _worst(self, request: ChatRequest) -> float | None:
        """The most one try may cost; another provider may take more than the listed price, as seen before."""
        if self.prices is None:
            return self._dearest
        tokens = prompt_tokens(request, FEWEST_BYTES_A_TOKEN)
        listed = self.prices.cost(tokens, request.max_tokens + self.thinking)
        return max(listed, self._dearest or 0.0)
