"""One trait's run folder: run.json, the rejects, and finding the run that a command continues."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from psyctl_core import schema
from psyctl_core._caa.question import situation_text
from psyctl_core.errors import OutputError
from psyctl_core.figures import counted
from psyctl_core.files import append_row, write_atomically, writing
from psyctl_core.records import ContrastivePair, JsonValue, Metadata, Persona, Usage

log = logging.getLogger("psyctl")

PREFIX = "caa_dataset"
NAME_FORMAT = f"{PREFIX}_%Y%m%d_%H%M%S"
RUN_FILE = "run.json"
REJECTS_FILE = "rejects.jsonl"

MAX_TOLD = 5
"""Differences between two runs that are named."""


@dataclass(frozen=True, slots=True)
class RejectedPair:
    """A pair that a judge rejected, as the rejects keep it."""

    id: str
    reason: str
    character: str
    situation: str
    positive_text: str
    neutral_text: str
    metadata: Metadata


@dataclass(slots=True)
class Run:
    """One dataset's run folder, ``NAME.run``, and what its run.json says.

    Attributes:
        folder: The folder that holds the dataset and the run folder.
        name: Such as ``caa_dataset_20250107_143022``.
        trait: The dataset's trait.
        identity: What decides the dataset.
        settings: What was asked for, as last used: the job's options and its components' ones.
        versions: Distributions and Python, for the record.
        personas: Under ``positive`` and ``neutral``, as far as described.
        usage: Totals over all resumes.
        guides: What the judge was told of the trait, under its name.
        scores: How the judge's scores are spread.
        answered_by: How many requests each of several servers has answered, over all resumes.
        status: ``running``, ``stopped`` or ``complete``.
        created: Local time, ISO 8601.
        parents: Of a dataset that was made from others, or judged anew, what their run.json says, in the order of
            the identity's ``made_from``; empty for one without.
    """

    folder: Path
    name: str
    trait: str
    identity: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    personas: dict[str, Persona] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    guides: dict[str, str] = field(default_factory=dict)
    scores: dict[str, JsonValue] = field(default_factory=dict)
    answered_by: Mapping[str, int] = field(default_factory=dict)
    status: str = "running"
    created: str = field(default_factory=lambda: now())
    parents: Sequence[Mapping[str, Any]] = ()

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder / f"{self.name}.run"

    @property
    def is_kept(self) -> bool:
        """Whether there is a run.json of it."""
        return (self.path / RUN_FILE).exists()

    def save(self, accepted: int, rejected: Mapping[str, int], skipped: Mapping[str, int]) -> None:
        """Write run.json, replacing the last one atomically.

        Raises:
            OutputError: It cannot be written.
        """
        data = {
            "format_version": schema.VERSIONS["run"],
            "name": self.name,
            "trait": self.trait,
            "status": self.status,
            "created": self.created,
            "updated": now(),
            "identity": self.identity,
            "settings": self.settings,
            "personas": {role: dataclasses.asdict(persona) for role, persona in self.personas.items()},
            "versions": self.versions,
            "statistics": {
                "accepted": accepted,
                "rejected": dict(rejected),
                "skipped": dict(skipped),
                **dataclasses.asdict(self.usage),
                **({"answered_by": dict(self.answered_by)} if self.answered_by else {}),
                **({"scores": self.scores} if self.scores else {}),
            },
            **({"guides": self.guides} if self.guides else {}),
            **({"parents": list(self.parents)} if self.parents else {}),
        }
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path / RUN_FILE, json.dumps(data, ensure_ascii=False, indent=2) + "\n")

    def discard(self) -> None:
        """Remove the run folder of a run that came to nothing."""
        shutil.rmtree(self.path, ignore_errors=True)

    def rejects(self, offset: int) -> dict[str, str]:
        """The reasons of the scenarios rejected from ``offset`` on, by id; half a line at the end is cut off."""
        path = self.path / REJECTS_FILE
        whole = _whole_lines(path)
        if whole != _lines(path):
            self._replace_rejects(whole)
        entries = [json.loads(line) for line in whole]
        return {entry["id"]: entry["reason"] for entry in entries if entry["place"] >= offset}

    def reject(self, offset: int, scenario_id: str, reason: str, pair: ContrastivePair | None = None) -> None:
        """Append one rejected scenario to the rejects, with the pair that it gave, if it gave one.

        Raises:
            OutputError: It cannot be written.
        """
        entry: dict[str, Any] = {"place": offset, "id": scenario_id, "reason": reason}
        if pair is not None:
            entry |= {
                "trait": pair.trait,
                "character": pair.scenario.character,
                "situation": situation_text(pair.scenario),
                "positive_text": pair.positive,
                "neutral_text": pair.neutral,
                "metadata": pair.metadata,
            }
        append_row(self.path / REJECTS_FILE, entry)

    def forget_reject(self, scenario_id: str) -> None:
        """Take a scenario out of the rejects. Raises OutputError."""
        lines = _whole_lines(self.path / REJECTS_FILE)
        self._replace_rejects([line for line in lines if json.loads(line)["id"] != scenario_id])

    def _replace_rejects(self, lines: list[str]) -> None:
        path = self.path / REJECTS_FILE
        with writing(path):
            write_atomically(path, "".join(f"{line}\n" for line in lines))


def cost_before(run: Mapping[str, Any]) -> float | None:
    """US dollars that the datasets cost which one was made of, as its run.json tells; ``None`` where none is known.

    Those of one name are of one run, and each of them tells what all of it cost.
    """
    costs: dict[str, float] = {}
    waiting = _parents(run)
    while waiting:
        parent = waiting.pop()
        name, statistics = parent.get("name"), parent.get("statistics")
        cost = statistics.get("cost") if isinstance(statistics, Mapping) else None
        if isinstance(name, str) and isinstance(cost, (int, float)):
            costs[name] = max(cost, costs.get(name, 0.0))
        waiting += _parents(parent)
    return sum(costs.values()) if costs else None


def _parents(run: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those that a run.json names, of which nobody has looked whether theirs hold to the schema."""
    parents = run.get("parents")
    return [each for each in parents if isinstance(each, Mapping)] if isinstance(parents, (list, tuple)) else []


