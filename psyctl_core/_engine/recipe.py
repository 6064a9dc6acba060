"""Reads a recipe: a job as a YAML file whose keys are the command line's options without their dashes.

A recipe means what the same options mean typed. Which options there are beside the components' own, and of which type,
is what the schema ``recipe`` says.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
import typing
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from psyctl_core import schema
from psyctl_core._engine.asked import Asked
from psyctl_core._engine.plain_yaml import List, Map, Node, Text, plain, read
from psyctl_core._plugins.flags import FLAGS_OF_THE_CORE, Flag, flags_of
from psyctl_core._plugins.kinds import OF_A_RUN
from psyctl_core._plugins.registry import Registered, Registry
from psyctl_core.components import KindName
from psyctl_core.errors import UsageError
from psyctl_core.options import PASSWORD

RECIPE = "recipe"
VERSION = "format-version"
COMPONENT = "component"
JUDGE_BACKEND = "judge-backend"

SECTIONS: Mapping[str, KindName] = {**{kind: kind for kind in OF_A_RUN}, JUDGE_BACKEND: "backend"}
"""The keys that hold a component, and the component's kind."""

ENV = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
"""How a recipe names the variable that holds a secret."""

_TYPES = {"integer": int, "number": float, "boolean": bool, "string": str}
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@functools.cache
def core_options() -> dict[str, dict[str, Any]]:
    """What the schema says of each option that is no component's."""
    found: dict[str, dict[str, Any]] = schema.load(RECIPE)["properties"]
    return {name: inner for name, inner in found.items() if name not in (*SECTIONS, VERSION)}


def prefix_of(section: str) -> str:
    """What stands before the options of a section's component: those of a judge's backend begin with ``judge-``."""
    return "judge-" if section == JUDGE_BACKEND else ""


