"""Decodes many prompts: rows leave when their line ends and the next prompts take their places."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import Cache, DynamicCache, __version__
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from psyctl_core.local_models import one_line
from psyctl_hf.packing import Packed, additive, by_likeness, pack, tree_mask

log = logging.getLogger("psyctl")

PACK = 512
"""Prompt tokens computed together. More would spend too much on attention between unrelated prompts."""

SPARE = 32
"""Cache columns beyond the longest prompt and answer, so that rows move to the front only now and then."""

ROPES = ("default", "linear", "llama3", "yarn")
"""Rotary embeddings that depend on a token's place alone, and not on how long the row is."""

PLAIN = {"full_attention", "sliding_attention", "chunked_attention"}
"""Kinds of layers that keep the keys and values of every token they see, and nothing else."""

Choose = Callable[[torch.Tensor, list[int], list[int]], torch.Tensor]
"""Picks next tokens: logits ``[rows, vocabulary]`` in float32, prompts, tokens so far each -> ids ``[rows]``."""

More = Callable[[int], Mapping[int, list[int]]]
"""Gives prompts' token ids by their numbers when so many rows are free; none once there are no more."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One finished row: which prompt it answers, its new tokens, and whether its line ended."""

    prompt: int
    tokens: list[int]
    ended: bool


def reach(model: Any) -> int:
    """How many tokens, prompt and answer together, a row may have here; 0 where the model cannot be decoded here.

    It can where it keeps plain keys and values, and takes positions and masks of our own. A layer that sees a
    sliding window only is one that sees everything as long as a row is no longer than the window. The last
    word has a trial: rows computed together must get the logits they get alone. A model of a kind that could be
    decoded here and is not gets a warning, since answers then take longer.
    """
    if kind := _other_kind(model):
        log.info("Decoding with Transformers' generate: %s.", kind)
        return 0
    if why := _misfit(model):
        log.warning("Decoding with Transformers' generate, which is slower: %s (Transformers %s).", why, __version__)
        return 0
    layers = _layers(model)
    windows = [layer.sliding_window for layer in layers if isinstance(layer, DynamicSlidingWindowLayer)]
    return min(windows, default=sys.maxsize)


def _layers(model: Any) -> list[Any]:
    layers: list[Any] = DynamicCache(config=model.config.get_text_config()).layers
    return layers


def _other_kind(model: Any) -> str:
    """Why a model is not of the kind that is decoded here, or nothing: one with plain keys, values and positions."""
    config = model.config.get_text_config()
    if getattr(config, "is_encoder_decoder", False):
        return "the model has an encoder"
    if getattr(config, "num_kv_shared_layers", 0):
        return "some layers keep nothing of their own"
    kinds = set(getattr(config, "layer_types", None) or ())  # older releases of the cache take every kind for plain
    if kinds - PLAIN or any(type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) for layer in _layers(model)):
        return "some layers keep something else than keys and values"
    rope = getattr(config, "rope_parameters", None) or {}
    ropes = {rope["rope_type"]} if "rope_type" in rope else {r.get("rope_type") for r in rope.values() if r}
    if not ropes <= set(ROPES):
        return "the position embedding depends on the row's length"
    return ""


def _misfit(model: Any) -> str:
    """Why a model of the right kind is not decoded here after all, or nothing."""
    takes = inspect.signature(model.forward).parameters
    missing = {"position_ids", "attention_mask", cache_name(model), "logits_to_keep"} - takes.keys()
    if missing:
        return f"the model does not take {', '.join(sorted(missing))}"
    if model.config.get_text_config()._attn_implementation not in ("sdpa", "eager"):
        return f"the attention is {model.config.get_text_config()._attn_implementation}"
    try:
        return _trial(model)
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
        return f"the trial failed ({one_line(error)})"


