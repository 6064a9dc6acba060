"""Finds plugins through their entry points; a broken one is listed with its reason and harms nobody."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import importlib_metadata
import pluggy
from packaging.utils import canonicalize_name

from psyctl_core import hookspecs
from psyctl_core._plugins.blame import Origin, blamed, checked_instance
from psyctl_core._plugins.flags import COMMANDS_OF_THE_CORE, FLAGS_OF_THE_CORE, flags_of
from psyctl_core._plugins.guard import GuardedCheck
from psyctl_core._plugins.kinds import KINDS
from psyctl_core.checks import Check
from psyctl_core.components import API_VERSION, Command, Component, Context, KindName
from psyctl_core.errors import PsyctlError, UsageError, did_you_mean
from psyctl_core.options import Config

DISABLE = "PSYCTL_DISABLE_PLUGINS"
"""The variable that names distributions whose plugins are not even imported; ``all`` is everyone's but psyctl's."""

HOME = "psyctl"
"""The distribution that is never switched off."""

HOOKS: Mapping[str, str] = {
    **{name: kind.hook for name, kind in KINDS.items()},
    "command": hookspecs.psyctl_commands.__name__,
    "check": hookspecs.psyctl_dataset_checks.__name__,
}
"""The hook that offers each kind of thing."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A component that can be chosen.

    Attributes:
        origin: Its kind, name and distribution.
        component: The component.
        rivals: Who supplies a component of this kind and name, where more than one does.
    """

    origin: Origin
    component: Component
    rivals: str = ""

    @property
    def full_name(self) -> str:
        """What tells it from a component of the same name: ``DISTRIBUTION:NAME``."""
        return f"{self.origin.distribution}:{self.origin.name}"


@dataclass(frozen=True, slots=True)
class RegisteredCommand:
    """A command that a plugin adds."""

    origin: Origin
    command: Command


@dataclass(frozen=True, slots=True)
class RegisteredCheck:
    """A check on finished datasets that a plugin adds."""

    origin: Origin
    check: Check

    def made(self) -> GuardedCheck:
        """Import the check's function, and wrap it.

        Raises:
            UsageError: The import fails for want of an extra.
            PluginError: It fails for another reason, or what is named cannot be called.
        """
        function = load(self.check.factory, self.origin, self.check.extra)
        if not callable(function):
            raise self.origin.misdeed(f"names a {type(function).__name__} as its factory, which cannot be called")
        return GuardedCheck(function, self.origin)


@dataclass(frozen=True, slots=True)
class BrokenPlugin:
    """A plugin, or one of its components, that cannot be used, and why."""

    origin: Origin
    problem: str


Entry = Registered | RegisteredCommand | RegisteredCheck | BrokenPlugin


class Registry:
    """Everything that the installed plugins offer, in the order of distributions, broken ones included.

    Args:
        entries: What :func:`discover` found.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = tuple(_with_rivals_marked(list(entries)))

    def usable(self, kind: KindName | None = None) -> Iterator[Registered]:
        """The components that can be chosen, of one kind or of all."""
        return (e for e in self.entries if isinstance(e, Registered) and kind in (None, e.origin.kind))

    def commands(self) -> Iterator[RegisteredCommand]:
        """The commands that plugins add."""
        return (e for e in self.entries if isinstance(e, RegisteredCommand))

    def checks(self) -> Iterator[RegisteredCheck]:
        """The checks on finished datasets that plugins add."""
        return (e for e in self.entries if isinstance(e, RegisteredCheck))

    def get(self, kind: KindName, name: str) -> Registered:
        """The component that ``--KIND NAME`` means; ``DISTRIBUTION:NAME`` tells two of one name apart.

        Raises:
            UsageError: There is none of that name, or it cannot be chosen.
        """
        distribution, _, short = name.rpartition(":")
        for entry in self.entries:
            origin = entry.origin
            if origin.name != short or distribution not in ("", origin.distribution):
                continue
            if isinstance(entry, BrokenPlugin) and origin.kind in (kind, "plugin"):
                raise UsageError(
                    f"The {origin} cannot be used: {entry.problem}.",
                    f"Reinstall or uninstall {origin.distribution}, or choose another; see `psyctl plugins.list`.",
                )
            if isinstance(entry, Registered) and origin.kind == kind:
                if entry.rivals and not distribution:
                    raise UsageError(
                        f"More than one distribution supplies a {kind} named '{short}': {entry.rivals}.",
                        f"Name one as {entry.full_name}, or uninstall the other.",
                    )
                return entry
        known = sorted({entry.origin.name for entry in self.usable(kind)})
        guess, names = did_you_mean(name, known), ", ".join(known) or "none"
        raise UsageError(
            f"There is no {kind} named '{name}'.",
            f"{guess}Installed: {names}. `psyctl plugins.list` shows everything.",
        )

    def of_config(self, kind: KindName, config: object) -> Registered:
        """The one component of that kind whose config class ``config`` is an instance of.

        Raises:
            UsageError: No component takes it, or more than one does.
        """
        takers = [entry for entry in self.usable(kind) if type(config) is entry.component.config]
        if not takers:
            raise UsageError(
                f"No {kind} takes a {type(config).__name__}.",
                f"Pass a {kind}'s name or its config, such as one listed by `psyctl plugins.list`.",
            )
        if len(takers) > 1:
            names = " and ".join(str(entry.origin) for entry in takers)
            raise UsageError(
                f"A {type(config).__name__} does not say which {kind} is meant: the {names} share it.",
                f"Pass Selection('{takers[0].origin.name}', config) to name one.",
            )
        return takers[0]


