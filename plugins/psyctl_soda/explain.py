"""Says what was understood of a data set so that a person can check it: who answers, who speaks last, how sure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from psyctl_core.records import Scenario, SkippedRow
from psyctl_soda.shapes import Match, Sample
from psyctl_soda.shapes.unknown import lookalikes, short_json
from psyctl_soda.table import FILE

SURE = "sure"
ROWS_SHOWN = 3
MAX_SHOWN = 160
MAX_NAMES = 3
MANY_SKIPPED = 5
"""A doubt where more than one in so many of the first rows gives no scenario."""


def understood(match: Match, sample: Sample, items: Sequence[Scenario | SkippedRow]) -> dict[str, str]:
    """What to check, by heading.

    Args:
        match: How the rows are read.
        sample: The first rows.
        items: What the first rows give.
    """
    found = [item for item in items if isinstance(item, Scenario)]
    doubts = doubts_of(match, items)
    return {
        "Columns ignored": ignored(match, sample),
        "Who answers": counted(item.character for item in found),
        "Who speaks last": counted(item.dialogue[-1].speaker if item.dialogue else "nobody" for item in found),
        "How sure": f"in doubt: {'; '.join(doubts)}" if doubts else SURE,
    }


def doubts_of(match: Match, items: Sequence[Scenario | SkippedRow]) -> tuple[str, ...]:
    """What was guessed, and whether many of the first rows give nothing."""
    reasons = Counter(item.reason for item in items if isinstance(item, SkippedRow))
    if MANY_SKIPPED * reasons.total() <= len(items):
        return match.doubts
    reason, _ = reasons.most_common(1)[0]
    return (*match.doubts, f"{reasons.total()} of the first {len(items)} give no scenario, mostly: {reason}")


def ignored(match: Match, sample: Sample) -> str:
    """The columns that are not read, and which of them a reader might take for a character or a line."""
    taken = {*match.columns, match.group, FILE}
    others = [column for column in sample.columns if column not in taken]
    suspect = lookalikes(sample, tuple(taken))
    if not others:
        return "none"
    said = ", ".join(others[:20]) + (f" and {len(others) - 20} more" if len(others) > 20 else "")
    if not suspect:
        return said
    verb = "look like a character or a line" if len(suspect) > 1 else "looks like a character or a line"
    return f"{said} ({', '.join(suspect)} {verb}; see --columns)"


def counted(names: Iterable[str]) -> str:
    """The most frequent names, with how often they come."""
    found = Counter(names)
    if not found:
        return "nobody"
    if len(found) == 1:
        return next(iter(found))
    shown = ", ".join(f"{name} ({count})" for name, count in found.most_common(MAX_NAMES))
    return shown + (f" and {len(found) - MAX_NAMES} more" if len(found) > MAX_NAMES else "")


def side_by_side(rows: Sequence[tuple[Mapping[str, Any], Scenario | SkippedRow]]) -> dict[str, str]:
    """Rows with what was made of each, by heading."""
    return {
        f"Row {number}": f"{short_json(row, MAX_SHOWN)}  =>  {_made(item)}"
        for number, (row, item) in enumerate(rows[:ROWS_SHOWN], 1)
    }


def _made(item: Scenario | SkippedRow) -> str:
    if isinstance(item, SkippedRow):
        return f"skipped: {item.reason}"
    scene = f"[{_short(item.situation, 60)}] " if item.situation else ""
    said = " / ".join(f'{turn.speaker}: "{_short(turn.text, 60)}"' for turn in item.dialogue[-2:])
    return f"{scene}{said} -> {item.character} answers"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}..."
