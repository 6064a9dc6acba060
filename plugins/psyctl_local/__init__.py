"""The runner ``local``: the backend answers in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psyctl_core.components import Component
from psyctl_core.hookspecs import hookimpl


@dataclass(frozen=True, slots=True)
class LocalConfig:
    """There is nothing to choose."""


@hookimpl
def psyctl_runners() -> Sequence[Component]:
    """Offer ``local``."""
    return [
        Component(
            name="local",
            factory="psyctl_local.runner:LocalRunner",
            config=LocalConfig,
            summary="The backend answers in this process",
        )
    ]
