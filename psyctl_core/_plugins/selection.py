"""Which components a command uses: from the names and flags that were given, never from a guess."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from psyctl_core._plugins.blame import Origin
from psyctl_core._plugins.flags import Flag, flags_of
from psyctl_core._plugins.kinds import KINDS
from psyctl_core._plugins.registry import Registered, Registry, make
from psyctl_core.components import Context, KindName
from psyctl_core.errors import UsageError
from psyctl_core.options import Config, settings
from psyctl_core.records import JsonValue


@dataclass(frozen=True, slots=True)
class Selection:
    """One component that a job uses.

    Attributes:
        name: The component's name, or ``DISTRIBUTION:NAME``; an object's class where one is handed over; "" for
            the one component that takes the config.
        config: Its config; ``None`` for its defaults.
        instance: The component itself, where a program hands one over; it cannot be sent or written down.
    """

    name: str
    config: Config | None = None
    instance: Any = dataclasses.field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Choice:
    """A selection that was found: who supplies it, and what it is made with.

    Attributes:
        origin: Its kind, name and distribution.
        config: Its config; ``None`` for an object that a program handed over: nobody knows how it was made.
        registered: The component, unless it is such an object.
        instance: That object.
    """

    origin: Origin
    config: Config | None
    registered: Registered | None = None
    instance: Any = None

    def make(self, context: Context) -> Any:
        """The component in its guard: the one that was handed over, or a new one. Raises PsyctlError."""
        if self.registered is None:
            return KINDS[self.origin.kind].guard(self.instance, self.origin)  # type: ignore[index]
        assert self.config is not None
        return make(self.registered, self.config, context)

    def settings(self, *, identity: bool = False) -> dict[str, JsonValue]:
        """Its options without secrets; with ``identity`` only those that decide the dataset."""
        return {} if self.config is None else settings(self.config, identity=identity)

    @property
    def selection(self) -> Selection:
        """The selection with everything in it that was left to defaults."""
        name = self.origin.name if self.registered is None else self.registered.full_name
        return Selection(name, self.config, self.instance)

    @property
    def label(self) -> dict[str, JsonValue]:
        """Its name and distribution, as run.json has them."""
        return {"name": self.origin.name, "distribution": self.origin.distribution}


def selection_of(kind: KindName, wanted: object) -> Selection:
    """What a program wants: a component by its name, a :class:`Selection`, its config, or the component itself."""
    if isinstance(wanted, Selection):
        return wanted
    if isinstance(wanted, str):
        return Selection(wanted)
    if isinstance(wanted, KINDS[kind].protocol) and not isinstance(wanted, type):
        return Selection(type(wanted).__qualname__, instance=wanted)
    return Selection("", wanted)  # type: ignore[arg-type] # what is no config is refused where it is looked up


def resolve(registry: Registry, kind: KindName, selection: Selection) -> Choice:
    """Find the component that a selection names.

    Raises:
        UsageError: There is none, it cannot be chosen, or its config is another component's.
    """
    if selection.instance is not None:
        own = type(selection.instance)
        name = selection.name or own.__qualname__
        return Choice(Origin(kind, name, own.__module__, ""), None, None, selection.instance)
    config = selection.config
    registered = registry.get(kind, selection.name) if selection.name else registry.of_config(kind, config)
    if config is None:
        config = config_of(registered, {})
    elif type(config) is not registered.component.config:
        raise UsageError(
            f"The {registered.origin} takes a {registered.component.config.__name__}, not a {type(config).__name__}.",
            "Pass its own config.",
        )
    return Choice(registered.origin, config, registered)


def choose(
    registry: Registry, names: Mapping[KindName, str], given: Mapping[str, Any], kinds: Iterable[KindName] = KINDS
) -> dict[KindName, Selection]:
    """Settle on one component of each kind and build its config.

    Args:
        registry: What is installed.
        names: The components named outright, by kind.
        given: The component flags that were typed, by spelling.
        kinds: The kinds wanted.

    Raises:
        UsageError: Something is unknown, ambiguous, unused or missing.
    """
    chosen = {
        kind: _chosen(registry, kind, names.get(kind), given)
        for kind in kinds
        if kind in names or not KINDS[kind].is_optional
    }
    values: dict[KindName, dict[str, Any]] = {kind: {} for kind in chosen}
    for spelling, value in given.items():
        kind, flag = _owner(registry, chosen, spelling)
        if flag.field in values[kind]:
            raise UsageError(f"{spelling} sets '{flag.field}' a second time.", "Give only one of its spellings.")
        values[kind][flag.field] = value
    return {
        kind: Selection(registered.full_name, config_of(registered, values[kind]))
        for kind, registered in chosen.items()
    }


def config_of(registered: Registered, values: Mapping[str, Any]) -> Config:
    """A component's config with these fields set.

    Raises:
        UsageError: A field that has no default is missing, or a value cannot be used.
    """
    config = registered.component.config
    missing = [
        field.name
        for field in dataclasses.fields(config)
        if field.init
        and field.name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        flags = ", ".join(f"--{registered.origin.name}-{name}".replace("_", "-") for name in missing)
        raise UsageError(f"The {registered.origin} needs {flags}.", f"Add {flags}.")
    return config(**values)


def _chosen(registry: Registry, kind: KindName, name: str | None, given: Mapping[str, Any]) -> Registered:
    if name:
        return registry.get(kind, name)
    implied = {
        registered.origin.name: flag.spelling
        for registered in registry.usable(kind)
        for flag in flags_of(registered.component)
        if flag.field in registered.component.implied_by and flag.spelling in given
    }
    if len(implied) == 1:
        return registry.get(kind, next(iter(implied)))
    if implied:
        raise UsageError(
            f"{' and '.join(implied.values())} ask for different {kind}s ({', '.join(implied)}).",
            f"Give only one of them, or choose with --{kind} NAME.",
        )
    if KINDS[kind].default:
        return registry.get(kind, KINDS[kind].default)
    raise _nothing_chosen(registry, kind)


def _nothing_chosen(registry: Registry, kind: KindName) -> UsageError:
    ways, keys = [], []
    for registered in registry.usable(kind):
        component = registered.component
        for flag in flags_of(component):
            if flag.field in component.implied_by and not flag.hidden:
                ways.append(f"{flag.spelling} ...")
        for field in dataclasses.fields(component.config):
            env = field.metadata.get("env", "")
            if field.metadata.get("secret") and os.environ.get(env):
                name = registered.origin.name
                keys.append(f"{env} is set: to use it, and pay for its calls, add --{kind} {name}.")
    return UsageError(
        f"No model and no key: nothing says which {kind} shall answer.",
        " ".join([f"Give {' or '.join(ways) or f'--{kind} NAME'}.", *keys]),
    )


def _owner(registry: Registry, chosen: Mapping[KindName, Registered], spelling: str) -> tuple[KindName, Flag]:
    for kind, registered in chosen.items():
        for flag in flags_of(registered.component):
            if flag.spelling == spelling:
                return kind, flag
    for other in registry.usable():
        if any(flag.spelling == spelling for flag in flags_of(other.component)):
            kind_name, name = other.origin.kind, other.origin.name
            used = next((f"is '{c.origin.name}'" for kind, c in chosen.items() if kind == kind_name), "is left out")
            raise UsageError(
                f"{spelling} belongs to the {kind_name} '{name}', but the {kind_name} {used}.",
                f"Add {_choosing(kind_name)} {name}, or leave {spelling} out.",
            )
    raise UsageError(f"No component has the flag {spelling}.", "See `psyctl dataset.build.caa --help`.")


def _choosing(kind: str) -> str:
    """The option that chooses a component of the kind."""
    return KINDS[kind].flag or f"--{kind}"  # type: ignore[index]
