"""The statistics of a measurement: effects, slopes, intervals, and how far an effect is from what chance has."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import cache
from statistics import fmean, stdev

Z = 1.959964
"""The normal quantile that leaves 5 % outside, both tails together."""

LEVEL = 0.05
"""How often a vector of no use may be said to work."""

FEW = 10
"""The least number of items of which anything is said."""

DRAWS = 1000
"""Bootstrap samples."""

STEPS = 2000
"""In which Student's distribution is integrated."""

Interval = tuple[float, float]


def effect(values: Sequence[float], signs: Sequence[int]) -> float:
    """How much more the items of the trait have than their opposites: the two sides' means, subtracted.

    Args:
        values: One for each item.
        signs: 1 where the item shows the trait, -1 where it shows the opposite; without any of these 0 is subtracted.
    """
    sides = [[value for value, sign in zip(values, signs, strict=True) if sign == side] for side in (1, -1)]
    one, other = (fmean(side) if side else 0.0 for side in sides)
    return one - other


def contributions(values: Sequence[float], signs: Sequence[int]) -> list[float]:
    """What each item adds to the effect: its distance from the middle of both sides, twice, in the trait's direction.

    Of items that are contrasts already (no opposite among them) the values themselves. Each side's mean is the effect.
    """
    if -1 not in signs or 1 not in signs:
        return [value * sign for value, sign in zip(values, signs, strict=True)]
    sides = [fmean(v for v, s in zip(values, signs, strict=True) if s == side) for side in (1, -1)]
    middle = fmean(sides)
    return [2 * sign * (value - middle) for value, sign in zip(values, signs, strict=True)]


def slope(doses: Sequence[float], values: Sequence[float]) -> float:
    """The least-squares slope of values over doses: an item's steerability (Tan et al. 2024, arXiv:2407.12404)."""
    middle, mean = fmean(doses), fmean(values)
    spread = math.fsum((dose - middle) ** 2 for dose in doses)
    return math.fsum((d - middle) * (v - mean) for d, v in zip(doses, values, strict=True)) / spread


def wilson(hits: int, n: int) -> Interval:
    """The 95 % interval of a share (Wilson 1927)."""
    p = hits / n
    middle = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def bootstrap(values: Sequence[float], signs: Sequence[int], seed: int, draws: int = DRAWS) -> Interval:
    """The 95 % interval of the effect over items, each side drawn anew with replacement; percentiles."""
    drawn = random.Random(seed)  # noqa: S311
    sides = [[value for value, sign in zip(values, signs, strict=True) if sign == side] for side in (1, -1)]
    found = sorted(
        fmean(drawn.choices(sides[0], k=len(sides[0]))) * bool(sides[0])
        - (fmean(drawn.choices(sides[1], k=len(sides[1]))) if sides[1] else 0.0)
        if sides[0]
        else -fmean(drawn.choices(sides[1], k=len(sides[1])))
        for _ in range(draws)
    )
    return found[round(0.025 * (draws - 1))], found[round(0.975 * (draws - 1))]


def deviations(value: float, controls: Sequence[float]) -> float:
    """How many of the controls' standard deviations an effect is from their mean."""
    spread = stdev(controls)
    if spread == 0:
        return math.copysign(math.inf, value - fmean(controls)) if value != fmean(controls) else 0.0
    return (value - fmean(controls)) / spread


def chance(value: float, controls: Sequence[float]) -> float:
    """How likely one more control would have an effect as high as this, or higher.

    By Student's law for one more value from a normal population of which a sample is known. The effect of a direction
    that was drawn is near to normal, being a sum over many dimensions.
    """
    n = len(controls)
    return student(deviations(value, controls) / math.sqrt(1 + 1 / n), n - 1)


def student(t: float, freedom: int) -> float:
    """The upper tail of Student's distribution, integrated over the angle whose tangent is t / sqrt(freedom)."""
    return _area(math.atan(t / math.sqrt(freedom)), freedom) / _whole(freedom)


def _area(low: float, freedom: int) -> float:
    """From an angle to a right one."""
    width = (math.pi / 2 - low) / STEPS
    return width * math.fsum(math.cos(low + (i + 0.5) * width) ** (freedom - 1) for i in range(STEPS))


@cache
def _whole(freedom: int) -> float:
    return _area(-math.pi / 2, freedom)
