"""Bi-directional preference optimization: a direction that makes the positive answers likelier, found by training it.

Cao et al. 2024, https://arxiv.org/abs/2406.00045: what is added to a layer's states is trained so that with it the
positive answer gains on the neutral one, and with its opposite loses.
"""

from __future__ import annotations

import inspect
import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from psyctl_core.errors import BackendError, UsageError
from psyctl_core.figures import counted
from psyctl_core.local_models import LentModel, is_out_of_memory
from psyctl_core.records import CaaRecord
from psyctl_steering.states import Differences, Progress, Reading, evaluating, padded, readings_of
from psyctl_steering.steering import States, changed

log = logging.getLogger("psyctl")

BETA = 0.1
"""How far the answers' odds may leave the model's own; the paper's."""

STEP = 0.003
"""The learning rate, as a share of a typical number of a state: for Llama 2 about the paper's 5e-4."""

PAIRS = 4
"""Pairs a step; the paper's."""

EPOCHS = 20
"""The most passes over the pairs; the paper's."""

PATIENCE = 2
"""Passes without a gain on the held-out pairs after which training stops."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """Both answers, and how much likelier the positive one is to the model as it is, in nats."""

    answers: list[Reading]
    gap: float


def train(
    lent: LentModel,
    differences: Differences,
    held: Differences,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, torch.Tensor]:
    """A direction for each layer, trained by itself on the pairs that were read, and best on those held out.

    Answers are never cut off, so that every pair has a gradient. Pairs that were held out decide when it stops.

    Args:
        lent: The model, in float32: in 16 bits small steps would be rounded away.
        differences: The pairs to train on, read; their norms set the size of a step.
        held: Pairs to stop by.
        seed: Of the order of the pairs and of the sign with which each is trained.
        progress: Told after every step how many pairs are done, of how many at most, and their tokens.

    Raises:
        UsageError: The model is not in float32.
        BackendError: Memory does not suffice, or what is computed is no number.
    """
    if lent.model.dtype != torch.float32:
        dtype = str(lent.model.dtype).removeprefix("torch.")
        raise UsageError(
            f"bipo trains in float32, and the model is in {dtype}, where small steps are rounded away.",
            "Give --dtype float32, or take --method mean.",
        )
    with _frozen(lent.model), evaluating(lent.model):
        pairs, kept = _pairs(lent, differences.records), _pairs(lent, held.records)
        steps = len(differences.layers) * EPOCHS * len(pairs)
        meter = _Meter(progress, steps)
        return {
            layer: _Trainer(lent.model, layer, differences.norms[layer], seed).best(pairs, kept, meter)
            for layer in differences.layers
        }


class _Meter:
    """Counts what is done."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done, self._tokens = progress, total, 0, 0

    def add(self, pairs: Sequence[_Pair]) -> None:
        """Count these as done."""
        self._done += len(pairs)
        self._tokens += sum(len(each.ids) for pair in pairs for each in pair.answers)
        if self._progress:
            self._progress(self._done, self._total, self._tokens)


