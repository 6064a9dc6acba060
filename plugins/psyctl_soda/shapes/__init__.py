"""The shapes of conversations that are recognised, each in a module of its own.

A shape is a module with ``NAME``, ``SUMMARY`` and ``recognises(sample) -> Fit | None``: it looks at columns
and values of the first rows, says in one line why it fits, and reads a row into a
:class:`~psyctl_soda.scenario.Talk`. What is common to all of them (cleaning, who answers, cutting, ids) is
in :mod:`psyctl_soda.scenario`.
"""

from __future__ import annotations

from types import ModuleType

from psyctl_soda.shapes import bare, custom, messages, narrated, objects, script, sharegpt, turns, utterances
from psyctl_soda.shapes.sample import Fit, Sample

__all__ = ["SHAPES", "Fit", "Sample", "recognise", "summary"]

SHAPES: tuple[ModuleType, ...] = (messages, sharegpt, objects, narrated, turns, script, utterances, bare)
"""In the order they are tried: the first that recognises the sample reads the rows."""


def recognise(sample: Sample, only: str = "") -> Fit | None:
    """The first shape that fits, or None.

    Args:
        sample: The first rows.
        only: Try this shape alone.
    """
    for shape in SHAPES:
        if only in ("", shape.NAME):
            fit: Fit | None = shape.recognises(sample)
            if fit is not None:
                return fit
    return None


def summary(name: str) -> str:
    """What a shape is, in a few words."""
    return next((str(shape.SUMMARY) for shape in (*SHAPES, custom) if name == shape.NAME), "")