def cache_name(model: Any) -> str:
    """What a model's ``forward`` calls the cache: ``cache`` since Transformers 5.24, ``past_key_values`` before."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def _trial(model: Any) -> str:
    """What went wrong when two rows were begun and gone on with, against the model on each alone; or nothing."""
    prompts, forced = [[5, 6, 7, 8, 9], [5, 6, 7, 10, 11, 12]], [9, 13, 6]
    found: dict[tuple[int, int], torch.Tensor] = {}

    def choose(logits: torch.Tensor, rows: list[int], steps: list[int]) -> torch.Tensor:
        found.update(zip(zip(rows, steps, strict=True), logits, strict=True))
        return torch.tensor([forced[step] for step in steps], device=logits.device)

    rows = dict(enumerate(prompts))
    list(Decoding(model, rows, torch.zeros(1), choose, max_tokens=len(forced), rows=len(rows)).run())
    for number, prompt in rows.items():
        ids = torch.tensor([[*prompt, *forced[:-1]]], device=model.device)
        alone = model(input_ids=ids, use_cache=False, logits_to_keep=len(forced)).logits[0].float()
        if not all(alike(found[number, step], logits) for step, logits in enumerate(alone)):
            return "rows together get other logits than alone"
    return ""


def alike(got: torch.Tensor, alone: torch.Tensor) -> bool:
    """Whether logits differ by rounding only; what a wrong mask or position does is far more."""
    return bool((got - alone).abs().mean() < 0.05 * alone.std().clamp(min=1e-6))


def _read(model: Any, packed: Packed) -> tuple[torch.Tensor, Cache]:
    """Compute packed prompts: the logits where they are read ``[reads, vocabulary]`` in float32, and the cache."""
    device = model.device
    cache = DynamicCache()  # without the model's config, which would cut sliding windows off by columns
    output = model(
        input_ids=torch.tensor([packed.ids], device=device),
        position_ids=torch.tensor([packed.positions], device=device),
        attention_mask=tree_mask(packed, model.dtype).to(device),
        use_cache=True,
        logits_to_keep=torch.tensor(packed.reads, device=device),
        **{cache_name(model): cache},
    )
    return output.logits[0].float(), cache


def likely_next(model: Any, prompts: Sequence[list[int]]) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Numbers of prompts and their next tokens' logits ``[prompts, vocabulary]``; what is shared is computed once."""
    waiting = by_likeness(prompts)[::-1]
    while waiting:
        group = _next_group(waiting, prompts)
        del waiting[-len(group) :]
        yield group, _read(model, pack([prompts[number] for number in group]))[0]


def logprobs(model: Any, texts: Sequence[list[int]], starts: Sequence[int]) -> Iterator[tuple[int, float]]:
    """Numbers of texts, and the summed logarithm of the probability of each one's tokens from its start on."""
    waiting = by_likeness(texts)[::-1]
    while waiting:
        group = _next_group(waiting, texts)
        del waiting[-len(group) :]
        packed = pack([texts[number] for number in group])
        places = [path[start - 1 : -1] for path, start in zip(packed.paths, (starts[n] for n in group), strict=True)]
        logits = _read(model, replace(packed, reads=[place for each in places for place in each]))[0].log_softmax(-1)
        for number, rows in zip(group, logits.split([len(each) for each in places]), strict=True):
            tokens = torch.tensor(texts[number][starts[number] :], device=rows.device)
            yield number, float(rows.gather(1, tokens[:, None]).sum())


def _next_group(waiting: Sequence[int], prompts: Mapping[int, list[int]] | Sequence[list[int]]) -> list[int]:
    """The last of the waiting prompts, as many as fill one packed row."""
    group = [waiting[-1]]
    size = len(prompts[group[0]])
    for prompt in waiting[-2::-1]:
        before = prompts[group[-1]]
        size += len(pack([before, prompts[prompt]]).ids) - len(before)
        if size > PACK:
            break
        group.append(prompt)
    return group


class _Window:
    """The columns ``[start, end)`` of all layers' caches that are in use."""

    start = 0
    end = 0


