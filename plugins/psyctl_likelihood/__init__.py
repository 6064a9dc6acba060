"""The judge ``likelihood``: whether each answer is more likely from its own persona than from the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psyctl_core.components import Component
from psyctl_core.hookspecs import hookimpl
from psyctl_core.options import option


@dataclass(frozen=True, slots=True)
class LikelihoodConfig:
    """From which gain on a pair is accepted.

    Attributes:
        least: Nats a token by which each answer must be more likely under its own persona.
    """

    least: float = option(0.0, help="Nats a token by which each answer must be likelier under its own persona.")


@hookimpl
def psyctl_pair_judges() -> Sequence[Component]:
    """Offer ``likelihood``."""
    return [
        Component(
            name="likelihood",
            factory="psyctl_likelihood.judge:LikelihoodJudge",
            config=LikelihoodConfig,
            summary="Whether each answer is likelier from its own persona than from the other; for the backend hf",
        )
    ]
