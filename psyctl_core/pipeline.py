"""The whole job: from a trait and an output folder to finished contrastive datasets."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import json
import logging
import os
import platform
import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import importlib_metadata

from psyctl_core import items
from psyctl_core import run as runs
from psyctl_core.choice import CHECKPOINT_INTERVAL, CHECKPOINT_INTERVAL_ENV, DEFAULTS, Choice, choice_of
from psyctl_core.components import (
    KINDS,
    Ask,
    Context,
    Estimate,
    InferenceBackend,
    Kind,
    OutputSink,
    PersonalityPrompter,
    ScenarioSource,
    settings,
)
from psyctl_core.dataset import Dataset, close_all
from psyctl_core.errors import BackendError, PluginError, PsyctlError, SourceError, UsageError
from psyctl_core.journal import PERSONA, Journal
from psyctl_core.lock import locked
from psyctl_core.pairing import Pairing, Sampling
from psyctl_core.prompts import PROMPT_VERSION, answer_request, request_seed
from psyctl_core.question import FORMAT_VERSION
from psyctl_core.records import NEUTRAL, ChatRequest, Message, Persona, Scenario, SkippedRow
from psyctl_core.registry import Found, blamed, blamed_items, discover
from psyctl_core.stopping import Stop, stoppable
from psyctl_core.traits import Trait, parse_traits

log = logging.getLogger("psyctl")

ENOUGH_ANSWERS = 20
"""Fewer say nothing about how long the rest takes: the first ones pay for what all share."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How a run is doing, as its callback is told.

    Attributes:
        accepted: Records in all datasets together.
        wanted: Records wanted in all of them, or ``None`` for all the source gives.
        rejected: Scenarios that gave no pair.
        skipped: Rows that held no scenario.
        new: Records added by this process.
        answers: Answers this process received.
        answers_to_go: Answers still needed if no further pair is rejected, or ``None`` where unknown.
        seconds: Since this process began to generate, loading aside.
        cost: US dollars so far, or ``None`` where unknown.
    """

    accepted: int
    wanted: int | None
    rejected: int
    skipped: int
    new: int
    answers: int
    answers_to_go: int | None
    seconds: float
    cost: float | None

    @property
    def rate(self) -> float:
        """New records a second."""
        return self.new / self.seconds if self.seconds else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds to go at the rate at which answers come, or ``None`` where that cannot be told yet."""
        if self.answers_to_go is None or self.answers < ENOUGH_ANSWERS:
            return None
        return self.answers_to_go * self.seconds / self.answers


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """One finished or stopped dataset."""

    trait: str
    location: str
    run_folder: Path
    pairs: int
    new_pairs: int
    rejected: Mapping[str, int]
    skipped: Mapping[str, int]
    exhausted: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What :func:`build_caa` did.

    Attributes:
        datasets: One for each trait, in the order given.
        limit: Records wanted in each, or ``None``.
        usage: Totals over all resumes of the pass.
        seconds: Wall time of this call, loading included.
        generating_seconds: Wall time this call spent on answers.
        requests: Answers this call asked for.
    """

    datasets: tuple[DatasetReport, ...]
    limit: int | None
    usage: runs.Usage
    seconds: float
    generating_seconds: float
    requests: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What :func:`plan_caa` found that a run would do.

    Attributes:
        traits: The traits, spelled as they will be recorded.
        components: The chosen components by kind, as text.
        folders: The datasets' folders.
        persona_prompts: What would be asked to describe the personas, by trait; empty where nothing is.
        personas: The descriptions, where they are known without asking.
        example: The first scenario's request with the trait's persona.
        rows: Rows in the source, or ``None`` where unknown.
        requests: Answers a run would ask for if no pair were rejected, or ``None``.
        estimate: What those would take, as far as the backend can tell; where their number is unknown,
            what 1,000 scenarios would.
        limit: Records wanted in each dataset, or ``None``.
    """

    traits: tuple[str, ...]
    components: Mapping[Kind, str]
    folders: tuple[Path, ...]
    persona_prompts: Mapping[str, tuple[tuple[Message, ...], ...]]
    personas: Mapping[str, str]
    example: ChatRequest
    rows: int | None
    requests: int | None
    estimate: Estimate | None
    limit: int | None


