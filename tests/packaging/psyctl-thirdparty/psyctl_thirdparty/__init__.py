"""A third party's plugin: situations from a text file, answered by an echo."""

from __future__ import annotations

from dataclasses import dataclass

from psyctl_core import Component, hookimpl, option


@dataclass(frozen=True)
class LinesConfig:
    """Which file to read."""

    path: str = option("", help="A text file with one situation a line.")


@dataclass(frozen=True)
class EchoConfig:
    """How to answer."""

    shout: bool = option(False, help="Answer in capitals.")


@hookimpl
def psyctl_scenario_sources():
    """Offer ``lines``."""
    return [Component("lines", "psyctl_thirdparty.parts:Lines", LinesConfig, "One situation a line")]


@hookimpl
def psyctl_inference_backends():
    """Offer ``echo``."""
    return [Component("echo", "psyctl_thirdparty.parts:Echo", EchoConfig, "Repeats what it read")]
