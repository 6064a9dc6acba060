"""Which components a run uses: from the names and flags that were given, never from a guess."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psyctl_core.components import KINDS, PROTOCOLS, Context, Kind
from psyctl_core.errors import UsageError
from psyctl_core.flags import Flag, flags_of
from psyctl_core.registry import Found, Registry, create

DEFAULTS: Mapping[Kind, str] = {"source": "soda", "prompter": "p2", "sink": "jsonl"}
"""What is used where nothing is said. Backends have none: they may cost money or gigabytes."""


CHECKPOINT_INTERVAL = 100
CHECKPOINT_INTERVAL_ENV = "PSYCTL_CHECKPOINT_INTERVAL"


@dataclass(frozen=True, slots=True)
class Choice:
    """A component and the config it will be made with, or the component itself where a program hands one over."""

    found: Found
    config: Any
    instance: Any = None

    def make(self, context: Context) -> Any:
        """The component: the one that was handed over, or a new one from its factory. Raises PsyctlError."""
        if self.instance is not None:
            return self.instance
        assert self.found.kind is not None
        return create(self.found, self.config, context, PROTOCOLS[self.found.kind])


def choose(
    registry: Registry, names: Mapping[Kind, str], given: Mapping[str, Any], kinds: Sequence[Kind] = KINDS
) -> dict[Kind, Choice]:
    """Settle on one component of each kind and build its config.

    Args:
        registry: What is installed.
        names: The components named outright, by kind.
        given: The component flags that were typed, by spelling.
        kinds: The kinds wanted.

    Raises:
        UsageError: Something is unknown, ambiguous, unused or missing.
    """
    chosen = {kind: _chosen(registry, kind, names.get(kind), given) for kind in kinds}
    values: dict[Kind, dict[str, Any]] = {kind: {} for kind in kinds}
    for spelling, value in given.items():
        kind, flag = _owner(registry, chosen, spelling)
        if flag.field in values[kind]:
            raise UsageError(f"{spelling} sets '{flag.field}' a second time.", "Give only one of its spellings.")
        values[kind][flag.field] = value
    return {kind: Choice(found, config_of(found, values[kind])) for kind, found in chosen.items()}


@dataclass(frozen=True, slots=True)
class _NoSettings:
    """The config of a component that a program hands over: psyctl does not know how it was made."""


def choice_of(registry: Registry, kind: Kind, wanted: object) -> Choice:
    """What a program wants: a component by its name, by its config, or the component itself.

    Raises:
        UsageError: It is none of these.
    """
    if isinstance(wanted, str):
        found = registry.get(kind, wanted)
        assert found.component is not None
        return Choice(found, found.component.config())
    if isinstance(wanted, PROTOCOLS[kind]) and not isinstance(wanted, type):
        own = type(wanted)
        return Choice(Found(kind, own.__qualname__, own.__module__, ""), _NoSettings(), wanted)
    return Choice(registry.of_config(kind, wanted), wanted)


def _chosen(registry: Registry, kind: Kind, name: str | None, given: Mapping[str, Any]) -> Found:
    if name:
        return registry.get(kind, name)
    implied = {
        found.name: flag.spelling
        for found in registry.usable(kind)
        if found.component
        for flag in flags_of(found.component)
        if flag.field in found.component.implied_by and flag.spelling in given
    }
    if len(implied) == 1:
        return registry.get(kind, next(iter(implied)))
    if implied:
        raise UsageError(
            f"{' and '.join(implied.values())} ask for different {kind}s ({', '.join(implied)}).",
            f"Give only one of them, or choose with --{kind} NAME.",
        )
    if kind in DEFAULTS:
        return registry.get(kind, DEFAULTS[kind])
    raise _nothing_chosen(registry, kind)


def _nothing_chosen(registry: Registry, kind: Kind) -> UsageError:
    ways, keys = [], []
    for found in registry.usable(kind):
        component = found.component
        assert component is not None
        for flag in flags_of(component):
            if flag.field in component.implied_by and not flag.hidden:
                ways.append(f"{flag.spelling} ...")
        for field in dataclasses.fields(component.config):
            env = field.metadata.get("env", "")
            if field.metadata.get("secret") and os.environ.get(env):
                keys.append(f"{env} is set: to use it, and pay for its calls, add --{kind} {found.name}.")
    return UsageError(
        f"No model and no key: nothing says which {kind} shall answer.",
        " ".join([f"Give {' or '.join(ways) or f'--{kind} NAME'}.", *keys]),
    )


def _owner(registry: Registry, chosen: Mapping[Kind, Found], spelling: str) -> tuple[Kind, Flag]:
    for kind, found in chosen.items():
        assert found.component is not None
        for flag in flags_of(found.component):
            if flag.spelling == spelling:
                return kind, flag
    for other in registry.usable():
        assert other.component is not None
        if any(flag.spelling == spelling for flag in flags_of(other.component)):
            assert other.kind is not None
            raise UsageError(
                f"{spelling} belongs to the {other.kind} '{other.name}', but the {other.kind} "
                f"is '{chosen[other.kind].name}'.",
                f"Add --{other.kind} {other.name}, or leave {spelling} out.",
            )
    raise UsageError(f"No component has the flag {spelling}.", "See `psyctl dataset.build.caa --help`.")


def config_of(found: Found, values: Mapping[str, Any]) -> Any:
    """A component's config with these fields set.

    Raises:
        UsageError: A field that has no default is missing, or a value cannot be used.
    """
    assert found.component is not None
    config = found.component.config
    missing = [
        field.name
        for field in dataclasses.fields(config)
        if field.init
        and field.name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        flags = ", ".join(f"--{found.name}-{name}".replace("_", "-") for name in missing)
        raise UsageError(f"The {found} needs {flags}.", f"Add {flags}.")
    return config(**values)
