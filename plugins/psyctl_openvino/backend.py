"""Answers requests with OpenVINO GenAI: a new one enters the running batch whenever one is finished."""

from __future__ import annotations

import faulthandler
import gc
import importlib.util
import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from psyctl_core.budget import Budget
from psyctl_core.components import Context, Identity, InferenceBackend
from psyctl_core.errors import BackendError
from psyctl_core.local_models import EXAMPLE, check_files, named
from psyctl_core.markup import ends_thoughts
from psyctl_core.records import ChatRequest, Completion
from psyctl_openvino import OpenVinoConfig
from psyctl_openvino.locate import Located, locate, missing_weights

if TYPE_CHECKING:
    from psyctl_openvino.chat import Prompts

if importlib.util.find_spec("openvino_genai") is None:  # told now, imported only when there is something to answer
    raise ModuleNotFoundError("No module named 'openvino_genai'", name="openvino_genai")

log = logging.getLogger("psyctl")

QUEUED = 16
"""Requests waiting inside the engine beyond those it computes, so that a place never stays empty for a step."""

STUCK = 600.0
"""Seconds after which a step, which takes some seconds at most, will never end."""


class OpenVinoBackend(InferenceBackend):
    """One pipeline in one process; loads the model when the first answer is wanted.

    Requests flow (``block`` is 0): the engine decides by itself what it computes together, and reuses what it
    still holds of earlier prompts. Rounding then differs from run to run, and now and then a word with it.
    """

    is_free = True

    def __init__(self, config: OpenVinoConfig, context: Context) -> None:
        del context
        self._config = config
        self._located = locate(config.model)
        self._pipeline: Any = None
        self._prompts: Prompts | None = None
        self._number = 0
        self._longest = 0

    def identity(self) -> Identity:
        """The model's name and a digest of its files."""
        return {"model": self._located.name, "fingerprint": self._located.fingerprint}

    def start(self, budget: Budget) -> None:
        """Load the model."""
        del budget
        self._load()

    def generate(self, requests: Iterable[ChatRequest]) -> Iterator[Completion]:
        """Answer requests as they come, pulling one whenever another is finished."""
        self._load()
        waiting = iter(requests)
        running: dict[str, tuple[Any, int]] = {}
        try:
            while True:
                pulled = list(islice(waiting, self._config.batch_size + QUEUED - len(running)))
                for request in pulled:
                    begun = self._begin(request)
                    if isinstance(begun, Completion):
                        yield begun
                    else:
                        running[request.id] = begun
                if not running and not pulled:
                    return
                if not running:
                    continue
                self._step()
                for name in [name for name, (handle, _) in running.items() if _is_over(handle)]:
                    handle, prompt_tokens = running.pop(name)
                    yield self._completion(name, handle, prompt_tokens)
        finally:
            for handle, _ in running.values():
                handle.cancel()

    def close(self) -> None:
        """Free the model."""
        if self._pipeline is not None:
            self._pipeline = self._prompts = None
            gc.collect()

    def _load(self) -> None:
        if self._pipeline is None:
            from psyctl_openvino.chat import Prompts

            log.info("Loading %s", self._located.name)
            self._pipeline = _pipeline(self._located, self._config)
            self._prompts = Prompts(self._pipeline.get_tokenizer(), self._located.name)
            self._prompts.render(EXAMPLE)  # so that a template that fails is told before anything is asked
            self._longest = self._located.longest()
            log.info("Loaded %s: OpenVINO on %s", self._located.name, self._config.device)

    def _begin(self, request: ChatRequest) -> tuple[Any, int] | Completion:
        """Hand a request to the engine: its handle and its prompt's length, or why the model cannot take it."""
        assert self._prompts is not None
        ids = self._prompts.encode(request)
        size = int(ids.shape[1])
        if not size or (self._longest and size + request.max_tokens > self._longest):
            why = "input too long" if size else "empty input"
            return Completion(request.id, "", "error", prompt_tokens=size, error=why)
        self._number += 1
        return self._pipeline.add_request(self._number, ids, self._generation_config(request)), size

    def _step(self) -> None:
        try:
            with _ended_if_stuck():
                self._pipeline.step()
        except RuntimeError as error:
            raise BackendError(
                f"OpenVINO stopped: {_first_line(error)}.",
                "Give a smaller --batch-size or a larger --openvino-cache-size, then run the same command again.",
            ) from error

    def _generation_config(self, request: ChatRequest) -> Any:
        import openvino_genai

        model = self._pipeline.get_config()
        config = openvino_genai.GenerationConfig()
        config.eos_token_id = model.eos_token_id
        if config.eos_token_id < 0:
            config.eos_token_id = self._pipeline.get_tokenizer().get_eos_token_id()
        assert self._prompts is not None
        config.stop_token_ids = model.stop_token_ids | {config.eos_token_id, *self._prompts.ends}
        config.stop_strings = set(request.stop)
        config.include_stop_str_in_output = True
        config.max_new_tokens = request.max_tokens
        config.repetition_penalty = self._config.repetition_penalty
        config.do_sample = request.temperature > 0
        if config.do_sample:
            config.temperature = request.temperature
            config.min_p = self._config.min_p
            config.rng_seed = request.seed
        return config

    def _completion(self, name: str, handle: Any, prompt_tokens: int) -> Completion:
        import openvino_genai

        outputs = handle.read_all()
        if not outputs:
            return Completion(name, "", "error", error="not enough cache for the prompt")
        ids = outputs[0].generated_ids
        stopped = outputs[0].finish_reason == openvino_genai.GenerationFinishReason.STOP
        return Completion(
            id=name,
            text=self._text(list(ids)),
            finish_reason="stop" if stopped else "length",
            prompt_tokens=prompt_tokens,
            completion_tokens=len(ids),
        )

    def _text(self, ids: list[int]) -> str:
        """What was said, without the control token that ended it; nothing where that shows it was only thought."""
        assert self._prompts is not None
        mark = self._prompts.ends.get(ids[-1], "") if ids else ""
        if ends_thoughts(mark):
            return ""
        text: str = self._pipeline.get_tokenizer().decode(ids[:-1] if mark else ids, skip_special_tokens=True)
        return text


