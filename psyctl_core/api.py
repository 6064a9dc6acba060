"""The Python interface: from a trait and an output folder to finished datasets, and back to their records."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from psyctl_core._caa.cast import Cast
from psyctl_core._caa.contrast import Sampling, request_of
from psyctl_core._caa.given import Contrast, Descriptions, PersonaChoice, given
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
from psyctl_core._engine.dataset import Dataset
from psyctl_core._engine.exporting import ExportReport, export, split_pairs
from psyctl_core._engine.job import Job, Work, close_all, closed_after, no_scenario, open_datasets, prepared
from psyctl_core._engine.personas import Wanted, wanted_personas
from psyctl_core._engine.progress import Callback, Progress
from psyctl_core._engine.reading import StoredDataset, all_datasets, find_datasets
from psyctl_core._engine.scores import scores_of
from psyctl_core._engine.stopping import stoppable
from psyctl_core._plugins.kinds import KINDS
from psyctl_core._plugins.registry import discover
from psyctl_core._plugins.selection import Selection, config_of, resolve, selection_of
from psyctl_core._store import runs
from psyctl_core._store.lock import locked
from psyctl_core._store.runs import RejectedPair
from psyctl_core.components import (
    Context,
    DatasetExporter,
    Estimate,
    InferenceBackend,
    KindName,
    OutputSink,
    PairJudge,
    PersonalityPrompter,
    ScenarioSource,
)
from psyctl_core.errors import UsageError
from psyctl_core.files import remove_drafts
from psyctl_core.local_models import LentModel
from psyctl_core.options import Config
from psyctl_core.records import (
    NEUTRAL,
    CaaRecord,
    ChatRequest,
    ContrastivePair,
    JsonValue,
    Message,
    Persona,
    Scenario,
    Usage,
)

__all__ = [
    "BuildConfig",
    "CheckResult",
    "Checkup",
    "DatasetReport",
    "ExportReport",
    "PersonaChoice",
    "Plan",
    "Progress",
    "RejectedPair",
    "Report",
    "Sampling",
    "Selection",
    "StoredDataset",
    "build",
    "build_caa",
    "check_dataset",
    "check_records",
    "export_dataset",
    "lent_model",
    "open_dataset",
    "plan",
    "plan_caa",
    "scores_of",
    "split_pairs",
    "stored_datasets",
]

EXAMPLE_SCENARIOS = 1_000
"""For how many scenarios a plan estimates where nobody knows how many there are."""


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """One finished or stopped dataset; ``scores`` is how a judge's are spread, as run.json has it."""

    trait: str
    location: str
    run_folder: Path
    pairs: int
    new_pairs: int
    rejected: Mapping[str, int]
    skipped: Mapping[str, int]
    exhausted: bool
    scores: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """What :func:`build_caa` did.

    Attributes:
        datasets: One for each trait, in the order given.
        limit: Records wanted in each, or ``None``.
        usage: Totals over all resumes of the run.
        seconds: Wall time of this call, loading included.
        generating_seconds: Wall time this call spent on answers.
        requests: Answers this call asked for.
    """

    datasets: tuple[DatasetReport, ...]
    limit: int | None
    usage: Usage
    seconds: float
    generating_seconds: float
    requests: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What :func:`plan_caa` found that a run would do.

    Attributes:
        traits: The traits, spelled as they will be recorded.
        components: The chosen components by kind, as text.
        settings: Their options by kind, secrets left out.
        folders: The datasets' folders.
        persona_prompts: What would be asked to describe the personas, by whom they are; empty where nothing is.
        personas: The descriptions that are known without asking, likewise.
        example: The first scenario's request with the trait's persona.
        rows: Rows in the source, or ``None`` where unknown.
        requests: Answers a run would ask for if no pair were rejected, or ``None``.
        estimate: What those would take, as far as the backend can tell; where their number is unknown,
            what 1,000 scenarios would.
        judge_backend: Who answers the judge, or "" where there is none.
        judge_example: The first of its requests about a pair, or ``None``.
        judge_requests: Its requests, if no pair were rejected.
        judge_estimate: What those would take.
        limit: Records wanted in each dataset, or ``None``.
    """

    traits: tuple[str, ...]
    components: Mapping[KindName, str]
    settings: Mapping[KindName, Mapping[str, JsonValue]]
    folders: tuple[Path, ...]
    persona_prompts: Mapping[str, tuple[tuple[Message, ...], ...]]
    personas: Mapping[str, str]
    example: ChatRequest
    rows: int | None
    requests: int | None
    estimate: Estimate | None
    limit: int | None
    judge_backend: str = ""
    judge_example: ChatRequest | None = None
    judge_requests: int | None = None
    judge_estimate: Estimate | None = None


def build(config: BuildConfig, *, fresh: bool = False, progress: Callback | None = None) -> Report:
    """Build a contrastive dataset for each trait of a job; the same job again continues what it began.

    Args:
        config: The job.
        fresh: Start another file even where one could be continued.
        progress: Called after every answer, every scenario and every change of phase. What it raises ends
            the run, saved, and is raised again.

    Returns:
        What was done and where it lies.

    Raises:
        PsyctlError: With a message and a way out; what was written before stays and can be continued.
    """
    began = time.monotonic()
    with prepared(config) as job, stoppable() as stop, _folders(job):
        datasets = open_datasets(job, fresh=fresh)
        with closed_after(lambda: close_all(datasets)):
            usage, seconds, requests = datasets[0].run.usage, 0.0, 0
            limit = config.limit_samples
            if not all(dataset.is_saved and not dataset.lacks(limit) for dataset in datasets):
                work = Work(job, datasets, stop, progress)
                work.finish()
                usage, seconds, requests = work.usage, work.meter.seconds, work.meter.requests
        return Report(
            datasets=tuple(_dataset_report(dataset) for dataset in datasets),
            limit=limit,
            usage=usage,
            seconds=time.monotonic() - began,
            generating_seconds=seconds,
            requests=requests,
        )


def plan(config: BuildConfig) -> Plan:
    """Find out what :func:`build` would do, without asking the backend or writing anything.

    Raises:
        PsyctlError: What :func:`build` raises before it starts.
    """
    with prepared(config) as job:
        sampling, limit = config.sampling, config.limit_samples
        prompts, personas = _planned_personas(job)
        cast = _first_cast(job, personas)
        skipped: Counter[str] = Counter()
        with closing(job.scenarios(0)) as items:
            for first in items:
                if isinstance(first, Scenario):
                    break
                skipped[first.reason] += 1
            else:
                raise no_scenario(job, skipped)
        rows = job.source.total()
        counts = [n for n in (limit, rows and rows * config.answers_per_scene) if n is not None]
        per_scenario = job.answers_per_scenario
        requests = min(counts) * per_scenario + sum(map(len, prompts.values())) if counts else None
        judged = _planned_judging(job, first, min(counts, default=None))
        example = request_of(first, cast.conditions(first.offset)[1], sampling)
        return Plan(
            traits=tuple(trait.name for trait in job.traits),
            components={kind: str(choice.origin) for kind, choice in job.choices.items()},
            settings={kind: choice.settings() for kind, choice in job.choices.items()},
            folders=tuple(job.folders),
            persona_prompts=prompts,
            personas={who.label: p.description for who, p in personas.items() if not prompts[who.label]},
            example=example,
            rows=rows,
            requests=requests,
            estimate=job.backend.estimate(example, requests or EXAMPLE_SCENARIOS * per_scenario),
            limit=limit,
            **judged,
        )


def build_caa(
    personality: str,
    output: str | Path,
    *,
    backend: str | Config | Selection | InferenceBackend,
    source: str | Config | Selection | ScenarioSource = KINDS["source"].default,
    prompter: str | Config | Selection | PersonalityPrompter = KINDS["prompter"].default,
    sink: str | Config | Selection | OutputSink = KINDS["sink"].default,
    limit_samples: int | None = None,
    seed: int = 0,
    temperature: float = 0.0,
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

    What is not named here is as the field of :class:`BuildConfig` or :class:`Sampling` of that name.

    Args:
        personality: One trait or several, comma-separated.
        output: The folder the datasets go to; several traits get a folder each in it.
        backend: Who answers: a name, a config, both as a ``Selection``, or an object, which is closed in the end.
        source: Where scenarios come from, likewise.
        prompter: How personas are described, likewise.
        sink: Where records go, likewise.
        judge: Who accepts pairs; with one, ``limit_samples`` counts the accepted ones.
        judge_backend: Who answers the judge; ``None`` is ``backend``.
        positive: Descriptions of your own of a person with the trait; ``{character}`` stands for the name.
        neutral: Those of the person that the trait is compared with.
        contrast: Whether that is a ``neutral`` person or the ``opposite`` one.
        personas: How many personas the prompter describes on each side, dealt to the scenarios in turn.
        fresh: Start another file even where one could be continued.
        progress: Called with a ``Progress`` after every answer, every scenario and every change of phase.

    Returns:
        What was done and where it lies.

    Raises:
        PsyctlError: With a message and a way out; what was written before stays and can be continued.
    """
    components = _selected({"source": source, "prompter": prompter, "backend": backend, "judge": judge, "sink": sink})
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
    limit_samples: int | None = None,
    seed: int = 0,
    temperature: float = 0.0,
    max_tokens: int = 64,
    judge: str | Config | Selection | PairJudge | None = None,
    judge_backend: str | Config | Selection | InferenceBackend | None = None,
    positive: Descriptions | Mapping[str, Descriptions] = (),
    neutral: Descriptions = (),
    contrast: Contrast = "neutral",
    personas: int = 1,
    answers_per_scene: int = 1,
) -> Plan:
    """Find out what :func:`build_caa` would do, without asking the backend or writing anything.

    Takes what :func:`build_caa` takes, and raises what it raises before it starts.
    """
    components = _selected({"source": source, "prompter": prompter, "backend": backend, "judge": judge, "sink": sink})
    config = BuildConfig(
        personality,
        Path(output).expanduser(),
        components,
        limit_samples,
        Sampling(max_tokens, temperature, seed),
        judge_backend=None if judge_backend is None else selection_of("backend", judge_backend),
        personas=given(positive, neutral, contrast=contrast, number=personas),
        answers_per_scene=answers_per_scene,
    )
    return plan(config)


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
            f"'{output}' holds {len(matching) or 'no'} datasets{f' of {trait}' if trait else ''}.",
            f"Name one with trait=...; there are: {names}.",
        )
    return matching[0]


