"""Loads a model and its tokenizer onto the best device, in the number format that suits it."""

from __future__ import annotations

import contextlib
import io
import logging
import re
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from psyctl_core.errors import BackendError, PsyctlError, UsageError
from psyctl_core.figures import counted
from psyctl_core.local_models import check_files, named, number_in, one_line
from psyctl_hf import unpacked
from psyctl_hf.locate import Located

log = logging.getLogger("psyctl")

MOST_ROWS = {"cpu": 64, "mps": 32, "cuda": 256}
FORMATS = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
SMALL = 1_000_000_000
"""Models of fewer parameters get :data:`PENALTY`: they fall into saying the same again and again."""

PENALTY = 1.1
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


def pick_dtype(wanted: str, device: torch.device, stored: torch.dtype | None) -> torch.dtype:
    """The number format named, or for ``auto`` one of 16 bits that the hardware computes in.

    Of bfloat16 and float16 the one that the weights are stored in comes first, so that nothing is rounded.

    Raises:
        UsageError: There is no such format.
    """
    if wanted in FORMATS:
        return FORMATS[wanted]
    if wanted != "auto":
        raise UsageError(f"There is no number format '{wanted}'.", f"Give --hf-dtype auto, {', '.join(FORMATS)}.")
    able = [dtype for dtype in (torch.bfloat16, torch.float16) if _computes_in(dtype, device)]
    return stored if stored in able else able[0] if able else torch.float32


def _computes_in(dtype: torch.dtype, device: torch.device) -> bool:
    if device.type == "cuda":
        return dtype == torch.float16 or torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "mps":
        return dtype == torch.float16
    return dtype == torch.bfloat16 and _cpu_has_bfloat16()


def pick_penalty(wanted: float | None, model: Any) -> float:
    """The repetition penalty named, or one for small models only: it also falls on the names in a scene."""
    if wanted is not None:
        return wanted
    return PENALTY if sum(p.numel() for p in model.parameters()) < SMALL else 1.0


def load(located: Located, device: torch.device, wanted: str) -> tuple[Any, Any]:
    """Load the tokenizer and the model, ready to generate.

    Args:
        located: Where it is.
        device: Where it goes.
        wanted: The number format, or ``auto``.

    Returns:
        ``(tokenizer, model)``; the tokenizer pads on the left.

    Raises:
        BackendError: Transformers cannot load it, or it does not fit.
    """
    if not located.gguf_file and Path(located.repository).is_dir():
        check_files(sorted(file for file in Path(located.repository).iterdir() if file.is_file()))
    try:
        if located.gguf_file:
            tokenizer, model = _load_gguf(located, device, pick_dtype(wanted, device, None))
        else:
            tokenizer, model = _load(located, device, wanted, located.repository, {"revision": located.revision})
    except PsyctlError:
        raise
    except Exception as error:  # of half a dozen libraries, some of which raise nothing more exact
        raise BackendError(f"Model '{located.name}' cannot be loaded: {one_line(error)}.", _hint(error)) from error
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    model.eval()
    return tokenizer, model


HINTS = (
    (r"untagged enum|ModelWrapper|tokenizers? .*version", "The file tokenizer.json is of a newer release: {upgrade}."),
    (r"does not recognize this architecture|no attribute '\w+Config'|KeyError: '\w+'|unknown model type", "{upgrade}."),
    (r"architecture \S+ not supported|GGUF model with architecture", "{upgrade}; or take the model's own repository."),
    (r"sentencepiece|tiktoken|protobuf", "Run: pip install sentencepiece tiktoken protobuf."),
    (r"requires the following packages|pip install|ImportError|No module named", "Install the package that is named."),
    (r"trust_remote_code|custom code|auto_map", "Code from the Hub is never run: take another model."),
    (r"deserializ|header|incomplete|reshape|truncated|corrupt|PytorchStreamReader|unexpected EOF|invalid load key"
     r"|file too small|buffer|mmap", "The weights are cut off or damaged: download them again."),
    (r"size mismatch|mismatched", "config.json does not belong to these weights: download both from one place."),
    (r"no file named|does not appear to have a file", "The weights are not there: download the whole model."),
    (r"out of memory|allocate memory", "Use a smaller model, --hf-dtype bfloat16, or another --hf-device."),
)  # fmt: skip
"""What a library's message tells about the cause, the first match counts, and the way out."""


def _hint(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}"
    upgrade = f"upgrade with 'pip install -U transformers tokenizers' ({transformers.__version__} is installed)"
    for pattern, hint in HINTS:
        if re.search(pattern, text, re.IGNORECASE):
            said = hint.format(upgrade=upgrade)
            return said[0].upper() + said[1:]
    return "It must be a causal language model that Transformers knows; code from the Hub is never run."


