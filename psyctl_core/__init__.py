"""psyctl builds Contrastive Activation Addition datasets; the public Python interface."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from psyctl_core.budget import Budget
from psyctl_core.checks import Check, CheckedPair, CheckFacts, Finding
from psyctl_core.components import (
    Ask,
    Checkpoint,
    Command,
    Component,
    Context,
    DatasetExporter,
    DatasetWriter,
    DescribesOthers,
    Estimate,
    Exported,
    ExportTarget,
    Identity,
    InferenceBackend,
    Inspection,
    OutputSink,
    PairJudge,
    PersonalityPrompter,
    ScenarioSource,
    SinkTarget,
)
from psyctl_core.errors import (
    BackendError,
    OutputError,
    PluginError,
    PsyctlError,
    SourceError,
    UsageError,
)
from psyctl_core.hookspecs import hookimpl
from psyctl_core.options import Config, option
from psyctl_core.records import (
    CaaRecord,
    ChatRequest,
    Completion,
    ContrastivePair,
    JsonValue,
    Message,
    Metadata,
    Persona,
    Scenario,
    SkippedRow,
    Turn,
    Usage,
    Verdict,
)

if TYPE_CHECKING:
    from psyctl_core.api import (
        BuildConfig,
        CheckResult,
        Checkup,
        DatasetReport,
        ExportReport,
        PersonaChoice,
        Plan,
        Progress,
        RejectedPair,
        Report,
        Sampling,
        Selection,
        StoredDataset,
        build,
        build_caa,
        check_dataset,
        check_records,
        export_dataset,
        lent_model,
        open_dataset,
        plan,
        plan_caa,
        scores_of,
        split_pairs,
        stored_datasets,
    )

_API = (
    "BuildConfig", "CheckResult", "Checkup", "DatasetReport", "ExportReport", "PersonaChoice", "Plan", "Progress",
    "RejectedPair", "Report", "Sampling", "Selection", "StoredDataset", "build", "build_caa", "check_dataset",
    "check_records", "export_dataset", "lent_model", "open_dataset", "plan", "plan_caa", "scores_of", "split_pairs",
    "stored_datasets",
)  # fmt: skip
"""Imported when first asked for: plugins and `--help` need none of it."""

__all__ = [
    "Ask",
    "BackendError",
    "Budget",
    "BuildConfig",
    "CaaRecord",
    "ChatRequest",
    "Check",
    "CheckFacts",
    "CheckResult",
    "CheckedPair",
    "Checkpoint",
    "Checkup",
    "Command",
    "Completion",
    "Component",
    "Config",
    "Context",
    "ContrastivePair",
    "DatasetExporter",
    "DatasetReport",
    "DatasetWriter",
    "DescribesOthers",
    "Estimate",
    "ExportReport",
    "ExportTarget",
    "Exported",
    "Finding",
    "Identity",
    "InferenceBackend",
    "Inspection",
    "JsonValue",
    "Message",
    "Metadata",
    "OutputError",
    "OutputSink",
    "PairJudge",
    "Persona",
    "PersonaChoice",
    "PersonalityPrompter",
    "Plan",
    "PluginError",
    "Progress",
    "PsyctlError",
    "RejectedPair",
    "Report",
    "Sampling",
    "Scenario",
    "ScenarioSource",
    "Selection",
    "SinkTarget",
    "SkippedRow",
    "SourceError",
    "StoredDataset",
    "Turn",
    "Usage",
    "UsageError",
    "Verdict",
    "build",
    "build_caa",
    "check_dataset",
    "check_records",
    "export_dataset",
    "hookimpl",
    "lent_model",
    "open_dataset",
    "option",
    "plan",
    "plan_caa",
    "scores_of",
    "split_pairs",
    "stored_datasets",
]


def __getattr__(name: str) -> object:
    if name in _API:
        return getattr(importlib.import_module("psyctl_core.api"), name)
    raise AttributeError(f"module 'psyctl_core' has no attribute '{name}'")
