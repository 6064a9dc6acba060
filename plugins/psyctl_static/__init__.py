"""The prompter ``static``: shipped descriptions, for repeatable runs and very small models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psyctl_core.components import Component
from psyctl_core.hookspecs import hookimpl


@dataclass(frozen=True, slots=True)
class StaticConfig:
    """The static prompter has no settings of its own."""


@hookimpl
def psyctl_personality_prompters() -> Sequence[Component]:
    """Offer ``static``."""
    return [
        Component(
            name="static",
            factory="psyctl_static.prompter:StaticPrompter",
            config=StaticConfig,
            summary="Shipped descriptions of the Big Five and the Dark Triad; asks the model nothing",
        )
    ]
