"""What lies in an output folder: every run, how far it is, and whatever does not fit together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psyctl_core._engine.reading import StoredDataset, all_datasets
from psyctl_core._plugins.registry import Registry
from psyctl_core._store.lock import holder, is_locked
from psyctl_core.errors import PsyctlError, UsageError


@dataclass(frozen=True, slots=True)
class RunStatus:
    """One run in an output folder.

    Attributes:
        name: Such as ``caa_dataset_20250107_143022``.
        folder: The folder that holds it.
        trait: Its trait.
        state: ``complete``, ``resumable``, ``running`` or ``unusable``.
        records: Records in the dataset, or ``None`` where the sink cannot tell.
        run: What run.json says: identity, settings, statistics; empty where it cannot be read.
        problems: Whatever is inconsistent, in words.
    """

    name: str
    folder: str
    trait: str
    state: str
    records: int | None
    run: Mapping[str, Any]
    problems: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The status as JSON values, with the parts of run.json beside the rest."""
        parts = {key: self.run.get(key, {}) for key in ("statistics", "identity", "settings")}
        return {name: getattr(self, name) for name in self.__slots__ if name != "run"} | parts


def status(output: Path, registry: Registry) -> list[RunStatus]:
    """Look at every run in a folder and its subfolders, changing nothing.

    Raises:
        UsageError: There is no such folder, or no run in it.
    """
    if not output.is_dir():
        raise UsageError(f"There is no folder '{output}'.", "Give the folder that --output named.")
    found = all_datasets(output, registry)
    if not found:
        raise UsageError(f"The folder '{output}' holds no run.", "Give the folder that --output named.")
    running = next((holder(folder) for folder in (output, output.parent) if is_locked(folder)), "")
    return [_status_of(dataset, running) for dataset in found]


def _status_of(dataset: StoredDataset, running: str) -> RunStatus:
    target, run = dataset.target, dataset.run
    records, problems = _look(dataset)
    if not run:
        unreadable = f"{dataset.location} has no readable run.json in {target.name}.run, so it cannot be continued"
        problem = dataset.problem or unreadable
        return RunStatus(target.name, str(target.folder), target.trait, "unusable", None, {}, (problem,))
    if run["name"] != target.name:
        problems.insert(0, f"run.json belongs to {run['name']}")
    accepted = run["statistics"]["accepted"]
    is_running = bool(running) and run["status"] == "running"
    if records is not None and records != accepted and not is_running:
        problems.append(f"the dataset holds {records} records, run.json counts {accepted}; the dataset decides")
    state = "complete" if run["status"] == "complete" and not problems else "resumable"
    return RunStatus(
        name=target.name,
        folder=str(target.folder),
        trait=target.trait,
        state=f"running ({running})" if is_running else state,
        records=records,
        run=run,
        problems=tuple(problems),
    )


def _look(dataset: StoredDataset) -> tuple[int | None, list[str]]:
    """Ask the sink that wrote a dataset what is there."""
    if dataset.sink is None:
        return None, [dataset.problem]
    try:
        inspection = dataset.sink.inspect(dataset.target)
        return inspection.records, list(inspection.problems)
    except PsyctlError as error:
        return None, [f"its sink cannot be asked: {str(error).splitlines()[0]}"]
