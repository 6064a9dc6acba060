"""A third party's plugin: a backend that sleeps over so many requests, and keeps a log of what it was asked."""

from __future__ import annotations

from dataclasses import dataclass

from psyctl_core import Component, hookimpl, option


@dataclass(frozen=True)
class SleepyConfig:
    """How long it takes, and where it notes what it did."""

    seconds: float = option(0.2, help="Seconds for so many requests.", identity=False)
    together: int = option(16, help="Requests answered at a time.", identity=False)
    log: str = option("", help="A file that each process of the backend appends to.", identity=False)


@hookimpl
def psyctl_inference_backends():
    """Offer ``sleepy``."""
    return [Component("sleepy", "psyctl_sleepy.parts:Sleepy", SleepyConfig, "Answers after a while")]