class Recipe:
    """A recipe that was read.

    Args:
        path: The file.
        registry: What is installed.

    Raises:
        UsageError: The file cannot be read, or is no YAML map.
    """

    def __init__(self, path: Path, registry: Registry) -> None:
        self._path = path
        self._registry = registry
        self._root = read(path, RECIPE)
        self.notes: list[str] = []

    def asked(self, typed: Mapping[str, Any]) -> Asked:
        """What the recipe asks for, but for what was typed beside it, which wins; what is left out goes to ``notes``.

        Args:
            typed: Values by the options' spellings, such as ``--limit-samples``.

        Raises:
            UsageError: A key is unknown, or holds something else than its option takes.
        """
        asked = Asked()
        for name, node in self._root.items.items():
            if name in SECTIONS:
                self._take_section(name, node, typed, asked)
            elif name == VERSION:
                self._check_version(node)
            elif name not in core_options():
                raise self._unknown(name, self._root.lines[name], [*core_options(), *SECTIONS])
            elif f"--{name}" not in typed:
                asked.core[name.replace("-", "_")] = self._core_value(name, node)
        return asked

    def _take_section(self, section: str, node: Node, typed: Mapping[str, Any], asked: Asked) -> None:
        """One component: its name, and its options."""
        found = Map(node.line, {COMPONENT: node}, {COMPONENT: node.line}) if isinstance(node, Text) else node
        if not isinstance(found, Map):
            raise self._wrong(f"{section} holds a list where a name or a map of options is wanted", node)
        name = self._text(f"{section}'s {COMPONENT}", found.items[COMPONENT]) if COMPONENT in found.items else ""
        kind, typed_name = SECTIONS[section], typed.get(f"--{section}") or ""
        chosen = self._registry.get(kind, name) if name else None
        if typed_name:
            instead = self._registry.get(kind, typed_name)
            if chosen is not None and chosen is not instead:
                self.notes.append(f"The recipe's {section} '{name}', with its options, gives way to '{typed_name}'.")
                return
            chosen = instead
        elif name:
            asked.core[section.replace("-", "_")] = name
        into = asked.judge if section == JUDGE_BACKEND else asked.components
        known = self._flags(section)
        over = {
            (owner.origin, flag.field) for key, pairs in known.items() if f"--{key}" in typed for owner, flag in pairs
        }
        for key, value in found.items.items():
            if key == COMPONENT:
                continue
            if key not in known:
                raise self._unknown(key, found.lines[key], known, f" in the section {section}")
            owner, flag = next((pair for pair in known[key] if pair[0] is chosen), known[key][0])
            if chosen not in (None, owner):
                raise self._wrong(
                    f"{key} belongs to the {owner.origin}, and the {section} is '{chosen.origin.name}'", value
                )
            if (owner.origin, flag.field) not in over:
                into[flag.spelling] = self._component_value(key, value, flag)

    def _flags(self, section: str) -> dict[str, list[tuple[Registered, Flag]]]:
        """The options that a section can hold, by key; components may share a short one."""
        found: dict[str, list[tuple[Registered, Flag]]] = {}
        for registered in self._registry.usable(SECTIONS[section]):
            for flag in flags_of(registered.component):
                found.setdefault(f"{prefix_of(section)}{flag.spelling[2:]}", []).append((registered, flag))
        return found

    def _component_value(self, key: str, node: Node, flag: Flag) -> Any:
        if isinstance(node, Text) and PASSWORD.search(node.text):
            raise self._wrong(
                f"{key} holds an address with a password, which may not stand in a file", node, f"Type --{key}."
            )
        if not flag.is_secret:
            return self._converted(key, node, typing.get_args(flag.type) or flag.type)
        named = ENV.fullmatch(self._text(key, node))
        if named is None:  # what stands there is not repeated
            raise self._wrong(f"{key} is a secret, which may not stand in a file", node, f"Write {key}: env:VARIABLE.")
        value = os.environ.get(named[1], "").strip()
        if not value:
            problem = f"{key} is to be read from the variable {named[1]}, which is not set"
            raise self._wrong(problem, node, f"Set {named[1]}, or type --{key}.")
        return value

    def _core_value(self, name: str, node: Node) -> Any:
        if name == "persona-file":
            return plain(node) if isinstance(node, Map) else Path(self._text(name, node))
        if name == "personality" and isinstance(node, List):
            return ", ".join(self._text(name, item) for item in node.items)
        inner = core_options()[name]
        return self._converted(
            name, node, tuple(inner["enum"]) if "enum" in inner else _TYPES.get(str(inner["type"]), str)
        )

    def _converted(self, name: str, node: Node, wanted: type[Any] | tuple[str, ...]) -> Any:
        """A text as an option's type reads it on the command line."""
        text = self._text(name, node)
        convert: Callable[[str], Any] = (
            wanted if isinstance(wanted, type) else (lambda text: wanted[wanted.index(text)])
        )
        if wanted is bool:
            convert = lambda text: _BOOLEANS[text.lower()]  # noqa: E731
        try:
            return convert(text)
        except (ValueError, KeyError):
            needs = {int: "a whole number", float: "a number", bool: "true or false"}
            what = needs[wanted] if isinstance(wanted, type) else f"one of {', '.join(wanted)}"
            raise self._wrong(f"{name} is '{text:.60}' where {what} is wanted", node) from None

    def _text(self, name: str, node: Node) -> str:
        if not isinstance(node, Text):
            raise self._wrong(
                f"{name} holds a {'list' if isinstance(node, List) else 'map'} where one value is wanted", node
            )
        if node.is_empty:
            raise self._wrong(
                f"{name} has no value", node, "Write one, in quotation marks if need be, or leave it out."
            )
        return node.text

    def _check_version(self, node: Node) -> None:
        version, known = self._text(VERSION, node), schema.VERSIONS[RECIPE]
        if version != str(known):
            raise self._wrong(f"{VERSION} is '{version:.60}', and this psyctl reads {known}", node, "Update psyctl.")

    def _unknown(self, name: str, line: int, known: Collection[str], where: str = "") -> UsageError:
        bare = name.lstrip("-").replace("_", "-")
        home = next((section for section in SECTIONS if bare in self._flags(section)), "")
        near = [bare] if bare in known else difflib.get_close_matches(bare, known, n=3, cutoff=0.6)
        if home and bare not in known:
            hint = f"It belongs into the section {home}."
        elif bare in core_options() and bare not in known:
            hint = "It belongs to the recipe itself, outside of sections."
        elif f"--{bare}" in FLAGS_OF_THE_CORE and bare not in known:
            hint = f"Type --{bare} beside --recipe."
        else:
            hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(sorted(known))}."
        return self._wrong_at(line, f"'{name:.60}' is no option{where}", hint)

    def _wrong(self, problem: str, node: Node, hint: str = "Mend the file.") -> UsageError:
        return self._wrong_at(node.line, problem, hint)

    def _wrong_at(self, line: int, problem: str, hint: str) -> UsageError:
        return UsageError(f"The recipe '{self._path}', line {line} cannot be used: {problem}.", hint)
