"""Turns a row in SODA's shape into a scenario.

What real rows hold was read off https://huggingface.co/datasets/allenai/soda: ``speakers`` has one name a
turn, turns may be empty, a speaker may take two in a row, and a CSV round trip turns lists into text.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import tokenize
import unicodedata
from collections.abc import Mapping
from typing import Any

from psyctl_core.records import Scenario, SkippedRow, Turn

WANTED = ("narrative", "dialogue", "speakers")
LONGEST_NAME = 100

NO_DIALOGUE = "no dialogue"
ONE_SPEAKER = "nobody answers"
NO_NAMES = "names do not match the turns"


def to_scenario(row: Mapping[str, Any], place: int) -> Scenario | SkippedRow:
    """Read one row: the scene, what the first speaker says, and who answers.

    Args:
        row: With ``narrative`` (text), ``dialogue`` (turns) and ``speakers`` (a name for each turn).
        place: The row's number.

    Returns:
        The scenario that ends before the second speaker's first words, or why there is none.
    """
    texts, names = texts_of(row.get("dialogue")), texts_of(row.get("speakers"))
    if not any(texts):
        return SkippedRow(place, NO_DIALOGUE)
    if len(names) != len(texts) or not all(0 < len(name) <= LONGEST_NAME for name in names):
        return SkippedRow(place, NO_NAMES)
    turns = [Turn(name, text) for name, text in zip(names, texts, strict=True) if text]
    answer = next((at for at, turn in enumerate(turns) if turn.speaker != turns[0].speaker), None)
    if answer is None:
        return SkippedRow(place, ONE_SPEAKER)
    situation = one_line(row.get("narrative"))
    return Scenario(
        id=row_id(place, situation, *texts), place=place, situation=situation,
        character=turns[answer].speaker, dialogue=tuple(turns[:answer]),
    )  # fmt: skip


def row_id(place: int, *parts: str) -> str:
    """An id that depends on the row's content and place alone."""
    digest = hashlib.sha256("\x1f".join(parts).encode("utf-8", errors="replace")).hexdigest()
    return f"{place}-{digest[:12]}"


def one_line(value: object) -> str:
    """A text in NFC with runs of white space and control characters made one space; "" for anything else."""
    if not isinstance(value, str):
        return ""
    text = unicodedata.normalize("NFC", value)
    text = "".join(ch if ch.isprintable() or ch in "\u200c\u200d" else " " for ch in text)
    return " ".join(text.encode("utf-8", errors="replace").decode("utf-8").split())


def texts_of(value: object) -> list[str]:
    """A list of texts, also where a CSV round trip left the list's Python, NumPy or JSON spelling."""
    if isinstance(value, str):
        value = _parse_list(value)
    if not isinstance(value, list):
        return []
    return [one_line(item).strip('"').strip() for item in value]


def _parse_list(text: str) -> list[Any] | None:
    """Read ``["a", "b"]``, ``['a', 'b']`` or NumPy's ``['a' 'b']``; None where it is no list of texts."""
    try:
        value = json.loads(text)
        return value if isinstance(value, list) else None
    except ValueError:
        pass
    items: list[str] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.STRING:
                items.append(str(ast.literal_eval(token.string)))
            elif token.type in (tokenize.NAME, tokenize.NUMBER) or token.string.strip("[], \n"):
                return None
    except (tokenize.TokenError, SyntaxError, ValueError):
        return None
    return items or None
