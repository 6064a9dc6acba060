"""Several answers a scene: each scenario of the source taken several times, as scenarios of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator
from contextlib import closing

from psyctl_core.records import Scenario, SkippedRow

Items = Generator["Scenario | SkippedRow", None, None]


def repeated(scenarios: Callable[[int], Items], start: int, times: int) -> Items:
    """A source's items with each scenario so many times in a row, from an offset on.

    A row at offset ``n`` has the offsets from ``times * n`` on, so that a run can go on between two answers to
    one scene. The first answer keeps the scenario's id, the second is ``ID#2``, and so on.

    Args:
        scenarios: The source's items from one of its own offsets on.
        start: The first offset wanted, of those that are yielded here.
        times: How often each scenario is taken.
    """
    with closing(scenarios(start // times)) as items:
        for item in items:
            for copy in range(times if isinstance(item, Scenario) else 1):
                offset = item.offset * times + copy
                if offset < start:
                    continue
                if isinstance(item, Scenario) and copy:
                    yield dataclasses.replace(item, offset=offset, id=f"{item.id}#{copy + 1}")
                else:
                    yield dataclasses.replace(item, offset=offset)
