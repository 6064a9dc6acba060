"""Blocks of requests, and how large they are: half a minute of work by the speed seen, the same in a resumed run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from psyctl_core._store.journal import Journal
from psyctl_core.records import ChatRequest

BLOCK_SECONDS = 30.0
"""What an interrupt of a backend with blocks may lose, about, and how long nothing is written at most."""

FIRST_REQUESTS = 16
"""The first block where nobody can tell how fast the backend is."""

MAX_GROWTH = 4
"""A block is at most so many times the one before, since the speed of a small one says little about a large one."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and the offset of the scenario that it is about."""

    request: ChatRequest
    offset: int


Block: TypeAlias = "Iterator[Asked] | Sequence[Asked]"
"""Requests to be answered: a list is computed together, an iterator is pulled as room appears."""


class Blocks:
    """Cuts blocks and records where they end.

    Args:
        most: Requests that the backend computes together at most.
        per_scenario: Requests that a scenario needs.
        journal: Where the boundaries are recorded.
        speed: Requests a second, as far as known.
        fixed: Requests in every block, whatever the speed; ``None`` goes by the speed.
    """

    def __init__(
        self,
        most: int,
        per_scenario: int,
        journal: Journal,
        speed: Callable[[], float | None],
        fixed: int | None = None,
    ) -> None:
        self._most = most if fixed is None else min(most, fixed)
        self._per_scenario = per_scenario
        self._journal = journal
        self._speed = speed
        self._fixed = fixed is not None
        self._last: int | None = None

    def scenarios(self, offset: int) -> int:
        """How many scenarios the block that begins at an offset is cut to. Raises OutputError."""
        recorded = self._journal.block(offset)
        if recorded is None:
            recorded = max(1, self._requests() // self._per_scenario)
            self._journal.keep_block(offset, recorded)
        self._last = recorded * self._per_scenario
        return recorded

    def _requests(self) -> int:
        if self._fixed:
            return self._most
        speed = self._speed()
        wanted = FIRST_REQUESTS if speed is None else int(speed * BLOCK_SECONDS)
        if self._last is None:
            # Half of it: what is expected is less sure than what was seen, and the first pair is waited for.
            wanted = max(FIRST_REQUESTS, wanted // 2) if speed else FIRST_REQUESTS
        else:
            wanted = min(wanted, MAX_GROWTH * self._last)
        return min(self._most, wanted)
