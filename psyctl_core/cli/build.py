"""``psyctl dataset.build.caa``: core options, and a flag for every field of every component's config."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer
from typer.core import TyperCommand

from psyctl_core._caa.given import Contrast
from psyctl_core._caa.traits import BIG_FIVE, DARK_TRIAD
from psyctl_core._plugins.flags import flags_of
from psyctl_core._plugins.kinds import KINDS, OF_A_RUN
from psyctl_core._plugins.registry import Registry, discover
from psyctl_core.cli.completion import Completion, components, traits, values
from psyctl_core.components import KindName
from psyctl_core.errors import ExitCode
from psyctl_core.terminal import say, say_json, visible

if TYPE_CHECKING:
    from psyctl_core import BuildConfig, Report
    from psyctl_core._engine.asked import Asked
    from psyctl_core.records import JsonValue

OPTIONS = "Options"
COMPONENTS = "Components"
GENERATION = "Generation"
PERSONAS = "Personas"
RUN = "Run"


class GroupedCommand(TyperCommand):
    """Lists options under their panel's title as plain text, in a third of the time that drawn panels take.

    What ``--help`` leaves out is listed by ``--help-all``.
    """

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one section for each panel, in the order of first use."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                title = getattr(parameter, "rich_help_panel", None) or OPTIONS
                sections.setdefault(visible(title), []).append((visible(record[0]), visible(record[1])))
        for title in sorted(sections, key=lambda title: title != OPTIONS):
            with formatter.section(title):
                formatter.write_dl(sections[title])

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Offer what ``--help`` lists, and as soon as some letters are typed every option that begins so."""
        if incomplete.strip("-"):
            _show_all(self)
        return super().shell_complete(ctx, incomplete)


def _help_with_all(ctx: typer.Context, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        _show_all(ctx.command)
        say(ctx.get_help())
        raise typer.Exit


def _show_all(command: Any) -> None:
    for parameter in command.params:
        if hasattr(parameter, "hidden"):
            parameter.hidden = False


class BuildCommand(GroupedCommand):
    """Takes from a recipe what was not typed."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read ``--recipe``, and let what it says stand in for defaults."""
        typed = self.make_parser(ctx).parse_args(list(args))[0]
        given: dict[str, Any] = {}
        if typed.get("recipe") and not ctx.resilient_parsing:
            given = self._from_recipe(Path(typed["recipe"]).expanduser(), typed)
        personas = given.get("persona_file")
        described = (
            {} if personas is None or isinstance(personas, Path) else {"persona_file": given.pop("persona_file")}
        )
        ctx.default_map = {**(ctx.default_map or {}), **given}
        rest: list[str] = super().parse_args(ctx, args)
        ctx.params.update(described)
        return rest

    def _from_recipe(self, path: Path, typed: Mapping[str, Any]) -> dict[str, Any]:
        """What the recipe says of parameters that were not typed, by their names."""
        from psyctl_core._engine.recipe import Recipe

        names = {parameter.opts[0]: parameter.name for parameter in self.params}
        recipe = Recipe(path, discover())
        asked = recipe.asked({spelling: typed[name] for spelling, name in names.items() if name in typed})
        for note in () if typed.get("quiet") else recipe.notes:
            say(note, err=True)
        judge = {f"--judge-{spelling[2:]}": value for spelling, value in asked.judge.items()}
        return asked.core | {names[spelling]: value for spelling, value in (asked.components | judge).items()}


def _names(kind: KindName) -> str:
    return f"{KINDS[kind].help} (default: {KINDS[kind].default}); `psyctl plugins.list` shows all."


def _option(
    help: str, panel: str | None = None, *names: str, rare: bool = False, complete: Completion | None = None
) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, hidden=rare, autocompletion=complete)


HelpAll = Annotated[
    bool | None,
    typer.Option(
        "--help-all",
        help="Show every option and exit.",
        is_eager=True,
        expose_value=False,
        callback=lambda ctx, value: _help_with_all(ctx, value),
    ),
]

TRAITS = f"Big Five ({', '.join(BIG_FIVE)}), Dark Triad ({', '.join(DARK_TRIAD)}), or any other"

