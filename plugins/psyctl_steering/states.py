"""Reads a model's states over both answers of each pair: the differences that vectors are made of."""

from __future__ import annotations

import gc
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import torch

from psyctl_core.errors import BackendError, OutputError, UsageError
from psyctl_core.figures import counted
from psyctl_core.local_models import LentModel, is_out_of_memory
from psyctl_core.records import CaaRecord, ChatRequest, Message, prompt_of
from psyctl_steering.choices import POSITIONS
from psyctl_steering.directions import mean_of
from psyctl_steering.layers import matching
from psyctl_steering.steering import States, changed

log = logging.getLogger("psyctl")

WINDOW = 256
"""Pairs that are encoded and sorted by length together."""

TOKENS = {"cpu": 4096, "mps": 4096, "cuda": 32768}
"""Tokens, padding included, that are computed together where nobody says how many answers are."""

CHUNK = 1024
"""Pairs whose differences are in memory together."""

Progress = Callable[[int, int, int], None]
"""Told how many pairs are done, of how many, and how many tokens that were, without padding."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One sequence to compute.

    Attributes:
        ids: Its tokens.
        start: The first token whose state is read; all from there to the end are, and averaged.
        weight: What the average counts in the pair's difference.
    """

    ids: list[int]
    start: int
    weight: float


class Differences:
    """For each pair and layer the positive side's states minus the neutral side's, in float32.

    They lie in a temporary file, layer by layer, so that memory does not grow with the pairs: a thousand pairs at every
    block of a model of 7 billion parameters take half a gigabyte. It is read with plain calls, since pages of a
    memory map would count as the process's memory. The file is gone with the object; use it as a context manager.

    Attributes:
        layers: The layers' names, in the model's order.
        width: How many numbers a state has.
        records: The pairs that were read, in order.
        left_out: The ids of those that were longer than the model can place.
        norms: By layer, the median Euclidean norm of the states that were read.
        tokens: How many tokens were computed, without padding.
        seconds: How long that took.
    """

    def __init__(self, layers: Sequence[str], width: int, most: int) -> None:
        self.layers = tuple(layers)
        self.width = width
        self.records: list[CaaRecord] = []
        self.left_out: list[str] = []
        self.norms: dict[str, float] = {}
        self.tokens = 0
        self.seconds = 0.0
        self._most = most
        self._file = tempfile.TemporaryFile(prefix="psyctl-")  # noqa: SIM115 # closed by close()

    def __len__(self) -> int:
        return len(self.records)

    def __enter__(self) -> Differences:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def put(self, index: int, differences: torch.Tensor) -> None:
        """Keep a pair's differences, shape ``[layers, width]``.

        Raises:
            OutputError: The disk is full.
        """
        try:
            for layer, row in enumerate(differences.numpy()):
                self._file.seek(self._place(layer, index))
                self._file.write(row.tobytes())
        except OSError as error:
            needed = self._place(len(self.layers), 0) / 2**30
            raise OutputError(
                f"The differences of {counted(self._most, 'pair')} at {counted(len(self.layers), 'layer')} need "
                f"{needed:.1f} GiB in {tempfile.gettempdir()}: {error.strerror or error}.",
                "Make room, set TMPDIR to a larger place, or name fewer layers with --layer.",
            ) from error

    def at(self, layer: str, start: int = 0, stop: int | None = None) -> torch.Tensor:
        """One layer's differences for the pairs from ``start`` to before ``stop``, shape ``[pairs, width]``."""
        stop = len(self) if stop is None else min(stop, len(self))
        self._file.seek(self._place(self.layers.index(layer), start))
        size = max(0, stop - start) * self.width * 4
        return torch.from_numpy(np.frombuffer(bytearray(self._file.read(size)), np.float32)).view(-1, self.width)

    def chunks(self, layer: str) -> Iterator[torch.Tensor]:
        """One layer's differences in parts of at most :data:`CHUNK` pairs."""
        for start in range(0, len(self), CHUNK):
            yield self.at(layer, start, start + CHUNK)

    def mean(self, layer: str) -> torch.Tensor:
        """The mean over all pairs, shape ``[width]``."""
        return mean_of(lambda: self.chunks(layer))

    def _place(self, layer: int, pair: int) -> int:
        return (layer * self._most + pair) * self.width * 4


