"""How likely texts are under many directions: what no direction changes is computed once."""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Cache

from psyctl_core.errors import BackendError
from psyctl_steering.layers import blocks, module_of, number_of
from psyctl_steering.steering import changed

log = logging.getLogger("psyctl")

TOKENS = 1024
"""So many tokens are computed together."""

LOGITS = 1 << 25
"""So many logits are held at once: 128 MiB in float32."""

NEAR = {torch.float32: 1e-3, torch.float64: 1e-3}
"""How far two ways to compute one mean log-probability may lie apart, by number format; in others :data:`NEAR_16`."""

NEAR_16 = 0.05


@dataclass(frozen=True, slots=True)
class Text:
    """A text whose likelihood is asked for.

    Attributes:
        ids: The tokens that are read, the last wanted one excluded.
        start: The first token that is steered.
        wanted: For each of the last positions, the tokens whose log-probability as the next one is wanted.
    """

    ids: tuple[int, ...]
    start: int
    wanted: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts that share their beginning, prepared once for every direction.

    Attributes:
        numbers: Which of the texts they are.
        cache: Keys and values of the shared beginning, for one row; ``None`` where nothing is shared.
        ids: What follows it, padded on the left: shape ``[texts, tokens]``.
        mask: 1 for tokens, 0 for padding, the beginning included: shape ``[texts, beginning + tokens]``.
        steered: Which tokens are steered: shape ``[texts, tokens, 1]``.
        states: What reaches the block of the steered layer: shape ``[texts, tokens, hidden]``; ``None`` to compute it.
        columns: How many of the last positions are read.
    """

    numbers: tuple[int, ...]
    cache: Any
    ids: torch.Tensor
    mask: torch.Tensor
    steered: torch.Tensor
    states: torch.Tensor | None
    columns: int


class Passes:
    """A model whose one layer is steered by many directions.

    A text's beginning that comes before its first steered token is computed once for all directions, and for all texts
    that share it. The blocks before the steered one are computed once for each text, and not again for each direction.
    Whether that gives what the whole model gives is tried out on the first texts; where it does not, everything is
    computed each time.

    Args:
        model: A Transformers model.
        layer: The layer's name.
        pad: A token for padding.
        plainly: Compute everything each time.
    """

    def __init__(self, model: Any, layer: str, pad: int = 0, *, plainly: bool = False) -> None:
        self._model = model
        self.layer = layer
        self._pad = pad
        self._first = max(0, number_of(layer))
        self._keeps = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._plainly = plainly
        self._tried = plainly
        self.tokens = 0
        """How many tokens were put through the steered blocks."""

    def prepared(self, groups: Sequence[Sequence[Text]]) -> list[Batch]:
        """Batches of texts; those of one group are computed together, and share what they begin with alike.

        Args:
            groups: The texts; they are numbered through in this order.
        """
        with torch.inference_mode():
            if not self._tried and groups:
                self._try(groups[0][:2])
            found, before = [], 0
            for group in groups:
                found += self._batches(group, before)
                before += len(group)
            return found

    def logprobs(self, batches: Sequence[Batch], texts: Sequence[Text], directions: torch.Tensor) -> list[torch.Tensor]:
        """The wanted log-probabilities of each text under each direction.

        Args:
            batches: As prepared.
            texts: The texts by their numbers.
            directions: What is added to the layer's output, shape ``[directions, hidden]``; zeros leave it.

        Returns:
            For each text a float32 tensor ``[directions, positions, wanted]``.
        """
        out: list[list[torch.Tensor]] = [[] for _ in texts]
        for batch, logits, scale in self.logits(batches, directions):
            for row, number in enumerate(batch.numbers):
                wanted = torch.tensor(texts[number].wanted, device=logits.device)
                at = slice(logits.shape[2] - len(wanted), None)
                chosen = logits[:, row, at].gather(-1, wanted.expand(len(logits), -1, -1))
                out[number].append((chosen - scale[:, row, at, None]).cpu())
        return [torch.cat(parts) for parts in out]

    def logits(
        self, batches: Sequence[Batch], directions: torch.Tensor
    ) -> Iterator[tuple[Batch, torch.Tensor, torch.Tensor]]:
        """Batch by batch, the logits at the positions that are read, in the directions' order and some at once.

        Yields:
            The batch, float32 logits ``[directions, texts, positions, vocabulary]``, and the logarithm of the sum of
            their exponentials.
        """
        vocabulary = self._model.get_output_embeddings().weight.shape[0]
        for batch in batches:
            rows, length = batch.ids.shape
            fit = min(TOKENS // (rows * length), LOGITS // (rows * batch.columns * vocabulary))
            for some in torch.split(directions, max(1, fit)):
                with torch.inference_mode():
                    logits = self._pass(batch, some)
                    scale = logits.logsumexp(-1)
                if not scale.isfinite().all():  # as it is not where any of them is not
                    raise BackendError(
                        f"The model computes nothing that is a number when it is steered at {self.layer}.",
                        "Take lower --doses, another layer, or --hf-dtype float32.",
                    )
                yield batch, logits, scale

    def _pass(self, batch: Batch, directions: torch.Tensor) -> torch.Tensor:
        many, (rows, length) = len(directions), batch.ids.shape
        self.tokens += many * rows * length
        added = directions.to(self._model.device)[:, None, None, :] * batch.steered[None]
        added = added.flatten(0, 1)
        mask = batch.mask.repeat(many, 1)
        states = None if batch.states is None else batch.states.repeat(many, 1, 1)

        def change(found: torch.Tensor) -> torch.Tensor:
            return found + added.to(found.device, found.dtype)

        with resumed(self._model, self._first, states), changed(self._model, {self.layer: change}):
            output = self._model(
                input_ids=batch.ids.repeat(many, 1),
                attention_mask=mask,
                position_ids=positions(mask)[:, -length:],
                **self._remembering(batch.cache, many * rows),
                **({"logits_to_keep": batch.columns} if self._keeps else {}),
            )
        logits: torch.Tensor = output.logits[:, -batch.columns :].float()
        return logits.view(many, rows, *logits.shape[1:])

    def _batches(self, group: Sequence[Text], before: int) -> list[Batch]:
        shared = 0 if self._plainly else min(common(group), min(text.start for text in group))
        cache = self._read(group[0].ids[:shared]) if shared else None
        shared = shared if cache is not None else 0
        order = sorted(range(len(group)), key=lambda number: len(group[number].ids))
        found, some = [], list[int]()
        for number in [*order, None]:
            if some and (number is None or (len(some) + 1) * (len(group[number].ids) - shared) > TOKENS):
                found.append(self._batch([group[each] for each in some], [before + each for each in some],
                                         cache, shared))  # fmt: skip
                some = []
            if number is not None:
                some.append(number)
        return found

    def _batch(self, texts: Sequence[Text], numbers: Sequence[int], cache: Any, shared: int) -> Batch:
        length = max(len(text.ids) for text in texts) - shared
        device = self._model.device
        ids = torch.full((len(texts), length), self._pad, device=device)
        mask = torch.zeros((len(texts), shared + length), dtype=torch.long, device=device)
        mask[:, :shared] = 1
        steered = torch.zeros((len(texts), length, 1), device=device)
        for row, text in enumerate(texts):
            rest = torch.tensor(text.ids[shared:], device=device)
            ids[row, length - len(rest) :] = rest
            mask[row, shared + length - len(rest) :] = 1
            steered[row, length - (len(text.ids) - text.start) :] = 1
        columns = max(len(text.wanted) for text in texts)
        batch = Batch(tuple(numbers), cache, ids, mask, steered, None, columns)
        if self._plainly or not self._first:
            return batch
        return Batch(tuple(numbers), cache, ids, mask, steered, self._reaching(batch), columns)

    def _reaching(self, batch: Batch) -> torch.Tensor:
        """What the block before the steered layer's puts out."""
        kept: list[torch.Tensor] = []

        def keep(states: torch.Tensor) -> torch.Tensor:
            kept.append(states)
            return states

        with changed(self._model, {blocks(self._model)[self._first - 1]: keep}):
            self._pass(batch, torch.zeros(1, self._model.config.get_text_config().hidden_size))
        return kept[0]

    def _read(self, ids: Sequence[int]) -> Any:
        """The keys and values of a text's beginning; ``None`` where the model keeps others than that."""
        row = torch.tensor([list(ids)], device=self._model.device)
        cache = getattr(self._model(input_ids=row, use_cache=True), "past_key_values", None)
        layers = getattr(cache, "layers", ())
        return (
            cache if layers and all(isinstance(getattr(each, "keys", None), torch.Tensor) for each in layers) else None
        )

    def _remembering(self, cache: Any, rows: int) -> dict[str, Any]:
        """A cache of its own for so many rows; copies nothing."""
        if cache is None:
            return {"use_cache": False}
        layers = []
        for layer in cache.layers:
            layer = copy.copy(layer)
            layer.keys = layer.keys.expand(rows, -1, -1, -1)
            layer.values = layer.values.expand(rows, -1, -1, -1)
            layers.append(layer)
        return {"past_key_values": Cache(layers=layers), "use_cache": True}

    def _try(self, texts: Sequence[Text]) -> None:
        """See whether the short way gives what the long one gives, under a direction and under none."""
        self._tried = True
        width = self._model.config.get_text_config().hidden_size
        directions = torch.stack([torch.zeros(width), torch.linspace(-1, 1, width)])
        short, whole = (
            self.logprobs(self.prepared([texts]), texts, directions)
            if not plainly
            else Passes(self._model, self.layer, self._pad, plainly=True)._of([texts], directions)
            for plainly in (False, True)
        )
        near = NEAR.get(self._model.dtype, NEAR_16)
        if any(abs(one.mean() - other.mean()) > near for one, other in zip(short, whole, strict=True)):
            log.info("Texts are computed whole for each direction: this model does not go on from where it was.")
            self._plainly = True

    def _of(self, groups: Sequence[Sequence[Text]], directions: torch.Tensor) -> list[torch.Tensor]:
        return self.logprobs(self.prepared(groups), [text for group in groups for text in group], directions)


