"""What one exchange came to: an answer, something to try again, one failed request, or the end of the run.

The rules are those of OpenRouter's "Errors and Debugging" page (https://openrouter.ai/docs/api/errors):
``error.metadata.error_type`` is steadier than the status, which in turn tells an error's cause only where
generation had not begun; later errors arrive inside HTTP 200. What costs nothing is on its page "Zero
Completion Insurance" (https://openrouter.ai/docs/features/zero-completion-insurance).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from psyctl_core.records import FinishReason

Kind = Literal["answer", "empty", "retry", "limited", "refused", "request_error", "fatal"]

RATE_LIMITED = "rate limited"
IN_FLIGHT_BUDGET = "too much money in flight"
LOADING = "the model is loading"
OVERLOADED = "provider overloaded"
PROVIDER_FAILED = "provider failed"
MALFORMED = "malformed answer"
WEB_PAGE = "a web page, not the API"
NO_MESSAGE = "answer without a message"
EMPTY = "empty answer"
ONLY_REASONING = "empty answer: all tokens went into reasoning"
MODEL_REFUSED = "the model refused to answer"
ANOTHER_MODEL = "answered by another model"
MODERATION = "moderation"
TOO_LONG = "input too long"
FORBIDDEN = "forbidden"
REFUSED = "request refused"

MAX_REQUESTS = 50_000
"""Requests in a batch at most (OpenAI API reference, "Batch")."""

RESUME = "then run the same command again: it goes on from what is saved."


@dataclass(frozen=True, slots=True)
class Service:
    """Who is asked, for messages.

    Attributes:
        name: Such as ``OpenRouter``.
        flag: What its flags begin with, such as ``--openrouter``.
        base_url: Where it is.
        model: What is asked for.
        key: The secret to keep out of every text.
        priced: Whether answers tell what they cost.
        proxy: The proxy between, or ``""``.
        reasoning: How much the model may think, as its option says.
        canonical: What the list calls the model for good, or ``""``.
        is_router: Whether the name stands for any model, one for each request.
    """

    name: str
    flag: str
    base_url: str
    model: str
    key: str
    priced: bool
    proxy: str = ""
    reasoning: str = "default"
    canonical: str = ""
    is_router: bool = False

    def __repr__(self) -> str:
        return f"Service({self.name!r}, {self.base_url!r})"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one exchange came to.

    Attributes:
        kind: ``answer``; ``empty`` (try a few times); ``retry`` (server or network); ``limited`` (wait, and
            send fewer at a time); ``refused`` (wrong request or wrong content: others tell);
            ``request_error`` (this request fails, others do not); ``fatal`` (nothing will be answered).
        text: The answer.
        finish_reason: As in :class:`~psyctl_core.records.Completion`.
        prompt_tokens: Tokens read, or ``None`` where unknown.
        completion_tokens: Tokens generated, or ``None`` where unknown.
        cost: US dollars charged, or ``None`` where unknown.
        reason: Why there is no answer, in stable words without numbers.
        detail: The server's own words about that, scrubbed; may be empty.
        wait: Seconds the server asks to wait, or ``None``.
        tier: The service tier that served, or ``""`` where that was not told.
        likely: The probabilities told for the first token that was written, by its text without blanks.
        message: One line for the user, where nothing else may be answered either; of a ``retry`` it says that
            waiting does not mend it.
        hint: And what to do.
        later: Whether it passes or is topped up without a change of the command, such as a spending limit.
    """

    kind: Kind
    text: str = ""
    finish_reason: FinishReason = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    reason: str = ""
    detail: str = ""
    wait: float | None = None
    message: str = ""
    hint: str = ""
    tier: str = ""
    later: bool = False
    likely: Mapping[str, float] = field(default_factory=dict)
