"""Finds plugins through their entry points, and says whose fault it is when one is broken."""

from __future__ import annotations

import difflib
import importlib
import os
import re
import signal
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, TypeVar

import importlib_metadata
import pluggy

from psyctl_core import hookspecs
from psyctl_core.components import API_VERSION, KINDS, Component, Context, Kind
from psyctl_core.errors import PluginError, PsyctlError, UsageError
from psyctl_core.flags import flags_of

HOOKS: dict[Kind, str] = {
    "source": "psyctl_scenario_sources",
    "prompter": "psyctl_personality_prompters",
    "backend": "psyctl_inference_backends",
    "sink": "psyctl_output_sinks",
}

IMPORT_SECONDS = 30.0
"""How long a plugin may take to be imported and to name its components, where the system has alarm signals."""

DISABLE = "PSYCTL_DISABLE_PLUGINS"
"""The variable that names distributions whose plugins are not even imported; ``all`` is everyone's but psyctl's."""

HOME = "psyctl"
"""The distribution that is never switched off."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """A component that was found, or a plugin that should have offered one and is broken.

    Attributes:
        kind: The component's kind, or ``None`` for a plugin that could not be asked.
        name: The component's name, or the entry point's for a broken plugin.
        distribution: The pip name of who supplies it.
        version: That distribution's version; empty for a component that a program handed over, whose
            distribution is its module.
        component: The component; ``None`` where the plugin is broken.
        problem: Why it cannot be chosen; empty when it can.
        rivals: Who supplies a component of this kind and name, where more than one does.
    """

    kind: Kind | None
    name: str
    distribution: str
    version: str
    component: Component | None = None
    problem: str = ""
    rivals: str = ""

    def __str__(self) -> str:
        origin = f"{self.distribution} {self.version}".strip()
        return f"{self.kind or 'plugin'} '{self.name}' (from {origin})"


class Registry:
    """All components of the installed plugins, broken ones included.

    Args:
        found: What :func:`discover` found.
    """

    def __init__(self, found: Iterable[Found]) -> None:
        self.found = tuple(_with_clashes_marked(list(found)))

    def usable(self, kind: Kind | None = None) -> Iterator[Found]:
        """The components that can be chosen, of one kind or of all."""
        return (f for f in self.found if f.component and not f.problem and kind in (None, f.kind))

    def get(self, kind: Kind, name: str) -> Found:
        """The component that ``--KIND NAME`` means; ``DISTRIBUTION:NAME`` tells two of one name apart.

        Raises:
            UsageError: There is none of that name, or it cannot be chosen.
        """
        distribution, _, short = name.rpartition(":")
        matches = [
            f for f in self.found if f.name == short and f.kind in (kind, None) and distribution in ("", f.distribution)
        ]
        for match in matches:
            if match.problem:
                raise UsageError(
                    f"The {match} cannot be used: {match.problem}.",
                    f"Reinstall or uninstall {match.distribution}, or choose another; see `psyctl plugins.list`.",
                )
            if match.rivals and not distribution:
                raise UsageError(
                    f"More than one distribution supplies a {kind} named '{short}': {match.rivals}.",
                    f"Name one as {match.distribution}:{short}, or uninstall the other.",
                )
            return match
        known = sorted({f.name for f in self.usable(kind)})
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        guess = f"Did you mean '{near[0]}'? " if near else ""
        raise UsageError(
            f"There is no {kind} named '{name}'.",
            f"{guess}Installed: {', '.join(known) or 'none'}. `psyctl plugins.list` shows everything.",
        )

    def of_config(self, kind: Kind, config: object) -> Found:
        """The component of that kind whose config class ``config`` is an instance of.

        Raises:
            UsageError: No component takes it.
        """
        for found in self.usable(kind):
            if found.component and type(config) is found.component.config:
                return found
        raise UsageError(
            f"No {kind} takes a {type(config).__name__}.",
            f"Pass a {kind}'s name or its config, such as one listed by `psyctl plugins.list`.",
        )


def discover() -> Registry:
    """Look at every entry point of the group ``psyctl``; nothing that fails there is raised.

    Those of the distributions that :data:`DISABLE` names are listed and not imported.
    """
    found: list[Found] = []
    points = importlib_metadata.entry_points(group=hookspecs.PROJECT)
    for point in sorted(points, key=lambda p: (p.dist.name if p.dist else "", p.name)):
        found.extend(_components_of(point))
    return Registry(found)


def create(found: Found, config: object, context: Context, protocol: type[Any]) -> Any:
    """Import a component's factory and call it.

    Raises:
        UsageError: The import fails for want of an extra.
        PluginError: The factory fails, or returns something else than the protocol.
    """
    component = found.component
    assert component is not None
    module, _, attribute = component.factory.partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        if component.extra:
            raise UsageError(
                f"The {found} needs packages that are not installed ({error}).",
                f"Install them with: pip install '{found.distribution}[{component.extra}]'",
            ) from error
        raise _fault(found, error) from error
    except Exception as error:
        raise _fault(found, error) from error
    with blamed(found):
        instance = factory(config, context)
    if not isinstance(instance, protocol):
        raise PluginError(
            f"The {found} returned a {type(instance).__name__}, which is no {protocol.__name__}.",
            f"Tell {found.distribution}'s authors: something {protocol.__name__} asks for is missing.",
        )
    return instance


@contextmanager
def blamed(found: Found) -> Iterator[None]:
    """Turn whatever a component raises, psyctl's own errors aside, into an error that names it."""
    try:
        yield
    except (PsyctlError, GeneratorExit):
        raise
    except Exception as error:
        raise _fault(found, error) from error


