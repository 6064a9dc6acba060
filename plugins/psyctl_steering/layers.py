"""Finds the layers of a model that a name or a pattern means."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

from torch import nn

from psyctl_core.errors import UsageError
from psyctl_core.local_models import number_in

DEPTH = 0.6
"""Where a vector works when nobody says: this share of the blocks lies before it. Between .3 and .7 is usual."""


def blocks(model: Any) -> list[str]:
    """The names of a model's decoder blocks in order, such as ``model.layers[0]``.

    They are the outermost list of as many modules as the config says there are blocks, within the decoder where the
    model has other parts, such as one that sees; where the config does not say, the longest list.

    Raises:
        UsageError: The model has no such list.
    """
    lists = {name: len(module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList)}
    said = number_in(model.config.get_text_config(), "num_hidden_layers", "n_layer", "n_layers")
    inside = _name_of_decoder(model)
    found = [name for name, length in lists.items() if length == said and name.startswith(inside)]
    found = found or sorted((name for name in lists if lists[name]), key=lambda name: -lists[name])
    if not found:
        raise UsageError("The model has no list of blocks.", "Take a decoder model that Transformers knows.")
    return [f"{bracketed(found[0])}[{index}]" for index in range(lists[found[0]])]


def _name_of_decoder(model: Any) -> str:
    """Where the part of the model lies that writes; "" where it is the model itself, or nothing says."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else model
    return next((name for name, module in model.named_modules() if module is decoder), "")


def module_of(model: Any, layer: str) -> nn.Module:
    """The module that a layer's name means; ``model.layers[3]`` and ``model.layers.3`` are the same.

    Raises:
        UsageError: There is none; near names are named.
    """
    name = _dotted(layer)
    for known, module in model.named_modules():
        if known == name:
            assert isinstance(module, nn.Module)
            return module
    raise _unknown(model, layer)


def matching(model: Any, patterns: Sequence[str]) -> list[str]:
    """The layers that names and patterns mean, in the model's order and without doubles; all blocks for none.

    Args:
        model: The model.
        patterns: Names, with ``*`` for any part of a name or any number: ``model.layers[*].mlp``; or a block's number.

    Raises:
        UsageError: One means nothing.
    """
    every = blocks(model)
    if not patterns:
        return every
    names = {bracketed(name): None for name, module in model.named_modules() if name and _computes(module)}
    wanted: set[str] = set()
    for pattern in patterns:
        if pattern.lstrip("-").isdigit():
            number = int(pattern)
            if not -len(every) <= number < len(every):
                raise UsageError(
                    f"There is no block {number}: the model has {len(every)}, from 0.", "Give --layer one."
                )
            wanted.add(every[number])
            continue
        form = re.compile(
            ".*".join(re.escape(part) for part in bracketed(_dotted(pattern)).split("*")).replace(r"\ ", " ")
        )
        if "*" in pattern:
            depth = bracketed(_dotted(pattern)).count(".")
            found = {name for name in names if form.fullmatch(name) and name.count(".") == depth}
        else:
            found = {bracketed(_dotted(pattern))} & names.keys()
        if not found:
            raise _unknown(model, pattern)
        wanted |= found
    return [name for name in names if name in wanted]


def default_layer(layers: Sequence[str], model: Any) -> str:
    """Of these layers the one nearest to :data:`DEPTH` of the model's blocks."""
    return default_layer_of(layers, len(blocks(model)))


def default_layer_of(layers: Sequence[str], total: int) -> str:
    """Of these layers the one nearest to :data:`DEPTH` of so many blocks."""
    return min(layers, key=lambda layer: abs(number_of(layer) - DEPTH * total))


def number_of(layer: str) -> int:
    """The number of the block that a layer is, or lies in; -1 where its name has none."""
    found = re.search(r"\[(\d+)\]", bracketed(layer))
    return int(found[1]) if found else -1


def bracketed(name: str) -> str:
    """A module's name with list indices in brackets: ``model.layers[3].mlp``."""
    return re.sub(r"\.(\d+|\*)(?=\.|$)", r"[\1]", name)


def _dotted(name: str) -> str:
    return re.sub(r"\[(\d+|\*)\]", r".\1", name.strip())


def _computes(module: Any) -> bool:
    return not isinstance(module, (nn.ModuleList, nn.ModuleDict))


def _unknown(model: Any, layer: str) -> UsageError:
    names = [bracketed(name) for name, module in model.named_modules() if name and _computes(module)]
    near = difflib.get_close_matches(bracketed(_dotted(layer)), names, 3, 0.5) or names[:3]
    return UsageError(f"The model has no layer '{layer}'.", f"Near names: {', '.join(near)}.")
