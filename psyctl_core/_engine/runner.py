"""Runners answer blocks of requests; the local one has the backend in this process."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from psyctl_core._engine.stopping import Stop
from psyctl_core._plugins.guard import GuardedBackend
from psyctl_core.records import ChatRequest, Completion


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and the offset of the scenario that it is about."""

    request: ChatRequest
    offset: int


Block: TypeAlias = "Iterator[Asked] | Sequence[Asked]"
"""Requests to hand to the runner: a list is computed together, an iterator is pulled as room appears."""

NextBlock: TypeAlias = Callable[[], "Iterator[ChatRequest] | None"]
"""Gives the next block of requests, or ``None`` where there is nothing to ask now."""


class Runner(Protocol):
    """Answers blocks, as many at once as it likes."""

    def run(self, next_block: NextBlock) -> Generator[Completion, None, None]:
        """Answer one block after the other until there is none, each request exactly once."""
        ...


class LocalRunner:
    """Hands one block after the other to one backend; one that flows gets a single block without an end.

    Args:
        backend: Who answers.
        stop: Whether the user wants to stop.
    """

    def __init__(self, backend: GuardedBackend, stop: Stop) -> None:
        self._backend = backend
        self._stop = stop

    def run(self, next_block: NextBlock) -> Generator[Completion, None, None]:
        """Answer one block after the other until there is none."""
        while (block := next_block()) is not None:
            yield from self._backend.generate(block, lambda: self._stop.requested)
