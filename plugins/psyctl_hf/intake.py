"""Requests on their way into a model: pulled as rows fall free, refused where they do not fit, kept until answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from psyctl_core.records import ChatRequest, Completion

if TYPE_CHECKING:
    from psyctl_hf.generation import Asked, Generator


class Intake:
    """Hands requests out with their token ids, again where a batch failed before it answered them.

    Args:
        generator: Whose model they are for.
        requests: Requests that share their settings, pulled only when they are taken.
    """

    def __init__(self, generator: Generator, requests: Iterator[ChatRequest]) -> None:
        self._generator = generator
        self._requests = requests
        self._open: dict[str, Asked] = {}
        self._refused: deque[Completion] = deque()

    @property
    def is_open(self) -> bool:
        """Whether something was taken that is not answered."""
        return bool(self._open)

    def begin(self, most: int | None) -> list[Asked]:
        """What was taken and never answered, or else the next ``most`` requests (``None``: all)."""
        return list(self._open.values()) or self.take(most)

    def take(self, most: int | None) -> list[Asked]:
        """At most so many requests that the model can take; none once there are no more."""
        while pulled := list(islice(self._requests, most)):
            taken: dict[str, Asked] = {}
            for request, ids in zip(pulled, self._generator.encode(pulled), strict=True):
                if why := self._generator.refusal(request, ids):
                    self._refused.append(Completion(request.id, "", "error", prompt_tokens=len(ids), error=why))
                else:
                    taken[request.id] = request, ids
            if taken:
                self._open.update(taken)
                return list(taken.values())
        return []

    def answered(self, completion: Completion) -> None:
        """Let go of a request."""
        del self._open[completion.id]

    def refused(self) -> Iterator[Completion]:
        """The answers to what the model could not take, each once."""
        while self._refused:
            yield self._refused.popleft()
