"""The commands of ``psyctl``, with the flags of every installed component."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Annotated, Any

import importlib_metadata
import typer

from psyctl_core._plugins.registry import RegisteredCommand, discover, load
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


def make_app() -> typer.Typer:
    """The application; its flags depend on what is installed, so it is made anew each time."""
    registry = discover()
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

    app.command("dataset.build.caa", cls=build.BuildCommand, epilog=EXIT_CODES)(build.command(registry))
    app.command("dataset.status")(status.command(registry))
    app.command("dataset.show")(_logged(show.command(registry)))
    app.command("dataset.judge", cls=build.GroupedCommand)(judge.command(registry))
    app.command("dataset.check")(check.command(registry))
    app.command("dataset.export", cls=export.ExportCommand)(_logged(export.command(registry)))
    app.command("dataset.split", cls=build.GroupedCommand)(_logged(derive.split_command(registry)))
    app.command("dataset.merge", cls=build.GroupedCommand)(_logged(derive.merge_command(registry)))
    app.command("source.preview", cls=build.GroupedCommand)(preview.command(registry))
    app.command("recipe.show", cls=build.GroupedCommand)(recipe.command(registry))
    app.command("doctor")(doctor.command(registry))
    app.command("plugins.list")(plugins.command(registry))
    app.command("plugins.check")(plugins.check_command(registry))
    for registered in registry.commands():
        app.command(registered.command.name, help=visible(registered.command.summary))(_function_of(registered))
    return app


def _function_of(registered: RegisteredCommand) -> Callable[..., None]:
    """A plugin's command: its own function if it is what was typed, for help must import nothing heavy."""
    if registered.command.name not in typed_words():
        return lambda: None
    return _logged(load(registered.command.factory, registered.origin))


def _logged(function: Callable[..., None]) -> Callable[..., None]:
    """A command's function with what psyctl logs meanwhile on stderr."""

    @functools.wraps(function)
    def with_log(*given: Any, **named: Any) -> None:
        from psyctl_core.cli.live import logging_to_stderr

        with logging_to_stderr(quiet=False, debug="--debug" in sys.argv):
            function(*given, **named)

    return with_log


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"psyctl {importlib_metadata.version('psyctl')}")
        raise typer.Exit