def blamed_items(found: Found, items: Iterable[T]) -> Generator[T, None, None]:
    """Iterate over what a component yields, with :func:`blamed` around each step."""
    with blamed(found):
        yield from items


def _fault(found: Found, error: Exception) -> PluginError:
    return PluginError(
        f"The {found} failed: {type(error).__name__}: {error}",
        "Run again with --debug for the traceback; what was written so far is kept.",
    )


def _components_of(point: importlib_metadata.EntryPoint) -> Iterator[Found]:
    distribution = point.dist.name if point.dist else "unknown"
    version = point.dist.version if point.dist else "unknown"
    if _switched_off(distribution):
        problem = f"switched off by {DISABLE} or --no-plugins"
        yield Found(None, point.name, distribution, version, problem=problem)
        return
    try:
        with _alarm(IMPORT_SECONDS):
            answers = _answers_of(point)
    except (Exception, SystemExit) as error:
        problem = f"{type(error).__name__}: {error}"
        yield Found(None, point.name, distribution, version, problem=problem)
        return
    for kind, component in answers:
        if isinstance(component, Component):
            yield Found(kind, component.name, distribution, version, component, _flaw(component))
        else:
            problem = f"the hook {HOOKS[kind]} gave a {type(component).__name__}, not a Component"
            yield Found(kind, point.name, distribution, version, problem=problem)


def _answers_of(point: importlib_metadata.EntryPoint) -> list[tuple[Kind, object]]:
    """What a plugin's hooks name, once its module is imported and its hooks are known ones."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(point.load(), name=point.name)
    manager.check_pending()
    return [
        (kind, component)
        for kind in KINDS
        for implementation in getattr(manager.hook, HOOKS[kind]).get_hookimpls()
        for component in implementation.function()
    ]


def _switched_off(distribution: str) -> bool:
    named = {_normal(name) for name in os.environ.get(DISABLE, "").split(",")}
    return _normal(distribution) != HOME and bool(named & {"all", _normal(distribution)})


def _normal(name: str) -> str:
    """A distribution's name as https://packaging.python.org/en/latest/specifications/name-normalization/ has it."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in what takes longer; without effect off the main thread and without alarm signals."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: object) -> None:
        del number, frame
        raise TimeoutError(f"its import took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _flaw(component: Component) -> str:
    if component.api_version != API_VERSION:
        return f"it is made for plugin API {component.api_version}; this psyctl has {API_VERSION}"
    if not is_dataclass(component.config):
        return "its config is not a dataclass"
    if ":" not in component.factory:
        return f"its factory {component.factory!r} is not of the form 'package.module:callable'"
    try:
        flags_of(component)
    except (TypeError, NameError) as error:
        return str(error)
    return ""


def _with_clashes_marked(found: list[Found]) -> Iterator[Found]:
    owners: dict[tuple[Any, str], list[Found]] = {}
    for item in found:
        if item.component:
            owners.setdefault((item.kind, item.name), []).append(item)
    for item in found:
        same = owners.get((item.kind, item.name), [])
        rivals = " and ".join(sorted(f"{o.distribution} {o.version}" for o in same))
        yield replace(item, rivals=rivals) if len(same) > 1 else item
