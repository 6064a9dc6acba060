"""The shapes of conversations that are recognised, each in a module of its own.

A shape is a module with ``NAME``, ``SUMMARY`` and ``recognises(sample) -> Match | None``: it looks at columns
and values of the first rows, says in one line why it fits, and reads a row into a
:class:`~psyctl_soda.scenario.Conversation`. What is common to all of them (cleaning, who answers, cutting, ids)
is in :mod:`psyctl_soda.scenario`; who is who, in :mod:`roles`; the order of turns, in :mod:`order`.
"""

from __future__ import annotations

from types import ModuleType

from psyctl_soda.shapes import (
    bare,
    custom,
    messages,
    narrated,
    objects,
    pairs,
    script,
    sharegpt,
    template,
    turns,
    utterances,
)
from psyctl_soda.shapes.sample import Match, Sample, of_lifted

__all__ = ["SHAPES", "Match", "Sample", "recognise", "summary"]

SHAPES: tuple[ModuleType, ...] = (
    messages, sharegpt, template, pairs, objects, narrated, turns, script, utterances, bare,
)  # fmt: skip
"""In the order they are tried: the first that recognises the sample reads the rows."""


def recognise(sample: Sample, only: str = "") -> Match | None:
    """The first shape that fits the columns, or else the values inside their objects; None where none does.

    Args:
        sample: The first rows.
        only: Try this shape alone.
    """
    shapes = [shape for shape in SHAPES if only in ("", shape.NAME)]
    for shape in shapes:
        match: Match | None = shape.recognises(sample)
        if match is not None:
            return match
    inside = sample.lifted()
    for shape in shapes if inside is not None else ():
        match = shape.recognises(inside)
        if match is not None:
            return of_lifted(match)
    return None


def summary(name: str) -> str:
    """What a shape is, in a few words."""
    return next((str(shape.SUMMARY) for shape in (*SHAPES, custom) if name == shape.NAME), "")