@dataclass(frozen=True, slots=True)
class _Job:
    """Everything that was asked for, checked and made."""

    traits: tuple[Trait, ...]
    output: Path
    choices: Mapping[Kind, Choice]
    source: ScenarioSource
    prompter: PersonalityPrompter
    backend: InferenceBackend
    context: Context
    sampling: Sampling
    limit: int | None
    interval: int

    def folder(self, trait: Trait) -> Path:
        """Where the trait's dataset goes: the output itself, or a folder of its own among several."""
        return self.output if len(self.traits) == 1 else self.output / trait.slug

    def sink(self) -> OutputSink:
        """A new sink; each dataset has one of its own."""
        sink: OutputSink = self.choices["sink"].make(self.context)
        return sink


def build_caa(
    personality: str,
    output: str | Path,
    *,
    backend: object,
    source: object = DEFAULTS["source"],
    prompter: object = DEFAULTS["prompter"],
    sink: object = DEFAULTS["sink"],
    limit_samples: int | None = None,
    seed: int = 0,
    temperature: float = 0.0,
    max_tokens: int = 64,
    checkpoint_interval: int | None = None,
    fresh: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Build a contrastive dataset for each trait; the same call again continues what it began.

    Args:
        personality: One trait or several, comma-separated.
        output: The folder the datasets go to; several traits get a folder each in it.
        backend: Who answers: a backend's name, its config such as ``HfConfig(model="embedded")``, or an object
            that is one, which is closed in the end.
        source: Where scenarios come from, likewise.
        prompter: How personas are described, likewise.
        sink: Where records go, likewise.
        limit_samples: Records wanted in each dataset; ``None`` for all the source gives.
        seed: Decides answer positions and, above temperature 0, the sampling.
        temperature: 0 decodes greedily.
        max_tokens: New tokens an answer may have at most.
        checkpoint_interval: Records between two checkpoints; ``None`` reads
            ``PSYCTL_CHECKPOINT_INTERVAL`` or takes 100.
        fresh: Start another file even where one could be continued.
        progress: Called after each settled scenario.

    Returns:
        What was done and where it lies.

    Raises:
        PsyctlError: With a message and a way out; what was written before stays and can be continued.
    """
    began = time.monotonic()
    with (
        _prepared(
            personality, output, backend, source, prompter, sink, limit_samples, seed, temperature, max_tokens,
            checkpoint_interval,
        ) as job,
        stoppable() as stop,
        _folders(job),
    ):  # fmt: skip
        stop.draining = not job.backend.block
        datasets = _open_datasets(job, fresh=fresh)
        try:
            usage = _finish(job, datasets, stop, progress)
        finally:
            close_all(datasets)
        return Report(
            datasets=tuple(_dataset_report(dataset) for dataset in datasets),
            limit=job.limit,
            usage=usage.total,
            seconds=time.monotonic() - began,
            generating_seconds=usage.seconds,
            requests=usage.requests,
        )


def plan_caa(
    personality: str,
    output: str | Path,
    *,
    backend: object,
    source: object = DEFAULTS["source"],
    prompter: object = DEFAULTS["prompter"],
    sink: object = DEFAULTS["sink"],
    limit_samples: int | None = None,
    seed: int = 0,
    temperature: float = 0.0,
    max_tokens: int = 64,
) -> Plan:
    """Find out what :func:`build_caa` would do, without asking the backend or writing anything.

    Takes what :func:`build_caa` takes, and raises what it raises before it starts.
    """
    with _prepared(
        personality,
        output,
        backend,
        source,
        prompter,
        sink,
        limit_samples,
        seed,
        temperature,
        max_tokens,
        None,
    ) as job:
        prompts: dict[str, tuple[tuple[Message, ...], ...]] = {}
        personas: dict[str, Persona] = {}
        for name in [*(trait.name for trait in job.traits), NEUTRAL]:
            heard: list[tuple[Message, ...]] = []

            def ask(
                messages: tuple[Message, ...],
                *,
                max_tokens: int,
                prefill: str = "",
                heard: list[tuple[Message, ...]] = heard,
            ) -> str:
                del max_tokens, prefill
                heard.append(messages)
                return "(the model's answer)"

            with blamed(job.choices["prompter"].found):
                personas[name] = job.prompter.describe(name, ask)
            prompts[name] = tuple(heard)
        first = next((s for s in _scenarios(job, 0) if isinstance(s, Scenario)), None)
        if first is None:
            raise _no_scenario(job)
        with blamed(job.choices["source"].found):
            rows = job.source.total()
        counts = [n for n in (job.limit, rows) if n is not None]
        a_scenario = len(job.traits) + 1
        requests = min(counts) * a_scenario + sum(map(len, prompts.values())) if counts else None
        example = answer_request(
            first, personas[job.traits[0].name], "example",
            max_tokens=max_tokens, temperature=temperature, seed=seed,
        )  # fmt: skip
        with blamed(job.choices["backend"].found):
            estimate = job.backend.estimate(example, requests or 1000 * a_scenario)
        return Plan(
            traits=tuple(trait.name for trait in job.traits),
            components={kind: str(choice.found) for kind, choice in job.choices.items()},
            folders=tuple(job.folder(trait) for trait in job.traits),
            persona_prompts=prompts,
            personas={name: p.description for name, p in personas.items() if not prompts[name]},
            example=example,
            rows=rows,
            requests=requests,
            estimate=estimate,
            limit=job.limit,
        )


@dataclass(slots=True)
class _Used:
    """What a call used: the pass's totals, and this call's part of them."""

    total: runs.Usage
    seconds: float = 0.0
    requests: int = 0


@contextlib.contextmanager
def _folders(job: _Job) -> Iterator[None]:
    """Make the output folders, and keep other processes off them."""
    runs.prepare_folder(job.output)
    with locked(job.output):
        for trait in job.traits:
            runs.prepare_folder(job.folder(trait))
        yield


def _finish(job: _Job, datasets: Sequence[Dataset], stop: Stop, progress: Callable[[Progress], None] | None) -> _Used:
    """Bring every dataset to its limit, saving however that ends; do nothing where nothing is to be done."""
    first = datasets[0].run
    lacking = [dataset for dataset in datasets if dataset.lacks(job.limit)]
    if not lacking and all(dataset.is_saved for dataset in datasets):
        return _Used(first.usage)
    journal = Journal(first.path, first.identity["backend"], first.usage)
    used = _Used(journal.usage())
    asked, seconds, started = used.total.requests, first.usage.seconds, time.monotonic()
    for dataset in datasets:
        dataset.run.usage = used.total

    def save() -> None:
        used.seconds = time.monotonic() - started
        used.requests = used.total.requests - asked
        used.total.seconds = seconds + used.seconds
        for dataset in datasets:
            dataset.run.status = "stopped" if dataset.lacks(job.limit) else "complete"
            dataset.checkpoint()
            dataset.save()

    try:
        if lacking:
            _generate(job, datasets, lacking, journal, stop, progress)
        save()
    except BaseException:
        if not used.total.requests and not any(dataset.num_generated for dataset in datasets):
            journal.close()
            for dataset in datasets:
                dataset.run.discard()
            raise
        with contextlib.suppress(PsyctlError):  # what went wrong first is what to tell
            save()
            _say_how_to_go_on(datasets)
        journal.close()
        raise
    journal.close(remove=not any(dataset.lacks(job.limit) for dataset in datasets))
    return used


def _say_how_to_go_on(datasets: Sequence[Dataset]) -> None:
    for dataset in datasets:
        log.warning(
            "Stopped with %d pairs saved in %s. Run the same command again to go on from there.",
            dataset.num_generated,
            dataset.location(),
        )


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
    )


@contextlib.contextmanager
def _prepared(
    personality: str, output: str | Path, backend: object, source: object, prompter: object, sink: object,
    limit: int | None, seed: int, temperature: float, max_tokens: int, interval: int | None,
) -> Iterator[_Job]:  # fmt: skip
    """Check what was asked for, make the components, and close the backend afterwards."""
    traits = parse_traits(personality)
    _check_numbers(limit, temperature, max_tokens)
    interval = _checkpoint_interval(interval)
    registry = discover()
    wanted: dict[Kind, object] = {"source": source, "prompter": prompter, "backend": backend, "sink": sink}
    choices = {kind: choice_of(registry, kind, wanted[kind]) for kind in KINDS}
    if choices["sink"].instance is not None and len(traits) > 1:
        raise UsageError(
            f"One sink cannot hold {len(traits)} datasets.",
            "Pass its config or its name, or build one trait at a time.",
        )
    context = Context(seed=seed)
    job = _Job(
        traits=traits,
        output=Path(output).expanduser(),
        choices=choices,
        source=choices["source"].make(context),
        prompter=choices["prompter"].make(context),
        backend=choices["backend"].make(context),
        context=context,
        sampling=Sampling(max_tokens, temperature, seed),
        limit=limit,
        interval=interval,
    )
    try:
        yield job
    finally:
        with blamed(choices["backend"].found):
            job.backend.close()


def _check_numbers(limit: int | None, temperature: float, max_tokens: int) -> None:
    if limit is not None and limit < 1:
        raise UsageError(f"The limit of {limit} samples leaves nothing to do.", "Give --limit-samples 1 or more.")
    if max_tokens < 1:
        raise UsageError(f"{max_tokens} new tokens leave no room for an answer.", "Give --max-tokens 1 or more.")
    if not 0 <= temperature <= 2:
        raise UsageError(f"The temperature {temperature} is out of range.", "Give --temperature from 0 to 2.")


def _checkpoint_interval(interval: int | None) -> int:
    text = os.environ.get(CHECKPOINT_INTERVAL_ENV, "").strip()
    if interval is None and not text:
        return CHECKPOINT_INTERVAL
    try:
        number = int(text) if interval is None else interval
    except ValueError:
        number = 0
    if number < 1:
        raise UsageError(
            f"The checkpoint interval {text if interval is None else interval!r} is no whole number above 0.",
            f"Set {CHECKPOINT_INTERVAL_ENV} or --checkpoint-interval to one, such as {CHECKPOINT_INTERVAL}.",
        )
    return number


def _identity(job: _Job, trait: Trait) -> dict[str, Any]:
    """What decides the trait's dataset, as JSON values."""
    parts: dict[Kind, Any] = {
        "source": job.source,
        "prompter": job.prompter,
        "backend": job.backend,
        "sink": job.sink(),
    }
    identity: dict[str, Any] = {}
    for kind, part in parts.items():
        choice = job.choices[kind]
        with blamed(choice.found):
            own = dict(part.identity())
        identity[kind] = {
            "name": choice.found.name,
            "distribution": choice.found.distribution,
            **settings(choice.config, identity=True),
            **own,
        }
    identity |= {
        "trait": trait.name,
        "traits": [t.name for t in job.traits],
        "sampling": dataclasses.asdict(job.sampling),
        "format": {"question": FORMAT_VERSION, "prompt": PROMPT_VERSION},
    }
    plain: dict[str, Any] = json.loads(json.dumps(identity))
    return plain


def _open_datasets(job: _Job, *, fresh: bool) -> list[Dataset]:
    """Continue each trait's newest run of the same identity, or begin one."""
    folders = [job.folder(trait) for trait in job.traits]
    name = runs.free_name(folders)
    datasets = []
    for trait, folder in zip(job.traits, folders, strict=True):
        identity = _identity(job, trait)
        others = [] if fresh else runs.find_runs(folder, trait.name)
        run = next((r for r in others if r.identity == identity), None)
        if run is None:
            run = runs.Run(folder, name, trait.name, identity)
            if others:
                changed = "; ".join(runs.differences(others[0].identity, identity))
                log.warning("%s was made with other settings (%s): starting %s.", others[0].name, changed, name)
        run.settings = {kind: settings(choice.config, identity=False) for kind, choice in job.choices.items()}
        run.versions = _versions(job)
        datasets.append(
            Dataset(
                trait,
                run,
                job.sink(),
                job.choices["sink"].found,
                interval=job.interval,
                seed=job.sampling.seed,
            )
        )
    for dataset in datasets:
        dataset.open()
        if (neutral := datasets[0].run.personas.get(NEUTRAL)) is not None:
            dataset.run.personas[NEUTRAL] = neutral
    return datasets


def _versions(job: _Job) -> dict[str, str]:
    """Python, the chosen components' distributions, and what these ask for, as far as installed."""
    versions = {"python": platform.python_version(), "psyctl": importlib_metadata.version("psyctl")}
    for choice in job.choices.values():
        if choice.found.version:
            versions[choice.found.distribution] = choice.found.version
        extra = choice.found.component.extra if choice.found.component else None
        for name in _requirements(choice.found.distribution, extra):
            with contextlib.suppress(importlib_metadata.PackageNotFoundError):
                versions[name] = importlib_metadata.version(name)
    return versions


def _requirements(distribution: str, extra: str | None) -> Iterator[str]:
    """The names of what a distribution asks for, with one of its extras."""
    with contextlib.suppress(importlib_metadata.PackageNotFoundError):
        for requirement in importlib_metadata.requires(distribution) or []:
            name, _, marker = requirement.partition(";")
            if "extra" not in marker or (extra and re.search(rf"""extra == ['"]{extra}['"]""", marker)):
                yield re.split(r"[^\w.-]", name.strip(), maxsplit=1)[0]


def _generate(
    job: _Job,
    datasets: Sequence[Dataset],
    lacking: Sequence[Dataset],
    journal: Journal,
    stop: Stop,
    progress: Callable[[Progress], None] | None,
) -> None:
    """Describe the personas that are not described yet, then pair until nothing is lacking."""
    for dataset in datasets:
        dataset.run.status = "running"
        dataset.start()
    start_backend = _starter(job, datasets[0].run.usage)
    ask = _asker(job, datasets[0].run.usage, journal, stop, start_backend)
    personas = _personas(job, datasets, ask)
    start_backend()
    stop.leave_if_requested()
    start = min(dataset.start_place for dataset in lacking)
    scenarios = _scenarios(job, start)
    try:
        met = Pairing(
            lacking,
            personas,
            scenarios,
            job.choices["source"].found,
            job.backend,
            job.choices["backend"].found,
            sampling=job.sampling,
            limit=job.limit,
            usage=datasets[0].run.usage,
            journal=journal,
            stop=stop,
            on_progress=_reporter(job, datasets, progress),
        ).run()
    finally:
        scenarios.close()
    if not met and start == 0:
        raise _no_scenario(job)


def _scenarios(job: _Job, start: int) -> Generator[Scenario | SkippedRow, None, None]:
    found = job.choices["source"].found
    with blamed(found):
        items = job.source.scenarios(start)
    return blamed_items(found, items)


def _no_scenario(job: _Job) -> SourceError:
    return SourceError(
        f"The {job.choices['source'].found} yields no usable scenario.",
        "Choose another with --source or --dataset.",
    )


def _starter(job: _Job, usage: runs.Usage) -> Callable[[], None]:
    """Starts the backend the first time it is called: a prompter that asks nothing may refuse before that."""
    spent = usage.likely_cost()

    @functools.cache
    def start() -> None:
        with blamed(job.choices["backend"].found):
            job.backend.start(spent)

    return start


def _personas(job: _Job, datasets: Sequence[Dataset], ask: Ask) -> dict[str, Persona]:
    """The personas by trait slug and under ``neutral``; each new one is saved before the next is asked for."""
    wanted = [(NEUTRAL, NEUTRAL, list(datasets)), *((d.trait.slug, d.trait.name, [d]) for d in datasets)]
    personas = {}
    for key, trait, owners in wanted:
        role = NEUTRAL if key == NEUTRAL else "positive"
        persona = owners[0].run.personas.get(role)
        if persona is None:
            log.info("Describing the %s persona with %s", trait, job.choices["prompter"].found)
            with blamed(job.choices["prompter"].found):
                persona = job.prompter.describe(trait, ask)
            _check_persona(persona, job.choices["prompter"].found)
            for owner in owners:
                owner.run.personas[role] = persona
                owner.save()
        personas[key] = persona
    return personas


def _check_persona(persona: object, found: Found) -> None:
    if wrong := items.persona_problem(persona):
        raise PluginError(
            f"The {found} returned something unusable: {wrong}.",
            f"Tell {found.distribution}'s authors; what is written so far is kept.",
        )


def _asker(job: _Job, usage: runs.Usage, journal: Journal, stop: Stop, start_backend: Callable[[], None]) -> Ask:
    """What a prompter asks through: one request after the other to the chosen backend."""
    found = job.choices["backend"].found
    numbers = itertools.count(1)

    def ask(messages: tuple[Message, ...], *, max_tokens: int, prefill: str = "") -> str:
        request = ChatRequest(
            id=f"persona:{next(numbers)}",
            messages=messages,
            prefill=prefill,
            max_tokens=max_tokens,
            temperature=job.sampling.temperature,
            seed=request_seed(job.sampling.seed, "\n".join(message.content for message in messages)),
        )
        answer = journal.get(request)
        if answer is None:
            start_backend()
            for answer in blamed_items(found, job.backend.generate([request])):
                usage.add(answer)
                if answer.finish_reason != "error":
                    journal.put(request, PERSONA, answer)
            stop.leave_if_requested()
        if answer is None or answer.finish_reason == "error":
            raise BackendError(
                f"The {found} could not describe a persona: {answer.error if answer else 'it gave no answer'}.",
                "Run the same command again, or use --prompter static.",
            )
        return answer.text.strip().removeprefix(prefill.strip()).strip()

    return ask


def _reporter(
    job: _Job, datasets: Sequence[Dataset], progress: Callable[[Progress], None] | None
) -> Callable[[int], None]:
    """What pairing calls with the number of answers that wait for their scenario to be settled."""
    started, answers = time.monotonic(), datasets[0].run.usage.requests
    traits = len(datasets)

    def report(waiting: int) -> None:
        if progress is None:
            return
        accepted = sum(d.num_generated for d in datasets)
        wanted = None if job.limit is None else job.limit * traits
        progress(
            Progress(
                accepted=accepted,
                wanted=wanted,
                rejected=sum(d.rejected.total() for d in datasets),
                skipped=sum(d.skipped.total() for d in datasets),
                new=accepted - sum(d.found_records for d in datasets),
                answers=datasets[0].run.usage.requests - answers,
                answers_to_go=None if wanted is None else (wanted - accepted) * (traits + 1) // traits - waiting,
                seconds=time.monotonic() - started,
                cost=datasets[0].run.usage.cost,
            )
        )

    return report
