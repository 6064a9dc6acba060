"""Makes what a server sent storable: text that is valid Unicode, numbers that are finite and believable."""

from __future__ import annotations

import math
import re
from typing import Any

MAX_TEXT = 2**20
"""Characters of one text that are kept; an answer of psyctl's has a few hundred."""

MAX_TOKENS = 10**9
"""More tokens than any one request can have."""

MAX_COST = 10_000.0
"""More US dollars than any one request can cost."""

_SURROGATE = re.compile("[\ud800-\udfff]")


def text(value: str) -> str:
    """The text with U+FFFD in place of each lone surrogate, and no longer than is kept.

    JSON can hold half a character as ``\\ud83d`` (RFC 8259, section 8.2); no UTF-8 file can.
    """
    value = value[:MAX_TEXT]
    return value if value.isascii() else _SURROGATE.sub("\ufffd", value)


def number(value: Any) -> float | None:
    """A finite number, also where it was sent as text; ``None`` for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):  # not a number, or an integer of hundreds of digits
        return None
    return found if math.isfinite(found) else None


def tokens(value: Any) -> int | None:
    """A believable number of tokens, or ``None``."""
    if isinstance(value, str):
        return None
    found = number(value)
    return int(found) if found is not None and 0 <= found <= MAX_TOKENS else None


def dollars(value: Any) -> float | None:
    """A believable price of one request, or ``None``."""
    if isinstance(value, str):
        return None
    found = number(value)
    return found if found is not None and 0 <= found <= MAX_COST else None
