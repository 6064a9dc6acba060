"""Answers requests with a local model, a block of them at a time."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from psyctl_core.budget import Budget
from psyctl_core.components import Context, Identity, InferenceBackend
from psyctl_core.errors import BackendError
from psyctl_core.figures import counted
from psyctl_core.local_models import LentModel, is_out_of_memory
from psyctl_core.records import ChatRequest, Completion
from psyctl_hf import HfConfig
from psyctl_hf.intake import Intake
from psyctl_hf.locate import locate

if TYPE_CHECKING:
    from psyctl_hf.generation import Generator

for _package in ("torch", "transformers"):  # told now, imported only when there is something to answer
    if importlib.util.find_spec(_package) is None:
        raise ModuleNotFoundError(f"No module named '{_package}'", name=_package)

log = logging.getLogger("psyctl")

BLOCK = 256
"""Requests ordered together, so that alike ones meet and rows that finish find work."""

SECONDS_IN_FLOW = 60
"""So much work is under way at a time where requests flow: half done on average, which is what a kill loses."""

LEAST_IN_FLOW = 16
"""Rows that a slow model computes together all the same: with fewer a step costs as much."""

PATIENCE = 2
"""Doubled each time memory runs out: so many blocks must fit before more rows are tried."""


class HfBackend(InferenceBackend):
    """One model in one process; loads it when the first answer is wanted."""

    block = BLOCK
    is_free = True

    def __init__(self, config: HfConfig, context: Context) -> None:
        del context
        self._config = config
        self._located = locate(config.model)
        self._generator: Generator | None = None
        self._most_in_flow = config.batch_size or 0
        self._most_rows = 0
        self._calm = 0
        self._patience = PATIENCE

    def identity(self) -> Identity:
        """The model's name and its commit or digest."""
        return {"model": self._located.name, "fingerprint": self._located.fingerprint}

    def start(self, budget: Budget) -> None:
        """Load the model."""
        del budget
        self._loaded()

    def speed(self) -> float:
        """About how many requests a second it will answer."""
        return self._loaded().speed()

    def generate(self, requests: Iterable[ChatRequest]) -> Iterator[Completion]:
        """Answer a block, or in float32 what comes as rows fall free.

        Which requests of a block are computed together follows from the block alone.
        """
        generator = self._loaded()
        for _, group in groupby(requests, key=_settings_of):
            yield from self._in_batches(Intake(generator, group))

    def lend(self) -> LentModel:
        """The model itself; see :class:`~psyctl_core.local_models.LendsModel`."""
        return self._loaded().lend(self._located)

    def close(self) -> None:
        """Free the model."""
        if self._generator is not None:
            self._generator.close()
        self._generator = None

    def _loaded(self) -> Generator:
        if self._generator is None:
            from psyctl_hf.generation import Generator

            log.info("Loading %s", self._located.name)
            self._generator = Generator(self._located, self._config)
            log.info("Loaded %s: %s", self._located.name, self._generator.description)
            self.block = 0 if self._generator.flows() else BLOCK
        return self._generator

    def _in_batches(self, intake: Intake) -> Iterator[Completion]:
        """Answer requests that share their settings; where memory runs out, go on with half as many at once.

        Raises:
            BackendError: Not even one prompt fits.
        """
        generator = self._loaded()
        flows = generator.flows()
        if flows and not self._most_in_flow:
            self._most_in_flow = max(LEAST_IN_FLOW, int(self.speed() * SECONDS_IN_FLOW))
        while True:
            asked = intake.begin(self._most_in_flow if flows else None)
            yield from intake.refused()
            if not asked:
                break
            rows = min(self._config.batch_size or generator.rows_that_fit(asked), len(asked))
            rows = min(rows, self._most_rows or rows)
            if asked[0][0].continuation:
                answers = generator.score(asked)
            elif asked[0][0].choices and generator.can_weigh(asked[0][0]):
                answers = generator.weigh(asked)
            elif flows:
                answers = generator.flow(asked, intake.take, rows)
            else:
                answers = generator.generate(asked, rows)
            try:
                for completion in answers:
                    intake.answered(completion)
                    yield completion
                    yield from intake.refused()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if rows == 1:
                    longest = max(len(ids) for _, ids in asked)
                    raise BackendError(
                        f"Out of memory: not even one prompt of {counted(longest, 'token')} fits beside the model.",
                        "Use a smaller model, --max-tokens, or another --hf-device.",
                    ) from error
                log.warning("Out of memory with %s at once: going on with %d.", counted(rows, "prompt"), rows // 2)
                self._most_rows, self._calm = rows // 2, 0
                self._patience *= 2
            if intake.is_open:  # not before: the error's frames hold what the failed batch held
                generator.free_memory()
        self._grow()

    def _grow(self) -> None:
        """After some blocks that fitted, try more rows again: what took the memory may have been somebody else."""
        self._calm += 1
        if self._most_rows and self._calm >= self._patience:
            self._most_rows, self._calm = self._most_rows * 2, 0
            log.info(
                "%s fitted: trying up to %s at once.",
                counted(self._patience, "block"), counted(self._most_rows, "prompt"),
            )  # fmt: skip


def _settings_of(request: ChatRequest) -> tuple[object, ...]:
    """What requests must share to be computed together."""
    begun = request.prefill if request.choices else ""
    return request.max_tokens, request.temperature, request.stop, request.choices, begun, bool(request.continuation)
