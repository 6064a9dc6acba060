"""``psyctl dataset.export``: a dataset as another tool reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from psyctl_core._plugins.registry import Registry, make
from psyctl_core._plugins.selection import choose, config_of
from psyctl_core.cli.build import Debug, GroupedCommand, component_parameters, typed, with_parameters
from psyctl_core.cli.completion import components
from psyctl_core.components import Context
from psyctl_core.errors import PsyctlError, UsageError
from psyctl_core.figures import counted
from psyctl_core.terminal import say

if TYPE_CHECKING:
    from psyctl_core import ExportReport

TO = "--to"


class ExportCommand(GroupedCommand):
    """Takes ``--to`` without a value, which lists what there is."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a bare ``--to`` an empty value."""
        full = []
        for word, following in zip(args, [*args[1:], "--"], strict=True):
            full += [word, ""] if word == TO and following.startswith("-") else [word]
        return super().parse_args(ctx, full)


def command(registry: Registry) -> Callable[..., None]:
    """The command with the flags of the exporters."""
    extra, spellings = component_parameters(registry, "exporter")

    def export(
        dataset: Annotated[
            Path | None, typer.Argument(help="A dataset file, or a folder: then those of its newest run.")
        ] = None,
        to: Annotated[
            str,
            typer.Option(
                TO, help="The tool to write for; without a value: lists them.", autocompletion=components("exporter")
            ),
        ] = "",
        output: Annotated[
            Path | None, typer.Option(help="New folder to write to; several traits get a folder each.")
        ] = None,
        held_out: Annotated[
            int, typer.Option(help="Pairs of each dataset to keep back for a test, spread evenly.", min=0)
        ] = 0,
        debug: Debug = False,
        **flags: Any,
    ) -> None:
        """Write a dataset as another tool reads it, and say what to run there next.

        Where a tool reads the letter of an option, every pair is written in both orders.
        """
        del debug  # read where errors become text
        if not to:
            _list(registry)
            return
        if dataset is None or output is None:
            raise UsageError(
                f"Nothing says {'which dataset' if dataset is None else 'where'} to export{' to' * (output is None)}.",
                f"Type: psyctl dataset.export DATASET --to {to} --output FOLDER",
            )
        selection = choose(registry, {"exporter": to}, typed(flags, spellings), ["exporter"])["exporter"]
        from psyctl_core import export_dataset

        reports = export_dataset(dataset, output, selection, held_out=held_out)
        if len(reports) > 1:
            say(f"{counted(len(reports), 'dataset')}, a folder each in {output}.")
        for report in reports:
            _show(report)

    return with_parameters(export, extra)


def _show(report: ExportReport) -> None:
    held_out = f", {report.held_out} more held out" if report.held_out else ""
    say(f"{report.trait}: {counted(report.pairs, 'pair')}{held_out}, from {report.location}")
    for file in report.files:
        say(f"  {report.folder / file}")
    for note in report.notes:
        say(f"Note: {note}")
    say(f"Next: {report.next}\n")


def _list(registry: Registry) -> None:
    """Print each exporter: what it writes, and what the tool reads of it."""
    for registered in registry.usable("exporter"):
        try:
            reads = make(registered, config_of(registered, {}), Context()).reads
        except PsyctlError as error:
            reads = error.message
        name = registered.full_name if registered.rivals else registered.origin.name
        say(f"{name}\n  writes: {registered.component.summary}\n  reads:  {reads}")
