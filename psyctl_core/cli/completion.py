"""What a shell completes beside the names of commands, options and files: traits, components and other values."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable

from psyctl_core._caa.traits import KNOWN
from psyctl_core._plugins.registry import discover
from psyctl_core.components import KindName

Completion = Callable[[str], list[str]]
"""From what is typed of a value to the values that it may become; none leaves it to the shell, which offers files."""

_WORDS = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")
"""Where the shells' scripts put the words so far (https://typer.tiangolo.com/tutorial/options-autocompletion/)."""


def typed_words() -> list[str]:
    """The words of the command line: psyctl's own, or those that a shell wants completed."""
    return sys.argv[1:] + [word for name in _WORDS for word in os.environ.get(name, "").split()]


def values(known: Iterable[str]) -> Completion:
    """Some known values."""
    found = list(known)

    def complete(incomplete: str) -> list[str]:
        return [value for value in found if value.startswith(incomplete)]

    return complete


def traits(incomplete: str) -> list[str]:
    """Known traits behind the last comma."""
    return _behind_comma(KNOWN, incomplete)


def checks(incomplete: str) -> list[str]:
    """Checks on datasets behind the last comma."""
    return _behind_comma((found.check.name for found in discover().checks()), incomplete)


def components(kind: KindName) -> Completion:
    """The components of a kind that can be chosen."""

    def complete(incomplete: str) -> list[str]:
        names = (e.full_name if e.rivals else e.origin.name for e in discover().usable(kind))
        return [name for name in names if name.startswith(incomplete)]

    return complete


def plugins(incomplete: str) -> list[str]:
    """Distributions and components, as ``plugins.check`` takes them."""
    registry = discover()
    names = [entry.origin.distribution for entry in registry.entries]
    names += [found.origin.name for found in registry.usable()]
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


def _behind_comma(known: Iterable[str], incomplete: str) -> list[str]:
    """The whole list with each known name as its last, but those that are named already."""
    before, comma, last = incomplete.rpartition(",")
    begun = last.lstrip()
    lead = before + comma + last[: len(last) - len(begun)]
    named = {part.strip() for part in before.split(",")}
    return [lead + name for name in known if name.startswith(begun) and name not in named]