def stored_datasets(output: str | Path, *, older: bool = False) -> list[StoredDataset]:
    """The newest datasets in a folder and its subfolders, one a trait, or the one that a file is.

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

    Returns:
        What the checks say, one checkup for each trait.

    Raises:
        PsyctlError: There is no pair to read, or no such check. What befalls a single check is told in its result.
    """
    registry = discover()
    checks = chosen(registry, only, skip)
    for name in thresholds or ():
        known_check(name, (registered.origin.name for registered in registry.checks()))
    sets = pair_sets([Path(path).expanduser() for path in paths], registry, trait=trait, tokenizer=tokenizer)
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
    """Make the output folders, and keep other processes off them."""
    runs.prepare_folder(job.config.output)
    with locked(job.config.output):
        for folder in job.folders:
            runs.prepare_folder(folder)
            remove_drafts(folder)
        yield


def _dataset_report(dataset: Dataset) -> DatasetReport:
    return DatasetReport(
        trait=dataset.trait.name,
        location=dataset.location(),
        run_folder=dataset.run.path,
        pairs=dataset.num_generated,
        new_pairs=dataset.num_generated - dataset.found_records,
        rejected=dict(dataset.rejected),
        skipped=dict(dataset.skipped),
        exhausted=dataset.exhausted,
        scores=dict(dataset.run.scores),
    )