def _pipeline(located: Located, config: OpenVinoConfig) -> Any:
    """The engine with the model loaded.

    Raises:
        BackendError: The model cannot fit, or OpenVINO cannot load it.
    """
    import openvino_genai

    path = located.path
    check_files(located.files)
    _check_room(located.name, located.size, config)
    if path.suffix.lower() == ".gguf" and not config.rounded:
        from psyctl_openvino.exact import exact

        path = exact(path)
        _check_room(located.name, path.stat().st_size, config)
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.cache_size = config.cache_size
    scheduler.max_num_seqs = config.batch_size
    scheduler.max_num_batched_tokens = config.batched_tokens
    scheduler.enable_prefix_caching = True
    try:
        return openvino_genai.ContinuousBatchingPipeline(str(path), scheduler, config.device)
    except Exception as error:  # the engine's exceptions come as several kinds
        missing = missing_weights(located.path) if located.path.is_file() else set()
        lacks = f"; the file lacks {len(missing)} of its weights: {named(missing)}" if missing else ""
        raise BackendError(
            f"Model '{located.name}' cannot be loaded by OpenVINO: {_first_line(error)}{lacks}",
            "Try --backend hf, or export the model with 'optimum-cli export openvino'.",
        ) from error


def _check_room(name: str, size: int, config: OpenVinoConfig) -> None:
    import psutil

    needed = size + (config.cache_size << 30)
    free = psutil.virtual_memory().available
    if config.device == "CPU" and needed > free:
        raise BackendError(
            f"Model '{name}' cannot fit: it takes {_gib(needed)} with a cache of {config.cache_size} GiB, "
            f"and {_gib(free)} are free.",
            "Use a smaller model, --openvino-cache-size 1, or free some memory.",
        )


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"


@contextmanager
def _ended_if_stuck() -> Iterator[None]:
    """End the process, and print what each thread was at, where the engine does not come back.

    It has been seen to wait for itself and to hold Python's own lock meanwhile: neither Ctrl-C nor a thread of ours can
    end that. faulthandler's timer needs no lock. What was answered is in the run's journal by then.
    """
    if sys.__stderr__ is None:  # a program without a console
        yield
        return
    faulthandler.dump_traceback_later(STUCK, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _is_over(handle: Any) -> bool:
    import openvino_genai

    return bool(handle.get_status() != openvino_genai.GenerationStatus.RUNNING)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else repr(error)
