"""The inference backend ``hf``: causal language models run here by Transformers, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from psyctl_core.components import Component
from psyctl_core.errors import UsageError
from psyctl_core.hookspecs import hookimpl
from psyctl_core.options import option


@dataclass(frozen=True, slots=True)
class HfConfig:
    """Which model answers, and how it is run.

    Attributes:
        model: Hub name (``NAME@REVISION`` pins it), local folder, GGUF file, or ``embedded``.
        batch_size: Prompts computed together; ``None`` derives it from the memory.
        device: ``auto`` takes CUDA, then MPS, then the CPU.
        dtype: ``auto`` takes bfloat16 where the hardware has it.
        repetition_penalty: 1 switches it off, ``None`` leaves it to the model's size; see
            https://arxiv.org/abs/1909.05858.
        min_p: Where answers are drawn, no token less likely than this share of the likeliest one's probability is; see
            https://arxiv.org/abs/2407.01082. 0 switches it off.
        batching: ``continuous`` is Transformers' continuous batching, ``own`` our loop over a block's rows.
    """

    model: str = option(
        "",
        help="Hugging Face model name (NAME@REVISION pins it), local folder, GGUF file, or 'embedded'.",
        flag="--model",
        identity=False,
        suggest=("embedded",),
        pin="fingerprint",
    )
    batch_size: int | None = option(
        None,
        help="Prompts computed together; by default from the memory.",
        flag="--batch-size",
        env="PSYCTL_INFERENCE_BATCH_SIZE",
        parse=int,
        identity=False,
    )
    device: str = option("auto", help="auto, cuda, cuda:1, mps or cpu.", identity=False)
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = option(
        "auto",
        help="Number format; auto keeps the model's 16 bits, and takes bfloat16 where the hardware has it.",
        rare=True,
    )
    repetition_penalty: float | None = option(
        None,
        help="Keeps models from repeating themselves; 1 is off. By default 1.1 below 1 billion parameters.",
        rare=True,
    )
    min_p: float = option(
        0.05,
        help="Tokens less likely than this share of the likeliest one's probability are not drawn; 0 is off.",
        rare=True,
    )
    batching: Literal["auto", "continuous", "own"] = option(
        "auto",
        help="How rows share the model; auto takes continuous batching on CUDA with flash attention.",
        identity=False,
        rare=True,
    )

    def __post_init__(self) -> None:
        if not self.model.strip():
            raise UsageError("The backend 'hf' needs a model.", "Give --model NAME, such as --model embedded.")
        if self.batch_size is not None and self.batch_size < 1:
            raise UsageError(
                f"A batch size of {self.batch_size} cannot be used.",
                "Give --batch-size (or PSYCTL_INFERENCE_BATCH_SIZE) 1 or more.",
            )
        if self.repetition_penalty is not None and self.repetition_penalty <= 0:
            raise UsageError(
                f"A repetition penalty of {self.repetition_penalty} cannot be used.",
                "Give --hf-repetition-penalty above 0.",
            )
        if not 0 <= self.min_p < 1:
            raise UsageError(f"A min-p of {self.min_p} cannot be used.", "Give --hf-min-p from 0 to below 1.")


@hookimpl
def psyctl_inference_backends() -> Sequence[Component]:
    """Offer ``hf``."""
    return [
        Component(
            name="hf",
            factory="psyctl_hf.backend:HfBackend",
            config=HfConfig,
            summary="A local model through Transformers: Hub name, folder, GGUF file or 'embedded'",
            extra="hf",
            implied_by=("model",),
        )
    ]
