"""What is published of each dataset: its records as lines, what its run.json says, and what the checks find."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from psyctl_core import CaaRecord, Checkup, OutputError, StoredDataset, UsageError, check_records, stored_datasets
from psyctl_core.figures import counted
from psyctl_hub.making import derived_by, is_judged_again, judged_dataset, parents_of
from psyctl_hub.private import public_value

SHOWN = 3
"""So many pairs stand in the card, spread evenly over the dataset."""

UNKNOWN = "unknown"

_NO_NAME = re.compile(r'[<>:/\\|?*"\x00-\x1f]+')
"""What ``datasets`` refuses in the name of a config (``datasets.naming.INVALID_WINDOWS_CHARACTERS_IN_PATH``)."""


@dataclass(frozen=True, slots=True)
class TraitFacts:
    """What is told and published of one dataset.

    Attributes:
        trait: Its trait.
        config: The config's name: the trait, as far as a config may be called so.
        file: The path of its lines in the repository.
        location: A path or an address to show to whom publishes it.
        run: What run.json says; empty where there is none.
        before: What those say that it was made from, or whose pairs were judged again, the last one first.
        records: The records, with nothing private in their metadata.
        checkup: What the checks say.
        problems: What could not be read, and what does not fit together, a line each.
        unread: How many of its lines could not be read.
        cut: How many records' metadata held a path or an address that was cut.
        agreement: What a person said of its pairs and how far the judge agrees, in rows; empty where nobody labelled.
    """

    trait: str
    config: str
    file: str
    location: str
    run: Mapping[str, Any]
    records: Sequence[CaaRecord]
    checkup: Checkup
    before: Sequence[Mapping[str, Any]] = ()
    problems: Sequence[str] = ()
    unread: int = 0
    cut: int = 0
    agreement: Sequence[tuple[str, str]] = ()

    @property
    def is_finished(self) -> bool:
        """Whether the run that makes it is complete."""
        return self.run.get("status") == "complete"

    @property
    def origin(self) -> Mapping[str, Any]:
        """What run.json says of the run that made the pairs."""
        return self.before[-1] if self.before else self.run

    @property
    def origins(self) -> list[Mapping[str, Any]]:
        """What run.json says of each run that made pairs; several where datasets were merged."""
        return [run for run in self.runs if not is_judged_again(run) and not derived_by(run)] or [self.origin]

    @property
    def runs(self) -> list[Mapping[str, Any]]:
        """What is known of all runs that had to do with it, the one that made the pairs first."""
        return [*reversed(self.before), self.run] if self.run else []

    @property
    def first(self) -> int:
        """How many positive answers are option 1."""
        return sum(record.positive == "(1" for record in self.records)

    @property
    def shown(self) -> list[CaaRecord]:
        """The pairs that stand in the card."""
        last = len(self.records) - 1
        places = dict.fromkeys(round(last * i / (SHOWN - 1)) for i in range(SHOWN))
        return [self.records[place] for place in places]

    @property
    def has_metadata(self) -> bool:
        """Whether there is such a column."""
        return any(record.metadata for record in self.records)

    def lines(self) -> bytes:
        """The records as JSON Lines; metadata is JSON text, since a column must have one type in all lines."""
        rows = [record.as_json() for record in self.records]
        if self.has_metadata:
            rows = [{**row, "metadata": _as_text(row.get("metadata", {}))} for row in rows]
        return "".join(f"{_as_text(row)}\n" for row in rows).encode("utf-8", errors="replace")


def read(output: Path) -> tuple[list[TraitFacts], list[str]]:
    """Read the newest datasets in a folder, or the one that a file is.

    Returns:
        One for each trait, and what was left out or could not be read, a line each.

    Raises:
        UsageError: There is none, one has no pair, or two would have one name.
        OutputError: A dataset's sink cannot be asked.
    """
    datasets = stored_datasets(output)
    traits = [_facts(dataset) for dataset in datasets]
    for names in ([each.config.casefold() for each in traits], [each.file for each in traits]):
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise UsageError(
                f"More than one of these datasets is of '{twice[0]}': {', '.join(each.location for each in traits)}.",
                "Publish one at a time: name its file.",
            )
    notes: list[str] = []
    for each in traits:
        notes += each.problems
        if each.cut:
            notes.append(f"{each.trait}: in the metadata of {counted(each.cut, 'pair')} paths and addresses are cut.")
    return traits, notes


def _facts(dataset: StoredDataset) -> TraitFacts:
    if dataset.sink is None:
        raise OutputError(f"The dataset {dataset.location} cannot be read: {dataset.problem}.", dataset.way_out)
    found, problems = dataset.readable()
    if not found:
        raise UsageError(
            problems[0] if problems else f"There are no pairs in {dataset.location} yet.",
            "Build some first, with psyctl dataset.build.caa, or name another dataset's file.",
        )
    records = [replace(record, metadata=_public(record)) for record in found]
    trait = found[0].trait if dataset.trait == UNKNOWN else dataset.trait
    name = " ".join(_NO_NAME.sub("-", trait).split()).strip(".- ") or "default"
    return TraitFacts(
        trait=trait,
        config=name,
        file=f"data/{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-') or 'pairs'}.jsonl",
        location=dataset.location,
        run=dataset.run,
        records=records,
        checkup=check_records(dataset, records),
        before=_before(dataset),
        problems=[*problems, *_miscounted(dataset, len(records))],
        unread=len(problems),
        cut=sum(one.metadata != other.metadata for one, other in zip(found, records, strict=True)),
        agreement=dataset.agreement([*records, *dataset.rejected()]),
    )


def _before(dataset: StoredDataset) -> list[Mapping[str, Any]]:
    """What is known of the datasets that it was made from, or whose pairs it judged again if they lie beside it."""
    if parents := parents_of(dataset.run):
        return parents[::-1]
    found: list[Mapping[str, Any]] = []
    name = judged_dataset(dataset.run)
    beside = {each.target.name: each.run for each in stored_datasets(dataset.target.folder, older=True)} if name else {}
    while name in beside:
        found.append(beside.pop(name))
        name = judged_dataset(found[-1])
    return [run for run in found if run]


def _public(record: CaaRecord) -> Mapping[str, Any]:
    value = public_value(record.metadata)
    assert isinstance(value, Mapping)
    return value


def _miscounted(dataset: StoredDataset, records: int) -> list[str]:
    """Whether the dataset holds as many pairs as its run counted."""
    if not dataset.run:
        return [f"{dataset.location} has no run.json: what made it, and whether it is finished, is not known."]
    accepted = dataset.run["statistics"]["accepted"]
    if dataset.run["status"] == "running" or accepted == records:
        return []
    return [f"run.json counts {counted(accepted, 'pair')} of {dataset.location}, and {records} could be read."]


def _as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
