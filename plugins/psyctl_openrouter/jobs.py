"""A request on its way, and one call of the flow: what its tries came to, and what is open."""

from __future__ import annotations

import math
import queue
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from psyctl_core.records import ChatRequest, Completion, FinishReason, JsonValue
from psyctl_openrouter.outcome import Outcome

if TYPE_CHECKING:
    from psyctl_openrouter.servers import Server


@dataclass(slots=True, eq=False)
class Job:
    """A request on its way, and what its tries came to so far.

    Attributes:
        answered_then: How many requests had been answered at its last failure, or when it began.
        sent_at: When its present try went out.
        reserved: US dollars set aside for that.
        refused_by: The server that refused it, where another is to be asked too.
    """

    request: ChatRequest
    run: Run
    failures: int = 0
    limited: int = 0
    empties: int = 0
    loading: int = 0
    answered_then: int = 0
    sent_at: float = 0.0
    reserved: float = 0.0
    refused_by: Server | None = None
    cost: float | None = None
    unpriced: bool = False
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    @property
    def scenario(self) -> str:
        """What it is about: requests of one scenario have ids that begin alike (``17:neutral``)."""
        return self.request.id.partition(":")[0]

    def book(self, outcome: Outcome) -> None:
        """Add up what this try took."""
        if outcome.cost is None:
            self.unpriced = True
        else:
            self.cost = (self.cost or 0.0) + outcome.cost
        if outcome.prompt_tokens is not None:
            self.prompt_tokens = (self.prompt_tokens or 0) + outcome.prompt_tokens
        if outcome.completion_tokens is not None:
            self.completion_tokens = (self.completion_tokens or 0) + outcome.completion_tokens

    def failed(self, reason: str, said: str) -> Completion:
        """The completion of a request that failed alone, with the server's words."""
        return replace(self._completion("", "error", reason), metadata={"said": said} if said else {})

    def answered(self, outcome: Outcome) -> Completion:
        """The completion of a request that was answered."""
        completion = self._completion(outcome.text, outcome.finish_reason)
        likely: dict[str, JsonValue] = {c: outcome.likely[c] for c in self.request.choices if c in outcome.likely}
        return replace(completion, metadata={"choices": likely}) if likely else completion

    def _completion(self, text: str, reason: FinishReason, error: str = "") -> Completion:
        read, made = self.prompt_tokens, self.completion_tokens
        return Completion(self.request.id, text, reason, read, made, self.cost, error, self.unpriced)


@dataclass(slots=True, eq=False)
class Run:
    """One call of :meth:`~psyctl_openrouter.flow.Flow.run`: where its results go, and what is open.

    Attributes:
        in_flight: What is under way, with the server that has it.
        blamed: Requests that failed while nothing was answered: theirs may be the fault, or everybody's.
    """

    source: Iterator[ChatRequest]
    results: queue.SimpleQueue[tuple[Job, Outcome | BaseException]] = field(default_factory=queue.SimpleQueue)
    open: set[Job] = field(default_factory=set)
    in_flight: dict[Job, Server] = field(default_factory=dict)
    waiting: list[tuple[float, int, Job]] = field(default_factory=list)
    blamed: list[tuple[Job, Outcome]] = field(default_factory=list)
    exhausted: bool = False
    cancelled: bool = False
    stop: BaseException | None = None
    stop_by: float = math.inf
