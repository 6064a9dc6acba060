"""``psyctl dataset.build.caa``: core options, and a flag for every field of every component's config."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from psyctl_core._caa.traits import BIG_FIVE, DARK_TRIAD
from psyctl_core._plugins.flags import flags_of
from psyctl_core._plugins.kinds import KINDS
from psyctl_core._plugins.registry import Registry
from psyctl_core._plugins.selection import choose
from psyctl_core.components import KindName

COMPONENTS = "Components"
GENERATION = "Generation"
RUN = "Run"


class GroupedCommand(TyperCommand):
    """Lists options under their panel's title as plain text, in a third of the time that drawn panels take."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one section for each panel, in the order of first use."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                title = getattr(parameter, "rich_help_panel", None) or "Options"
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def command(registry: Registry) -> Callable[..., None]:
    """The command with the flags of what is installed."""

    def build(
        personality: Annotated[
            str,
            typer.Option(
                help="Traits, comma-separated: Big Five ("
                + ", ".join(BIG_FIVE)
                + "), Dark Triad ("
                + ", ".join(DARK_TRIAD)
                + "), or any other.",
            ),
        ],
        output: Annotated[Path, typer.Option(help="Folder the dataset goes to; several traits get a folder each.")],
        limit_samples: Annotated[
            int | None, typer.Option(help="Pairs wanted in each dataset (default: all the source gives).")
        ] = None,
        source: Annotated[
            str | None,
            typer.Option(help=_names("source"), rich_help_panel=COMPONENTS),
        ] = None,
        prompter: Annotated[
            str | None,
            typer.Option(help=_names("prompter"), rich_help_panel=COMPONENTS),
        ] = None,
        backend: Annotated[
            str | None,
            typer.Option(
                help="Who answers (default: follows from --model or --openrouter-api-key).", rich_help_panel=COMPONENTS
            ),
        ] = None,
        sink: Annotated[str | None, typer.Option(help=_names("sink"), rich_help_panel=COMPONENTS)] = None,
        seed: Annotated[
            int, typer.Option(help="Decides answer positions and sampling.", rich_help_panel=GENERATION)
        ] = 0,
        temperature: Annotated[float, typer.Option(help="0 decodes greedily.", rich_help_panel=GENERATION)] = 0.0,
        max_tokens: Annotated[
            int, typer.Option(help="New tokens an answer may have at most.", rich_help_panel=GENERATION)
        ] = 64,
        max_cost: Annotated[
            float | None,
            typer.Option(
                help="US dollars the run may cost in all, resumes included; it stops before more is spent.",
                rich_help_panel=RUN,
            ),
        ] = None,
        checkpoint_interval: Annotated[
            int | None,
            typer.Option(
                help="Pairs between two checkpoints (default: 100; env: PSYCTL_CHECKPOINT_INTERVAL).",
                rich_help_panel=RUN,
            ),
        ] = None,
        block_size: Annotated[
            int | None,
            typer.Option(
                help="Requests a local model is handed at once (default: about 30 s of work); what a stop may lose.",
                rich_help_panel=RUN,
            ),
        ] = None,
        fresh: Annotated[
            bool,
            typer.Option("--fresh", help="Start another file, even where one could go on.", rich_help_panel=RUN),
        ] = False,
        dry_run: Annotated[
            bool,
            typer.Option("--dry-run", help="Show what would happen; ask and write nothing.", rich_help_panel=RUN),
        ] = False,
        quiet: Annotated[
            bool,
            typer.Option("--quiet", help="Print errors and the datasets' paths only.", rich_help_panel=RUN),
        ] = False,
        debug: Annotated[
            bool,
            typer.Option("--debug", help="Show details, and the traceback of an error.", rich_help_panel=RUN),
        ] = False,
        **flags: Any,
    ) -> None:
        """Build a contrastive dataset; the same command again continues where it stopped.

        The backend follows from what is given: --model takes hf, --openrouter-api-key takes openrouter.
        """
        from psyctl_core import BuildConfig, Sampling, api  # not before a run is wanted: help must be quick
        from psyctl_core.cli import render

        names = {"source": source, "prompter": prompter, "backend": backend, "sink": sink}
        given = {spellings[name]: value for name, value in flags.items() if value is not None}
        config = BuildConfig(
            personality=personality,
            output=output.expanduser(),
            components=choose(registry, {kind: name for kind in KINDS if (name := names[kind])}, given),
            limit_samples=limit_samples,
            sampling=Sampling(max_tokens, temperature, seed),
            max_cost=max_cost,
            checkpoint_interval=checkpoint_interval,
            block_size=block_size,
        )
        if dry_run:
            with render.logging_to_stderr(quiet=quiet, debug=debug):
                render.plan(api.plan(config))
            return
        with render.progress(quiet=quiet, debug=debug) as report_progress:
            report = api.build(config, fresh=fresh, progress=report_progress)
        render.summary(report, quiet=quiet)

    extra, spellings = component_parameters(registry)
    return with_parameters(build, extra)


def _names(kind: KindName) -> str:
    return f"{KINDS[kind].help} (default: {KINDS[kind].default}); `psyctl plugins.list` shows all."


def with_parameters(command: Callable[..., None], extra: Sequence[inspect.Parameter]) -> Callable[..., None]:
    """The command with these parameters in the place of its ``**flags``, as typer sees it."""
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "flags"]
    command.__signature__ = inspect.Signature([*own, *extra])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in [*own, *extra]}
    return command


def component_parameters(
    registry: Registry, kind: KindName | None = None, *, hidden: bool = False
) -> tuple[list[inspect.Parameter], dict[str, str]]:
    """A parameter for each flag of each component, of one kind or all, and the flag each parameter stands for.

    With ``hidden`` the command's help leaves them out.
    """
    parameters: dict[str, inspect.Parameter] = {}
    spellings = {}
    for registered in registry.usable(kind):
        panel = f"{registered.origin.kind.capitalize()} '{registered.origin.name}'"
        for flag in flags_of(registered.component):
            name = flag.spelling.lstrip("-").replace("-", "_")
            if name in parameters:
                continue
            both = f"{flag.spelling}/--no-{flag.spelling[2:]}" if flag.type is bool else flag.spelling
            option = typer.Option(
                both,
                help=flag.help,
                rich_help_panel=panel,
                hidden=hidden or flag.hidden,
                show_default=False,
            )
            parameters[name] = inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[flag.type | None, option],
            )
            spellings[name] = flag.spelling
    return list(parameters.values()), spellings
