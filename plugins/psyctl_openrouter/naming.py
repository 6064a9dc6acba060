"""Tells whether the model that answered is the one that was asked for: one model goes by several names."""

from __future__ import annotations

import re

_DATE = re.compile(r"-((?:20)?\d{2}-?\d{2}-?\d{2}|\d{2}-?\d{2}|\d{3})$")
"""What ends a name and only tells its version: a year, month and day, two of them, or a number such as ``001``."""


def is_same_model(asked: str, answered: str, canonical: str = "") -> bool:
    """Whether two names can be the same model's.

    A variant (``:free``, ``:floor``), the maker before the slash, the order of words (``claude-sonnet-4`` is
    ``claude-4-sonnet-20250522``) and a date that only one of the names has do not count. A name that ends in
    ``latest`` stands for any model with its words.

    Args:
        asked: The name that was sent.
        answered: The one in the answer.
        canonical: What the list calls the model for good, or ``""``.
    """
    words, date = _parts(answered)
    for name in filter(None, (asked, canonical)):
        own_words, own_date = _parts(name)
        if words == own_words and (not date or not own_date or date == own_date):
            return True
    wanted, _ = _parts(asked)
    return "latest" in wanted and {*wanted} - {"latest"} <= {*words}


def _parts(name: str) -> tuple[list[str], str]:
    """A name's words in order of the alphabet, and the digits of the date at its end."""
    name = name.strip().lower().rpartition("/")[2].partition(":")[0]
    found = _DATE.search(name)
    words = sorted(filter(None, re.split(r"[-_.\s]+", _DATE.sub("", name))))
    return words, re.sub(r"\D", "", found[1]) if found else ""
