"""Writes datasets that are made from others: all or none, each with a run.json that says where it comes from."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psyctl_core._caa.question import balanced
from psyctl_core._engine.labels import keep_label
from psyctl_core._engine.reading import StoredDataset
from psyctl_core._engine.scores import summary_of
from psyctl_core._plugins.guard import GuardedSink
from psyctl_core._plugins.installed import version_of
from psyctl_core._plugins.selection import Choice
from psyctl_core._store.runs import Run, personas_of
from psyctl_core.components import Checkpoint, Context, SinkTarget
from psyctl_core.errors import OutputError, UsageError
from psyctl_core.files import make_room, written_whole
from psyctl_core.records import CaaRecord, JsonValue, Persona, Usage


@dataclass(frozen=True, slots=True)
class Parent:
    """A dataset that was read, and how many records a derived one has of it."""

    dataset: StoredDataset
    records: Sequence[CaaRecord]
    taken: int

    def as_json(self) -> dict[str, JsonValue]:
        """Its name, its digest, and how many records were taken."""
        return {"name": self.dataset.target.name, "digest": digest_of(self.records), "pairs": self.taken}


@dataclass(frozen=True, slots=True)
class Derived:
    """A dataset to write.

    Attributes:
        inner: Its folder within the output.
        name: Its name.
        trait: Its trait.
        records: Its records, whichever answer stands first in them.
        parents: What they come from, in the order of the records.
        made_from: How, as its identity has it, without the parents.
        choice: The sink to write it with.
        notes: What the user should know, one line each.
    """

    inner: Path
    name: str
    trait: str
    records: Sequence[CaaRecord]
    parents: Sequence[Parent]
    made_from: Mapping[str, JsonValue]
    choice: Choice
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class DerivedReport:
    """One dataset that was made from others.

    Attributes:
        part: Which part it is of the dataset that was split; empty where datasets were merged.
        trait: Its trait.
        location: Where it lies.
        folder: The folder that holds it.
        pairs: How many it has.
        positive_first: In how many of them the positive answer is option 1.
        turned: How many have their options the other way round than before, so that this is one half.
        notes: What the user should know, one line each.
    """

    part: str
    trait: str
    location: str
    folder: Path
    pairs: int
    positive_first: int
    turned: int
    notes: tuple[str, ...]


def digest_of(records: Sequence[CaaRecord]) -> str:
    """The SHA-256 of the records as lines of JSON: that of the file where the sink ``jsonl`` wrote them."""
    summary = hashlib.sha256()
    for record in records:
        line = json.dumps(record.as_json(), ensure_ascii=False) + "\n"
        summary.update(line.encode("utf-8", errors="replace"))
    return summary.hexdigest()


def check_place(place: Path, read_from: Sequence[Path]) -> None:
    """See that the new datasets would not lie where the old ones are, and be taken for newer runs of theirs.

    Raises:
        UsageError: They would.
    """
    real = Path(os.path.realpath(place))  # Path.resolve() fails where a link leads to itself
    for path in read_from:
        folder = path if path.is_dir() else path.parent
        if real.is_relative_to(os.path.realpath(folder)):
            raise UsageError(
                f"'{place}' lies in '{folder}', where it would be taken for a newer run of what is there.",
                "Give --output a folder beside it.",
            )


def write_all(outputs: Sequence[Derived], place: Path) -> tuple[DerivedReport, ...]:
    """Write datasets to a new or empty folder, which is there once all of them are.

    Raises:
        UsageError: The place holds something.
        OutputError: It cannot be written; then nothing is there.
        PluginError: A sink fails.
    """
    try:
        make_room(place)
        with written_whole(place) as draft:
            reports = [_written(output, draft, place) for output in outputs]
        try:
            for output in outputs:
                _settle(output, place)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        return tuple(reports)
    except OSError as error:
        raise _unwritten(place, error.strerror or str(error)) from error


def _unwritten(place: Path, reason: str) -> OutputError:
    return OutputError(
        f"The datasets cannot be written to {place}: {reason}.",
        "Make room or give access, or choose another --output; nothing is left half-written.",
    )


def _written(output: Derived, draft: Path, place: Path) -> DerivedReport:
    """Write one dataset into the draft of the output folder, and say what it will be."""
    folder = draft / output.inner
    folder.mkdir(parents=True)
    sink: GuardedSink = output.choice.make(Context())
    records = balanced(output.records, _seed(output))
    try:
        with closing(sink.open(SinkTarget(folder, output.name, output.trait))) as writer:
            if writer.record_ids(0) or writer.last_checkpoint():
                raise OutputError(f"the {sink.origin} has a dataset {output.name} already", "")
            for record in records:
                writer.write(record)
            writer.checkpoint(_finished(output))
        run = _run(output, folder, sink)
        run.scores = summary_of(records)
        run.save(len(records), {}, {})
        kept = {record.id for record in records}
        for parent in output.parents:
            for id, label in parent.dataset.labels().items():
                if id in kept:
                    keep_label(run.path, id, label)
    except OutputError as error:
        raise _unwritten(place, error.message.replace(str(draft), str(place)).rstrip(".")) from error
    final = SinkTarget(place / output.inner, output.name, output.trait)
    return DerivedReport(
        part=str(output.made_from.get("part", "")),
        trait=output.trait,
        location=sink.location(final),
        folder=final.folder,
        pairs=len(records),
        positive_first=sum(record.positive == "(1" for record in records),
        turned=sum(old.positive != new.positive for old, new in zip(output.records, records, strict=True)),
        notes=tuple(output.notes),
    )


def _settle(output: Derived, place: Path) -> None:
    """See that the sink finds the dataset where it lies now, and have its checkpoint say so."""
    sink: GuardedSink = output.choice.make(Context())
    with closing(sink.open(SinkTarget(place / output.inner, output.name, output.trait))) as writer:
        if len(writer.record_ids(0)) != len(output.records):
            raise OutputError(
                f"The {sink.origin} does not find a dataset again whose folder was renamed, so none is written.",
                "Choose another --sink, such as jsonl.",
            )
        writer.checkpoint(_finished(output))


def _finished(output: Derived) -> Checkpoint:
    pairs = len(output.records)
    return Checkpoint(num_generated=pairs, offset=pairs, accepted=pairs, exhausted=True)


def _run(output: Derived, folder: Path, sink: GuardedSink) -> Run:
    """What run.json says: what the parents' say, joined where they differ, and which they are."""
    runs = [parent.dataset.run for parent in output.parents]
    old: dict[str, Any] = joined([run for run in runs if run])
    choice = output.choice
    identity = {
        **old.get("identity", {}),
        "trait": output.trait,
        "sink": {"component": choice.label, "settings": choice.settings(identity=True), "own": sink.identity()},
        "made_from": {
            **output.made_from,
            "seed": _seed(output),
            "datasets": [parent.as_json() for parent in output.parents],
        },
    }
    settings = {
        **old.get("settings", {}),
        "sink": {"component": choice.selection.name, "settings": choice.settings()},
    }
    personas = _personas(runs)
    return Run(
        folder,
        output.name,
        output.trait,
        json.loads(json.dumps(identity)),
        settings=settings,
        versions={**old.get("versions", {}), "psyctl": version_of("psyctl")},
        personas=personas,
        usage=Usage(),
        guides={name: guide for name, guide in old.get("guides", {}).items() if _agree(runs, "guides", name)},
        status="complete",
        parents=runs,
    )


