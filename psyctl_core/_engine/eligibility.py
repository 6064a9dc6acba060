"""Who may still take a pair: how many pairs a dataset lacks, and how many scenarios are counted on for one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from psyctl_core.records import Scenario


@dataclass(slots=True, eq=False)
class Lane:
    """One dataset as the scheduler sees it.

    Attributes:
        id: The trait's slug.
        start: The offset from which its scenarios count; earlier ones are committed already.
        wanted: Pairs wanted, or ``None`` for all there are.
        accepted: Pairs it has from the scenarios committed so far.
        known: Whether an earlier process accepted (True) or rejected (False) a scenario; ``None`` if it never
            met it. Called once per scenario, in order.
        claimed: Open scenarios that are counted on for a pair.
    """

    id: str
    start: int
    wanted: int | None
    accepted: int
    known: Callable[[Scenario], bool | None]
    claimed: int = 0

    @property
    def lacks(self) -> bool:
        """Whether the dataset is not full yet."""
        return self.wanted is None or self.accepted < self.wanted

    @property
    def has_room(self) -> bool:
        """Whether it lacks more pairs than it has claimed: all that are open could be accepted."""
        return self.wanted is None or self.accepted + self.claimed < self.wanted

    def has_room_for(self, scenarios: int) -> bool:
        """Whether it would claim each of so many more scenarios, or none, whatever comes of those that are open."""
        if self.wanted is None or not self.lacks:
            return True
        return self.accepted + self.claimed + scenarios <= self.wanted

    def claim(self) -> bool:
        """Count on one more scenario for a pair, if there is room."""
        if not self.has_room:
            return False
        self.claimed += 1
        return True

    def release(self, *, claimed: bool, accepted: bool) -> None:
        """A scenario was committed: it is no longer counted on, and gave a pair or not."""
        self.claimed -= claimed
        self.accepted += accepted