Personality = Annotated[str, _option(f"Traits, comma-separated: {TRAITS}.", complete=traits)]
Output = Annotated[Path, _option("Folder the dataset goes to; several traits get a folder each.")]
LimitSamples = Annotated[int | None, _option("Pairs wanted in each dataset (default: all the source gives).")]
Source = Annotated[str | None, _option(_names("source"), COMPONENTS, complete=components("source"))]
Prompter = Annotated[str | None, _option(_names("prompter"), COMPONENTS, complete=components("prompter"))]
Backend = Annotated[
    str | None,
    _option(
        "Who answers (default: follows from --model or --openrouter-api-key).",
        COMPONENTS,
        complete=components("backend"),
    ),
]
Sink = Annotated[str | None, _option(_names("sink"), COMPONENTS, complete=components("sink"))]
Judge = Annotated[
    str | None,
    _option(
        "Who accepts pairs (default: nobody), such as rubric; the limit counts accepted ones.",
        COMPONENTS,
        complete=components("judge"),
    ),
]
JudgeBackend = Annotated[
    str | None,
    _option(
        "Who answers the judge (default: whoever answers the scenarios); its options under --judge-…, such as "
        "--judge-model.",
        COMPONENTS,
        complete=components("backend"),
    ),
]
RunnerName = Annotated[str | None, _option(_names("runner"), COMPONENTS, complete=components("runner"))]
MaxScenarios = Annotated[int | None, _option("Scenarios to ask about at most, whatever is accepted.", RUN, rare=True)]
Seed = Annotated[int, _option("Decides answer positions and sampling.", GENERATION)]
Temperature = Annotated[float, _option("0 decodes greedily; above it answers begin less alike.", GENERATION)]
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
    _option(
        "Requests a local model is handed at once (default: about 30 s of work); what a stop may lose.", RUN, rare=True
    ),
]
FromRecipe = Annotated[
    Path | None,
    _option("YAML file with options, as recipe.show writes; what is typed beside it wins.", RUN, "--recipe"),
]
Strict = Annotated[bool, _option("Stop where the first 40 pairs' sides hardly differ.", RUN, "--strict")]
Fresh = Annotated[bool, _option("Start another file, even where one could go on.", RUN, "--fresh")]
DryRun = Annotated[
    bool, _option("Show how many calls, how much money and how long; ask and write nothing.", RUN, "--dry-run")
]
SampleSize = Annotated[
    int | None,
    _option(
        "Ask about so many scenarios only, and tell from them how good the pairs are and what all would take.",
        RUN,
        "--sample",
    ),
]
ShowPrompts = Annotated[bool, _option("With --dry-run: show the prompts and a request too.", RUN, "--show-prompts")]
AsJson = Annotated[bool, _option("Print the summary, or the dry run, as JSON for programs.", RUN, "--json")]
Style: TypeAlias = Literal["auto", "plain", "json"]
ProgressStyle = Annotated[
    Style,
    _option("How progress is shown on stderr: json is an event a line for programs.", RUN, "--progress"),
]
LogFile = Annotated[
    Path | None, _option("Append what happens to this file too; the run folder's log.txt has it anyway.", RUN)
]
Quiet = Annotated[bool, _option("Print errors, the datasets' paths and what is lacking of them only.", RUN, "--quiet")]
Debug = Annotated[bool, _option("Show details, and the traceback of an error.", RUN, "--debug")]


def _job(
    personality: Personality,
    output: Output,
    limit_samples: LimitSamples = None,
    source: Source = None,
    prompter: Prompter = None,
    backend: Backend = None,
    judge: Judge = None,
    judge_backend: JudgeBackend = None,
    runner: RunnerName = None,
    sink: Sink = None,
    seed: Seed = 0,
    temperature: Temperature = 0.8,
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
) -> None:
    """A job's options besides its components': the commands that are about a job take them over."""


def command(registry: Registry) -> Callable[..., None]:
    """The command with the flags of what is installed."""
    core, of_components, asked_of = job_parameters(registry)

    def build(
        recipe: FromRecipe = None,
        fresh: Fresh = False,
        dry_run: DryRun = False,
        sample: SampleSize = None,
        show_prompts: ShowPrompts = False,
        as_json: AsJson = False,
        progress: ProgressStyle = "auto",
        log_file: LogFile = None,
        quiet: Quiet = False,
        debug: Debug = False,
        **flags: Any,
    ) -> None:
        """Build a contrastive dataset; the same command again continues where it stopped.

        The backend follows from what is given: --model takes hf, --openrouter-api-key takes openrouter.
        """
        from psyctl_core._engine.asked import job_of  # not before a run is wanted: help must be quick

        del recipe  # read where options are parsed
        config = job_of(registry, asked_of(flags))
        if sample is not None:
            _sample(config, sample, progress, fresh=fresh, as_json=as_json, log_file=log_file, quiet=quiet, debug=debug)
        elif dry_run:
            _plan(config, fresh=fresh, prompts=show_prompts, as_json=as_json, quiet=quiet, debug=debug)
        else:
            report = run(config, progress, fresh=fresh, log_file=log_file, quiet=quiet, debug=debug)
            shown([report], report.as_json() if as_json else None, quiet=quiet)

    return with_parameters(build, of_components, first=core)


def job_parameters(
    registry: Registry,
) -> tuple[list[inspect.Parameter], list[inspect.Parameter], Callable[[Mapping[str, Any]], Asked]]:
    """The parameters that describe a job, its components' apart, and what makes of values what was asked for."""
    core = list(inspect.signature(_job, eval_str=True).parameters.values())
    extra, spellings = component_parameters(registry)
    of_judge, judge_spellings = component_parameters(registry, "backend", prefix="judge-", hidden=True)
    own = {parameter.name for parameter in core}

    def asked_of(values: Mapping[str, Any]) -> Asked:
        from psyctl_core._engine.asked import Asked

        of_the_core = {name: value for name, value in values.items() if name in own and value is not None}
        return Asked(of_the_core, typed(values, spellings), typed(values, judge_spellings))

    return core, [*extra, *(p for p in of_judge if p.name not in spellings)], asked_of


