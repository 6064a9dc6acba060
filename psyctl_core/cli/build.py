"""``psyctl dataset.build.caa``: core options, and a flag for every field of every component's config."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from psyctl_core._caa.given import Contrast, PersonaChoice, read_persona_file
from psyctl_core._caa.traits import BIG_FIVE, DARK_TRIAD
from psyctl_core._plugins.flags import flags_of
from psyctl_core._plugins.kinds import KINDS, OF_A_RUN
from psyctl_core._plugins.registry import Registry
from psyctl_core._plugins.selection import Selection, choose
from psyctl_core.components import KindName
from psyctl_core.errors import UsageError
from psyctl_core.terminal import visible

if TYPE_CHECKING:
    from psyctl_core import BuildConfig

COMPONENTS = "Components"
GENERATION = "Generation"
PERSONAS = "Personas"
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
                sections.setdefault(visible(title), []).append((visible(record[0]), visible(record[1])))
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def _names(kind: KindName) -> str:
    return f"{KINDS[kind].help} (default: {KINDS[kind].default}); `psyctl plugins.list` shows all."


def _option(help: str, panel: str | None = None, *names: str) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel)


TRAITS = f"Big Five ({', '.join(BIG_FIVE)}), Dark Triad ({', '.join(DARK_TRIAD)}), or any other"

Personality = Annotated[str, _option(f"Traits, comma-separated: {TRAITS}.")]
Output = Annotated[Path, _option("Folder the dataset goes to; several traits get a folder each.")]
LimitSamples = Annotated[int | None, _option("Pairs wanted in each dataset (default: all the source gives).")]
Source = Annotated[str | None, _option(_names("source"), COMPONENTS)]
Prompter = Annotated[str | None, _option(_names("prompter"), COMPONENTS)]
Backend = Annotated[
    str | None, _option("Who answers (default: follows from --model or --openrouter-api-key).", COMPONENTS)
]
Sink = Annotated[str | None, _option(_names("sink"), COMPONENTS)]
Judge = Annotated[
    str | None,
    _option("Who accepts pairs (default: nobody), such as rubric; the limit counts accepted ones.", COMPONENTS),
]
JudgeBackend = Annotated[
    str | None,
    _option(
        "Who answers the judge (default: whoever answers the scenarios); its options under --judge-…, such as "
        "--judge-model.",
        COMPONENTS,
    ),
]
MaxScenarios = Annotated[int | None, _option("Scenarios to ask about at most, whatever is accepted.", RUN)]
Seed = Annotated[int, _option("Decides answer positions and sampling.", GENERATION)]
Temperature = Annotated[float, _option("0 decodes greedily.", GENERATION)]
MaxTokens = Annotated[int, _option("New tokens an answer may have at most.", GENERATION)]
PersonaFile = Annotated[Path | None, _option("JSON file with descriptions of your own, of either side.", PERSONAS)]
ContrastWith = Annotated[
    Contrast, _option("Who the trait is compared with: somebody neutral, or with little of it.", PERSONAS, "--contrast")
]
Personas = Annotated[int, _option("How many personas are described on each side, dealt to the scenarios.", PERSONAS)]
AnswersPerScene = Annotated[
    int, _option("Pairs made of each scene; they differ by sampling or by their personas.", GENERATION)
]
MaxCost = Annotated[
    float | None, _option("US dollars the run may cost in all, resumes included; it stops before more is spent.", RUN)
]
CheckpointInterval = Annotated[
    int | None, _option("Pairs between two checkpoints (default: 100; env: PSYCTL_CHECKPOINT_INTERVAL).", RUN)
]
BlockSize = Annotated[
    int | None,
    _option("Requests a local model is handed at once (default: about 30 s of work); what a stop may lose.", RUN),
]
Strict = Annotated[bool, _option("Stop where the first 40 pairs' sides hardly differ.", RUN, "--strict")]
Fresh = Annotated[bool, _option("Start another file, even where one could go on.", RUN, "--fresh")]
DryRun = Annotated[bool, _option("Show what would happen; ask and write nothing.", RUN, "--dry-run")]
Quiet = Annotated[bool, _option("Print errors and the datasets' paths only.", RUN, "--quiet")]
Debug = Annotated[bool, _option("Show details, and the traceback of an error.", RUN, "--debug")]


def command(registry: Registry) -> Callable[..., None]:
    """The command with the flags of what is installed."""
    extra, spellings = component_parameters(registry)
    of_judge, judge_spellings = component_parameters(registry, "backend", prefix="judge-", hidden=True)

    def build(
        personality: Personality,
        output: Output,
        limit_samples: LimitSamples = None,
        source: Source = None,
        prompter: Prompter = None,
        backend: Backend = None,
        judge: Judge = None,
        judge_backend: JudgeBackend = None,
        sink: Sink = None,
        seed: Seed = 0,
        temperature: Temperature = 0.0,
        max_tokens: MaxTokens = 64,
        max_scenarios: MaxScenarios = None,
        answers_per_scene: AnswersPerScene = 1,
        persona_file: PersonaFile = None,
        contrast: ContrastWith = "neutral",
        personas: Personas = 1,
        max_cost: MaxCost = None,
        checkpoint_interval: CheckpointInterval = None,
        block_size: BlockSize = None,
        strict: Strict = False,
        fresh: Fresh = False,
        dry_run: DryRun = False,
        quiet: Quiet = False,
        debug: Debug = False,
        **flags: Any,
    ) -> None:
        """Build a contrastive dataset; the same command again continues where it stopped.

        The backend follows from what is given: --model takes hf, --openrouter-api-key takes openrouter.
        """
        from psyctl_core import BuildConfig, Sampling  # not before a run is wanted: help must be quick

        names = {"source": source, "prompter": prompter, "backend": backend, "judge": judge, "sink": sink}
        typed = {name: value for name, value in flags.items() if value is not None}
        given = {spellings[name]: value for name, value in typed.items() if name in spellings}
        for_judge = {judge_spellings[name]: value for name, value in typed.items() if name in judge_spellings}
        own = read_persona_file(persona_file.expanduser()) if persona_file else PersonaChoice()
        config = BuildConfig(
            personality,
            output.expanduser(),
            choose(registry, {kind: name for kind in OF_A_RUN if (name := names[kind])}, given, OF_A_RUN),
            limit_samples,
            Sampling(max_tokens, temperature, seed),
            max_cost,
            checkpoint_interval,
            block_size,
            judge_backend_of(registry, judge_backend, for_judge),
            max_scenarios,
            strict=strict,
            personas=dataclasses.replace(own, contrast=contrast, number=personas),
            answers_per_scene=answers_per_scene,
        )
        _run(config, fresh=fresh, dry_run=dry_run, quiet=quiet, debug=debug)

    return with_parameters(build, [*extra, *(p for p in of_judge if p.name not in spellings)])


def judge_backend_of(registry: Registry, name: str | None, given: Mapping[str, Any]) -> Selection | None:
    """The judge's own backend, if one is asked for. Raises UsageError."""
    if name is None and not given:
        return None
    try:
        return choose(registry, {"backend": name} if name else {}, given, ["backend"])["backend"]
    except UsageError as error:
        message = f"The judge's backend cannot be chosen: {error.message}"
        raise UsageError(message, f"Each of its options has --judge- before its name. {error.hint}") from error


