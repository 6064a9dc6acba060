"""The judge ``rubric``: scores each answer alone for the trait and for its place in the scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from psyctl_core.components import Component
from psyctl_core.errors import UsageError
from psyctl_core.hookspecs import hookimpl
from psyctl_core.options import option


@dataclass(frozen=True, slots=True)
class RubricConfig:
    """From which scores on a pair is accepted; all scores go from 0 to 100.

    Attributes:
        positive: The trait in the positive answer, at least.
        neutral: The trait in the neutral answer, below.
        difference: The first less the second, at least.
        fit: How well each answer fits its scene, at least.

    Raises:
        UsageError: A threshold is not from 0 to 100.
    """

    positive: float = option(
        50.0, help="Accepted are pairs whose positive answer shows the trait at least so much.", rare=True
    )
    neutral: float = option(50.0, help="And whose neutral answer shows it less than this.", rare=True)
    difference: float = option(25.0, help="And whose answers differ in it by at least so much.", rare=True)
    fit: float = option(
        50.0, help="And whose answers both fit their scene at least so well; 0 asks nothing about it.", rare=True
    )

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value <= 100:
                raise UsageError(
                    f"--rubric-{field.name} {value:g} is not a score.", "Scores go from 0 to 100, such as 50."
                )


@hookimpl
def psyctl_pair_judges() -> Sequence[Component]:
    """Offer ``rubric``."""
    return [
        Component(
            name="rubric",
            factory="psyctl_rubric.judge:RubricJudge",
            config=RubricConfig,
            summary="A model scores each answer alone, from 0 to 100, for the trait and for its place in the scene",
        )
    ]