def _plan(config: BuildConfig, *, fresh: bool, prompts: bool, as_json: bool, quiet: bool, debug: bool) -> None:
    """Show what would be built."""
    from psyctl_core import api
    from psyctl_core.cli import live, render

    with live.logging_to_stderr(quiet=quiet, debug=debug):
        found = api.plan(config, fresh=fresh)
    if as_json:
        say_json(found.as_json())
    else:
        render.plan(found, prompts=prompts)


def _sample(
    config: BuildConfig,
    scenarios: int,
    style: Style,
    *,
    fresh: bool,
    as_json: bool,
    log_file: Path | None,
    quiet: bool,
    debug: bool,
) -> None:
    """Build the first pairs, and show what they tell."""
    from psyctl_core import api
    from psyctl_core.cli import check, live, render

    with live.watching(style, quiet=quiet, debug=debug, log_file=log_file) as seen:
        found = api.sample(config, scenarios, fresh=fresh, progress=seen.told, tick=seen.told)
        seen.ended(ExitCode.DONE, found.report.as_json())
    if as_json:
        checks = [check.checkup_json(each, 0) for each in found.checks]
        told = None if found.forecast is None else dataclasses.asdict(found.forecast)
        longer: dict[str, JsonValue] = dict(found.longer)
        say_json({"forecast": told, "longer": longer, "checks": checks, "summary": found.report.as_json()})
        return
    render.sample(found)
    for each in found.checks:
        say("\n".join(check.checkup_lines(each, 0, told_only=True)) + "\n")
    say("The same command without --sample goes on from there: these pairs are kept.")


def run(
    config: BuildConfig,
    style: Style,
    *,
    fresh: bool = False,
    log_file: Path | None = None,
    quiet: bool,
    debug: bool,
) -> Report:
    """Build, and show how it goes. Raises PsyctlError."""
    from psyctl_core import api
    from psyctl_core.cli import live

    with live.watching(style, quiet=quiet, debug=debug, log_file=log_file) as seen:
        report = api.build(config, fresh=fresh, progress=seen.told, tick=seen.told)
        seen.ended(ExitCode.FEWER if report.short else ExitCode.DONE, report.as_json())
    return report


def shown(reports: Sequence[Report], as_json: JsonValue, *, quiet: bool) -> None:
    """Print what was done, as JSON where that is given, and leave with its exit code. Raises typer.Exit."""
    from psyctl_core.cli import render

    if as_json is not None:
        say_json(as_json)
    else:
        for report in reports:
            render.summary(report, quiet=quiet)
    if any(report.short for report in reports):
        raise typer.Exit(ExitCode.FEWER)


def with_parameters(
    command: Callable[..., None], extra: Sequence[inspect.Parameter], *, first: Sequence[inspect.Parameter] = ()
) -> Callable[..., None]:
    """The command with these parameters in the place of its ``**flags``, as typer sees it: required ones first."""
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "flags"]
    every = [p.replace(kind=p.KEYWORD_ONLY) for p in [*first, *own, *extra]]
    if any(getattr(info, "hidden", False) for p in every for info in getattr(p.annotation, "__metadata__", ())):
        every.append(inspect.Parameter("help_all", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=HelpAll))
    every.sort(key=lambda p: p.default is not p.empty)
    command.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in every}
    return command


def typed(flags: Mapping[str, Any], spellings: Mapping[str, str]) -> dict[str, Any]:
    """What was typed of a component's options, by spelling; ``spellings`` is of :func:`component_parameters`."""
    return {spellings[name]: value for name, value in flags.items() if name in spellings and value is not None}


def component_parameters(
    registry: Registry, *kinds: KindName, prefix: str = "", hidden: bool = False
) -> tuple[list[inspect.Parameter], dict[str, str]]:
    """A parameter for each flag of each component, of some kinds or a run's, and the flag each parameter stands for.

    With ``hidden`` the command's help leaves them out. ``prefix`` stands before each flag's name.
    """
    parameters: dict[str, inspect.Parameter] = {}
    spellings = {}
    for registered in (found for kind in kinds or OF_A_RUN for found in registry.usable(kind)):
        panel = f"{registered.origin.kind.capitalize()} '{registered.origin.name}'{' of the judge' if prefix else ''}"
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
                hidden=hidden or flag.hidden or flag.is_rare,
                show_default=False,
                autocompletion=values(flag.suggest) if flag.suggest else None,
            )
            parameters[name] = inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[flag.type | None, option],
            )
            spellings[name] = flag.spelling
    return list(parameters.values()), spellings
