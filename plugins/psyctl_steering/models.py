"""A model that a program holds already, as what vectors are extracted from."""

from __future__ import annotations

import hashlib
from typing import Any

from psyctl_core import chat
from psyctl_core.local_models import LentModel, longest


def lend(model: Any, tokenizer: Any, name: str = "") -> LentModel:
    """What :func:`~psyctl_steering.extract` takes, of a model and tokenizer that the program loaded.

    Args:
        model: A ``transformers.PreTrainedModel``; it is left as it was.
        tokenizer: Its ``transformers.PreTrainedTokenizerBase``, likewise.
        name: What the vector's file says it was extracted from; by default the name the model was loaded by.
    """
    name = name or model.config._name_or_path or type(model).__name__
    prompts = chat.writer(tokenizer, name)
    fingerprint = getattr(model.config, "_commit_hash", None) or _fingerprint(model)
    return LentModel(
        name, fingerprint, model, tokenizer, lambda asked: chat.encode(tokenizer, prompts, asked), longest(model)
    )


def _fingerprint(model: Any) -> str:
    """A digest of each weight's name, shape and first numbers."""
    found = hashlib.sha256()
    for name, weight in model.named_parameters():
        found.update(f"{name}:{tuple(weight.shape)}:{weight.flatten()[:8].tolist()}".encode())
    return found.hexdigest()[:16]