class _RowLayer(DynamicLayer):
    """One layer's keys and values, ``[rows, heads, columns, size]``, written in place.

    Growing by concatenation would copy the whole cache for every token.
    """

    keys: Any
    values: Any

    def __init__(self, window: _Window, like: Any, rows: int, columns: int) -> None:
        super().__init__()
        self._window = window
        # Zeros: what a mask hides is still multiplied, and must be a number.
        self.keys = like.keys.new_zeros(rows, like.keys.shape[1], columns, like.keys.shape[3])
        self.values = like.values.new_zeros(rows, like.values.shape[1], columns, like.values.shape[3])
        self.is_initialized = True

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        del args, kwargs
        start, end = self._window.start, self._window.end
        self.keys[:, :, end : end + 1] = key_states
        self.values[:, :, end : end + 1] = value_states
        return self.keys[:, :, start : end + 1], self.values[:, :, start : end + 1]

    def get_seq_length(self) -> int:
        return self._window.end - self._window.start

    def put(self, row: int, layer: Any, path: torch.Tensor) -> None:
        """Copy a prompt from a packed layer into a row, so that it ends where the window ends."""
        place = slice(self._window.end - len(path), self._window.end)
        self.keys[row, :, place] = layer.keys[0][:, path]
        self.values[row, :, place] = layer.values[0][:, path]

    def widen(self, columns: int) -> None:
        """Put free columns in front."""
        self.keys = torch.nn.functional.pad(self.keys, (0, 0, columns, 0))
        self.values = torch.nn.functional.pad(self.values, (0, 0, columns, 0))

    def move(self, old: slice, new: slice) -> None:
        """Move columns."""
        self.keys[:, :, new] = self.keys[:, :, old].clone()
        self.values[:, :, new] = self.values[:, :, old].clone()


