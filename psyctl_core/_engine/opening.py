"""Opens a job's datasets: goes on with those that are there, and begins the others beside them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psyctl_core._caa.prompts import PROMPT_VERSION
from psyctl_core._caa.question import FORMAT_VERSION
from psyctl_core._caa.traits import Trait, slug_of
from psyctl_core._engine.dataset import Dataset
from psyctl_core._engine.job import Job, versions_of
from psyctl_core._plugins.selection import Choice
from psyctl_core._store import runs
from psyctl_core._store.runs import Run
from psyctl_core.records import NEUTRAL, JsonValue


@dataclass(frozen=True, slots=True)
class There:
    """The run in an output folder that a job goes on with: its datasets, also those of traits that the job leaves out.

    Attributes:
        name: The run's name, or nothing where there is none.
        runs: Its datasets by trait, made with the job's settings.
        others: Of each trait without one there the newest dataset of other settings, if there is any.
    """

    name: str = ""
    runs: Mapping[str, Run] = field(default_factory=dict)
    others: Mapping[str, Run] = field(default_factory=dict)


def identity_of(job: Job, trait: Trait) -> dict[str, JsonValue]:
    """What decides the trait's dataset: each component, its settings, and what it says of itself, side by side."""
    parts: dict[str, tuple[Choice, Mapping[str, JsonValue]]] = {
        "source": (job.choices["source"], job.source.identity()),
        "prompter": (job.choices["prompter"], job.prompter.identity()),
        "backend": (job.choices["backend"], job.backend.identity()),
        "sink": (job.choices["sink"], job.sink.identity()),
    }
    if job.judge is not None:
        parts["judge"] = job.choices["judge"], job.judge.identity()
    if job.judge_choice is not None:
        parts["judge_backend"] = job.judge_choice, job.judge_backend.identity()
    identity: dict[str, JsonValue] = {
        part: {"component": choice.label, "settings": choice.settings(identity=True), "own": own}
        for part, (choice, own) in parts.items()
    }
    identity |= {
        "trait": trait.name,
        "sampling": dataclasses.asdict(job.config.sampling),
        "format": {"question": FORMAT_VERSION, "prompt": PROMPT_VERSION},
    }
    if personas := job.config.personas.of(trait.name).as_json():
        identity["personas"] = personas
    if job.config.answers_per_scene != 1:
        identity["answers_per_scene"] = job.config.answers_per_scene
    plain: dict[str, JsonValue] = json.loads(json.dumps(identity))
    return plain


def there_of(job: Job) -> There:
    """The run that a job goes on with: the one with most of its traits, and of several the newest.

    Raises:
        OutputError: What lies in a trait's folder cannot be read.
    """
    wanted: dict[str, dict[str, Any]] = {trait.name: identity_of(job, trait) for trait in job.traits}
    first = next(iter(wanted.values()))
    shared = _shared(first)
    judged = first["source"]["own"].get("dataset")  # what is judged anew differs in everything, and that is meant
    by_name: dict[str, dict[str, Run]] = defaultdict(dict)
    others: dict[str, Run] = {}
    for run in _runs_in(job.config.output):
        is_same = _own(run.identity) == wanted[run.trait] if run.trait in wanted else _shared(run.identity) == shared
        if is_same:
            by_name[run.name].setdefault(run.trait, run)
        elif run.trait in wanted and run.name != judged:
            others[run.trait] = max(run, others.get(run.trait, run), key=lambda each: each.name)
    name = max(by_name, key=lambda name: (len(wanted.keys() & by_name[name].keys()), name), default="")
    found = by_name[name] if name else {}
    return There(name, found, {trait: run for trait, run in others.items() if trait not in found})


def open_datasets(job: Job, there: There) -> list[Dataset]:
    """Go on with each trait's dataset, or begin one: in the run that is there, or in a new one.

    Raises:
        OutputError: What lies there cannot be continued.
    """
    new = runs.free_name(job.folders)
    settings, versions, interval = job.config.as_json(), versions_of(job), job.config.interval()
    datasets = []
    for trait in job.traits:
        run = there.runs.get(trait.name)
        if run is None:
            parents = () if job.config.parent is None else (job.config.parent,)
            name = there.name or new
            run = Run(folder_of(job, there, trait), name, trait.name, identity_of(job, trait), parents=parents)
        run.settings, run.versions = settings, versions
        datasets.append(Dataset(trait, run, job.sink, interval=interval, seed=job.config.sampling.seed))
    try:
        for dataset in datasets:
            runs.prepare_folder(dataset.run.folder)
            dataset.open()
    except BaseException:
        close_all(datasets)
        raise
    if job.config.personas.contrast == NEUTRAL:
        described = [run.personas for run in there.runs.values() if NEUTRAL in run.personas]
        shared = {role: p for role, p in (described or [{}])[0].items() if role.startswith(NEUTRAL)}
        for dataset in datasets:
            dataset.run.personas |= shared
    return datasets


def folder_of(job: Job, there: There, trait: Trait) -> Path:
    """Where a trait's dataset lies or will lie: in the output itself, or beside others in a folder of its own."""
    run = there.runs.get(trait.name)
    is_alone = len(job.traits) == 1 and not there.name
    return run.folder if run else job.config.output if is_alone else job.config.output / trait.slug


def changes_of(run: Run, identity: Mapping[str, JsonValue]) -> str:
    """What differs between a run and what is asked for now, as ``setting: old -> new`` texts."""
    return runs.in_short(runs.differences(_own(run.identity), identity))


def close_all(datasets: Sequence[Dataset]) -> None:
    """Close every dataset, even where one of them fails to; the first failure is raised."""
    with contextlib.ExitStack() as closing:
        for dataset in reversed(datasets):
            closing.callback(dataset.close)


def _runs_in(output: Path) -> list[Run]:
    """The runs in an output folder, and in the folders in it that are named after their trait."""
    inside = sorted({path.parents[1] for path in output.glob(f"*/{runs.PREFIX}_*.run/{runs.RUN_FILE}")})
    found = [run for folder in (output, *inside) for run in runs.find_runs(folder)]
    return [run for run in found if run.folder == output or run.folder.name == slug_of(run.trait)]


def _own(identity: Mapping[str, Any]) -> dict[str, Any]:
    """What decides one trait's dataset: older versions noted the traits that were named with it, and their personas."""
    own = {name: value for name, value in identity.items() if name != "traits"}
    if positive := own.get("personas", {}).get("positive"):
        texts = {trait: each for trait, each in positive.items() if trait == identity.get("trait")}
        personas = {name: value for name, value in own["personas"].items() if name != "positive"}
        own["personas"] = {**({"positive": texts} if texts else {}), **personas}
        if not own["personas"]:
            del own["personas"]
    return own


def _shared(identity: Mapping[str, Any]) -> dict[str, Any]:
    """What the datasets of one run have in common: all but the trait and who has it."""
    shared = {name: value for name, value in _own(identity).items() if name not in ("trait", "personas")}
    personas = {name: value for name, value in identity.get("personas", {}).items() if name != "positive"}
    return {**shared, "personas": personas}
