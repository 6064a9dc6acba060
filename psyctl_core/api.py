"""The Python interface: from a trait and an output folder to finished datasets, and back to their records."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType

from psyctl_core._caa.contrast import Sampling
from psyctl_core._caa.given import Contrast, Descriptions, PersonaChoice, given
from psyctl_core._engine.asked import job_of
from psyctl_core._engine.checking import (
    CheckResult,
    Checkup,
    Limits,
    check_up,
    chosen,
    known_check,
    pair_set,
    pair_sets,
)
from psyctl_core._engine.config import BuildConfig
from psyctl_core._engine.derived import DerivedReport
from psyctl_core._engine.exporting import ExportReport, export, split_pairs
from psyctl_core._engine.job import Job, closed_after, prepared
from psyctl_core._engine.merging import merge
from psyctl_core._engine.opening import There, close_all, open_datasets, there_of
from psyctl_core._engine.planning import Plan, planned, say_what_begins
from psyctl_core._engine.progress import Callback, Progress
from psyctl_core._engine.reading import StoredDataset, all_datasets, find_datasets
from psyctl_core._engine.recipe import Recipe
from psyctl_core._engine.recipe_text import recipe_of_job, recipe_of_run
from psyctl_core._engine.report import DatasetReport, Report, Sample, report_of, sampled
from psyctl_core._engine.sampling import Forecast
from psyctl_core._engine.scores import scores_of
from psyctl_core._engine.splitting import Parts, split
from psyctl_core._engine.stopping import stoppable
from psyctl_core._engine.watching import Watch
from psyctl_core._engine.work import Work
from psyctl_core._plugins.kinds import KINDS
from psyctl_core._plugins.registry import discover
from psyctl_core._plugins.selection import Selection, config_of, resolve, selection_of
from psyctl_core._store import runs
from psyctl_core._store.course import Moment
from psyctl_core._store.lock import LOCK_FILE, locked
from psyctl_core._store.runs import RejectedPair
from psyctl_core.components import (
    Context,
    DatasetExporter,
    InferenceBackend,
    KindName,
    OutputSink,
    PairJudge,
    PersonalityPrompter,
    Runner,
    ScenarioSource,
)
from psyctl_core.errors import UsageError
from psyctl_core.figures import counted
from psyctl_core.files import new_folders, remove_drafts
from psyctl_core.local_models import LentModel
from psyctl_core.options import Config
from psyctl_core.records import CaaRecord, JsonValue
from psyctl_core.terminal import NOTICE

__all__ = [
    "BuildConfig",
    "CheckResult",
    "Checkup",
    "DatasetReport",
    "DerivedReport",
    "ExportReport",
    "Forecast",
    "Moment",
    "PersonaChoice",
    "Plan",
    "Progress",
    "RejectedPair",
    "Report",
    "Sample",
    "Sampling",
    "Selection",
    "StoredDataset",
    "build",
    "build_caa",
    "check_dataset",
    "check_records",
    "export_dataset",
    "lent_model",
    "merge_datasets",
    "open_dataset",
    "plan",
    "plan_caa",
    "read_recipe",
    "recipe_of",
    "sample",
    "scores_of",
    "split_dataset",
    "split_pairs",
    "stored_datasets",
]

log = logging.getLogger("psyctl")


def build(
    config: BuildConfig, *, fresh: bool = False, progress: Callback | None = None, tick: Callback | None = None
) -> Report:
    """Build a contrastive dataset for each trait of a job; the same job again continues what it began.

    Args:
        config: The job.
        fresh: Start another file even where one could be continued.
        progress: Called after every answer, every scenario and every change of phase. What it raises ends
            the run, saved, and is raised again.
        tick: Called with the same once a second from a thread of its own, also while nothing comes.

    Returns:
        What was done and where it lies.

    Raises:
        PsyctlError: With a message and a way out; what was written before stays and can be continued.
    """
    return _built(config, fresh=fresh, progress=progress, tick=tick)


def _built(
    config: BuildConfig,
    scenarios: int | None = None,
    *,
    fresh: bool,
    progress: Callback | None,
    tick: Callback | None,
) -> Report:
    """Build, or as far as a sample of so many scenarios goes."""
    began = time.monotonic()
    with prepared(config) as job, stoppable() as stop, _folders(job):
        there = There() if fresh else there_of(job)
        say_what_begins(job, there)
        datasets = open_datasets(job, there)
        with closed_after(lambda: close_all(datasets)):
            usage, seconds, requests, described = datasets[0].run.usage, 0.0, 0, 0
            limit = config.limit_samples
            if not all(dataset.is_saved and not dataset.lacks(limit) for dataset in datasets):
                beside = [run for trait, run in there.runs.items() if trait not in {each.name for each in job.traits}]
                work = Work(job, datasets, stop, progress, beside, scenarios)
                with Watch(config.output, [dataset.run for dataset in datasets], work.meter, tick).watching():
                    work.finish()
                usage, seconds, requests = work.usage, work.meter.seconds, work.meter.requests
                described = work.meter.persona_requests
        return Report(
            datasets=tuple(map(report_of, datasets)),
            limit=limit,
            usage=usage,
            seconds=time.monotonic() - began,
            generating_seconds=seconds,
            requests=requests,
            is_free=job.is_free,
            persona_requests=described,
            cost_before=runs.cost_before({"parents": datasets[0].run.parents}),
        )


def sample(
    config: BuildConfig,
    scenarios: int,
    *,
    fresh: bool = False,
    progress: Callback | None = None,
    tick: Callback | None = None,
) -> Sample:
    """Build as far as a few scenarios go, and find out from them how good the pairs are and what all would take.

    The pairs are the dataset's first: :func:`build` with the same job goes on from there.

    Args:
        config: The job.
        scenarios: How many scenarios to ask about, those of earlier calls included.
        fresh: As of :func:`build`.
        progress: As of :func:`build`.
        tick: As of :func:`build`.

    Raises:
        PsyctlError: As :func:`build` does.
    """
    if scenarios < 1:
        raise UsageError(f"A sample of {counted(scenarios, 'scenario')} tells nothing.", "Give --sample 1 or more.")
    report = _built(config, scenarios, fresh=fresh, progress=progress, tick=tick)
    return sampled(report, config)


def plan(config: BuildConfig, *, fresh: bool = False) -> Plan:
    """Find out what :func:`build` would do, without asking the backend or writing anything.

    Args:
        config: The job.
        fresh: Plan another file even where one could be continued.

    Raises:
        PsyctlError: What :func:`build` raises before it starts.
    """
    with prepared(config) as job:
        return planned(job, There() if fresh else there_of(job))


def build_caa(
    personality: str,
    output: str | Path,
    *,
    backend: str | Config | Selection | InferenceBackend,
    source: str | Config | Selection | ScenarioSource = KINDS["source"].default,
    prompter: str | Config | Selection | PersonalityPrompter = KINDS["prompter"].default,
    sink: str | Config | Selection | OutputSink = KINDS["sink"].default,
    runner: str | Config | Selection | Runner = KINDS["runner"].default,
    limit_samples: int | None = None,
    seed: int = 0,
    temperature: float = 0.8,
    max_tokens: int = 64,
    max_cost: float | None = None,
    checkpoint_interval: int | None = None,
    block_size: int | None = None,
    judge: str | Config | Selection | PairJudge | None = None,
    judge_backend: str | Config | Selection | InferenceBackend | None = None,
    max_scenarios: int | None = None,
    strict: bool = False,
    positive: Descriptions | Mapping[str, Descriptions] = (),
    neutral: Descriptions = (),
    contrast: Contrast = "neutral",
    personas: int = 1,
    answers_per_scene: int = 1,
    fresh: bool = False,
    progress: Callback | None = None,
) -> Report:
    """Build a contrastive dataset for each trait; the same call again continues what it began.

    What is not named here is as that field of :class:`BuildConfig`, :class:`Sampling` or :class:`PersonaChoice`.

    Args:
        personality: One trait or several, comma-separated.
        output: The folder the datasets go to; several traits get a folder each in it.
        backend: Who answers: a name, a config, both as a ``Selection``, or an object, which is closed in the end.
        source: Where scenarios come from, likewise.
        prompter: How personas are described, likewise.
        sink: Where records go, likewise.
        runner: Where the backend runs, likewise; with others than ``local`` the backend must have a name.
        judge: Who accepts pairs; with one, ``limit_samples`` counts the accepted ones.
        positive: Descriptions of your own of a person with the trait; ``{character}`` stands for the name.
        neutral: Those of the person that the trait is compared with.
        personas: How many personas the prompter describes on each side, dealt to the scenarios in turn.
        fresh: Start another file even where one could be continued.
        progress: Called with a ``Progress`` after every answer, every scenario and every change of phase.

    Raises:
        PsyctlError: With a message and a way out; what was written before stays and can be continued.
    """
    components = _selected(
        {"source": source, "prompter": prompter, "backend": backend, "judge": judge, "runner": runner, "sink": sink}
    )
    config = BuildConfig(
        personality, Path(output).expanduser(), components, limit_samples, Sampling(max_tokens, temperature, seed),
        max_cost, checkpoint_interval, block_size,
        None if judge_backend is None else selection_of("backend", judge_backend), max_scenarios, strict=strict,
        personas=given(positive, neutral, contrast=contrast, number=personas), answers_per_scene=answers_per_scene,
    )  # fmt: skip
    return build(config, fresh=fresh, progress=progress)


def plan_caa(
    personality: str,
    output: str | Path,
    *,
    backend: str | Config | Selection | InferenceBackend,
    source: str | Config | Selection | ScenarioSource = KINDS["source"].default,
    prompter: str | Config | Selection | PersonalityPrompter = KINDS["prompter"].default,
    sink: str | Config | Selection | OutputSink = KINDS["sink"].default,
    runner: str | Config | Selection | Runner = KINDS["runner"].default,
    limit_samples: int | None = None,
    seed: int = 0,
    temperature: float = 0.8,
    max_tokens: int = 64,
    max_cost: float | None = None,
    max_scenarios: int | None = None,
    judge: str | Config | Selection | PairJudge | None = None,
    judge_backend: str | Config | Selection | InferenceBackend | None = None,
    positive: Descriptions | Mapping[str, Descriptions] = (),
    neutral: Descriptions = (),
    contrast: Contrast = "neutral",
    personas: int = 1,
    answers_per_scene: int = 1,
    fresh: bool = False,
) -> Plan:
    """Find out what :func:`build_caa` would do, without asking the backend or writing anything.

    Takes of what :func:`build_caa` takes all that decides what is asked, and raises what it raises before it starts.
    """
    components = _selected(
        {"source": source, "prompter": prompter, "backend": backend, "judge": judge, "runner": runner, "sink": sink}
    )
    config = BuildConfig(
        personality,
        Path(output).expanduser(),
        components,
        limit_samples,
        Sampling(max_tokens, temperature, seed),
        max_cost,
        max_scenarios=max_scenarios,
        judge_backend=None if judge_backend is None else selection_of("backend", judge_backend),
        personas=given(positive, neutral, contrast=contrast, number=personas),
        answers_per_scene=answers_per_scene,
    )
    return plan(config, fresh=fresh)


def read_recipe(path: str | Path, *, output: str | Path = "") -> BuildConfig:
    """The job that a recipe describes, as ``--recipe`` reads it; :func:`build` and :func:`plan` take it.

    Args:
        path: The YAML file; its form is the schema ``recipe``.
        output: The folder the datasets go to, instead of the recipe's.

    Raises:
        UsageError: It cannot be used; the message names the line.
    """
    registry = discover()
    asked = Recipe(Path(path).expanduser(), registry).asked({"--output": output} if output else {})
    if output:
        asked.core["output"] = output
    return job_of(registry, asked)


def recipe_of(job: BuildConfig | str | Path) -> str:
    """A recipe as the text of a YAML file; what cannot be written into it is logged.

    Args:
        job: A job, or what a run left: its run folder, its run.json, its dataset's file, or a folder of runs, of which
            the newest is taken. Of a run, what was read from the Hub is pinned to the commit.

    Raises:
        UsageError: There is no run, or a component has no name, such as an object that a program handed over.
        OutputError: A run.json cannot be used.
    """
    registry = discover()
    if isinstance(job, BuildConfig):
        written = recipe_of_job(job, registry)
    else:
        written = recipe_of_run(Path(job).expanduser(), registry)
    for note in written.notes:
        log.log(NOTICE, "%s", note)
    return written.text()


def open_dataset(output: str | Path, trait: str = "") -> StoredDataset:
    """A dataset to read: iterate over it for its records.

    Args:
        output: The folder that a run was told to write to, or a dataset's file.
        trait: Which trait's dataset, where the folder holds several.

    Raises:
        UsageError: There is no such dataset, or more than one.
    """
    found = find_datasets(Path(output).expanduser(), discover())
    matching = [dataset for dataset in found if trait.casefold() in ("", dataset.trait.casefold())]
    if len(matching) != 1:
        names = ", ".join(dataset.trait for dataset in found)
        raise UsageError(
            f"'{output}' holds {counted(len(matching), 'dataset') if matching else 'no datasets'}"
            f"{f' of {trait}' if trait else ''}.",
            f"Name one with trait=...; there are: {names}.",
        )
    return matching[0]


def stored_datasets(output: str | Path, *, older: bool = False) -> list[StoredDataset]:
    """The datasets of a folder's newest run, one a trait, subfolders included, or the one that a file is.

    Args:
        output: The folder that a run was told to write to, or a dataset's file.
        older: Those of earlier runs as well.

    Raises:
        UsageError: There is none.
    """
    path, registry = Path(output).expanduser(), discover()
    return all_datasets(path, registry) if older and path.is_dir() else find_datasets(path, registry)


def check_records(dataset: StoredDataset, records: Sequence[CaaRecord]) -> Checkup:
    """What :func:`check_dataset` says of one dataset, by records of it that were read already.

    Args:
        dataset: The dataset.
        records: One or more.

    Raises:
        UsageError: No check is installed.
    """
    return check_up(pair_set(dataset, records), chosen(discover(), (), ()), {})


def check_dataset(
    *paths: str | Path,
    trait: str = "",
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    thresholds: Mapping[str, Limits] | None = None,
    tokenizer: str = "",
    model: str = "",
) -> tuple[Checkup, ...]:
    """Look finished datasets over with every installed check, or with some.

    Args:
        paths: The folder that a run was told to write to, or a file: a dataset, or pairs of another tool's; or two
            files that hold a side each.
        trait: Which trait's dataset, where there are several; the trait of files that do not name one.
        only: Names of checks; empty for all.
        skip: Names of checks to leave out.
        thresholds: From where on a value is worth a look and from where on it fails (``None``: never), by check.
        tokenizer: A tokenizer's folder or Hub name, for the checks that need one.
        model: A local model for the checks that read one's states, as :func:`lent_model` takes it.

    Returns:
        What the checks say, one checkup for each trait.

    Raises:
        PsyctlError: There is no pair to read, or no such check. What befalls a single check is told in its result.
    """
    registry = discover()
    checks = chosen(registry, only, skip)
    for name in thresholds or ():
        known_check(name, (registered.origin.name for registered in registry.checks()))
    places = [Path(path).expanduser() for path in paths]
    sets = pair_sets(places, registry, trait=trait, tokenizer=tokenizer, model=model)
    return tuple(check_up(pairs, checks, thresholds or {}) for pairs in sets)


def export_dataset(
    output: str | Path,
    place: str | Path,
    to: str | Config | Selection | DatasetExporter,
    *,
    held_out: int = 0,
) -> tuple[ExportReport, ...]:
    """Write datasets as another tool reads them.

    Args:
        output: The folder that a run was told to write to, or a dataset's file.
        place: A new or empty folder to write to; several traits get a folder each in it.
        to: The exporter: its name, its config, both as a ``Selection``, or an object that is one.
        held_out: How many pairs of each dataset to keep back for a test, spread evenly over it.

    Returns:
        What was written of each dataset, and what to run next in that tool.

    Raises:
        UsageError: There is no dataset or no pair, the folder holds something, or the tool cannot take the pairs.
        OutputError: A record cannot be read, or a file cannot be written; then nothing is.
    """
    registry = discover()
    choice = resolve(registry, "exporter", selection_of("exporter", to))
    datasets = find_datasets(Path(output).expanduser(), registry)
    return export(datasets, choice.make(Context()), Path(place).expanduser(), held_out)


def split_dataset(
    output: str | Path,
    place: str | Path,
    parts: Parts,
    *,
    sink: str | Config | Selection | OutputSink | None = None,
) -> tuple[DerivedReport, ...]:
    """Split datasets into parts that share no scene; each part is a dataset.

    Every part is spread evenly over the dataset, and in exactly half of its records, or one record more or less, the
    positive answer stands first; where that needs it, options are put the other way round. Ids stay. Where several
    traits have a scene, it is in the same part of each.

    Args:
        output: The folder that a run was told to write to, or a dataset's file.
        place: A new or empty folder to write to, not within ``output``. Each part gets a folder of its name in it, and
            several traits get a folder each in that.
        parts: The size of each part by its name: a whole number is so many pairs, a share between 0 and 1 is of the
            dataset's pairs, and ``None``, for one part, is the rest.
        sink: Who keeps the parts: a name, a config, both as a ``Selection``, or an object; ``None`` is the sink that
            keeps the dataset.

    Returns:
        What was written, part after part.

    Raises:
        UsageError: There is no dataset, too few pairs or scenes, a part that makes no sense, or the place holds
            something.
        OutputError: A record cannot be read, or a part cannot be written; then none is.
    """
    registry, path = discover(), Path(output).expanduser()
    selection = None if sink is None else selection_of("sink", sink)
    return split(find_datasets(path, registry), path, Path(place).expanduser(), parts, selection, registry)


def merge_datasets(
    outputs: Sequence[str | Path],
    place: str | Path,
    *,
    renumber: bool = False,
    sink: str | Config | Selection | OutputSink | None = None,
) -> tuple[DerivedReport, ...]:
    """Merge datasets into one for each trait: their records one after the other, each pair once.

    Ids stay. In exactly half of the records, or one record more or less, the positive answer stands first; where that
    needs it, options are put the other way round.

    Args:
        outputs: Folders that runs were told to write to, or datasets' files.
        place: A new or empty folder to write to, not within one of those; several traits get a folder each in it.
        renumber: Keep different pairs that have the same id, the later one as a further answer to that scene, with an
            id such as ``ID#2``.
        sink: Who keeps the datasets: a name, a config, both as a ``Selection``, or an object; ``None`` is the sink of
            each trait's first one.

    Returns:
        What was written, trait after trait.

    Raises:
        UsageError: There is no dataset or no pair, different pairs have the same id, or the place holds something.
        OutputError: A record cannot be read, or a dataset cannot be written; then none is.
    """
    registry, paths = discover(), [Path(output).expanduser() for output in outputs]
    selection = None if sink is None else selection_of("sink", sink)
    datasets = [dataset for path in paths for dataset in find_datasets(path, registry)]
    return merge(datasets, paths, Path(place).expanduser(), selection, registry, renumber=renumber)


@contextmanager
def lent_model(
    model: str, backend: str = "hf", options: Mapping[str, JsonValue] = MappingProxyType({})
) -> Iterator[LentModel]:
    """A backend's loaded model, to compute with directly; freed when the context ends.

    Args:
        model: What the backend's own ``model`` option takes: a Hub name, a folder, a GGUF file or ``embedded``.
        backend: A backend whose model is a Transformers model; see :class:`~psyctl_core.local_models.LendsModel`.
        options: More of its options by the names of its config's fields, such as ``device`` and ``dtype``.

    Raises:
        UsageError: There is no such backend or model, or the backend lends none.
        BackendError: The model cannot be loaded.
    """
    registry = discover()
    registered = registry.get("backend", backend)
    config = config_of(registered, {"model": model, **options})
    guarded = resolve(registry, "backend", Selection(registered.full_name, config)).make(Context())
    with closing(guarded):
        yield guarded.lend()


def _selected(wanted: Mapping[KindName, object]) -> dict[KindName, Selection]:
    return {kind: selection_of(kind, choice) for kind, choice in wanted.items() if choice is not None}


@contextmanager
def _folders(job: Job) -> Iterator[None]:
    """Make the output folders, and keep other processes off them; what was made for nothing is gone afterwards."""
    output = job.config.output
    with new_folders(job.folders, (LOCK_FILE,)):
        runs.prepare_folder(output)
        with locked(output):
            for folder in job.folders:
                if folder.is_dir():
                    remove_drafts(folder)
            yield