def read(
    lent: LentModel,
    records: Sequence[CaaRecord],
    layers: Sequence[str] = (),
    position: str = "answer-mean",
    *,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Differences:
    """Compute both answers of each pair once, and read what layers put out.

    Pairs that the model cannot place are left out and told. Where memory runs out, half as many are computed together.

    Args:
        lent: The model.
        records: The pairs.
        layers: Names and patterns of modules whose output has a state for each token; by default every block.
        position: One of :data:`~psyctl_steering.choices.POSITIONS`; ``choice`` reads each pair in both orders and
            averages.
        batch_size: Sequences computed together; by default from their length.
        progress: Told after every batch.

    Raises:
        UsageError: There is no such layer or position, or the tokenizer does not keep a choice's digit apart.
        BackendError: The model puts out something that is no number, or not one pair fits.
        OutputError: The temporary file cannot be written.
    """
    model = lent.model
    names = matching(model, layers)
    differences = Differences(names, model.config.get_text_config().hidden_size, len(records))
    batches = _Batches(lent, names, batch_size)
    norms: list[torch.Tensor] = []
    began = time.monotonic()
    try:
        for start in range(0, len(records), WINDOW):
            window = records[start : start + WINDOW]
            fitting = _fitting(lent, window, readings_of(lent, window, position), differences)
            for done, found, lengths in batches.run([readings for _, readings in fitting]):
                for number, values in zip(done, found, strict=True):
                    _check_numbers(values, names, fitting[number][0], model)
                    differences.put(len(differences) + number, values)
                norms.append(lengths)
                differences.tokens += sum(len(row.ids) for number in done for row in fitting[number][1])
                if progress:
                    progress(start + len(window) - batches.waiting, len(records), differences.tokens)
            differences.records += [record for record, _ in fitting]
    except BaseException:
        differences.close()
        raise
    differences.seconds = time.monotonic() - began
    if norms:
        differences.norms = dict(zip(names, torch.cat(norms, dim=1).median(dim=1).values.tolist(), strict=True))
    _tell(differences, lent)
    return differences


def readings_of(lent: LentModel, records: Sequence[CaaRecord], position: str) -> list[list[Reading]]:
    """What is computed for each pair.

    Raises:
        UsageError: There is no such position, or the tokenizer does not keep a choice's digit apart.
    """
    if position not in POSITIONS:
        raise UsageError(f"There is no position '{position}'.", f"There are: {', '.join(POSITIONS)}.")
    if position == "choice":
        return _choices(lent, records)
    found = _encoded(lent, [(prompt_of(each), ("", each.positive_text, each.neutral_text)) for each in records])
    pairs = []
    for record, (bare, *answers) in zip(records, found, strict=True):
        readings = []
        for ids, weight in zip(answers, (1.0, -1.0), strict=True):
            start = _common(bare, ids)
            if start == len(ids):
                raise UsageError(
                    f"An answer of pair '{record.id}' has no token of its own.", "Remove the pair, or mend its answer."
                )
            readings.append(Reading(ids, start if position == "answer-mean" else len(ids) - 1, weight))
        pairs.append(readings)
    return pairs


def _encoded(lent: LentModel, asked: Sequence[tuple[str, Sequence[str]]]) -> list[list[list[int]]]:
    """The tokens of each prompt with each of its answers, or beginnings of one."""
    requests = [ChatRequest("", (Message("user", prompt),), prefill=text) for prompt, texts in asked for text in texts]
    ids = iter(lent.encode(requests))
    return [[next(ids) for _ in texts] for _, texts in asked]


def _choices(lent: LentModel, records: Sequence[CaaRecord]) -> list[list[Reading]]:
    """Each pair in both orders, so that what the digit itself does cancels whatever pairs there are."""
    pairs: list[list[Reading]] = [[] for _ in records]
    for is_swapped in (False, True):
        questions = [_swapped(record) if is_swapped else record.question for record in records]
        found = _encoded(lent, [(question, ("(1", "(2")) for question in questions])
        for readings, record, rows in zip(pairs, records, found, strict=True):
            _check_digits(lent, rows)
            is_first = (record.positive == "(1") is not is_swapped
            for ids, is_one in zip(rows, (True, False), strict=True):
                readings.append(Reading(ids, len(ids) - 1, 0.5 if is_one is is_first else -0.5))
    return pairs


def _swapped(record: CaaRecord) -> str:
    """The record's question with its two answers in the other order.

    Raises:
        UsageError: It does not end with them.
    """
    answers = (record.positive_text, record.neutral_text)
    first, second = answers if record.positive == "(1" else answers[::-1]
    head, found, end = record.question.rpartition(f"1. {first}\n2. {second}")
    if not found:
        raise UsageError(
            f"The question of pair '{record.id}' does not hold its two answers as options 1 and 2, so they cannot be "
            "shown in the other order.",
            "Take --position answer-mean.",
        )
    return f"{head}1. {second}\n2. {first}{end}"


def _check_digits(lent: LentModel, rows: Sequence[list[int]]) -> None:
    ends = [lent.tokenizer.decode(ids[-1:]).strip() for ids in rows]
    if rows[0][:-1] != rows[1][:-1] or ends != ["1", "2"]:
        raise UsageError(
            f"The tokenizer of '{lent.name}' does not keep the digit of a choice apart: '(1' ends with '{ends[0]}'.",
            "Take --position answer-mean, which works with every tokenizer.",
        )


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences begin with together."""
    count = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        count += 1
    return count


def _fitting(
    lent: LentModel, records: Sequence[CaaRecord], pairs: Sequence[list[Reading]], differences: Differences
) -> list[tuple[CaaRecord, list[Reading]]]:
    """The pairs that the model can place, with what is computed for them; the others are noted."""
    fitting = []
    for record, readings in zip(records, pairs, strict=True):
        if lent.longest and max(len(row.ids) for row in readings) > lent.longest:
            differences.left_out.append(record.id)
        else:
            fitting.append((record, readings))
    return fitting


def _tell(differences: Differences, lent: LentModel) -> None:
    if out := differences.left_out:
        log.warning(
            "Left out are %d of %s, '%s' first: prompt and answer are longer than the %s of %s.",
            len(out), counted(len(out) + len(differences), "pair"), out[0], counted(lent.longest, "token"), lent.name,
        )  # fmt: skip


def _check_numbers(values: torch.Tensor, names: Sequence[str], record: CaaRecord, model: Any) -> None:
    odd = ~torch.isfinite(values).all(dim=1)
    if odd.any():
        dtype = str(model.dtype).removeprefix("torch.")
        raise BackendError(
            f"The model puts out something that is no number at {names[int(odd.int().argmax())]} for pair "
            f"'{record.id}', in {dtype}.",
            "Give --dtype bfloat16 or float32; if that does not help, its weights are damaged.",
        )


class _Batches:
    """Computes pairs together, as many as fit.

    Attributes:
        waiting: How many of the pairs that :meth:`run` was given are not computed yet.
    """

    def __init__(self, lent: LentModel, layers: Sequence[str], batch_size: int | None) -> None:
        self._model = lent.model
        self._layers = layers
        self._rows = batch_size
        self._tokens = TOKENS.get(lent.model.device.type, TOKENS["cpu"])
        self._most = 1 << 30
        self.waiting = 0

    def run(self, pairs: Sequence[list[Reading]]) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
        """Compute pairs, the longest first: memory then runs out early, or not at all.

        Yields:
            The pairs' numbers, their differences ``[pairs, layers, width]`` and norms ``[layers, sequences]``.
        """
        length = [max(len(row.ids) for row in readings) for readings in pairs]
        order = sorted(range(len(pairs)), key=lambda number: length[number])
        while order:
            self.waiting = len(order)
            rows = len(pairs[order[-1]])
            fit = self._rows // rows if self._rows else self._tokens // (length[order[-1]] * rows)
            numbers = order[: -1 - max(1, min(fit, self._most)) : -1]
            found = self._tried([pairs[number] for number in numbers], length[order[-1]])
            if found is None:
                continue
            del order[-len(numbers) :]
            self.waiting = len(order)
            yield numbers, *found

    def _tried(self, pairs: Sequence[list[Reading]], tokens: int) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Compute these pairs, or see to it that half as many are tried next."""
        try:
            return compute(self._model, pairs, self._layers)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(pairs) == 1:
                raise BackendError(
                    f"Out of memory: not even the two answers of one pair ({counted(tokens, 'token')} each) "
                    "fit beside the model.",
                    "Use a smaller model, --dtype bfloat16, or another --device.",
                ) from error
        self._most = len(pairs) // 2
        log.warning("Out of memory with %s at once: going on with %d.", counted(len(pairs), "pair"), self._most)
        gc.collect()  # only here: the error's frames held what the batch held
        if self._model.device.type == "cuda":
            torch.cuda.empty_cache()
        return None


def compute(model: Any, pairs: Sequence[list[Reading]], layers: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Run these pairs through the model once, without its head.

    Sequences are padded on the right: with causal attention nothing behind a token reaches it, and places count from 0.

    Args:
        model: A ``transformers.PreTrainedModel``.
        pairs: What is computed for each; as many sequences for every one.
        layers: The layers' names.

    Returns:
        The differences ``[pairs, layers, width]``, and each sequence's median norm ``[layers, sequences]``; float32.
    """
    rows = [row for readings in pairs for row in readings]
    ids, mask = padded([row.ids for row in rows], model.device)
    places = [list(range(row.start, len(row.ids))) for row in rows]
    index, is_read = padded(places, torch.device("cpu"))
    counts = is_read.sum(1, keepdim=True)
    weights = is_read / counts * torch.tensor([[row.weight] for row in rows])
    width = model.config.get_text_config().hidden_size
    found: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def reader(layer: str) -> Callable[[States], States]:
        def note(states: States) -> States:
            if states.shape != (*ids.shape, width):
                raise UsageError(
                    f"The layer {layer} does not put out a state of {counted(width, 'number')} for each token, but "
                    f"{'x'.join(map(str, states.shape[1:])) or 'one number'}.",
                    "Name blocks, or modules that add to them such as model.layers[*].mlp.down_proj.",
                )
            at = torch.arange(len(rows), device=states.device)[:, None]
            picked = states[at, index.to(states.device)].float()
            sums = (picked * weights.to(states.device)[..., None]).sum(1)
            norms = picked.norm(dim=-1).masked_fill(~is_read.bool().to(states.device), torch.nan).nanmedian(1).values
            found[layer] = sums.view(len(pairs), -1, width).sum(1), norms
            return states

        return note

    with torch.inference_mode(), evaluating(model), changed(model, {layer: reader(layer) for layer in layers}):
        getattr(model, "base_model", model)(input_ids=ids, attention_mask=mask, use_cache=False)
        if missing := [layer for layer in layers if layer not in found]:
            raise UsageError(f"The model does not compute its layer {missing[0]} for a text.", "Name another layer.")
        both = [found[layer] for layer in layers]
        differences = torch.stack([each.cpu() for each, _ in both], dim=1)
        return differences, torch.stack([norms.cpu() for _, norms in both])


def padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows filled up with zeros on the right, and a mask with 1 where there is a number; ``[rows, longest]`` each."""
    width = max(map(len, rows))
    numbers = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
    return numbers, mask


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """The model without dropout and the like; afterwards each part trains again that did before."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