@contextmanager
def resumed(model: Any, first: int, states: torch.Tensor | None) -> Iterator[None]:
    """Let a model go on from given states: the blocks before ``first`` compute nothing.

    Args:
        model: The model.
        first: The number of the first block that computes.
        states: What the one before it would put out; ``None`` lets all blocks compute.
    """
    with ExitStack() as undo:
        for name in blocks(model)[:first] if states is not None else ():
            block = module_of(model, name)
            undo.callback(_put_back, block, block.__dict__.get("forward"))
            # As an attribute of its own, so that the model still finds in the block what else it asks of it.
            block.forward = _giving(states)
        yield


def positions(mask: torch.Tensor) -> torch.Tensor:
    """Each token's place in its row, from 0; padding has 0."""
    return (mask.cumsum(-1) - 1).clamp(min=0)


def common(texts: Sequence[Text]) -> int:
    """How many tokens all these texts begin with; at least one of each is left over."""
    first, *others = [text.ids for text in texts]
    most = min(len(text.ids) - max(1, len(text.wanted)) for text in texts)
    return next((i for i in range(most) if any(other[i] != first[i] for other in others)), most)


def _giving(states: torch.Tensor | None) -> Callable[..., torch.Tensor | None]:
    def forward(*args: Any, **more: Any) -> torch.Tensor | None:
        del args, more
        return states

    return forward


def _put_back(block: Any, forward: Any) -> None:
    if forward is None:
        del block.forward
    else:
        block.forward = forward
