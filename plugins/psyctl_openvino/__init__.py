"""The inference backend ``openvino``: local models on CPUs through OpenVINO GenAI's continuous batching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psyctl_core.components import Component
from psyctl_core.errors import UsageError
from psyctl_core.hookspecs import hookimpl
from psyctl_core.options import option


@dataclass(frozen=True, slots=True)
class OpenVinoConfig:
    """Which model answers, and how it is run.

    Attributes:
        model: A GGUF file, a folder that holds ``openvino_model.xml``, or ``embedded``.
        batch_size: Answers computed at the same time, at most.
        device: OpenVINO's name of the device.
        cache_size: Room for keys and values, in GiB.
        batched_tokens: Prompt and answer tokens computed in one step, at most.
        repetition_penalty: 1 switches it off; see https://arxiv.org/abs/1909.05858.
        min_p: Where answers are drawn, no token less likely than this share of the likeliest one's probability is; see
            https://arxiv.org/abs/2407.01082. 0 switches it off.
        rounded: Read a GGUF file as OpenVINO does, which rounds blocks that have a minimum (Q4_1, Q4_K).
    """

    model: str = option(
        "",
        help="GGUF file, exported OpenVINO folder, or 'embedded'.",
        flag="--model",
        identity=False,
        suggest=("embedded",),
    )
    batch_size: int = option(
        64,
        help="Answers computed at the same time, at most.",
        flag="--batch-size",
        env="PSYCTL_INFERENCE_BATCH_SIZE",
        parse=int,
        identity=False,
    )
    device: str = option("CPU", help="OpenVINO device, such as CPU or GPU.", identity=False)
    cache_size: int = option(2, help="Room for keys and values, in GiB.", identity=False, rare=True)
    batched_tokens: int = option(512, help="Tokens computed in one step, at most.", identity=False, rare=True)
    repetition_penalty: float = option(1.1, help="Keeps small models from repeating themselves; 1 is off.", rare=True)
    min_p: float = option(
        0.05,
        help="Tokens less likely than this share of the likeliest one's probability are not drawn; 0 is off.",
        rare=True,
    )
    rounded: bool = option(
        False,
        help="Let OpenVINO round 4-bit GGUF blocks instead of rewriting the file: smaller, other answers.",
        rare=True,
    )

    def __post_init__(self) -> None:
        if not self.model.strip():
            raise UsageError("The backend 'openvino' needs a model.", "Give --model FILE.gguf or --model embedded.")
        for name in ("batch_size", "cache_size", "batched_tokens"):
            if getattr(self, name) < 1:
                flag = name.replace("_", "-")
                raise UsageError(
                    f"A {flag.replace('-', ' ')} of {getattr(self, name)} cannot be used.",
                    f"Give --openvino-{flag} 1 or more.",
                )
        if self.repetition_penalty <= 0:
            raise UsageError(
                f"A repetition penalty of {self.repetition_penalty} cannot be used.",
                "Give --openvino-repetition-penalty above 0.",
            )
        if not 0 <= self.min_p < 1:
            raise UsageError(f"A min-p of {self.min_p} cannot be used.", "Give --openvino-min-p from 0 to below 1.")


@hookimpl
def psyctl_inference_backends() -> Sequence[Component]:
    """Offer ``openvino``."""
    return [
        Component(
            name="openvino",
            factory="psyctl_openvino.backend:OpenVinoBackend",
            config=OpenVinoConfig,
            summary="A local model on the CPU through OpenVINO GenAI: GGUF file, exported folder or 'embedded'",
            extra="openvino",
        )
    ]
