"""Hands one block after the other to the backend in this process; one that flows gets a block without an end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from psyctl_core.budget import Budget
from psyctl_core.components import (
    BackendState,
    Context,
    InferenceBackend,
    NextBlock,
    Runner,
    RunnerTarget,
    TellsState,
    WorkerPool,
)
from psyctl_core.records import Completion
from psyctl_local import LocalConfig


class LocalRunner(Runner):
    """Answers with the target's own backend."""

    def __init__(self, config: LocalConfig, context: Context) -> None:
        del config, context

    def open(self, target: RunnerTarget) -> WorkerPool:
        """A pool of one."""
        return LocalPool(target.backend)


class LocalPool(WorkerPool):
    """The backend itself.

    Args:
        backend: Who answers.
    """

    def __init__(self, backend: InferenceBackend) -> None:
        self._backend = backend

    @property
    def block(self) -> int:
        """As the backend says."""
        return self._backend.block

    def start(self, budget: Budget, folder: Path) -> None:
        """Start the backend."""
        del folder
        self._backend.start(budget)

    def speed(self) -> float | None:
        """As the backend says."""
        return self._backend.speed()

    def run(self, next_block: NextBlock) -> Iterator[Completion]:
        """Answer one block after the other until there is none."""
        while (block := next_block()) is not None:
            yield from self._backend.generate(block)

    def stop(self) -> None:
        """As the backend does."""
        self._backend.stop()

    def state(self) -> BackendState:
        """As the backend says."""
        return self._backend.state() if isinstance(self._backend, TellsState) else BackendState()

    def adaptations(self) -> Sequence[str]:
        """As the backend says."""
        return self._backend.adaptations()
