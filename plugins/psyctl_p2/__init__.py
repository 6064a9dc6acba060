"""The prompter ``p2``: the model itself describes who has the trait (Personality Prompting)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psyctl_core.components import Component
from psyctl_core.hookspecs import hookimpl


@dataclass(frozen=True, slots=True)
class P2Config:
    """P2 has no settings of its own."""


@hookimpl
def psyctl_personality_prompters() -> Sequence[Component]:
    """Offer ``p2``."""
    return [
        Component(
            name="p2",
            factory="psyctl_p2.prompter:P2Prompter",
            config=P2Config,
            summary="The model finds keywords for the trait, then describes a person by them",
        )
    ]