def discover() -> Registry:
    """Look at every entry point of the group ``psyctl``; nothing that fails there is raised.

    Those of the distributions that :data:`DISABLE` names are listed and not imported.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    plugins = _points(tuple((place, _changed(place)) for place in sys.path))
    return Registry(entry for origin, point in plugins for entry in _entries_of(origin, point, manager))


@functools.lru_cache(maxsize=1)
def _points(places: tuple[tuple[str, int], ...]) -> list[tuple[Origin, importlib_metadata.EntryPoint]]:
    """The entry points of what is installed in these folders, in the order of distributions.

    To read them takes longer than all else that is done about plugins, so it is done anew only where a folder has
    changed since; importlib.metadata lists distributions anew by the same rule.
    """
    del places  # importlib.metadata looks into the same
    points = {
        Origin("plugin", point.name, *_supplier(point.dist)): point
        for point in importlib_metadata.entry_points(group=hookspecs.PROJECT)
    }
    return sorted(points.items(), key=lambda found: (found[0].distribution, found[0].name))


def _changed(place: str) -> int:
    """When a folder on the path last got or lost something."""
    try:
        return Path(place).stat().st_mtime_ns
    except OSError:
        return 0


def make(registered: Registered, config: Config, context: Context) -> Any:
    """Import a component's factory, call it, and wrap what it returns in its kind's guard.

    Raises:
        UsageError: The import fails for want of an extra.
        PluginError: The factory fails, or returns something else than the protocol.
    """
    component, origin = registered.component, registered.origin
    kind = KINDS[origin.kind]  # type: ignore[index]
    factory = load(component.factory, origin, component.extra)
    with blamed(origin):
        instance = factory(config, context)
    return kind.guard(checked_instance(instance, kind.protocol, origin), origin)


def load(path: str, origin: Origin, extra: str | None = None) -> Any:
    """What ``"package.module:attribute"`` names, imported now.

    Raises:
        UsageError: The import fails for want of an extra.
        PluginError: It fails for another reason.
    """
    module, _, attribute = path.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except PsyctlError:
        raise
    except ImportError as error:
        if extra:
            raise UsageError(
                f"The {origin} needs packages that are not installed ({error}).",
                f"Install them with: pip install '{origin.distribution}[{extra}]'",
            ) from error
        raise origin.fault(error) from error
    except Exception as error:
        raise origin.fault(error) from error


def _supplier(distribution: importlib_metadata.Distribution | None) -> tuple[str, str]:
    """A distribution's name and version."""
    return (distribution.name, distribution.version) if distribution else ("unknown", "unknown")


