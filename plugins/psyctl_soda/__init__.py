"""The scenario sources ``soda`` (any conversation: the Hub's or local files) and ``starter`` (shipped scenarios)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from psyctl_core.components import Component
from psyctl_core.hookspecs import hookimpl
from psyctl_core.options import option


def _shown(dataset: str) -> str:
    from psyctl_soda.files import shown  # not before a run is wanted: help must be quick

    return shown(dataset)


@dataclass(frozen=True, slots=True)
class SodaConfig:
    """Which data set to read, and how.

    Attributes:
        dataset: A Hub name, with ``@revision`` where wanted, an ``hf://`` or other address, or a local
            file, folder or glob.
        split: The split to read, where the data set has several.
        config: The config to read, where the data set has several.
        columns: Which column is what, for rows of no known shape.
        shape: The one shape to read rows as, or ``auto``.
        shuffle: Whether to shuffle rows, with the run's seed and in bounded memory.
    """

    dataset: str = option(
        "allenai/soda",
        help="Conversations: a Hugging Face dataset name (NAME@REVISION pins it), an hf:// or https:// address, or a "
        "JSONL, JSON, CSV, TSV, Parquet or Arrow file, folder or glob.",
        flag="--dataset",
        identity=False,
        saved=_shown,
        suggest=("allenai/soda",),
        pin="revision",
    )
    split: str = option("train", help="Split to read.", flag="--split")
    config: str = option("", help="Config to read of a dataset that has several.", flag="--dataset-config")
    columns: str = option(
        "",
        help="Which column is what, where the shape is not recognised: situation=COLUMN,character=COLUMN,"
        "speaker=COLUMN,line=COLUMN,conversation=COLUMN,order=COLUMN; each part but situation or line may be left out.",
        flag="--columns",
        rare=True,
    )
    shape: Literal[
        "auto", "soda", "turns", "messages", "sharegpt", "template", "pairs", "objects", "script", "utterances", "bare"
    ] = option("auto", help="Read rows as this shape only.", flag="--shape", rare=True)
    shuffle: bool = option(False, help="Shuffle rows, 10,000 at a time, by the seed.", flag="--shuffle")


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
            summary="Any conversations: a Hugging Face dataset (SODA unless told otherwise), streamed, or local files",
            implied_by=("dataset",),
        ),
        Component(
            name="starter",
            factory="psyctl_soda.starter:StarterSource",
            config=StarterConfig,
            summary="319 scenarios shipped with psyctl; needs no network",
        ),
    ]
