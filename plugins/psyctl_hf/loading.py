"""Loads a model and its tokenizer onto the best device, in the number format that suits it."""

from __future__ import annotations

import contextlib
import io
import logging
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from psyctl_core.errors import BackendError, UsageError
from psyctl_hf import unpacked
from psyctl_hf.locate import Located

log = logging.getLogger("psyctl")

MOST_ROWS = {"cpu": 64, "mps": 32, "cuda": 256}
MEMORY_SHARE = 0.5
"""Share of the memory left beside the model that a batch may take; the rest is for activations."""


def pick_device(wanted: str) -> torch.device:
    """The device named, or for ``auto`` CUDA, then MPS, then the CPU.

    Raises:
        UsageError: There is no such device.
    """
    if wanted == "auto":
        has_mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"The device '{wanted}' cannot be used: {str(error).splitlines()[0]}",
            "Give --hf-device auto, cuda, mps or cpu.",
        ) from error
    return device


def pick_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """The number format named, or for ``auto`` bfloat16 where the hardware computes in it."""
    if wanted != "auto":
        dtype: torch.dtype = getattr(torch, wanted)
        return dtype
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "mps":
        return torch.float16
    return torch.bfloat16 if _cpu_has_bfloat16() else torch.float32


def load(located: Located, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
    """Load the tokenizer and the model, ready to generate.

    Returns:
        ``(tokenizer, model)``; the tokenizer pads on the left.

    Raises:
        BackendError: Transformers cannot load it, or it does not fit.
    """
    where: dict[str, Any] = {"revision": located.revision, "trust_remote_code": False}
    if located.gguf_file:
        where["gguf_file"] = located.gguf_file
    try:
        placement = {"device_map": "auto"} if device == torch.device("cuda") else {}
        kept = unpacked.folder(located, dtype) if located.gguf_file else None
        repository: str | Path = located.repository
        if kept and kept.is_dir():
            repository, kept = kept, None
            where = {"trust_remote_code": False}
        with _without_gguf_bar(located):
            config = AutoConfig.from_pretrained(repository, **where)
            check_room(located, config, device, dtype)
            tokenizer = AutoTokenizer.from_pretrained(repository, **where)
            model: Any = AutoModelForCausalLM.from_pretrained(
                repository, config=config, dtype=dtype, **placement, **where
            )
            if kept and unpacked.keep(kept, tokenizer, model):
                del model  # from here on as in every later run, memory layout included
                model = AutoModelForCausalLM.from_pretrained(kept, dtype=dtype, trust_remote_code=False, **placement)
        if not placement:
            model = model.to(device)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise BackendError(
            f"Model '{located.name}' cannot be loaded: {str(error).strip().splitlines()[0]}",
            "It must be a causal language model that Transformers knows; code from the Hub is never run.",
        ) from error
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    model.eval()
    return tokenizer, model


def check_room(located: Located, config: Any, device: torch.device, dtype: torch.dtype) -> None:
    """Refuse a model whose weights alone are more than the device's free memory.

    Several GPUs are counted together, as the weights are spread over them.

    Raises:
        BackendError: It cannot fit.
    """
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        parameters = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    needed = parameters * (torch.finfo(dtype).bits // 8)
    free = _free_memory(device)
    if needed > free:
        raise BackendError(
            f"Model '{located.name}' cannot fit: its weights take {_gib(needed)} in {str(dtype).split('.')[-1]}, "
            f"and {_gib(free)} are free on {device}.",
            "Use a smaller model, free some memory, or another --hf-device.",
        )


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"


def rows_that_fit(model: Any, device: torch.device, tokens: int) -> int:
    """How many prompts to compute together: a power of two that the key-value cache has room for.

    Args:
        model: The loaded model.
        device: Where it is.
        tokens: The longest prompt and answer together.

    Goes by the device's whole memory, not by what is free at the moment, so that a resumed run on the
    same machine cuts the same batches.
    """
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    size = torch.finfo(model.dtype).bits // 8
    per_token = 2 * config.num_hidden_layers * heads * head * size
    per_row = per_token * tokens + 2 * 4 * config.vocab_size
    room = (_memory(device) - model.get_memory_footprint()) * MEMORY_SHARE
    rows = int(room // per_row)
    most = MOST_ROWS.get(device.type, MOST_ROWS["cpu"])
    return 1 << (min(rows, most).bit_length() - 1) if rows > 0 else 1


def _without_gguf_bar(located: Located) -> contextlib.AbstractContextManager[Any]:
    """Reading a GGUF file draws a progress bar that no setting of Transformers' turns off."""
    return contextlib.redirect_stderr(io.StringIO()) if located.gguf_file else contextlib.nullcontext()


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    import psutil

    return int(psutil.virtual_memory().total)


def _free_memory(device: torch.device) -> int:
    if device.type == "cuda":
        several = range(torch.cuda.device_count()) if device.index is None else [device.index]
        return sum(int(torch.cuda.mem_get_info(index)[0]) for index in several)
    import psutil

    return int(psutil.virtual_memory().available)


def _cpu_has_bfloat16() -> bool:
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