def _entries_of(plugin: Origin, point: importlib_metadata.EntryPoint, manager: pluggy.PluginManager) -> Iterator[Entry]:
    if _switched_off(plugin.distribution):
        yield BrokenPlugin(plugin, f"switched off by {DISABLE} or --no-plugins")
        return
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for what the command prints
            offers = _offers_of(point, manager)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if isinstance(error, SystemExit) and isinstance(error.code, int) and error.code > 128:
            raise  # a signal, not the plugin
        yield BrokenPlugin(plugin, f"{type(error).__name__}: {error}")
        return
    for kind, hook, offer in offers:
        origin = dataclasses.replace(plugin, kind=kind, name=str(getattr(offer, "name", point.name)))
        wanted, registered, flaw_of = _BESIDE_COMPONENTS.get(kind, (Component, Registered, _flaw))
        if isinstance(offer, wanted):
            flaw = flaw_of(offer)
            yield BrokenPlugin(origin, flaw) if flaw else registered(origin, offer)
        else:
            problem = f"the hook {hook} gave a {type(offer).__name__}, not a {wanted.__name__}"
            yield BrokenPlugin(dataclasses.replace(origin, name=point.name), problem)


def _offers_of(point: importlib_metadata.EntryPoint, manager: pluggy.PluginManager) -> list[tuple[str, str, object]]:
    """What a plugin's hooks offer, once its module is imported and its hooks are known ones.

    The manager knows one plugin at a time, so that what is wrong with one is not held against the next.
    """
    module = point.load()
    try:
        manager.register(module)
        manager.check_pending()
        return [
            (kind, hook, offer)
            for kind, hook in HOOKS.items()
            for implementation in getattr(manager.hook, hook).get_hookimpls()
            for offer in implementation.function()
        ]
    finally:
        if manager.is_registered(module):
            manager.unregister(module)


def _switched_off(distribution: str) -> bool:
    named = {canonicalize_name(name.strip()) for name in os.environ.get(DISABLE, "").split(",")}
    own = canonicalize_name(distribution)
    return own != HOME and bool(named & {"all", own})


def _flaw(component: Component) -> str:
    if flaw := _version_flaw(component.api_version) or _factory_flaw(component.factory):
        return flaw
    if not dataclasses.is_dataclass(component.config):
        return "its config is not a dataclass"
    try:
        taken = [flag.spelling for flag in flags_of(component) if flag.spelling in FLAGS_OF_THE_CORE]
    except (TypeError, NameError) as error:
        return str(error)
    return f"its option {taken[0]} is one of psyctl's own" if taken else ""


def _command_flaw(command: Command) -> str:
    if command.name in COMMANDS_OF_THE_CORE:
        return f"psyctl has a command {command.name} of its own"
    return _version_flaw(command.api_version) or _factory_flaw(command.factory)


def _check_flaw(check: Check) -> str:
    if flaw := _version_flaw(check.api_version) or _factory_flaw(check.factory):
        return flaw
    limits = (check.look, *(() if check.fail is None else (check.fail,)))
    if not all(isinstance(limit, int | float) and math.isfinite(limit) for limit in limits):
        return f"its thresholds are {check.look!r} and {check.fail!r}, not numbers"
    return ""


_BESIDE_COMPONENTS: Mapping[str, tuple[type[Any], Callable[[Origin, Any], Entry], Callable[[Any], str]]] = {
    "command": (Command, RegisteredCommand, _command_flaw),
    "check": (Check, RegisteredCheck, _check_flaw),
}
"""What plugins offer that is no component: its type, how it is registered, and what may be wrong with it."""


def _version_flaw(version: int) -> str:
    return "" if version == API_VERSION else f"it is made for plugin API {version}; this psyctl has {API_VERSION}"


def _factory_flaw(factory: str) -> str:
    return "" if ":" in factory else f"its factory {factory!r} is not of the form 'package.module:callable'"


def _with_rivals_marked(entries: list[Entry]) -> Iterator[Entry]:
    """Components of one kind and name are told apart by their distribution; of other things the second is broken.

    What psyctl itself supplies is never the second.
    """
    owners: dict[tuple[str, str], list[Origin]] = {}
    for entry in entries:
        if not isinstance(entry, BrokenPlugin):
            owners.setdefault((entry.origin.kind, entry.origin.name), []).append(entry.origin)
    for entry in entries:
        same = owners.get((entry.origin.kind, entry.origin.name), [])
        if isinstance(entry, Registered) and len(same) > 1:
            rivals = " and ".join(sorted(f"{origin.distribution} {origin.version}" for origin in same))
            yield dataclasses.replace(entry, rivals=rivals)
            continue
        owner = next((origin for origin in same if origin.distribution == HOME), same[0] if same else None)
        if isinstance(entry, RegisteredCommand | RegisteredCheck) and owner and entry.origin is not owner:
            yield BrokenPlugin(entry.origin, f"{owner.distribution} has a {owner.kind} of that name")
        else:
            yield entry
