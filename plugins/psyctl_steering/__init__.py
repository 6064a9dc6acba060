"""Steering vectors: extracted from contrastive pairs, tried on a model, and measured.

In Python::

    from psyctl_steering import SteeringVector, Steering, extract, measure
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from psyctl_core.checks import Check
from psyctl_core.components import Command
from psyctl_core.hookspecs import hookimpl

_API = {
    "Steering": "psyctl_steering.steering",
    "SteeringVector": "psyctl_steering.vector",
    "extract": "psyctl_steering.extraction",
    "lend": "psyctl_steering.models",
    "measure": "psyctl_steering.measuring",
}
"""What Python programs use, and where it is; imported when first asked for, since it needs torch."""

__all__ = ["Steering", "SteeringVector", "extract", "lend", "measure"]


@hookimpl
def psyctl_commands() -> Sequence[Command]:
    """Offer the commands about vectors."""
    return [
        Command(
            "extract.steering",
            "psyctl_steering.command_extract:extract_steering",
            "Extract a steering vector from a dataset's pairs",
        ),
        Command(
            "vector.export",
            "psyctl_steering.command_export:vector_export",
            "Write a steering vector as another tool reads it",
        ),
        Command(
            "steering.try",
            "psyctl_steering.command_try:steering_try",
            "Show a model's answers at several strengths of a vector",
        ),
        Command(
            "steering.measure",
            "psyctl_steering.command_measure:steering_measure",
            "Measure what a vector does, beside vectors of no use at the same damage",
        ),
        Command(
            "steering.compare",
            "psyctl_steering.command_compare:steering_compare",
            "Compare datasets by what their vectors do",
        ),
    ]


@hookimpl
def psyctl_dataset_checks() -> Sequence[Check]:
    """Offer the one check that reads a model's states."""
    return [
        Check(
            "coherence",
            "psyctl_steering.coherent:coherence",
            "Whether the pairs' differences point the same way in the states of a model",
            "The pairs hardly agree on a direction, so their mean is mostly noise.",
            look=0.10,
            fail=0.03,
            extra="hf",
        )
    ]


def __getattr__(name: str) -> object:
    if name in _API:
        return getattr(importlib.import_module(_API[name]), name)
    raise AttributeError(f"module 'psyctl_steering' has no attribute '{name}'")
