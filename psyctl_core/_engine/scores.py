"""Sums up a judge's scores: how they are spread, and whether they follow the answers' length."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, quantiles

from psyctl_core._engine.judging import JUDGE
from psyctl_core._store.runs import RejectedPair
from psyctl_core.records import CaaRecord, JsonValue, Metadata


def scores_of(metadata: Metadata) -> dict[str, float | None] | None:
    """The scores that a judge left in a pair's metadata, or ``None`` where none did."""
    judge = metadata.get(JUDGE)
    scores = judge.get("scores") if isinstance(judge, Mapping) else None
    if not isinstance(scores, Mapping):
        return None
    return {name: float(s) if isinstance(s, (int, float)) else None for name, s in scores.items()}


def apart(scores: Mapping[str, float | None]) -> float | None:
    """By how much the positive answer scores higher; ``None`` where one of the two has no score."""
    positive, neutral = scores.get("positive"), scores.get("neutral")
    return None if positive is None or neutral is None else positive - neutral


def summary(scores: Sequence[Mapping[str, float | None]]) -> dict[str, JsonValue]:
    """For each score: how many pairs have it, how many lack it, its mean, and its 10th, 50th and 90th percentile."""
    found: dict[str, JsonValue] = {}
    for name in dict.fromkeys(name for each in scores for name in each):
        values = [value for each in scores if (value := each.get(name)) is not None]
        found[name] = {
            "scored": len(values),
            "unscored": sum(name in each for each in scores) - len(values),
            **(dict(zip(("mean", "p10", "p50", "p90"), _figures(values), strict=True)) if values else {}),
        }
    return found


def summary_of(pairs: Iterable[CaaRecord | RejectedPair]) -> dict[str, JsonValue]:
    """The same of the scores that a judge left in pairs, and whether the positive answer's follows its length."""
    judged = [(scores, pair.positive_text) for pair in pairs if (scores := scores_of(pair.metadata)) is not None]
    found = summary([scores for scores, _ in judged])
    lengths = [(value, float(len(text))) for scores, text in judged if (value := scores.get("positive")) is not None]
    follows = rank_correlation(lengths)
    if follows is not None:
        found["positive_follows_length"] = round(follows, 3)
    return found


def spread(scores: Sequence[Mapping[str, float | None]]) -> str:
    """The same in words, such as ``positive 12 to 80 (median 45)``."""
    parts = []
    for name, figures in summary(scores).items():
        if isinstance(figures, Mapping) and "mean" in figures:
            parts.append(f"{name} {figures['p10']:.3g} to {figures['p90']:.3g} (median {figures['p50']:.3g})")
        else:
            parts.append(f"{name} never scored")
    return ", ".join(parts)


def _figures(values: Sequence[float]) -> tuple[float, float, float, float]:
    cuts = quantiles(values, n=10, method="inclusive") if len(values) > 1 else [values[0]] * 9
    return round(fmean(values), 2), round(cuts[0], 2), round(cuts[4], 2), round(cuts[8], 2)


def rank_correlation(pairs: Iterable[tuple[float, float]]) -> float | None:
    """Spearman's rank correlation of two figures; ``None`` where one of them never changes."""
    points = list(pairs)
    if len(points) < 3:
        return None
    first, second = _ranks([a for a, _ in points]), _ranks([b for _, b in points])
    mean = (len(points) - 1) / 2
    above = sum((a - mean) * (b - mean) for a, b in zip(first, second, strict=True))
    below = math.sqrt(sum((a - mean) ** 2 for a in first) * sum((b - mean) ** 2 for b in second))
    return above / below if below else None


def _ranks(values: Sequence[float]) -> list[float]:
    """Each value's place in order, from 0; equal ones share the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    at = 0
    while at < len(order):
        end = at
        while end + 1 < len(order) and values[order[end + 1]] == values[order[at]]:
            end += 1
        for i in order[at : end + 1]:
            ranks[i] = (at + end) / 2
        at = end + 1
    return ranks
