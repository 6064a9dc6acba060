"""Answers requests with a local model: blocks ordered by length, cut into left-padded batches."""

from __future__ import annotations

import gc
import importlib.util
import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from psyctl_core.components import Context, Identity, InferenceBackend
from psyctl_core.errors import BackendError
from psyctl_core.records import ChatRequest, Completion
from psyctl_hf import HfConfig
from psyctl_hf.locate import locate

if TYPE_CHECKING:
    from psyctl_hf.generation import Generator

for _package in ("torch", "transformers"):  # told now, imported only when there is something to answer
    if importlib.util.find_spec(_package) is None:
        raise ModuleNotFoundError(f"No module named '{_package}'", name=_package)

log = logging.getLogger("psyctl")

BLOCK = 256
"""Requests ordered by length together. A multiple of every batch size chosen here."""


class HfBackend(InferenceBackend):
    """One model in one process; loads it when the first answer is wanted."""

    block = BLOCK

    def __init__(self, config: HfConfig, context: Context) -> None:
        del context
        self._config = config
        self._located = locate(config.model)
        self._generator: Generator | None = None
        self._rows = 0

    def identity(self) -> Identity:
        """The model's name and its commit or digest."""
        return {"model": self._located.name, "fingerprint": self._located.fingerprint}

    def start(self, spent: float) -> None:
        """Load the model."""
        del spent
        self._loaded()

    def generate(self, requests: Iterable[ChatRequest]) -> Iterator[Completion]:
        """Answer a block, the longest prompts first, so that a batch too large for memory shows at once."""
        requests = list(requests)
        for _, group in groupby(requests, key=lambda r: (r.max_tokens, r.temperature, r.stop)):
            yield from self._in_batches(list(group))

    def close(self) -> None:
        """Free the model."""
        self._generator = None
        gc.collect()

    def _loaded(self) -> Generator:
        if self._generator is None:
            from psyctl_hf.generation import Generator

            log.info("Loading %s", self._located.name)
            self._generator = Generator(self._located, self._config)
            log.info("Loaded %s: %s", self._located.name, self._generator.description)
        return self._generator

    def _in_batches(self, requests: list[ChatRequest]) -> Iterator[Completion]:
        generator = self._loaded()
        prompts = generator.encode(requests)
        order = sorted(range(len(requests)), key=lambda i: (-len(prompts[i]), i))
        at = 0
        while at < len(order):
            rows = self._rows or self._config.batch_size or generator.rows_that_fit(requests[0].max_tokens)
            batch = order[at : at + rows]
            answered = self._try_batch(generator, [requests[i] for i in batch], [prompts[i] for i in batch])
            if answered is not None:
                yield from answered
                at += len(batch)

    def _try_batch(
        self, generator: Generator, requests: Sequence[ChatRequest], prompts: Sequence[list[int]]
    ) -> list[Completion] | None:
        """A batch's answers, or None where it did not fit and the batch size was halved.

        Raises:
            BackendError: Not even one prompt fits.
        """
        try:
            return generator.generate(requests, prompts)
        except (RuntimeError, MemoryError) as error:
            if not generator.is_out_of_memory(error):
                raise
            if len(requests) == 1:
                raise BackendError(
                    f"Out of memory: not even one prompt of {len(prompts[0])} tokens fits beside the model.",
                    "Use a smaller model, --max-tokens, or another --hf-device.",
                ) from error
        self._rows = len(requests) // 2
        generator.free_memory()
        log.warning("Out of memory with %d prompts at once: going on with %d.", len(requests), self._rows)
        return None
