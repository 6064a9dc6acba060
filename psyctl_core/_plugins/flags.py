"""Turns the fields of a component's config into command-line flags."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psyctl_core.components import Component

FLAG_TYPES = (str, int, float, bool, Path)

FLAGS_OF_THE_CORE = frozenset(
    f"--{name}"
    for name in (
        "help", "version", "no-plugins", "personality", "output", "limit-samples", "max-scenarios", "source",
        "prompter", "backend", "judge", "judge-backend", "runner", "sink", "seed", "temperature", "max-tokens",
        "max-cost", "block-size", "checkpoint-interval", "fresh", "dry-run", "quiet", "debug", "count", "personas",
        "rows", "json",
        "check", "strict", "persona-file", "contrast", "answers-per-scene", "trait", "tokenizer", "only", "skip",
        "threshold", "thresholds", "worst", "to", "held-out", "parts", "renumber", "recipe", "help-all", "component",
        "format-version", "install-completion", "show-completion",
        "show-prompts", "progress", "log-file", "details", "watch", "sample", "no-personas",
    )
)  # fmt: skip
"""The options that commands have without any component, and the keys of a recipe; none of a component's may be so."""

COMMANDS_OF_THE_CORE = frozenset(
    (
        "dataset.build.caa", "dataset.judge", "dataset.show", "dataset.status", "dataset.check", "dataset.export",
        "dataset.split", "dataset.merge", "source.preview", "plugins.list", "plugins.check", "recipe.show", "doctor",
    )
)  # fmt: skip
"""The commands that no plugin may take the place of."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One command-line flag that sets one field of a component's config.

    Attributes:
        spelling: As typed, such as ``--hf-batch-size`` or the shorter ``--batch-size``.
        field: The config field it sets.
        type: One of ``str``, ``int``, ``float``, ``bool``, ``Path`` or a ``Literal``.
        help: What it does, with its default and environment variable.
        short: Whether this is the shorter spelling, which several components may share.
        hidden: Whether ``--help`` leaves it out because a shorter spelling is shown.
        is_rare: Whether ``--help`` leaves it to ``--help-all``.
        is_secret: Whether its value must not be written down.
        suggest: Values that shells complete.
    """

    spelling: str
    field: str
    type: Any
    help: str
    short: bool
    hidden: bool
    is_rare: bool
    is_secret: bool
    suggest: tuple[str, ...]


def flags_of(component: Component) -> Sequence[Flag]:
    """The flags that a component's config fields become.

    Raises:
        TypeError: A field has a type no flag can have.
    """
    return _flags(component.name, component.config)


@functools.lru_cache(maxsize=256)  # asked several times for each command, and for most of them
def _flags(component: str, config: type[Any]) -> tuple[Flag, ...]:
    hints = typing.get_type_hints(config)
    flags = []
    for field in dataclasses.fields(config):
        if not field.init:
            continue
        kind = _flag_type(field.name, hints[field.name])
        short = field.metadata.get("flag", "")
        long = f"--{component}-{field.name}".replace("_", "-")
        for spelling in filter(None, (long, short)):
            flags.append(
                Flag(
                    spelling,
                    field.name,
                    kind,
                    _help(field),
                    short=spelling == short,
                    hidden=bool(short) and spelling != short,
                    is_rare=field.metadata.get("rare", False),
                    is_secret=field.metadata.get("secret", False),
                    suggest=tuple(field.metadata.get("suggest", ())),
                )
            )
    return tuple(flags)


def _flag_type(name: str, hint: Any) -> Any:
    members = [m for m in typing.get_args(hint) if m is not type(None)]
    if typing.get_origin(hint) in (typing.Union, types.UnionType) and len(members) == 1:
        hint = members[0]
    if hint in FLAG_TYPES or typing.get_origin(hint) is typing.Literal:
        return hint
    allowed = ", ".join(t.__name__ for t in FLAG_TYPES)
    raise TypeError(f"its config field '{name}' has the type {hint}; a flag can be {allowed} or a Literal of text")


def _help(field: dataclasses.Field[Any]) -> str:
    notes = []
    default = field.metadata.get("default", field.default)
    if default not in (None, "", dataclasses.MISSING) and not isinstance(default, bool):
        notes.append(f"default: {default}")
    if field.metadata.get("env"):
        notes.append(f"env: {field.metadata['env']}")
    text = str(field.metadata.get("help", ""))
    return f"{text} ({'; '.join(notes)})" if notes else text
