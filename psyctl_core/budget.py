"""What a run may spend: one budget for all that it asks, which money in flight cannot cross."""

from __future__ import annotations

from psyctl_core.errors import BackendError
from psyctl_core.figures import money


class Budget:
    """What has been spent, what requests in flight may still cost, and whether another one fits.

    The core owns it. A backend whose calls cost money is handed it in ``start``, reserves the most that each
    try may cost before it goes out, and settles it afterwards; for one that does not, the core stops in time
    by the costs that its completions tell. Not for several threads.

    Args:
        limit: US dollars that may be spent in all, or ``None`` for any sum.
        flag: The option that set the limit, for messages.
        spent: US dollars that earlier processes of the run were charged, as far as known.
    """

    def __init__(self, limit: float | None, flag: str = "--max-cost", spent: float = 0.0) -> None:
        self.limit = limit
        self.flag = flag
        self.spent = spent
        self._reserved = 0.0
        self._in_flight = 0
        self._max_seen_cost: float | None = None
        self._unknown_cost = False
        self._is_reserved_by_backend = False

    def reserve(self, worst: float | None, *, is_under_way: bool = False) -> float | None:
        """Set aside the most that one try may cost; ``None`` where that could cross the limit.

        Args:
            worst: US dollars by the listed price, or ``None`` where none is known: then one request at a time
                goes out until its cost tells. Another provider may take more than listed, as seen before.
            is_under_way: An earlier process sent it, so that it is set aside whatever the limit.
        """
        self._is_reserved_by_backend = True
        if self.limit is None:
            return 0.0
        amount = max((cost for cost in (worst, self._max_seen_cost) if cost is not None), default=None)
        if amount is None and (self._in_flight or self._unknown_cost) and not is_under_way:
            return None
        amount = amount or 0.0
        if not is_under_way and self.spent + self._reserved + amount > self.limit:
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
                self._unknown_cost = self._unknown_cost or not reserved
            elif cost:  # a failure that was free tells nothing
                self._max_seen_cost = max(cost, self._max_seen_cost or 0.0)

    def allows(self, in_flight: int) -> bool:
        """Whether one more request may go out beside so many, where the backend does not reserve by itself."""
        if self.limit is None or self._is_reserved_by_backend:
            return True
        if self._max_seen_cost is None:  # one answer first, to see what they cost
            return not in_flight and self.spent < self.limit
        return self.spent + (in_flight + 1) * self._max_seen_cost <= self.limit and self.spent < self.limit

    def note(self, cost: float | None, spent: float) -> None:
        """Learn from an answer, where the backend does not reserve by itself.

        Args:
            cost: What the answer cost, in US dollars, or ``None`` where that was not told.
            spent: What the run was charged in all, as far as known.
        """
        if not self._is_reserved_by_backend:
            self.spent = spent
            self._max_seen_cost = max(cost or 0.0, self._max_seen_cost or 0.0)

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left."""
        return self.limit is not None and self.spent >= self.limit

    def refusal(self, *, priceless: bool = False) -> BackendError:
        """The error for a request that does not fit.

        Args:
            priceless: No list tells what a request may cost.
        """
        if priceless and self._unknown_cost and self._max_seen_cost is None:
            return BackendError(
                f"The budget of ${self.limit:g} cannot be kept: neither a list nor the calls tell this model's price.",
                f"Choose another model, or leave {self.flag} out.",
            )
        return BackendError(
            f"The budget of ${self.limit:g} is reached: {money(self.spent)} spent, and the next call could cross it.",
            f"Raise {self.flag} and run the same command again: it goes on from what is saved.",
            later=True,
        )
