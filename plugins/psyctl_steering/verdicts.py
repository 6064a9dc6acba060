"""What a measurement comes to in words, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from psyctl_core.figures import counted
from psyctl_steering.figures import FEW, LEVEL, Interval, chance, deviations

Word = Literal["works", "within the noise", "backwards", "too damaged", "too few items to tell"]

REPEATS = 0.3
"""A text is broken from this share of repeated runs of words on above what the model has unsteered."""

SURE = 60
"""So many held-out pairs or more are needed for a measure that a second one would repeat."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A word, and what it stands on."""

    word: Word
    why: str


def verdict(
    found: float,
    interval: Interval,
    items: int,
    controls: Mapping[str, Sequence[float]],
    *,
    tried: int = 1,
    repeated: float = 0.0,
) -> Verdict:
    """Whether an effect is one.

    It must be farther out than one more control of each kind would be in all but 5 of 100 cases, or all but 5 divided
    by the number of layers that were tried; and its interval over items must be on one side of 0.

    Args:
        found: The effect.
        interval: Its 95 % interval over items.
        items: How many.
        controls: By their kind, the effects of directions at the same damage that know nothing of the trait.
        tried: How many layers were candidates.
        repeated: The share of repeated runs of words when steered, beyond what the model has unsteered.
    """
    level = LEVEL / tried
    told = ", ".join(f"{deviations(found, each):+.1f} SD from {len(each)} {kind}" for kind, each in controls.items())
    why = f"effect {found:+.3f} ({interval[0]:+.3f} to {interval[1]:+.3f}), {told} vectors at the same damage"
    if items < FEW:
        return Verdict("too few items to tell", f"{counted(items, 'item')}; {why}")
    # The interval first: a chance is an integral.
    ahead = interval[0] > 0 and all(chance(found, each) <= level for each in controls.values())
    behind = interval[1] < 0 and all(chance(-found, [-one for one in each]) <= level for each in controls.values())
    if (ahead or behind) and repeated > REPEATS:
        return Verdict("too damaged", f"{why}, but {repeated:.0%} more of what it writes repeats itself")
    return Verdict("works" if ahead else "backwards" if behind else "within the noise", why)
