"""What a run's first scenarios tell of all of them: calls, tokens, money and time, as measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psyctl_core.records import Usage


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the rest of a run will take, by what its first scenarios took.

    Attributes:
        pairs: Pairs that are lacking in all datasets together.
        requests: Answers to ask for, those to scenarios that will give no pair included.
        prompt_tokens: Tokens to read.
        completion_tokens: Tokens to generate.
        cost: US dollars, or ``None`` where nothing is known of them, or nothing costs money.
        seconds: Seconds of generating, or ``None`` where nothing was asked yet.
    """

    pairs: int
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    seconds: float | None


def forecast(
    datasets: Sequence[tuple[int, int]], wanted: int, usage: Usage, persona_requests: int, seconds: float
) -> Forecast | None:
    """Reckon up what is lacking.

    Args:
        datasets: For each its pairs so far, and its scenarios that gave none.
        wanted: Pairs wanted in each.
        usage: What the run has used so far.
        persona_requests: Answers among them that described personas, as far as known.
        seconds: Wall time spent generating so far.

    Returns:
        What the rest takes; ``None`` where no scenario gave a pair, so that nobody can tell.
    """
    seen = sum(pairs + rejected for pairs, rejected in datasets)
    asked = usage.requests - persona_requests
    if not seen or asked <= 0 or not all(pairs for pairs, _ in datasets):
        return None
    lacking = [max(0, wanted - pairs) for pairs, _ in datasets]
    scenarios = sum(
        lack * (pairs + rejected) / pairs for lack, (pairs, rejected) in zip(lacking, datasets, strict=True)
    )
    requests = scenarios * asked / seen
    each = requests / usage.requests
    return Forecast(
        pairs=sum(lacking),
        requests=round(requests),
        prompt_tokens=round(usage.prompt_tokens * each),
        completion_tokens=round(usage.completion_tokens * each),
        cost=None if usage.cost is None else usage.likely_cost() * each,
        seconds=seconds / asked * requests if seconds else None,
    )