def _load(
    located: Located, device: torch.device, wanted: str, repository: str | Path, where: dict[str, Any]
) -> tuple[Any, Any]:
    """From a repository or folder; the weights are read once, straight into their format and onto their device."""
    config = AutoConfig.from_pretrained(repository, trust_remote_code=False, **where)
    _check_purpose(located, config)
    dtype = pick_dtype(wanted, device, config.get_text_config().dtype or config.dtype)
    check_room(located, config, device, dtype)
    tokenizer = AutoTokenizer.from_pretrained(repository, trust_remote_code=False, **where)
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        repository,
        config=config,
        dtype=dtype,
        device_map="auto" if device == torch.device("cuda") else device,
        trust_remote_code=False,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are refused below, by name
        **where,
    )
    model, found = loaded
    _check_weights(located, found)
    return tokenizer, model


def _check_purpose(located: Located, config: Any) -> None:
    """Refuse a model that was trained to judge or label texts: it has no words of its own."""
    for kind in getattr(config, "architectures", None) or ():
        if re.search(
            r"For(Sequence|Token|Image)Classification|ForQuestionAnswering|ForMaskedLM|Reward|ValueHead", kind
        ):
            raise BackendError(
                f"Model '{located.name}' does not write: its architecture is {kind}.",
                "Take the instruction-tuned language model that it was made from.",
            )


def _check_weights(located: Located, found: dict[str, Any]) -> None:
    """Refuse a model some of whose weights were not in the files: Transformers fills them with random numbers."""
    if others := {str(key[0]) for key in found.get("mismatched_keys") or ()}:
        raise BackendError(
            f"Model '{located.name}' has {counted(len(others), 'weight')} of another size than its config.json says, "
            f"which would be random: {named(others)}.",
            "config.json does not belong to these weights: download both from one place.",
        )
    missing, unexpected = found.get("missing_keys") or (), found.get("unexpected_keys") or ()
    if missing:
        besides = f" The files have others instead, such as {named(unexpected)}." if unexpected else ""
        raise BackendError(
            f"Model '{located.name}' lacks {len(missing)} of its weights, which would be random: {named(missing)}."
            f"{besides}",
            "Download the whole model; an adapter, a reward model or a part of a model cannot answer.",
        )


def _load_gguf(located: Located, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
    """From a GGUF file, or from its unpacked copy; every run has the memory layout of the copy, if one is kept."""
    kept = unpacked.folder(located, dtype)
    wanted = str(dtype).removeprefix("torch.")
    if not kept.is_dir():
        with contextlib.redirect_stderr(io.StringIO()):  # a progress bar that no setting turns off
            tokenizer, model = _load(located, device, wanted, located.repository, {"gguf_file": located.gguf_file})
        if not unpacked.keep(kept, tokenizer, model):
            return tokenizer, model
        del model
    return _load(located, device, wanted, kept, {})


def check_room(located: Located, config: Any, device: torch.device, dtype: torch.dtype) -> None:
    """Refuse a model whose weights alone are more than the device's free memory.

    Several GPUs are counted together, as the weights are spread over them.

    Raises:
        BackendError: It cannot fit.
    """
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        parameters = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    needed = parameters * _bits(config, dtype) // 8
    free = _free_memory(device)
    if needed > free:
        raise BackendError(
            f"Model '{located.name}' cannot fit: its weights take {_gib(needed)} in {str(dtype).split('.')[-1]}, "
            f"and {_gib(free)} are free on {device}.",
            "Use a smaller model, free some memory, or another --hf-device.",
        )


def _bits(config: Any, dtype: torch.dtype) -> int:
    """Bits a weight takes: the number format's, or what the repository says of its quantised weights."""
    quantised = getattr(config, "quantization_config", None)
    if quantised is None:
        return torch.finfo(dtype).bits
    said = quantised if isinstance(quantised, dict) else quantised.to_dict()
    return int(said.get("bits") or (4 if said.get("load_in_4bit") else 8))


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
    per_row = _kept_per_row(model, tokens) + 2 * 4 * model.config.get_text_config().vocab_size
    room = (_memory(device) - model.get_memory_footprint()) * MEMORY_SHARE
    rows = int(room // per_row)
    most = MOST_ROWS.get(device.type, MOST_ROWS["cpu"])
    return 1 << (min(rows, most).bit_length() - 1) if rows > 0 else 1


def _kept_per_row(model: Any, tokens: int) -> int:
    """Bytes that a row's keys and values take, or at most the state of layers that keep one (Mamba and the like)."""
    config = model.config.get_text_config()
    size = torch.finfo(model.dtype).bits // 8
    layers = number_in(config, "num_hidden_layers", "n_layer", "n_layers") or 32
    width = number_in(config, "hidden_size", "d_model", "n_embd") or 4096
    heads = number_in(config, "num_attention_heads", "n_head", "n_heads")
    if not heads:
        inner = number_in(config, "intermediate_size", "d_inner") or 2 * width
        return layers * inner * (number_in(config, "state_size", "d_state", "ssm_state_size") or 64) * 4
    head = number_in(config, "head_dim") or width // heads
    return 2 * layers * (number_in(config, "num_key_value_heads") or heads) * head * size * tokens


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
