"""What is told without reading the words: how many pairs, which answer stands first, which one is longer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from psyctl_check.figures import FEW, FEW_TO_COMPARE, binomial_p, higher, mean_interval, wilson
from psyctl_check.texts import too_few, untold
from psyctl_core.checks import CheckedPair, CheckFacts, CheckVerdict, Finding
from psyctl_core.figures import counted

FAILS = 0.01
"""The probability under which an imbalance of the order is no chance."""


def power(pairs: Sequence[CheckedPair], facts: CheckFacts) -> Finding:
    """How many pairs there are."""
    del facts
    return Finding(len(pairs), counted(len(pairs), "pair"))


def order(pairs: Sequence[CheckedPair], facts: CheckFacts) -> Finding:
    """The share of pairs with the positive answer first, also in every fifth of the file, by the exact binomial test.

    Fails where chance would hardly do it; is worth a look where it is not half to within one pair: mean differences of
    choices are nearly the digit's own direction with 21 of 40.
    """
    del facts
    known = [pair.positive_is_first for pair in pairs if pair.positive_is_first is not None]
    if not known:
        return untold("the file does not say which answer stands first")
    if few := too_few(pairs, FEW):
        return few
    n, hits = len(known), sum(known)
    bounds = [2 * round(n * part / 10) for part in range(5)] + [n]  # two that belong together stay together
    parts = [(start + 1, end, sum(known[start:end])) for start, end in itertools.pairwise(bounds)]
    chances = [binomial_p(count, end - start + 1) for start, end, count in parts]
    uneven = [
        (chance, f"pairs {start} to {end}", f"{count} of {end - start + 1} have the positive answer first")
        for chance, (start, end, count) in zip(chances, parts, strict=True)
        if abs(count - (end - start + 1) / 2) > 1
    ]
    p = binomial_p(hits, n)
    verdict: CheckVerdict = "look" if abs(hits - n / 2) > 1 or uneven else "ok"
    if p < FAILS or min(chances) < FAILS / len(parts):
        verdict = "fail"
    text = f"the positive answer stands first in {hits} of {counted(n, 'pair')} (p = {p:.2g})"
    text += f", and unevenly in {len(uneven)} of the 5 fifths" if uneven else ""
    return Finding(hits / n, text, wilson(hits, n), verdict, [row[1:] for row in sorted(uneven)])


def length(pairs: Sequence[CheckedPair], facts: CheckFacts) -> Finding:
    """How often one side has the longer answer, in characters."""
    del facts
    if few := too_few(pairs, FEW_TO_COMPARE):
        return few
    share, interval, is_positive = higher([len(pair.positive) - len(pair.neutral) for pair in pairs])
    text = f"the {_side(is_positive)} answer is the longer one in {share:.2f} of the pairs"
    return Finding(share, text, interval, worst=_longest(pairs, is_positive))


def length_ratio(pairs: Sequence[CheckedPair], facts: CheckFacts) -> Finding:
    """How many times as long one side is: the geometric mean over pairs, in characters."""
    del facts
    if few := too_few(pairs, FEW_TO_COMPARE):
        return few
    mean, (low, high) = mean_interval([_log_ratio(pair) for pair in pairs])
    if mean < 0:
        mean, low, high = -mean, -high, -low
        is_positive = False
    else:
        is_positive = True
    text = f"{_side(is_positive)} answers are {math.exp(mean):.2f} times as long"
    return Finding(math.exp(mean), text, (math.exp(low), math.exp(high)), worst=_longest(pairs, is_positive))


def _log_ratio(pair: CheckedPair) -> float:
    return math.log(len(pair.positive) / len(pair.neutral))


def _side(is_positive: bool) -> str:
    return "positive" if is_positive else "neutral"


def _longest(pairs: Sequence[CheckedPair], is_positive: bool) -> list[tuple[str, str]]:
    """The pairs in which that side is the longer one, the most uneven first."""
    sign = 1 if is_positive else -1
    longer = sorted((pair for pair in pairs if sign * _log_ratio(pair) > 0), key=lambda pair: -sign * _log_ratio(pair))
    return [
        (
            pair.id,
            f"{len(pair.positive)} and {counted(len(pair.neutral), 'character')}: {pair.positive} / {pair.neutral}",
        )
        for pair in longer
    ]
