"""What the commands offer, take by default and need; imports no model library, so that help need not wait for one."""

from __future__ import annotations

import importlib.util

from psyctl_core.errors import UsageError

POSITIONS = ("answer-mean", "answer-last", "choice")
"""Which states are read: the mean over the answer's tokens, its last token, or the digit of the choice."""

BIPO = "bipo"
NAMES = ("mean", "pca", "logistic", BIPO)
"""The methods: how a direction is found."""

DOSES = (-0.8, -0.4, -0.2, -0.1, 0.0, 0.1, 0.2, 0.4, 0.8)
"""Shares of the median norm of the states at which the curve is measured."""

DAMAGE = 0.1
"""At which damage effects are compared: nats per token of neutral text."""

CONTROLS = 20
"""Vectors of each kind that an effect is compared with."""

FORMATS = {
    "gguf": "control vector, one file, for llama.cpp, repeng and EasySteer",
    "persona-vectors": "one .pt file with a row a layer, for persona_vectors",
    "caa": "a .pt file a layer, for nrimsky/CAA",
    "easyedit": "a .pt file a layer, for EasyEdit",
}
"""As whose files a vector can be written, and what they are."""


def check_installed() -> None:
    """See that the model libraries are there, without importing them.

    Raises:
        UsageError: One is not.
    """
    for package in ("gguf", "safetensors", "torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise UsageError(
                f"Steering vectors need packages that are not installed ({package}).",
                "Install them with: pip install 'psyctl[hf]'",
            )
