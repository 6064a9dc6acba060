"""The output sink ``jsonl``: one checkpointed JSON Lines file a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psyctl_core.components import Component
from psyctl_core.hookspecs import hookimpl


@dataclass(frozen=True, slots=True)
class JsonlConfig:
    """The jsonl sink has no settings of its own."""


@hookimpl
def psyctl_output_sinks() -> Sequence[Component]:
    """Offer ``jsonl``."""
    return [
        Component(
            name="jsonl",
            factory="psyctl_jsonl.sink:JsonlSink",
            config=JsonlConfig,
            summary="One JSON Lines file a dataset, with a checkpoint beside it",
        )
    ]
