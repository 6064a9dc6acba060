"""The scenario sources ``soda`` (the Hub's or a local file) and ``starter`` (shipped scenarios)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psyctl_core.components import Component, option
from psyctl_core.hookspecs import hookimpl


@dataclass(frozen=True, slots=True)
class SodaConfig:
    """Which data set to read.

    Attributes:
        dataset: A Hub name, with ``@revision`` where wanted, or a local file or folder.
        split: The split to read from a Hub data set.
    """

    dataset: str = option(
        "allenai/soda",
        help="Hugging Face dataset name (NAME@REVISION pins it), or a JSONL, JSON, CSV or Parquet file or folder.",
        flag="--dataset",
        identity=False,
    )
    split: str = option("train", help="Split to read from a Hub dataset.")


@dataclass(frozen=True, slots=True)
class StarterConfig:
    """The shipped scenarios have no settings."""


@hookimpl
def psyctl_scenario_sources() -> Sequence[Component]:
    """Offer ``soda`` and ``starter``."""
    return [
        Component(
            name="soda",
            factory="psyctl_soda.source:SodaSource",
            config=SodaConfig,
            summary="SODA from the Hugging Face Hub, streamed, or a local file in its shape",
            implied_by=("dataset",),
        ),
        Component(
            name="starter",
            factory="psyctl_soda.starter:StarterSource",
            config=StarterConfig,
            summary="220 scenarios shipped with psyctl; needs no network",
        ),
    ]
