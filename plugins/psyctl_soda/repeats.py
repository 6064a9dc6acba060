"""Drops exact repeats, in bounded memory and the same ones wherever reading begins.

A run that resumes begins in the middle, so what is dropped must not depend on everything read before. The
rule looks back a fixed number of rows: a scenario is a repeat if the same scenario, id aside, comes from one
of the :data:`WINDOW` rows before its own. To resume, the rows of one window are read again and nothing else
is remembered. A data set no longer than the window has no repeats left; in a longer one the same scenario
may come again after that many rows.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

from psyctl_core.records import Scenario, SkippedRow

WINDOW = 1 << 16
"""Rows looked back: about 10 MB of digests, and 2 to 3 seconds of reading when a run resumes."""

REPEATED = "repeats an earlier row"


def without_repeats(items: Iterable[Scenario | SkippedRow], window: int) -> Iterator[Scenario | SkippedRow]:
    """The items, each repeat replaced by a skipped row.

    Args:
        items: By rising offsets, from a window before the first that matters.
        window: How many rows to look back.
    """
    latest: dict[int, int] = {}
    ring = array("q", [-1]) * window
    digests = array("Q", [0]) * window
    for item in items:
        if not isinstance(item, Scenario):
            yield item
            continue
        digest = int(item.id.rpartition("-")[2], 16)
        seen = latest.get(digest, -1)
        repeated = 0 <= item.offset - seen <= window and seen >= 0
        slot = item.offset % window
        if ring[slot] >= 0 and latest.get(digests[slot]) == ring[slot]:
            del latest[digests[slot]]
        ring[slot], digests[slot] = item.offset, digest
        latest[digest] = item.offset
        yield SkippedRow(item.offset, REPEATED) if repeated else item
