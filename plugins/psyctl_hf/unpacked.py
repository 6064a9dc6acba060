"""Keeps what Transformers unpacked from a small GGUF file, because reading it again takes many times longer."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM

from psyctl_core.files import written_whole
from psyctl_core.local_models import kept_copy
from psyctl_hf.locate import Located

log = logging.getLogger("psyctl")

MOST_BYTES = 2 << 30
"""Larger models are not kept: their weights take longer to read than their vocabulary."""

FREE_TIMES = 4
"""How many times a copy's size must be free on the disk before one is kept."""


def folder(located: Located, dtype: torch.dtype) -> Path:
    """Where a GGUF file's unpacked copy belongs, another one for each number format and version of Transformers."""
    assert located.gguf_file is not None
    form = f"{dtype}-{transformers.__version__}".replace("torch.", "")
    return kept_copy(Path(located.repository) / located.gguf_file, form)


def keep(path: Path, tokenizer: Any, model: Any) -> bool:
    """Write a copy that ``from_pretrained`` reads; it appears whole or not at all, and failing harms nothing.

    Returns:
        Whether it was written.
    """
    size = model.get_memory_footprint()
    if size > MOST_BYTES:
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(path.parent).free < FREE_TIMES * size:
            return False
        with written_whole(path) as new:
            tokenizer.save_pretrained(new)
            _plain(model).save_pretrained(new)
        return True
    except (OSError, ValueError, RuntimeError, NotImplementedError) as error:
        log.debug("The unpacked model is not kept: %s", error)
        return False


def _plain(model: Any) -> Any:
    """The same weights in a model that does not know it came from a GGUF file, which could not be saved."""
    config = type(model.config).from_dict(
        {key: value for key, value in model.config.to_dict().items() if key != "quantization_config"}
    )
    with torch.device("meta"):
        plain: Any = AutoModelForCausalLM.from_config(config, dtype=model.dtype)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.generation_config = model.generation_config
    return plain
