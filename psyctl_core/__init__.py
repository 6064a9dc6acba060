"""psyctl builds Contrastive Activation Addition datasets; the public Python interface."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from psyctl_core.pipeline import DatasetReport, Plan, Progress, Report, build_caa, plan_caa

_PIPELINE = ("DatasetReport", "Plan", "Progress", "Report", "build_caa", "plan_caa")
"""Imported when first asked for: plugins and `--help` need none of it."""

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


def __getattr__(name: str) -> Any:
    if name in _PIPELINE:
        return getattr(importlib.import_module("psyctl_core.pipeline"), name)
    raise AttributeError(f"module 'psyctl_core' has no attribute '{name}'")
