"""Runs a loaded model: prompts in, lines out, every row stopped where its line ends."""

from __future__ import annotations

import contextlib
import gc
import logging
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Generator as Yields
from dataclasses import replace
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList
from transformers.utils import logging as transformers_logging

from psyctl_core import chat
from psyctl_core.errors import BackendError, UsageError
from psyctl_core.local_models import EXAMPLE, LentModel, longest, one_line
from psyctl_core.markup import ends_thoughts
from psyctl_core.records import ChatRequest, Completion, JsonValue
from psyctl_hf import HfConfig, loading, paged
from psyctl_hf.choosing import Chooser
from psyctl_hf.decoding import Answer, Decoding, alike, likely_next, logprobs, reach
from psyctl_hf.locate import Located
from psyctl_hf.packing import common
from psyctl_hf.speed import TOKENS_A_REQUEST, requests_a_second

log = logging.getLogger("psyctl")

Asked = tuple[ChatRequest, list[int]]
"""A request and its prompt's token ids."""

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
        self._is_lent = False
        self._told = ""
        self._control = chat.end_tokens(self._tokenizer)
        self._eos = self._own_ends()
        # Whatever else the model's settings hold (a penalty, beams, forced tokens) is not for our answers.
        self._model.generation_config = GenerationConfig(eos_token_id=self._eos or None)
        self._prompts = chat.writer(self._tokenizer, located.name)
        self._longest = longest(self._model)
        with torch.inference_mode():
            self._check(located.name)
            self._reach = reach(self._model)
        self._pads: bool | None = None
        self._texts = self._tokenizer.batch_decode([[i] for i in range(len(self._tokenizer))])
        self._ends: dict[tuple[str, ...], torch.Tensor] = {}

    @property
    def description(self) -> str:
        """Device and number format, for the log."""
        return f"{self._model.dtype} on {self._device}".replace("torch.", "")

    def lend(self, located: Located) -> LentModel:
        """The model and tokenizer for whoever computes with them directly."""
        self._is_lent = True
        name, fingerprint = located.name, located.fingerprint
        return LentModel(name, fingerprint, self._model, self._tokenizer, self.encode, self._longest)

    def speed(self) -> float:
        """About how many requests a second it will answer."""
        rows = self._config.batch_size or loading.rows_that_fit(self._model, self._device, TOKENS_A_REQUEST)
        return requests_a_second(self._model, self._device, rows)

    def flows(self) -> bool:
        """Whether requests may enter whenever a row is free.

        They may where an answer does not depend on what is computed beside it: on a CPU in float32, whose rounding
        hardly ever changes a word, and by our own loop, whose rows come and go.
        """
        is_exact = self._device.type == "cpu" and self._model.dtype == torch.float32
        return is_exact and self._reach == sys.maxsize and self._config.batching != "continuous"

    def rows_that_fit(self, asked: Sequence[Asked]) -> int:
        """How many of these prompts to compute together."""
        tokens = max(len(ids) for _, ids in asked) + asked[0][0].max_tokens
        return loading.rows_that_fit(self._model, self._device, tokens)

    def encode(self, requests: Sequence[ChatRequest]) -> list[list[int]]:
        """The requests' prompts as token ids."""
        return chat.encode(self._tokenizer, self._prompts, requests)

    def refusal(self, request: ChatRequest, ids: Sequence[int]) -> str:
        """Why the model cannot take this prompt, or nothing."""
        if not ids:
            return "empty input"
        if max(ids) >= self._vocabulary():
            return "input has a token that the model does not know"
        if self._longest and len(ids) + request.max_tokens > self._longest:
            return "input too long"
        return ""

    def _vocabulary(self) -> int:
        return int(self._model.get_input_embeddings().weight.shape[0])

    def _check(self, name: str) -> None:
        """Try what every prompt has in it. Raises BackendError where template, tokens or numbers do not fit."""
        (ids,) = self.encode([EXAMPLE])
        if max(ids) >= self._vocabulary():
            raise BackendError(
                f"The tokenizer of '{name}' does not belong to its weights: every prompt has the token "
                f"'{self._tokenizer.convert_ids_to_tokens(max(ids))}' (number {max(ids)}), and the model knows "
                f"{self._vocabulary()}.",
                "Take the tokenizer's files from where the weights come from.",
            )
        if self._model(input_ids=torch.tensor([ids], device=self._model.device)).logits.isnan().any():
            raise BackendError(
                f"Model '{name}' computes nothing that is a number in {str(self._model.dtype).split('.')[-1]}.",
                "Give --hf-dtype bfloat16 or float32; if that does not help, its weights are damaged.",
            )

    def generate(self, asked: Sequence[Asked], rows: int) -> Yields[Completion, None, None]:
        """Answer requests that share stops, token limit and temperature, each as soon as it is finished.

        Args:
            asked: The requests, with their token ids as :meth:`encode` gave them.
            rows: How many are computed together.
        """
        requests, prompts = _apart(asked)
        answers = self._continuous if self._pages(requests[0]) else self._in_reach
        for answer in _inferred(answers(requests, prompts, rows)):
            yield self._completion(requests[answer.prompt], prompts[answer.prompt], answer)

    def flow(
        self, first: Sequence[Asked], take: Callable[[int], Sequence[Asked]], rows: int
    ) -> Yields[Completion, None, None]:
        """Answer requests that share their settings and come as rows fall free.

        Args:
            first: The requests to begin with, one at least.
            take: Gives at most so many more; none once there are no more.
            rows: How many are computed together.
        """
        settings = first[0][0]
        asked = dict(enumerate(first))
        requests, prompts = _apart(first)
        chooser = Chooser(requests, prompts, self._penalty, self._config.min_p, self._device)

        def more(free: int) -> dict[int, list[int]]:
            with torch.inference_mode(False):  # whoever makes the requests must not meet the mode
                new = take(free)
            requests, prompts = _apart(new)
            numbers = chooser.add(requests, prompts)
            asked.update(zip(numbers, new, strict=True))
            return dict(zip(numbers, prompts, strict=True))

        numbered, ends = dict(enumerate(prompts)), self._end_tokens(settings.stop)
        decoding = Decoding(self._model, numbered, ends, chooser, max_tokens=settings.max_tokens, rows=rows, more=more)
        for answer in _inferred(decoding.run()):
            chooser.forget(answer.prompt)
            yield self._completion(*asked.pop(answer.prompt), answer)

    def can_weigh(self, request: ChatRequest) -> bool:
        """Whether each of a request's choices is one token behind its prompt, and the model is decoded here."""
        return bool(self._reach) and self._choice_tokens(request) is not None

    def weigh(self, asked: Sequence[Asked]) -> Yields[Completion, None, None]:
        """How likely each choice is, the choices alone compared, from one pass over the prompts; nothing is generated.

        Args:
            asked: Requests of the same choices and beginning of the answer, which it :meth:`can_weigh`.
        """
        first = asked[0][0]
        begun, tokens = self._choice_tokens(first) or ("", [])
        prompts = self.encode([replace(request, prefill=begun) for request, _ in asked])
        with torch.inference_mode():
            found = [
                (number, row)
                for numbers, logits in likely_next(self._model, prompts)
                for number, row in zip(numbers, logits[:, tokens].softmax(-1).tolist(), strict=True)
            ]
        for number, row in found:
            likely: dict[str, JsonValue] = dict(zip(first.choices, row, strict=True))
            best = first.choices[max(range(len(row)), key=row.__getitem__)]
            read = len(prompts[number])
            yield Completion(asked[number][0].id, best, "stop", read, 0, metadata={"choices": likely})

    def score(self, asked: Sequence[Asked]) -> Yields[Completion, None, None]:
        """How likely each request's continuation is after its prompt, from one pass; nothing is generated."""
        if not self._reach:
            for request, ids in asked:
                why = "this model cannot tell how likely a text is"
                yield Completion(request.id, "", "error", prompt_tokens=len(ids), error=why)
            return
        whole = self.encode([replace(r, prefill=r.prefill + r.continuation) for r, _ in asked])
        # Where a tokenizer writes the end of the prompt and the text's beginning as one token, that one counts.
        starts = [common(ids, longer) for (_, ids), longer in zip(asked, whole, strict=True)]
        with torch.inference_mode():
            found = dict(logprobs(self._model, whole, starts))
        for number, (request, ids) in enumerate(asked):
            told: dict[str, JsonValue] = {"logprob": found[number]}
            yield Completion(request.id, "", "stop", len(ids), len(whole[number]) - starts[number], metadata=told)

    def _choice_tokens(self, request: ChatRequest) -> tuple[str, list[int]] | None:
        """How the answer is begun, and the token of each choice behind that; ``None`` where one is none or several.

        Some tokenizers write a blank and what follows as one token, others as two.
        """
        for begun, blank in ((request.prefill, ""), (request.prefill.rstrip(), " ")):
            (prompt,) = self.encode([replace(request, prefill=begun)])
            longer = self.encode([replace(request, prefill=f"{begun}{blank}{choice}") for choice in request.choices])
            if all(ids[:-1] == prompt for ids in longer):
                return begun, [ids[-1] for ids in longer]
        return None

    def _completion(self, request: ChatRequest, prompt: list[int], answer: Answer) -> Completion:
        return Completion(
            id=request.id,
            text=self._text(answer.tokens),
            finish_reason="stop" if answer.ended else "length",
            prompt_tokens=len(prompt),
            completion_tokens=len(answer.tokens),
        )

    def _text(self, tokens: list[int]) -> str:
        """What was said, without the control token that ended it; nothing where that shows it was only thought."""
        mark = self._control.get(tokens[-1], "")
        if ends_thoughts(mark):
            return ""
        text: str = self._tokenizer.decode(tokens[:-1] if mark else tokens, skip_special_tokens=True)
        return text

    def _pages(self, request: ChatRequest) -> bool:
        """Whether continuous batching answers. Raises UsageError where it was asked for and cannot."""
        why = paged.why_not(self._model, self._config, self._penalty, request)
        if why and self._config.batching == "continuous":
            raise UsageError(
                f"Continuous batching cannot answer these requests: {why}.",
                "Give --hf-repetition-penalty 1 and --temperature 0 on one device, or --hf-batching auto.",
            )
        if why and why != self._told:
            self._told = why
            is_ready = self._device.type == "cuda" and paged.flash_attention()
            log.log(logging.INFO if is_ready else logging.DEBUG, "Not answering with continuous batching: %s.", why)
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
            self._end_paging()
            self.free_memory()
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
        choose = Chooser(requests, prompts, self._penalty, self._config.min_p, self._device)
        ends = self._end_tokens(first.stop)
        numbered = dict(enumerate(prompts))
        yield from Decoding(self._model, numbered, ends, choose, max_tokens=first.max_tokens, rows=rows).run()

    def _generated(
        self, requests: Sequence[ChatRequest], prompts: Sequence[list[int]], rows: int
    ) -> Yields[Answer, None, None]:
        """By Transformers' ``generate`` in left-padded batches, the longest prompts first."""
        order = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), i))
        rows = rows if rows == 1 or self._can_pad() else 1
        for at in range(0, len(order), rows):
            batch = order[at : at + rows]
            yield from self._batch([requests[i] for i in batch], [prompts[i] for i in batch], batch)

    def _batch(
        self, requests: Sequence[ChatRequest], prompts: Sequence[list[int]], numbers: Sequence[int]
    ) -> Yields[Answer, None, None]:
        first = requests[0]
        ends = self._end_tokens(first.stop)
        choose = Chooser(requests, prompts, self._penalty, self._config.min_p, self._device)
        output = self._run(prompts, first.max_tokens, [_Choice(choose)], [_LineEnds(ends)])
        new = output[:, max(map(len, prompts)) :]
        finished = ends[new]
        lengths = torch.where(finished.any(1), finished.int().argmax(1) + 1, new.shape[1]).tolist()
        for number, row, length, done in zip(numbers, new.tolist(), lengths, finished.any(1).tolist(), strict=True):
            yield Answer(number, row[:length], done)

    def _run(
        self, prompts: Sequence[list[int]], tokens: int, processors: list[Any], criteria: Sequence[StoppingCriteria]
    ) -> torch.Tensor:
        """``generate`` without any choice of its own; prompts and new tokens, shape ``[prompts, tokens]``."""
        pad = self._tokenizer.pad_token_id or 0
        pad = pad if pad < self._vocabulary() else 0  # some are added to a tokenizer and not to its model
        width = max(map(len, prompts))
        ids = torch.tensor([[pad] * (width - len(p)) + list(p) for p in prompts], device=self._device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=self._device)
        settings = GenerationConfig(
            max_new_tokens=tokens, do_sample=False, pad_token_id=pad, eos_token_id=self._eos or None
        )
        output: torch.Tensor = self._model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=settings,
            logits_processor=LogitsProcessorList(processors),
            stopping_criteria=StoppingCriteriaList(criteria),
        )
        return output

    def _can_pad(self) -> bool:
        """Whether padded rows get the answers they get alone; tried once, and said where they do not."""
        if self._pads is None:
            why = self._trial()
            self._pads = not why
            if why:
                log.warning("Computing one prompt at a time, which is slower: %s.", why)
        return self._pads

    def _trial(self) -> str:
        """What went wrong when two rows of different lengths were generated together, or nothing."""
        prompts, forced = [[5, 6, 7], [5, 9, 7, 10, 11, 12, 8]], [9, 13]
        try:
            together = _Forced(forced)
            self._run(prompts, len(forced), [together], [])
            for row, prompt in enumerate(prompts):
                alone = _Forced(forced)
                self._run([prompt], len(forced), [alone], [])
                if not all(alike(t[row], a[0]) for t, a in zip(together.seen, alone.seen, strict=True)):
                    return "rows that are padded get other logits than alone"
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
            return f"the trial of padded rows failed ({one_line(error)})"
        return ""

    def close(self) -> None:
        """Stop what runs beside this thread and let go of the model; nothing is answered afterwards."""
        self._end_paging()
        model, self._model = weakref.ref(self._model), None
        # What it was lent to holds it still, so looking for circles would free nothing.
        self.free_memory(collect=model() is not None and not self._is_lent)

    def _end_paging(self) -> None:
        if self._paged is not None:
            self._paged.close()
            self._paged = None

    def free_memory(self, *, collect: bool = True) -> None:
        """Give back what a failed batch or a model held; ``collect`` what refers to itself, which takes a moment."""
        if collect:
            gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _own_ends(self) -> list[int]:
        own = self._model.generation_config.eos_token_id
        ids = own if isinstance(own, list) else [own]
        return sorted({i for i in [*ids, self._tokenizer.eos_token_id] if i is not None})

    def _end_tokens(self, stop: tuple[str, ...]) -> torch.Tensor:
        """For each token whether an answer ends with it: its text holds a stop, or it is a control token."""
        if stop not in self._ends:
            size = max(self._model.config.get_text_config().vocab_size, len(self._texts))
            mask = torch.zeros(size, dtype=torch.bool)
            mask[[i for i, text in enumerate(self._texts) if any(s in text for s in stop)]] = True
            mask[[i for i in [*self._eos, *self._control] if i < size]] = True
            self._ends[stop] = mask.to(self._device)
        return self._ends[stop]