def _run(config: BuildConfig, *, fresh: bool, dry_run: bool, quiet: bool, debug: bool) -> None:
    """Build, or show what would be built, and print it."""
    from psyctl_core import api
    from psyctl_core.cli import render

    if dry_run:
        with render.logging_to_stderr(quiet=quiet, debug=debug):
            render.plan(api.plan(config))
        return
    with render.progress(quiet=quiet, debug=debug) as report_progress:
        report = api.build(config, fresh=fresh, progress=report_progress)
    render.summary(report, quiet=quiet)


def with_parameters(command: Callable[..., None], extra: Sequence[inspect.Parameter]) -> Callable[..., None]:
    """The command with these parameters in the place of its ``**flags``, as typer sees it."""
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "flags"]
    command.__signature__ = inspect.Signature([*own, *extra])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in [*own, *extra]}
    return command


def component_parameters(
    registry: Registry, *kinds: KindName, prefix: str = "", hidden: bool = False
) -> tuple[list[inspect.Parameter], dict[str, str]]:
    """A parameter for each flag of each component, of some kinds or a run's, and the flag each parameter stands for.

    With ``hidden`` the command's help leaves them out. ``prefix`` stands before each flag's name.
    """
    parameters: dict[str, inspect.Parameter] = {}
    spellings = {}
    for registered in (found for kind in kinds or OF_A_RUN for found in registry.usable(kind)):
        panel = f"{registered.origin.kind.capitalize()} '{registered.origin.name}'"
        for flag in flags_of(registered.component):
            spelling = f"--{prefix}{flag.spelling[2:]}"
            name = spelling.lstrip("-").replace("-", "_")
            if name in parameters:
                continue
            both = f"{spelling}/--no-{spelling[2:]}" if flag.type is bool else spelling
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
