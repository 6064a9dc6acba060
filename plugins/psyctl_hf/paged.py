"""Answers with Transformers' continuous batching: keys and values in pages, for GPUs with flash attention."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Generator, Sequence
from typing import Any

from transformers import GenerationConfig
from transformers.utils.import_utils import is_flash_attn_2_available, is_flash_attn_3_available

from psyctl_core.records import ChatRequest
from psyctl_hf import HfConfig
from psyctl_hf.decoding import Answer
from psyctl_hf.packing import by_likeness

LOGGER = "ContinuousBatchingLogger"
"""Transformers' logger for it, which does not heed Transformers' own verbosity."""


class PagingError(Exception):
    """Continuous batching failed, and whatever it had not answered must be answered in another way."""


def why_not(model: Any, config: HfConfig, penalty: float, request: ChatRequest) -> str:
    """Why requests like this one are not answered here, or nothing where they are.

    Continuous batching drops a repetition penalty in silence and draws for all requests from one generator
    (``ContinuousBatchingLogitsProcessorList``), so it is for greedy decoding without a penalty. Its attention
    over pages needs flash attention: with the others each token is compared with the pages of all rows.
    """
    if config.batching == "own":
        return "--hf-batching own was given"
    if penalty != 1:
        return "it has no repetition penalty"
    if request.temperature > 0:
        return "it does not keep the requests' seeds apart"
    if len(set(getattr(model, "hf_device_map", {}).values())) > 1:
        return "the model is spread over several devices"
    if config.batching == "continuous":
        return ""
    if model.device.type != "cuda":
        return "it is made for GPUs"
    if not flash_attention():
        return "flash attention is not installed"
    return ""


def flash_attention() -> str:
    """The name of the installed flash attention, or nothing; one that would come from the Hub does not count."""
    if is_flash_attn_3_available():
        return "flash_attention_3"
    return "flash_attention_2" if is_flash_attn_2_available() else ""


class Paged:
    """A model under continuous batching, kept running from block to block.

    Args:
        model: Where :func:`why_not` has nothing to say.
        rows: Requests computed together, at most.
        tokens: The longest prompt and answer together, by which the pages are counted.
        end: A token that ends answers; each request brings all of its own.

    Raises:
        PagingError: This Transformers or this model has none.
    """

    def __init__(self, model: Any, *, rows: int, tokens: int, end: int) -> None:
        self._model = model
        self._attention = model.config._attn_implementation
        self._numbers = itertools.count()
        self._manager: Any = None
        logging.getLogger(LOGGER).setLevel(logging.CRITICAL)  # a PagingError tells what it would log
        try:
            self._start(rows, tokens, end)
        except Exception as error:  # whatever it is, there is another way to answer
            self.close()
            raise PagingError(_first_line(error)) from error

    def _start(self, rows: int, tokens: int, end: int) -> None:
        from transformers import ContinuousBatchingConfig  # not in every version that psyctl takes

        if self._model.device.type == "cuda" and flash_attention():
            self._model.set_attn_implementation(flash_attention())
        config = ContinuousBatchingConfig(auto_switch_to_flash=False, max_requests_per_batch=rows)
        # A page more than needed each: the last one of a row is hardly ever full.
        config.num_blocks = rows * (math.ceil(tokens / config.page_size) + 1)
        manager = self._model.init_continuous_batching(
            generation_config=GenerationConfig(do_sample=False, eos_token_id=end, pad_token_id=end),
            continuous_batching_config=config,
        )
        manager.start()
        self._manager = manager

    def answer(self, prompts: Sequence[list[int]], ends: list[int], max_tokens: int) -> Generator[Answer, None, None]:
        """Answer every prompt once, each as soon as it is finished.

        Raises:
            PagingError: A request failed, or the engine stopped.
        """
        waiting: dict[str, int] = {}
        last = frozenset(ends)
        try:
            with self._manager.pause():  # so that what is computed together does not depend on the moment
                for prompt in by_likeness(prompts):
                    name = f"{next(self._numbers)}"
                    waiting[name] = prompt
                    self._manager.add_request(prompts[prompt], name, max_new_tokens=max_tokens, eos_token_id=ends)
            while waiting:
                result = self._manager.get_result(timeout=1)
                if result is None:
                    if not self._manager.is_running():
                        raise PagingError("the engine stopped")
                    continue
                if not result.is_finished() or result.request_id not in waiting:
                    continue
                if result.error is not None:
                    raise PagingError(_first_line(result.error))
                tokens = list(result.generated_tokens)
                yield Answer(waiting.pop(result.request_id), tokens, bool(tokens) and tokens[-1] in last)
        except (AttributeError, TypeError, RuntimeError) as error:
            raise PagingError(_first_line(error)) from error
        finally:
            for name in waiting:  # whoever stops listening
                self._manager.cancel_request(name)

    def close(self) -> None:
        """Stop the engine, free its pages, and leave the model as it was."""
        if self._manager is not None:
            self._manager.stop(block=True)
            self._manager.destroy()
            self._manager = None
        if self._model.config._attn_implementation != self._attention:
            self._model.set_attn_implementation(self._attention)


def _first_line(error: object) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0]