class _Trainer:
    """Trains one layer's direction."""

    def __init__(self, model: Any, layer: str, norm: float, seed: int) -> None:
        self._model = model
        self._layer = layer
        width = model.config.get_text_config().hidden_size
        self._direction = torch.zeros(width, device=model.device, requires_grad=True)
        self._steps = torch.optim.AdamW([self._direction], lr=STEP * norm / width**0.5)
        self._random = random.Random(seed)  # noqa: S311 - nothing secret

    def best(self, pairs: Sequence[_Pair], kept: Sequence[_Pair], meter: _Meter) -> torch.Tensor:
        """The direction that did best on the pairs held out."""
        best, least, waited = self._direction.detach().clone(), self._loss(kept), 0
        for epoch in range(EPOCHS):
            order = self._random.sample(range(len(pairs)), len(pairs))
            for at in range(0, len(order), PAIRS):
                batch = [pairs[number] for number in order[at : at + PAIRS]]
                self._steps.zero_grad()
                signs = [self._random.choice((-1.0, 1.0)) for _ in batch]
                _each_loss(self._model, self._layer, self._direction, batch, signs).mean().backward()  # type: ignore[no-untyped-call]
                self._steps.step()
                meter.add(batch)
            found = self._loss(kept)
            log.debug("bipo at %s, pass %d: %.4f on the held-out pairs", self._layer, epoch + 1, found)
            if found < least:
                best, least, waited = self._direction.detach().clone(), found, 0
            else:
                waited += 1
            if waited == PATIENCE:
                break
        return best.cpu()

    def _loss(self, pairs: Sequence[_Pair]) -> float:
        """The mean loss of pairs over both signs."""
        total = 0.0
        with torch.no_grad():
            for at in range(0, len(pairs), PAIRS):
                batch = pairs[at : at + PAIRS]
                for sign in (-1.0, 1.0):
                    signs = [sign] * len(batch)
                    total += float(_each_loss(self._model, self._layer, self._direction, batch, signs).sum())
        if total != total:
            raise BackendError(
                f"bipo came to something that is no number at {self._layer}.", "Take another layer, or --method mean."
            )
        return total / (2 * len(pairs))


def _pairs(lent: LentModel, records: Sequence[CaaRecord]) -> list[_Pair]:
    every = readings_of(lent, records, "answer-mean")
    pairs = []
    with torch.no_grad():
        for at in range(0, len(every), PAIRS):
            batch = every[at : at + PAIRS]
            gaps = _gaps(lent.model, batch).tolist()
            pairs += [_Pair(answers, gap) for answers, gap in zip(batch, gaps, strict=True)]
    return pairs


def _each_loss(
    model: Any, layer: str, direction: torch.Tensor, pairs: Sequence[_Pair], signs: Sequence[float]
) -> torch.Tensor:
    """Each pair's loss with the direction added so many times, shape ``[pairs]``; equation 2 of the paper."""
    sign = torch.tensor(signs, device=model.device)
    rows = sign.repeat_interleave(2)[:, None, None]

    def add(states: States) -> States:
        return states + (rows * direction).to(states.device)

    with changed(model, {layer: add}):
        gained = _gaps(model, [pair.answers for pair in pairs]) - torch.tensor(
            [pair.gap for pair in pairs], device=model.device
        )
    return torch.nn.functional.softplus(-sign * BETA * gained)


def _gaps(model: Any, pairs: Sequence[list[Reading]]) -> torch.Tensor:
    """How much likelier the positive answer is than the neutral one, in nats; shape ``[pairs]``.

    Raises:
        BackendError: These few do not fit.
    """
    rows = [row for answers in pairs for row in answers]
    ids, mask = padded([row.ids for row in rows], model.device)
    first = min(row.start for row in rows) - 1  # what stands there says the first answer's token
    keep = {"logits_to_keep": ids.shape[1] - first} if "logits_to_keep" in _parameters(model) else {}
    try:
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False, **keep).logits
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise BackendError(
            f"Out of memory: {counted(len(rows), 'answer')} of up to {counted(ids.shape[1], 'token')} "
            "cannot be trained on beside the model.",
            "Use a smaller model, name one --layer late in it, or take --method mean.",
        ) from error
    before = ids.shape[1] - logits.shape[1]
    found = []
    for number, row in enumerate(rows):
        places = slice(row.start - 1 - before, len(row.ids) - 1 - before)
        likely = logits[number, places].float().log_softmax(-1)
        found.append(likely.gather(1, ids[number, row.start : len(row.ids), None]).sum())
    both = torch.stack(found).view(-1, 2)
    return both[:, 0] - both[:, 1]


def _parameters(model: Any) -> set[str]:
    return set(inspect.signature(model.forward).parameters)


@contextmanager
def _frozen(model: Any) -> Iterator[None]:
    """The model without gradients of its own."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in trained:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in trained:
            weight.requires_grad_(True)
