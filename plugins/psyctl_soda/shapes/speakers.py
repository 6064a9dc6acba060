"""Names for speakers as the data have them: a name, a role, a number, or none at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from psyctl_soda.scenario import neutral_name
from psyctl_soda.shapes.roles import partner


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


def numbered(turns: Iterable[tuple[object, object]]) -> Iterator[tuple[str, object]]:
    """Turns in which a speaker who is only a number gets a neutral name, by order of appearance."""
    names: dict[str, str] = {}
    for speaker, text in turns:
        label = f"{speaker:.0f}" if isinstance(speaker, (int, float)) and speaker == speaker else speaker
        label = label.strip() if isinstance(label, str) else ""
        yield names.setdefault(label, neutral_name(len(names))) if label.isdigit() else label, text


def named(turns: Iterable[tuple[object, object]]) -> list[tuple[object, object]]:
    """Turns by names, roles or numbers; roles are spelled alike, and a turn of nobody's is left out."""
    return [(partner(name), text) for name, text in numbered(turns) if name]
