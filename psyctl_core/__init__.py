"""psyctl builds Contrastive Activation Addition datasets; the public Python interface."""

from __future__ import annotations

from psyctl_core.components import Component, Context, option
from psyctl_core.errors import (
    BackendError,
    OutputError,
    PluginError,
    PsyctlError,
    SourceError,
    UsageError,
)
from psyctl_core.hookspecs import hookimpl
from psyctl_core.pipeline import DatasetReport, Plan, Progress, Report, build_caa, plan_caa
from psyctl_core.records import (
    CaaRecord,
    ChatRequest,
    Completion,
    ContrastivePair,
    Message,
    Persona,
    Scenario,
    SkippedRow,
    Turn,
)

__all__ = [
    "BackendError",
    "CaaRecord",
    "ChatRequest",
    "Completion",
    "Component",
    "Context",
    "ContrastivePair",
    "DatasetReport",
    "Message",
    "OutputError",
    "Persona",
    "Plan",
    "PluginError",
    "Progress",
    "PsyctlError",
    "Report",
    "Scenario",
    "SkippedRow",
    "SourceError",
    "Turn",
    "UsageError",
    "build_caa",
    "hookimpl",
    "option",
    "plan_caa",
]
