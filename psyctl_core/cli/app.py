"""The commands of ``psyctl``, with the flags of every installed component."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import importlib_metadata
import typer

from psyctl_core._plugins.registry import RegisteredCommand, Registry, discover, load
from psyctl_core.cli import build, check, derive, doctor, export, judge, plugins, preview, recipe, show, status
from psyctl_core.cli.completion import typed_words
from psyctl_core.terminal import say, visible

HELP = """Build contrastive (CAA) datasets that steering vectors are extracted from.

Start with: psyctl dataset.build.caa --model embedded --source starter --prompter static
--personality Extroversion --limit-samples 20 --output ./dataset/extroversion
"""

EXIT_CODES = """Leaves with 0 done; 1 failed, and again unless something is changed; 2 not as typed; 3 a check failed;
4 done, with fewer pairs than wanted; 75 try later: a server, a limit or a budget; 130 or 143 stopped.
"""


Maker = Callable[[Registry], Callable[..., None]]


def _logged(function: Callable[..., None]) -> Callable[..., None]:
    """A command's function with what psyctl logs meanwhile on stderr."""

    @functools.wraps(function)
    def with_log(*given: Any, **named: Any) -> None:
        from psyctl_core.cli.live import logging_to_stderr

        with logging_to_stderr(quiet=False, debug="--debug" in sys.argv):
            function(*given, **named)

    return with_log


def _with_log(maker: Maker) -> Maker:
    return lambda registry: _logged(maker(registry))


CORE: Mapping[str, tuple[Maker, dict[str, Any]]] = {
    "dataset.build.caa": (build.command, {"cls": build.BuildCommand, "epilog": EXIT_CODES}),
    "dataset.status": (status.command, {}),
    "dataset.show": (_with_log(show.command), {}),
    "dataset.judge": (judge.command, {"cls": build.GroupedCommand}),
    "dataset.check": (check.command, {}),
    "dataset.export": (_with_log(export.command), {"cls": export.ExportCommand}),
    "dataset.split": (_with_log(derive.split_command), {"cls": build.GroupedCommand}),
    "dataset.merge": (_with_log(derive.merge_command), {"cls": build.GroupedCommand}),
    "source.preview": (preview.command, {"cls": build.GroupedCommand}),
    "recipe.show": (recipe.command, {"cls": build.GroupedCommand}),
    "doctor": (doctor.command, {}),
    "plugins.list": (plugins.command, {}),
    "plugins.check": (plugins.check_command, {}),
}
"""psyctl's own commands: what makes each, and how it shows itself."""


def make_app(*, for_typed: bool = False) -> typer.Typer:
    """The application; its flags depend on what is installed, so it is made anew each time.

    Args:
        for_typed: Where a command is typed, leave the others with their names alone: the flags of all of them take a
            while to make.
    """
    registry = discover()
    first = "".join(typed_words()[:1]) if for_typed else ""
    alone = first if first in {*CORE, *(each.command.name for each in registry.commands())} else ""
    app = typer.Typer(
        name="psyctl", help=HELP, no_args_is_help=True, pretty_exceptions_enable=False,
        rich_markup_mode=None, epilog=EXIT_CODES,
    )  # fmt: skip

    @app.callback()
    def root(
        version: Annotated[
            bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
        ] = False,
        no_plugins: Annotated[
            bool, typer.Option("--no-plugins", help="Do without plugins that others than psyctl supply.")
        ] = False,
    ) -> None:
        del version, no_plugins

    for name, (command, options) in CORE.items():
        app.command(name, **options)(command(registry) if alone in ("", name) else _nothing)
    for registered in registry.commands():
        app.command(registered.command.name, help=visible(registered.command.summary))(_function_of(registered))
    return app


def _function_of(registered: RegisteredCommand) -> Callable[..., None]:
    """A plugin's command: its own function if it is what was typed, for help must import nothing heavy."""
    if registered.command.name not in typed_words():
        return _nothing
    return _logged(load(registered.command.factory, registered.origin))


def _nothing() -> None:
    """Stands for a command that is not the typed one."""


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"psyctl {importlib_metadata.version('psyctl')}")
        raise typer.Exit