def now() -> str:
    """Local time to the microsecond, ISO 8601, as in the specification's checkpoint."""
    return datetime.now().isoformat()


def rejected_pairs(run_folder: Path) -> Iterator[RejectedPair]:
    """The pairs that a judge rejected, in the order of rejecting."""
    for entry in map(json.loads, _whole_lines(run_folder / REJECTS_FILE)):
        texts = {name: entry.get(name) for name in ("character", "situation", "positive_text", "neutral_text")}
        if all(isinstance(text, str) for text in texts.values()) and isinstance(entry.get("metadata"), dict):
            yield RejectedPair(entry["id"], entry["reason"], metadata=entry["metadata"], **texts)


def rejected_ids(run_folder: Path) -> set[str]:
    """The scenarios that gave no pair, as the rejects have them now; changes nothing."""
    return {json.loads(line)["id"] for line in _whole_lines(run_folder / REJECTS_FILE)}


def find_runs(folder: Path) -> list[Run]:
    """Every run in a folder, newest first.

    Raises:
        OutputError: A run.json cannot be read: beginning anew without a word could mean paying again.
    """
    runs = []
    for path in sorted(folder.glob(f"{PREFIX}_*.run/{RUN_FILE}"), reverse=True):
        data, wrong = read_run(path)
        if wrong:
            raise OutputError(
                f"The run file {path} cannot be used: {wrong}.",
                "Restore it, or move that run's files away; to begin another dataset beside it give --fresh.",
            )
        runs.append(_from_json(path.parent, data))
    return runs


def read_run(path: Path) -> tuple[dict[str, Any], str]:
    """What a run.json says, and why it cannot be used, or ``""``."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return data, schema.problem("run", data)
    except OSError as error:
        return {}, error.strerror or str(error)
    except (ValueError, RecursionError) as error:
        return {}, str(error) or type(error).__name__


def personas_of(data: Mapping[str, Any]) -> dict[str, Persona]:
    """The personas that a run.json names, by role."""
    rows = data.get("personas", {}).items()
    return {role: Persona(row["trait"], row["description"], tuple(row["keywords"])) for role, row in rows}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two identities, as ``setting: old -> new`` texts."""
    before, after = _flat(old), _flat(new)
    return [
        f"{name}: {json.dumps(before.get(name), ensure_ascii=False)}"
        f" -> {json.dumps(after.get(name), ensure_ascii=False)}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def in_short(differences: Sequence[str]) -> str:
    """The first of some differences, and how many more there are."""
    more = f"; and {len(differences) - MAX_TOLD} more" if len(differences) > MAX_TOLD else ""
    return "; ".join(differences[:MAX_TOLD]) + more


def free_name(folders: Sequence[Path]) -> str:
    """A name with the present second in it, or one second after the newest there is: names tell which run is newer."""
    return free_names(folders, 1)[0]


def free_names(folders: Sequence[Path], count: int) -> list[str]:
    """So many names, a second apart, none older than a dataset in the folders."""
    taken = [path.name[: len(PREFIX) + 16] for folder in folders for path in folder.glob(f"{PREFIX}_*")]
    moment = datetime.now()
    for name in taken:
        with contextlib.suppress(ValueError):
            moment = max(moment, datetime.strptime(name, NAME_FORMAT) + timedelta(seconds=1))
    return [f"{moment + timedelta(seconds=number):{NAME_FORMAT}}" for number in range(count)]


def prepare_folder(folder: Path) -> None:
    """Make the folder and show that it can be written before anything is paid for.

    Raises:
        OutputError: It cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"Cannot write to the output folder {folder}: {error.strerror or error}.",
            "Choose another with --output, or give yourself access to this one.",
        ) from error


def _from_json(path: Path, data: Mapping[str, Any]) -> Run:
    statistics = data["statistics"]
    return Run(
        folder=path.parent,
        name=data["name"],
        trait=data["trait"],
        identity=data["identity"],
        settings=data["settings"],
        versions=data["versions"],
        personas=personas_of(data),
        usage=Usage(**{f.name: statistics[f.name] for f in dataclasses.fields(Usage) if f.name in statistics}),
        guides=dict(data.get("guides", {})),
        scores=dict(statistics.get("scores", {})),
        answered_by=dict(statistics.get("answered_by", {})),
        status=data["status"],
        created=data["created"],
        parents=tuple(data.get("parents", ())),
    )


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []


def _whole_lines(path: Path) -> list[str]:
    """The lines that can be read. Others are said once, but for half a line at the end, which any kill may leave."""
    lines = _lines(path)
    whole = [line for line in lines if _is_json(line)]
    damaged = sum(not _is_json(line) for line in lines[:-1])
    if damaged:
        _tell_of_damaged(path, damaged)
    return whole


@functools.cache  # once a process
def _tell_of_damaged(path: Path, damaged: int) -> None:
    log.warning("%s in %s cannot be read: what is there is left out.", counted(damaged, "line"), path)


def _is_json(line: str) -> bool:
    try:
        entry = json.loads(line)
        return isinstance(entry["place"], int) and isinstance(entry["id"], str) and isinstance(entry["reason"], str)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {name: value}
    parts = (_flat(inner, f"{name}.{key}" if name else str(key)) for key, inner in value.items())
    return {key: inner for part in parts for key, inner in part.items()}
