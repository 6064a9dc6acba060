"""What lies in an output folder: every run, how far it is, and whatever does not fit together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psyctl_core._engine.reading import StoredDataset, all_datasets
from psyctl_core._engine.watching import is_at_work, last_seen
from psyctl_core._plugins.registry import Registry
from psyctl_core._store import elsewhere
from psyctl_core._store.lock import holder
from psyctl_core.errors import PsyctlError, UsageError
from psyctl_core.figures import counted, number


@dataclass(frozen=True, slots=True)
class RunStatus:
    """One trait's dataset in an output folder.

    Attributes:
        name: Such as ``caa_dataset_20250107_143022``.
        folder: The folder that holds it.
        trait: Its trait.
        state: ``complete``, ``resumable`` (the same command goes on with it), ``running (process N on HOST)`` or
            ``unusable``.
        records: Records in the dataset, or ``None`` where the sink cannot tell.
        wanted: Records wanted when it was last worked on; ``None`` for all the source gives.
        rejected: Scenarios that gave no pair.
        cost: US dollars of the whole pass, all traits and resumes together; ``None`` where unknown, or for nothing.
        run: What run.json says: identity, settings, statistics; empty where it cannot be read.
        problems: Whatever is inconsistent, in words.
        progress: How the pass that works on it is doing, as in the schema ``progress``; empty where none does.
        elsewhere: What goes on for it at a server, also while no process works on it, such as a batch; or nothing.
    """

    name: str
    folder: str
    trait: str
    state: str
    records: int | None
    run: Mapping[str, Any]
    problems: tuple[str, ...]
    wanted: int | None = None
    rejected: int = 0
    cost: float | None = None
    progress: Mapping[str, Any] = field(default_factory=dict)
    elsewhere: str = ""

    @property
    def is_running(self) -> bool:
        """Whether a process works on it."""
        return self.state.startswith("running")

    def as_json(self) -> dict[str, Any]:
        """The status as JSON values, with the parts of run.json beside the rest."""
        parts = {key: self.run.get(key, {}) for key in ("statistics", "identity", "settings")}
        return {name: getattr(self, name) for name in self.__slots__ if name != "run"} | parts


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a process told last of the run it works on, or worked on before it was killed."""

    row: Mapping[str, Any]
    owner: str
    is_at_work: bool

    def of(self, dataset: StoredDataset) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """All of it, and its part about a dataset; nothing where it is about others."""
        for trait in self.row["traits"]:
            if trait["trait"] == dataset.trait and dataset.target.name in self.row.get("names", ()):
                return self.row, trait
        return {}, {}


def status(output: Path, registry: Registry) -> list[RunStatus]:
    """Look at every run in a folder and its subfolders, changing nothing and locking nothing.

    Raises:
        UsageError: There is no such folder, or no run in it.
    """
    if not output.is_dir():
        raise UsageError(f"There is no folder '{output}'.", "Give the folder that --output named.")
    found = all_datasets(output, registry)
    if not found:
        raise UsageError(f"The folder '{output}' holds no run.", "Give the folder that --output named.")
    seen = next(filter(None, map(_seen_in, (output, output.parent))), None)
    told = [_status_of(dataset, seen) for dataset in found]
    costs: dict[str, float] = {}
    for each in told:  # one that was left alone while another trait was made does not know what that cost
        costs[each.name] = max(costs.get(each.name, 0.0), each.cost or 0.0)
    return [dataclasses.replace(each, cost=each.cost and costs[each.name]) for each in told]


def _seen_in(folder: Path) -> _Seen | None:
    told = last_seen(folder)
    return None if told is None else _Seen(told[0], holder(folder), is_at_work(*told))


def _status_of(dataset: StoredDataset, seen: _Seen | None) -> RunStatus:
    target, run = dataset.target, dataset.run
    records, problems = _look(dataset)
    if not run:
        unreadable = f"{dataset.location} has no readable run.json in {target.name}.run, so it cannot be continued"
        problem = dataset.problem or unreadable
        return RunStatus(target.name, str(target.folder), target.trait, "unusable", None, {}, (problem,))
    if run["name"] != target.name:
        problems.insert(0, f"run.json belongs to {run['name']}")
    statistics, is_begun = run["statistics"], run["status"] == "running"  # begun and not ended: at work, or killed
    if records is not None and records != statistics["accepted"] and not is_begun:
        holds = f"the dataset holds {counted(records, 'record')}, run.json counts {number(statistics['accepted'])}"
        problems.append(f"{holds}; the dataset decides")
    told, trait = seen.of(dataset) if seen is not None and is_begun else ({}, {})
    is_running = bool(told) and seen is not None and seen.is_at_work
    state = "complete" if run["status"] == "complete" and not problems else "resumable"
    return RunStatus(
        name=target.name,
        folder=str(target.folder),
        trait=target.trait,
        state=f"running ({seen.owner})" if seen is not None and is_running else state,
        records=max(records, trait.get("pairs", 0)) if is_running and records is not None else records,
        run=run,
        problems=tuple(problems),
        # A part or a union has what it was given; the number is of the run that it was made from.
        wanted=None if "made_from" in run["identity"] else run["settings"].get("limit_samples"),
        rejected=trait.get("rejected", sum(statistics["rejected"].values())),
        cost=told.get("cost", statistics["cost"]),
        progress=told if is_running else {},
        elsewhere="; ".join(elsewhere.told(target.folder / f"{target.name}.run")),
    )


def _look(dataset: StoredDataset) -> tuple[int | None, list[str]]:
    """Ask the sink that wrote a dataset what is there."""
    if dataset.sink is None:
        return None, [dataset.problem]
    try:
        inspection = dataset.sink.inspect(dataset.target)
        return inspection.records, list(inspection.problems)
    except PsyctlError as error:
        return None, [f"its sink cannot be asked: {error.message}"]
