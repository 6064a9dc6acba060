"""Names for the speakers of lists that name nobody, and the several names that one cell may hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from psyctl_soda.scenario import neutral_name

_BETWEEN_NAMES = re.compile(r"\s*(?:[,;|/\n、，；&]|\s(?:and|und|et|y|e|och|og|vs\.?)\s|\s[-–—]\s)\s*")
MAX_WORDS_IN_NAME = 4


def alternating(texts: Iterable[object], names: tuple[object, object] = ("", "")) -> Iterator[tuple[object, object]]:
    """Turns of a list that names nobody: by its form each one answers the one before.

    Args:
        texts: The words of each turn; an empty one is left out, so that the next answers the last quoted.
        names: What to call the one who begins and the other.
    """
    at = 0
    for text in texts:
        if isinstance(text, str) and text.strip():
            yield names[at % 2] or neutral_name(at % 2), text
            at += 1


def names_in(cell: str) -> list[str]:
    """The names in one cell, parted by commas and the like; one name alone is a list of one, and prose of none."""
    names = [name for name in _BETWEEN_NAMES.split(cell.strip()) if name]
    return names if all(len(name.split()) <= MAX_WORDS_IN_NAME for name in names) else []
