"""Runs a loaded model: prompts in, lines out, every row stopped where its line ends."""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import Callable, Sequence
from collections.abc import Generator as Yields
from dataclasses import replace
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList
from transformers.utils import logging as transformers_logging

from psyctl_core.errors import UsageError
from psyctl_core.records import ChatRequest, Completion
from psyctl_hf import HfConfig, chat, loading, paged
from psyctl_hf.choosing import Chooser
from psyctl_hf.decoding import Answer, Decoding, reach
from psyctl_hf.locate import Located

log = logging.getLogger("psyctl")

Way = Callable[[Sequence[ChatRequest], Sequence[list[int]], int], Yields[Answer, None, None]]
"""One of the ways to answer: requests, their prompts and how many at once -> answers as they are finished."""


class Generator:
    """A model with its tokenizer on a device."""

    def __init__(self, located: Located, config: HfConfig) -> None:
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        self._device = loading.pick_device(config.device)
        self._tokenizer, self._model = loading.load(located, self._device, config.dtype)
        self._config = config
        self._penalty = loading.pick_penalty(config.repetition_penalty, self._model)
        self._paged: paged.Paged | None = None
        self._can_page = True
        with torch.inference_mode():
            self._reach = reach(self._model)
        self._texts = self._tokenizer.batch_decode([[i] for i in range(len(self._tokenizer))])
        self._ends: dict[tuple[str, ...], torch.Tensor] = {}

    @property
    def description(self) -> str:
        """Device and number format, for the log."""
        return f"{self._model.dtype} on {self._device}".replace("torch.", "")

    def rows_that_fit(self, requests: Sequence[ChatRequest], prompts: Sequence[list[int]]) -> int:
        """How many of these prompts to compute together."""
        tokens = max(map(len, prompts)) + requests[0].max_tokens
        return loading.rows_that_fit(self._model, self._device, tokens)

    def encode(self, requests: Sequence[ChatRequest]) -> list[list[int]]:
        """The requests' prompts as token ids."""
        texts = [chat.render(self._tokenizer, request) for request in requests]
        plain = not self._tokenizer.chat_template  # a template writes the special tokens itself
        ids: list[list[int]] = self._tokenizer(texts, add_special_tokens=plain)["input_ids"]
        return ids

    def generate(
        self, requests: Sequence[ChatRequest], prompts: Sequence[list[int]], rows: int
    ) -> Yields[Completion, None, None]:
        """Answer requests that share stops, token limit and temperature, each as soon as it is finished.

        Args:
            requests: What is asked.
            prompts: Their token ids, as :meth:`encode` gave them.
            rows: How many are computed together.
        """
        answers = self._continuous if self._pages(requests[0]) else self._in_reach
        with contextlib.closing(answers(requests, prompts, rows)) as found:
            while True:
                # Entered anew for every answer: the mode must not reach whoever takes the answers.
                with torch.inference_mode():
                    answer = next(found, None)
                if answer is None:
                    return
                yield self._completion(requests[answer.prompt], prompts[answer.prompt], answer)

    def _completion(self, request: ChatRequest, prompt: list[int], answer: Answer) -> Completion:
        return Completion(
            id=request.id,
            text=self._tokenizer.decode(answer.tokens, skip_special_tokens=True),
            finish_reason="stop" if answer.ended else "length",
            prompt_tokens=len(prompt),
            completion_tokens=len(answer.tokens),
        )

    def _pages(self, request: ChatRequest) -> bool:
        """Whether continuous batching answers. Raises UsageError where it was asked for and cannot."""
        why = paged.why_not(self._model, self._config, self._penalty, request)
        if why and self._config.batching == "continuous":
            raise UsageError(
                f"Continuous batching cannot answer these requests: {why}.",
                "Give --hf-repetition-penalty 1 and --temperature 0 on one device, or --hf-batching auto.",
            )
        if why:
            log.debug("Not answering with continuous batching: %s.", why)
        return self._can_page and not why

    def _continuous(
        self, requests: Sequence[ChatRequest], prompts: Sequence[list[int]], rows: int
    ) -> Yields[Answer, None, None]:
        """By Transformers' continuous batching; where it fails, the rest of the block in the other ways."""
        first = requests[0]
        ends = self._end_tokens(first.stop).nonzero().flatten().tolist()
        left = dict.fromkeys(range(len(prompts)))
        try:
            if self._paged is None:
                tokens = max(map(len, prompts)) + first.max_tokens
                self._paged = paged.Paged(self._model, rows=rows, tokens=tokens, end=ends[0])
            with contextlib.closing(self._paged.answer(prompts, ends, first.max_tokens)) as answers:
                for answer in answers:
                    del left[answer.prompt]
                    yield answer
        except paged.PagingError as error:
            log.warning("Continuous batching failed (%s): going on without it.", error)
            self._can_page = False
            self.close()
            yield from _some(self._in_reach, list(left), requests, prompts, rows)

    def _in_reach(
        self, requests: Sequence[ChatRequest], prompts: Sequence[list[int]], rows: int
    ) -> Yields[Answer, None, None]:
        """By our own loop as far as it reaches, and by Transformers' ``generate`` beyond."""
        fit = [len(prompt) + requests[0].max_tokens <= self._reach for prompt in prompts]
        for way, fits in ((self._decoded, True), (self._generated, False)):
            yield from _some(way, [i for i, fitting in enumerate(fit) if fitting is fits], requests, prompts, rows)

    def _decoded(
        self, requests: Sequence[ChatRequest], prompts: Sequence[list[int]], rows: int
    ) -> Yields[Answer, None, None]:
        """By our own loop: nothing is padded, nothing shared is computed twice, finished rows cost nothing."""
        first = requests[0]
        choose = Chooser(requests, prompts, self._penalty, self._device)
        ends = self._end_tokens(first.stop)
        yield from Decoding(self._model, prompts, ends, choose, max_tokens=first.max_tokens, rows=rows).run()

    def _generated(
        self, requests: Sequence[ChatRequest], prompts: Sequence[list[int]], rows: int
    ) -> Yields[Answer, None, None]:
        """By Transformers' ``generate`` in left-padded batches, the longest prompts first."""
        order = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), i))
        for at in range(0, len(order), rows):
            batch = order[at : at + rows]
            yield from self._batch([requests[i] for i in batch], [prompts[i] for i in batch], batch)

    def _batch(
        self, requests: Sequence[ChatRequest], prompts: Sequence[list[int]], numbers: Sequence[int]
    ) -> Yields[Answer, None, None]:
        first = requests[0]
        inputs = self._tokenizer.pad({"input_ids": list(prompts)}, return_tensors="pt").to(self._device)
        ends = self._end_tokens(first.stop)
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            torch.manual_seed(first.seed)
            output = self._model.generate(
                **inputs,
                generation_config=self._generation_config(first),
                stopping_criteria=StoppingCriteriaList([_LineEnds(ends)]),
            )
        new = output[:, inputs["input_ids"].shape[1] :]
        finished = ends[new]
        lengths = torch.where(finished.any(1), finished.int().argmax(1) + 1, new.shape[1]).tolist()
        for number, row, length, done in zip(numbers, new.tolist(), lengths, finished.any(1).tolist(), strict=True):
            yield Answer(number, row[:length], done)

    def is_out_of_memory(self, error: Exception) -> bool:
        """Whether an error says that memory ran out; the CPU's allocator tells only in words."""
        words = ("out of memory", "can't allocate memory", "not enough memory")
        return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(w in str(error) for w in words)

    def close(self) -> None:
        """Stop what runs beside this thread and free its memory."""
        if self._paged is not None:
            self._paged.close()
            self._paged = None
        self.free_memory()

    def free_memory(self) -> None:
        """Give back what a failed batch held."""
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _generation_config(self, request: ChatRequest) -> GenerationConfig:
        sampling: dict[str, Any] = {"do_sample": False}
        if request.temperature > 0:
            sampling = {"do_sample": True, "temperature": request.temperature, "top_k": 0, "top_p": 1.0}
        return GenerationConfig(
            max_new_tokens=request.max_tokens,
            repetition_penalty=self._penalty,
            pad_token_id=self._tokenizer.pad_token_id,
            eos_token_id=self._eos(),
            **sampling,
        )

    def _eos(self) -> list[int]:
        own = self._model.generation_config.eos_token_id
        ids = own if isinstance(own, list) else [own]
        return sorted({i for i in [*ids, self._tokenizer.eos_token_id] if i is not None})

    def _end_tokens(self, stop: tuple[str, ...]) -> torch.Tensor:
        """For each token whether an answer ends with it: its text holds a stop, or it ends the turn."""
        if stop not in self._ends:
            size = max(self._model.config.get_text_config().vocab_size, len(self._texts))
            mask = torch.zeros(size, dtype=torch.bool)
            mask[[i for i, text in enumerate(self._texts) if any(s in text for s in stop)]] = True
            mask[self._eos()] = True
            self._ends[stop] = mask.to(self._device)
        return self._ends[stop]


def _some(
    way: Way, numbers: Sequence[int], requests: Sequence[ChatRequest], prompts: Sequence[list[int]], rows: int
) -> Yields[Answer, None, None]:
    """Answer the prompts of these numbers in one of the ways."""
    if numbers:
        for answer in way([requests[i] for i in numbers], [prompts[i] for i in numbers], rows):
            yield replace(answer, prompt=numbers[answer.prompt])


class _LineEnds(StoppingCriteria):
    """Ends each row with the first token that ends its line."""

    def __init__(self, ends: torch.Tensor) -> None:
        self._ends = ends

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> Any:
        del scores, kwargs
        return self._ends[input_ids[:, -1]]