def _some(
    way: Way, numbers: Sequence[int], requests: Sequence[ChatRequest], prompts: Sequence[list[int]], rows: int
) -> Yields[Answer, None, None]:
    """Answer the prompts of these numbers in one of the ways."""
    if numbers:
        for answer in way([requests[i] for i in numbers], [prompts[i] for i in numbers], rows):
            yield replace(answer, prompt=numbers[answer.prompt])


def _apart(asked: Sequence[Asked]) -> tuple[list[ChatRequest], list[list[int]]]:
    return [request for request, _ in asked], [ids for _, ids in asked]


def _inferred(answers: Yields[Answer, None, None]) -> Iterator[Answer]:
    """Answers computed in inference mode, entered anew for each: it must not reach whoever takes them."""
    with contextlib.closing(answers):
        while True:
            with torch.inference_mode():
                answer = next(answers, None)
            if answer is None:
                return
            yield answer


class _Choice(LogitsProcessor):
    """Leaves each row the one token that was chosen for it, so that no row's choice depends on the rows beside it."""

    def __init__(self, choose: Chooser) -> None:
        self._choose = choose
        self._step = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        del input_ids
        rows = len(scores)
        chosen = self._choose(scores.float().clone(), list(range(rows)), [self._step] * rows)
        self._step += 1
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen[:, None], 0)


class _Forced(LogitsProcessor):
    """Makes rows go on with given tokens, and notes the logits they would have gone on with."""

    def __init__(self, tokens: list[int]) -> None:
        self._tokens = tokens
        self.seen: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        del input_ids
        token = self._tokens[len(self.seen)]
        self.seen.append(scores.float().clone())
        forced = torch.full_like(scores, -torch.inf)
        forced[:, token] = 0
        return forced


class _LineEnds(StoppingCriteria):
    """Ends each row with the first token that ends its line."""

    def __init__(self, ends: torch.Tensor) -> None:
        self._ends = ends

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> Any:
        del scores, kwargs
        return self._ends[input_ids[:, -1]]
