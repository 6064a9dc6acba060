"""What the core offers to others: the names, typed, and nothing behind an underscore."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
from typer.models import OptionInfo

import psyctl_core
from psyctl_core import checks, components, options, records
from psyctl_core._plugins.flags import COMMANDS_OF_THE_CORE, FLAGS_OF_THE_CORE
from psyctl_core._plugins.registry import discover
from psyctl_core.cli.app import make_app

ROOT = Path(psyctl_core.__file__).parent
PLUGINS = ROOT.parent / "plugins"
PUBLIC = {
    "budget", "checks", "components", "errors", "figures", "files", "hookspecs", "local_models", "markup", "options",
    "records", "schema", "terminal",
}  # fmt: skip


def test_every_public_name_is_there_and_every_name_is_stated():
    assert sorted(psyctl_core.__all__) == sorted(set(psyctl_core.__all__))
    for name in psyctl_core.__all__:
        assert getattr(psyctl_core, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        psyctl_core.nothing  # noqa: B018 - the access is the test


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module} | {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }


def test_the_built_in_plugins_import_what_a_stranger_may_import():
    for path in PLUGINS.rglob("*.py"):
        for module in imported(path):
            parts = module.split(".")
            if parts[0] == "psyctl_core" and len(parts) > 1:
                assert parts[1] in PUBLIC, f"{path.name} imports {module}"


def border() -> list[tuple[str, object]]:
    """Every annotation of the records, the options and the protocols."""
    found: list[tuple[str, object]] = []
    for module in (checks, components, options, records):
        for name, thing in vars(module).items():
            if getattr(thing, "__module__", "") != module.__name__ or name.startswith("_"):
                continue
            members = (
                [thing, *(v for k, v in vars(thing).items() if not k.startswith("_") or k == "__call__")]
                if (inspect.isclass(thing))
                else [thing]
            )
            for member in members:
                if inspect.isclass(member) or inspect.isfunction(member):
                    found += [(f"{name}.{k}", v) for k, v in getattr(member, "__annotations__", {}).items()]
    return found


def test_nothing_at_the_plugin_border_is_untyped():
    found = border()
    assert len(found) > 80
    for name, annotation in found:
        assert not re.search(r"\b(Any|object)\b", str(annotation)), f"{name}: {annotation}"


def test_the_options_that_no_component_may_take_are_those_of_the_commands():
    theirs = {found.command.name for found in discover().commands()}
    commands = [command for command in make_app().registered_commands if command.name not in theirs]
    assert {command.name for command in commands} == COMMANDS_OF_THE_CORE
    own = set()
    for command in commands:
        for parameter in inspect.signature(command.callback).parameters.values():
            for info in getattr(parameter.annotation, "__metadata__", ()):
                if isinstance(info, OptionInfo) and "'" not in (info.rich_help_panel or ""):  # not a component's
                    spelled = [text for text in (info.default, *(info.param_decls or ())) if isinstance(text, str)]
                    own |= set(spelled or [f"--{parameter.name.replace('_', '-')}"])
    assert own
    assert own - FLAGS_OF_THE_CORE == set()