def _planned_judging(job: Job, scenario: Scenario, pairs: int | None) -> dict[str, Any]:
    """What a plan says of the judge: who answers it, and what it would ask if no pair were rejected."""
    if job.judge is None:
        return {}
    pair = ContrastivePair(scenario, job.traits[0].name, "(the answer with the trait)", "(the neutral answer)")
    asked = job.judge.requests(pair, "(what the judge is told of the trait)")
    requests = None if pairs is None else pairs * len(job.traits) * len(asked)
    estimated = requests or EXAMPLE_SCENARIOS * len(job.traits) * len(asked)
    return {
        "judge_backend": str(job.judge_backend.origin),
        "judge_example": asked[0],
        "judge_requests": requests,
        "judge_estimate": job.judge_backend.estimate(asked[0], estimated),
    }


def _planned_personas(job: Job) -> tuple[dict[str, tuple[tuple[Message, ...], ...]], dict[Wanted, Persona]]:
    """What the prompter would ask to describe each persona, by its label, and what it would make of it."""
    choice = job.config.personas
    prompts: dict[str, tuple[tuple[Message, ...], ...]] = {}
    personas: dict[Wanted, Persona] = {}
    wanted = [who for trait in job.traits for who in wanted_personas(choice, trait.name)]
    if choice.contrast == "opposite":
        wanted += [who for trait in job.traits for who in wanted_personas(choice, trait.name, opposite=True)]
    else:
        wanted += wanted_personas(choice, NEUTRAL)
    for who in wanted:
        heard: list[tuple[Message, ...]] = []

        def ask(
            messages: tuple[Message, ...],
            *,
            max_tokens: int,
            prefill: str = "",
            heard: list[tuple[Message, ...]] = heard,
            trait: str = who.trait,
        ) -> str:
            del max_tokens, prefill
            heard.append(messages)
            return f"the model's answer, which stands here once it was asked about {trait}."

        if who.given:
            personas[who] = Persona(who.trait, who.given)
        else:
            personas[who] = job.prompter.describe(who.trait, ask, opposite=who.opposite, number=who.number)
        prompts[who.label] = tuple(heard)
    return prompts, personas


def _first_cast(job: Job, personas: Mapping[Wanted, Persona]) -> Cast:
    """Who would answer for the first trait."""
    trait, contrast = job.traits[0], job.config.personas.contrast
    positive = tuple(p for who, p in personas.items() if who.trait == trait.name and not who.opposite)
    neutral = tuple(p for who, p in personas.items() if who.opposite or who.trait == NEUTRAL)
    return Cast(trait, positive, neutral, contrast)
