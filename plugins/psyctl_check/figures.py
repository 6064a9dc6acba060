"""The statistics that checks share: shares, comparisons within pairs, and their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

Z = 1.959964
"""The normal quantile that leaves 5 % outside, both tails together."""

FEW = 10
"""The least number of pairs of which a share says anything."""

FEW_TO_COMPARE = 40
"""The least number of pairs of which a comparison within pairs says anything: of 20, chance alone has 13 one way."""


def wilson(hits: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927); ``hits`` may hold halves, for ties."""
    p = hits / n
    middle = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def binomial_p(hits: int, n: int) -> float:
    """The exact two-sided probability of a count as far from half as this one, where both are equally likely."""
    low = min(hits, n - hits)
    if 2 * low == n:
        return 1.0
    logs = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2) for k in range(low + 1)]
    return min(1.0, 2 * sum(map(math.exp, logs)))


def higher(differences: Sequence[float]) -> tuple[float, tuple[float, float], bool]:
    """How often the positive side is the higher one within pairs, ties counting half: two-sided.

    Args:
        differences: Positive minus neutral, pair by pair.

    Returns:
        The share of the side that is the higher one more often, its interval, and whether that is the positive side.
    """
    n = len(differences)
    hits = sum((difference > 0) + 0.5 * (difference == 0) for difference in differences)
    is_positive = 2 * hits >= n
    hits = hits if is_positive else n - hits
    return hits / n, wilson(hits, n), is_positive


def mean_interval(values: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """A mean and its 95 % interval, by the normal law."""
    n = len(values)
    mean = math.fsum(values) / n
    half = Z * math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n) if n > 1 else math.inf
    return mean, (mean - half, mean + half)


def auc_interval(auc: float, n: int) -> tuple[float, float]:
    """The 95 % interval of an area under the curve with ``n`` on each side (Hanley & McNeil 1982)."""
    q1, q2 = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    square = auc * (1 - auc) + (n - 1) * (q1 - auc * auc) + (n - 1) * (q2 - auc * auc)
    half = Z * math.sqrt(max(0.0, square)) / n
    return max(0.0, auc - half), min(1.0, auc + half)
