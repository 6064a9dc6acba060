"""The time to go is told once it can be told, and is then never far off."""

from __future__ import annotations

import heapq
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from psyctl_core._engine.progress import MIN_ANSWERS, MIN_SECONDS, Meter
from psyctl_core.records import Usage


def told_by_a_run(pairs: int, workers: int, latency: float) -> list[tuple[float, float]]:
    """A steady run, two answers a pair: after each answer the time to go that is told, and the true one."""
    now, told = 0.0, []
    dataset = SimpleNamespace(
        num_generated=0, found_records=0, rejected={}, skipped={}, trait=SimpleNamespace(name="Openness")
    )
    usage = Usage()
    meter = Meter([dataset], pairs, usage, None, clock=lambda: now)
    under_way = [latency * (1 + 0.01 * (number % 7)) for number in range(min(workers, 2 * pairs))]
    asked = len(under_way)
    heapq.heapify(under_way)
    with meter.phase("generating"):
        while under_way:
            now = heapq.heappop(under_way)
            usage.requests += 1
            dataset.num_generated = usage.requests // 2
            meter.answered()
            told.append((meter.now().eta, now))
            if asked < 2 * pairs:
                asked += 1
                heapq.heappush(under_way, now + latency * (1 + 0.01 * (asked % 7)))
    return [(eta, now - then) for eta, then in told if eta is not None]


@settings(max_examples=60, deadline=None)
@given(pairs=st.integers(1, 600), workers=st.integers(1, 300), latency=st.floats(0.01, 60))
def test_the_time_to_go_is_never_far_off(pairs, workers, latency):
    rounds = 2 * pairs / workers
    for eta, left in told_by_a_run(pairs, workers, latency):
        assert eta <= 2.2 * left + 2.2 * latency
        if rounds > 3:  # else the last round is all there is
            assert eta >= left / 2.2 - 2.2 * latency


def test_the_first_answers_of_many_that_were_begun_at_once_tell_nothing():
    told = told_by_a_run(1_000, 200, 20.0)
    assert max(eta for eta, _ in told) < 2.1 * 180, "ten times that would go by the first twenty answers"
    assert told_by_a_run(MIN_ANSWERS, 1, MIN_SECONDS / 50) == [], "over before it could be told"