class Decoding:
    """Prompts on their way through a model.

    Every row's tokens end in the same cache column, so that one step writes one column for all rows; a
    prompt that takes a free row is laid out to end there too. Which rows are computed together follows
    from the prompts alone, so that the same ones get the same answers.

    Args:
        model: A model within whose :func:`reach` all prompts are, answers included.
        prompts: Token ids, by numbers of their own.
        ends: For each token whether an answer ends with it, shape ``[vocabulary]``.
        choose: Picks the next tokens.
        max_tokens: New tokens at most.
        rows: Prompts answered at the same time.
        more: Asked for further prompts when a quarter of the rows is free and none waits.
    """

    def __init__(
        self,
        model: Any,
        prompts: Mapping[int, list[int]],
        ends: torch.Tensor,
        choose: Choose,
        *,
        max_tokens: int,
        rows: int,
        more: More = lambda free: {},
    ) -> None:
        self._model = model
        self._cache_name = cache_name(model)
        self._more = more
        self._prompts: dict[int, list[int]] = {}
        self._ends = frozenset(ends.nonzero().flatten().tolist())
        self._choose = choose
        self._max_tokens = max_tokens
        self._waiting: list[int] = []
        self._is_last = False
        self._longest = 0
        self._admit(prompts)
        self._rows = min(rows, len(self._waiting))
        self._owner: list[int | None] = [None] * self._rows
        self._starts = torch.zeros(self._rows, dtype=torch.long)
        self._next = torch.zeros(self._rows, dtype=torch.long, device=model.device)
        self._tokens: dict[int, list[int]] = {}
        self._window = _Window()
        self._layers: list[_RowLayer] = []
        self._cache: Cache | None = None

    def run(self) -> Generator[Answer, None, None]:
        """Answer every prompt once, each as soon as it is finished."""
        while not self._is_last or self._waiting or any(owner is not None for owner in self._owner):
            yield from self._fill()
            if any(owner is not None for owner in self._owner):
                yield from self._step()

    def _admit(self, new: Mapping[int, list[int]]) -> None:
        """Let prompts wait; where one is longer than all before it, there is room for it afterwards."""
        self._is_last = not new
        self._prompts.update(new)
        numbers = list(new)
        self._waiting = [numbers[i] for i in by_likeness(list(new.values()))][::-1]
        longest = max([self._longest, *map(len, new.values())])
        if self._longest and longest > self._longest and self._layers:
            for layer in self._layers:
                layer.widen(longest - self._longest)
            self._starts += longest - self._longest
            self._window.end += longest - self._longest
        self._longest = longest

    @property
    def _columns(self) -> int:
        return self._longest + self._max_tokens + SPARE

    def _free(self) -> list[int]:
        return [row for row, owner in enumerate(self._owner) if owner is None]

    def _fill(self) -> Iterator[Answer]:
        """Give free rows to waiting prompts, as many at a time as fill one packed row."""
        while free := self._free():
            if not self._waiting and not self._is_last and 4 * len(free) >= self._rows:
                self._admit(self._more(len(free)))
            if not self._waiting:
                break
            group = _next_group(self._waiting, self._prompts)
            if len(group) > len(free):
                if len(free) < self._rows:
                    return  # a few more steps, and the whole group has room
                group = group[: len(free)]
            del self._waiting[-len(group) :]
            yield from self._begin(group, free)
        if self._is_last and 4 * len(self._free()) >= self._rows:
            self._drop_free_rows()

    def _begin(self, group: list[int], free: list[int]) -> Iterator[Answer]:
        """Read prompts, put them into free rows and choose their first tokens."""
        packed = pack([self._prompts[prompt] for prompt in group])
        logits, read = _read(self._model, packed)
        if self._cache is None:
            self._window.end = self._longest
            self._layers = [_RowLayer(self._window, layer, self._rows, self._columns) for layer in read.layers]
            self._cache = Cache(layers=list(self._layers))
        for prompt in group:
            self._tokens[prompt] = []
        chosen = self._choose(logits, group, [0] * len(group))
        for prompt, path, row, token in zip(group, packed.paths, free, chosen.tolist(), strict=False):
            answer = self._take(prompt, token)
            if answer:
                yield answer
                continue
            where = torch.tensor(path, device=self._model.device)
            for layer, source in zip(self._layers, read.layers, strict=True):
                layer.put(row, source, where)
            self._owner[row] = prompt
            self._starts[row] = self._window.end - len(path)
            self._next[row] = token

    def _step(self) -> Iterator[Answer]:
        """One more token for every row."""
        self._make_room()
        window, device = self._window, self._model.device
        busy = torch.tensor([owner is not None for owner in self._owner])
        window.start = int(self._starts[busy].min())
        columns = torch.arange(window.start, window.end + 1)
        mask = additive(columns[None, :] >= self._starts[:, None], self._model.dtype)
        output = self._model(
            input_ids=self._next[:, None],
            position_ids=((window.end - self._starts) * busy)[:, None].to(device),
            attention_mask=mask[:, None, None, :].to(device),
            use_cache=True,
            logits_to_keep=1,
            **{self._cache_name: self._cache},
        )
        window.end += 1
        rows = [row for row, owner in enumerate(self._owner) if owner is not None]
        owners = [owner for owner in self._owner if owner is not None]
        index = torch.tensor(rows, device=device)
        chosen = self._choose(
            output.logits[:, -1].index_select(0, index).float(), owners, [len(self._tokens[o]) for o in owners]
        )
        self._next[index] = chosen
        for row, prompt, token in zip(rows, owners, chosen.tolist(), strict=True):
            answer = self._take(prompt, token)
            if answer:
                self._owner[row] = None
                self._starts[row] = 0  # sees everything: attention over nothing would leave no number
                yield answer

    def _take(self, prompt: int, token: int) -> Answer | None:
        tokens = self._tokens[prompt]
        tokens.append(token)
        ended = token in self._ends
        if not ended and len(tokens) < self._max_tokens:
            return None
        del self._prompts[prompt]
        return Answer(prompt, self._tokens.pop(prompt), ended)

    def _make_room(self) -> None:
        """Move what is in use to the front once the last column is reached."""
        if self._window.end < self._columns:
            return
        busy = torch.tensor([owner is not None for owner in self._owner])
        # The next prompt must fit before the end.
        start = min(int(self._starts[busy].min()), self._window.end - self._longest)
        for layer in self._layers:
            layer.move(slice(start, self._window.end), slice(0, self._window.end - start))
        self._starts = (self._starts - start).clamp(min=0)
        self._window.end -= start

    def _drop_free_rows(self) -> None:
        """Stop computing rows that nobody will take any more."""
        rows = [row for row, owner in enumerate(self._owner) if owner is not None]
        if not rows or len(rows) == self._rows:
            return
        keep = torch.tensor(rows)
        for layer in self._layers:
            layer.batch_select_indices(keep.to(self._model.device))
        self._owner = [self._owner[row] for row in rows]
        self._starts = self._starts[keep]
        self._next = self._next[keep.to(self._model.device)]
        self._rows = len(rows)
