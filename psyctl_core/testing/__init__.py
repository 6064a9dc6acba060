"""What a plugin author's tests import: fakes that behave, to run a plugin against."""

from __future__ import annotations

from psyctl_core.testing.fakes import FakeBackend, FakeSource, MemorySink

__all__ = ["FakeBackend", "FakeSource", "MemorySink"]
