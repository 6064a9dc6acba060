"""What a plugin author's tests import: a contract per kind to inherit, and fakes that behave to run against."""

from __future__ import annotations

from psyctl_core.testing.contracts import (
    BackendContract,
    ExporterContract,
    JudgeContract,
    PrompterContract,
    RunnerContract,
    SinkContract,
    SourceContract,
)
from psyctl_core.testing.fakes import FakeBackend, FakePrompter, FakeSource, MemorySink

__all__ = [
    "BackendContract",
    "ExporterContract",
    "FakeBackend",
    "FakePrompter",
    "FakeSource",
    "JudgeContract",
    "MemorySink",
    "PrompterContract",
    "RunnerContract",
    "SinkContract",
    "SourceContract",
]
