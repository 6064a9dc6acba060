"""What lies in an output folder: every run, how far it is, and whatever does not fit together."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psyctl_core import run as runs
from psyctl_core import schema
from psyctl_core.components import Context, OutputSink, SinkTarget
from psyctl_core.errors import PsyctlError, UsageError
from psyctl_core.lock import holder, is_locked
from psyctl_core.registry import Registry, blamed, create


@dataclass(frozen=True, slots=True)
class RunStatus:
    """One run in an output folder.

    Attributes:
        name: Such as ``caa_dataset_20250107_143022``.
        folder: The folder that holds it.
        trait: Its trait.
        state: ``complete``, ``resumable`` or ``running``.
        records: Records in the dataset, or ``None`` where the sink cannot tell.
        statistics: As in run.json.
        identity: What decides the dataset.
        settings: What does not.
        problems: Whatever is inconsistent, in words.
    """

    name: str
    folder: str
    trait: str
    state: str
    records: int | None
    statistics: Mapping[str, Any]
    identity: Mapping[str, Any]
    settings: Mapping[str, Any]
    problems: tuple[str, ...]


def status(output: Path, registry: Registry) -> list[RunStatus]:
    """Look at every run in a folder and its subfolders, changing nothing.

    Raises:
        UsageError: There is no such folder, or no run in it.
    """
    if not output.is_dir():
        raise UsageError(f"There is no folder '{output}'.", "Give the folder that --output named.")
    files = sorted(output.rglob(f"{runs.PREFIX}_*.run/{runs.RUN_FILE}"))
    orphans = [path for path in sorted(output.rglob(f"{runs.PREFIX}_*.jsonl")) if not _run_file(path).exists()]
    if not files and not orphans:
        raise UsageError(f"The folder '{output}' holds no run.", "Give the folder that --output named.")
    running = next((holder(folder) for folder in (output, output.parent) if is_locked(folder)), "")
    return [*(_status_of(path, registry, running) for path in files), *map(_orphan, orphans)]


def _status_of(path: Path, registry: Registry, running: str) -> RunStatus:
    folder, name = path.parent.parent, path.parent.name.removesuffix(".run")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        wrong = schema.problem("run", data)
    except (OSError, ValueError) as error:
        wrong = str(error)
    if wrong:
        return RunStatus(name, str(folder), "unknown", "unusable", None, {}, {}, {}, (f"{path}: {wrong}",))
    problems = [f"run.json belongs to {data['name']}"] if data["name"] != name else []
    records, found = _look(registry, data["identity"]["sink"], SinkTarget(folder, name, data["trait"]))
    problems += found
    accepted = data["statistics"]["accepted"]
    is_running = bool(running) and data["status"] == "running"
    if records is not None and records != accepted and not is_running:
        problems.append(f"the dataset holds {records} records, run.json counts {accepted}; the dataset decides")
    state = "complete" if data["status"] == "complete" and not problems else "resumable"
    return RunStatus(
        name=name,
        folder=str(folder),
        trait=data["trait"],
        state=f"running ({running})" if is_running else state,
        records=records,
        statistics=data["statistics"],
        identity=data["identity"],
        settings=data["settings"],
        problems=tuple(problems),
    )


def _look(registry: Registry, identity: Mapping[str, Any], target: SinkTarget) -> tuple[int | None, list[str]]:
    """Ask the sink that wrote a dataset what is there."""
    try:
        found = registry.get("sink", f"{identity['distribution']}:{identity['name']}")
        assert found.component is not None
        fields = {field.name for field in dataclasses.fields(found.component.config)}
        config = found.component.config(
            **{name: value for name, value in identity.items() if name in fields - {"name"}}
        )
        sink: OutputSink = create(found, config, Context(), OutputSink)
        with blamed(found):
            return sink.inspect(target)
    except (PsyctlError, TypeError) as error:
        return None, [f"the sink cannot be asked: {str(error).splitlines()[0]}"]


def _orphan(path: Path) -> RunStatus:
    problem = f"{path.name} has no readable {_run_file(path)}, so it cannot be continued"
    return RunStatus(path.stem, str(path.parent), "unknown", "unusable", None, {}, {}, {}, (problem,))


def _run_file(dataset: Path) -> Path:
    return dataset.with_suffix(".run") / runs.RUN_FILE
