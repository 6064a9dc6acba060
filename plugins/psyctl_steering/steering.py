"""Steers a model: adds directions to what its layers put out, for as long as a context lasts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any

import torch

from psyctl_core.errors import UsageError
from psyctl_core.figures import counted
from psyctl_core.local_models import LentModel
from psyctl_steering.layers import default_layer, matching, module_of
from psyctl_steering.vector import SteeringVector

log = logging.getLogger("psyctl")

States = torch.Tensor
"""A layer's output, shape ``[batch, tokens, hidden]``."""


@contextmanager
def changed(model: Any, changes: Mapping[str, Callable[[States], States]]) -> Iterator[None]:
    """Let functions change what layers put out; they come off again whatever happens.

    Args:
        model: The model.
        changes: By the layer's name, what makes new states of its states; returning them as they are only reads.
    """

    def hook(change: Callable[[States], States]) -> Callable[[Any, Any, Any], Any]:
        def changed_output(module: Any, given: Any, output: Any) -> Any:
            del module, given
            if isinstance(output, torch.Tensor):
                return change(output)
            return (change(output[0]), *output[1:])

        return changed_output

    with ExitStack() as hooks:
        for layer, change in changes.items():
            handle = module_of(model, layer).register_forward_hook(hook(change))
            hooks.callback(handle.remove)
        yield


def added(direction: torch.Tensor) -> Callable[[States], States]:
    """Adds a direction to every token's state.

    Args:
        direction: Shape ``[hidden]``, or ``[batch, 1, hidden]`` for one of its own for each row.
    """

    def change(states: States) -> States:
        return states + direction.to(states.device, states.dtype)

    return change


class Steering:
    """A model steered by a vector, while the context lasts::

        with Steering(model, vector, strength=0.2):
            model.generate(...)

    Args:
        model: A Transformers model; it is left as it was.
        vector: What to steer by.
        strength: What is added, as a share of the median norm of the states there; negative steers away.
        layers: Names or patterns of some of the vector's layers; by default the one nearest to 0.6 of the depth.

    Raises:
        UsageError: The vector is another model's, or has no such layer.
    """

    def __init__(self, model: Any, vector: SteeringVector, strength: float = 0.2, layers: Sequence[str] = ()) -> None:
        self._model = model
        chosen = check_fits(model, vector, layers)
        self._changes = {
            layer: added(direction_at(vector, layer) * (strength * vector.layers[layer].norm)) for layer in chosen
        }
        self._stack = ExitStack()

    def __enter__(self) -> Steering:
        self._stack.enter_context(changed(self._model, self._changes))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def direction_at(vector: SteeringVector, layer: str) -> torch.Tensor:
    """A layer's direction at length 1.

    Raises:
        UsageError: It has none: all its numbers are 0, or one is none.
    """
    direction = vector.directions[layer]
    length = direction.norm()
    if not torch.isfinite(length) or length == 0:
        raise UsageError(
            f"The vector has no direction at {layer}: its length is {length.item():g}.",
            "Take another layer, or extract it again.",
        )
    return direction.div(length)


def check_fits(model: Any, vector: SteeringVector, layers: Sequence[str] = ()) -> list[str]:
    """The vector's layers to steer at.

    Args:
        model: The model.
        vector: The vector.
        layers: Names or patterns; by default the one nearest to 0.6 of the depth.

    Raises:
        UsageError: The vector does not fit the model.
    """
    width = model.config.get_text_config().hidden_size
    for layer, direction in vector.directions.items():
        module_of(model, layer)
        if direction.shape != (width,):
            raise UsageError(
                f"The vector is another model's ({vector.facts.model}): it has "
                f"{counted(direction.numel(), 'number')} at {layer}, and this model's states have {width}.",
                "Extract one from this model with: psyctl extract.steering",
            )
    if not layers:
        return [default_layer(list(vector.directions), model)]
    chosen = [layer for layer in matching(model, layers) if layer in vector.directions]
    if not chosen:
        raise UsageError(f"The vector has nothing at {', '.join(layers)}.", f"It has: {', '.join(vector.directions)}.")
    return chosen


def origin_note(lent: LentModel, vector: SteeringVector) -> list[str]:
    """One line where the vector was extracted from another model, or from other weights of it; else none."""
    facts = vector.facts
    if facts.fingerprint == lent.fingerprint:
        return []
    other = "other weights of it" if facts.model == lent.name else f"'{facts.model}'"
    return [f"The vector was not extracted from '{lent.name}' as it is here, but from {other}: it may do nothing."]
