"""A model's answers to a prompt at several strengths of a vector, beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import GenerationConfig

from psyctl_core import ChatRequest, Message, UsageError
from psyctl_core.figures import counted
from psyctl_core.local_models import LentModel
from psyctl_steering.steering import added, changed, check_fits, direction_at
from psyctl_steering.vector import SteeringVector


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says at one strength; ``is_cut`` where it had not finished after the tokens allowed."""

    strength: float
    text: str
    is_cut: bool


def answers(
    lent: LentModel,
    vector: SteeringVector,
    prompt: str,
    strengths: Sequence[float],
    *,
    layers: Sequence[str] = (),
    max_tokens: int = 60,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[Answer]:
    """Answer a prompt once at each strength, all in one batch.

    Args:
        lent: The model.
        vector: What to steer by.
        prompt: The user's words; they are put in the model's chat template.
        strengths: Shares of the median norm of the states; 0 is the model as it is, negative steers away.
        layers: Where to steer; see :class:`~psyctl_steering.Steering`.
        max_tokens: The most new tokens of each answer.
        temperature: 0 takes the likeliest token.
        seed: For sampling; the same seed and strengths give the same answers on the same machine.

    Raises:
        UsageError: The vector does not fit the model, or the prompt its window.
    """
    chosen = check_fits(lent.model, vector, layers)
    (ids,) = lent.encode([ChatRequest("", (Message("user", prompt),))])
    if lent.longest and len(ids) + max_tokens > lent.longest:
        raise UsageError(
            f"The prompt has {counted(len(ids), 'token')}, and with {max_tokens} more it is longer than the model can "
            f"place ({lent.longest}).",
            "Shorten it, or give a lower --max-tokens.",
        )
    dose = torch.tensor(strengths)[:, None, None]
    changes = {layer: added(direction_at(vector, layer) * vector.layers[layer].norm * dose) for layer in chosen}
    given = torch.tensor([ids] * len(strengths), device=lent.model.device)
    settings = GenerationConfig(
        max_new_tokens=max_tokens,
        do_sample=temperature > 0,
        temperature=temperature or None,
        eos_token_id=lent.model.generation_config.eos_token_id,
        pad_token_id=lent.tokenizer.pad_token_id,
    )
    devices = [lent.model.device] if lent.model.device.type == "cuda" else []
    with torch.inference_mode(), torch.random.fork_rng(devices), changed(lent.model, changes):
        torch.manual_seed(seed)
        written = lent.model.generate(given, attention_mask=torch.ones_like(given), generation_config=settings)
    ends = _ends(lent)
    return [
        Answer(strength, lent.tokenizer.decode(row, skip_special_tokens=True).strip(), not ends & set(row.tolist()))
        for strength, row in zip(strengths, written[:, len(ids) :], strict=True)
    ]


def _ends(lent: LentModel) -> set[int]:
    """The tokens that end an answer."""
    ends = lent.model.generation_config.eos_token_id
    return set(ends) if isinstance(ends, list) else set() if ends is None else {ends}