def _seed(output: Derived) -> int:
    """The seed by which the first parent's answers stand in order."""
    seed = output.parents[0].dataset.run.get("identity", {}).get("sampling", {}).get("seed", 0)
    return seed if isinstance(seed, int) else 0


def joined(values: Sequence[Any]) -> Any:
    """Values as one: mappings key by key, equal ones as they are, and others as text with bars between them."""
    if not values:
        return {}
    if all(isinstance(value, Mapping) for value in values):
        keys = dict.fromkeys(key for value in values for key in value)
        return {key: joined([value[key] for value in values if key in value]) for key in keys}
    different = [value for number, value in enumerate(values) if value not in values[:number]]
    if len(different) == 1:
        return different[0]
    return " | ".join(v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in different)


def _agree(runs: Sequence[Mapping[str, Any]], part: str, name: str) -> bool:
    """Whether all that say something there say the same."""
    return len({json.dumps(run[part][name]) for run in runs if name in run.get(part, {})}) == 1


def _personas(runs: Sequence[Mapping[str, Any]]) -> dict[str, Persona]:
    """All who answered: each description once, the second of a side as ``positive 2`` and so on."""
    found: dict[str, Persona] = {}
    count: Counter[str] = Counter()
    for run in runs:
        for role, persona in personas_of(run).items():
            side = role.partition(" ")[0]
            if persona not in [other for known, other in found.items() if known.partition(" ")[0] == side]:
                count[side] += 1
                found[side if count[side] == 1 else f"{side} {count[side]}"] = persona
    return found
