"""Merges finished datasets of one trait into one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

from psyctl_core._caa.traits import slug_of
from psyctl_core._engine.derived import Derived, DerivedReport, Parent, check_place, write_all
from psyctl_core._engine.exporting import Read, no_pairs
from psyctl_core._engine.reading import StoredDataset, sink_choice, trait_of
from psyctl_core._plugins.registry import Registry
from psyctl_core._plugins.selection import Choice, Selection, resolve
from psyctl_core._store import runs
from psyctl_core.errors import UsageError
from psyctl_core.figures import counted
from psyctl_core.records import CaaRecord


def merge(
    datasets: Sequence[StoredDataset],
    read_from: Sequence[Path],
    place: Path,
    sink: Selection | None,
    registry: Registry,
    *,
    renumber: bool,
) -> tuple[DerivedReport, ...]:
    """Write one dataset for each trait, several traits into a folder each.

    Raises:
        UsageError: There are no pairs, or two different ones have the same id.
        OutputError: A record cannot be read or a dataset not be written; then nothing is.
    """
    check_place(place, read_from)
    by_trait: dict[str, list[Read]] = {}
    for dataset in datasets:
        records = list(dataset)
        by_trait.setdefault(slug_of(trait_of(dataset, records)) or "dataset", []).append((dataset, records))
    name = runs.free_name([dataset.target.folder for dataset in datasets])
    outputs = [
        _merged(read, Path(slug) if len(by_trait) > 1 else Path(), name, sink, registry, renumber=renumber)
        for slug, read in by_trait.items()
    ]
    return write_all(outputs, place)


def _merged(
    read: Sequence[Read], inner: Path, name: str, sink: Selection | None, registry: Registry, *, renumber: bool
) -> Derived:
    united = _United(read, renumber=renumber)
    if not united.records:
        raise no_pairs(read[0][0].location)
    choice = resolve(registry, "sink", sink) if sink else sink_choice(read[0][0].run, registry)
    notes = [note for dataset, _ in read for note in _state(dataset, len(read))]
    return Derived(
        inner=inner,
        name=name,
        trait=trait_of(*read[0]),
        records=united.records,
        parents=[Parent(*each, taken) for each, taken in zip(read, united.taken, strict=True)],
        made_from={"how": "merge", "renumbered": united.renumbered, "doubles": united.doubles},
        choice=choice,
        notes=[*notes, *_differences([dataset for dataset, _ in read], choice), *united.notes()],
    )


class _United:
    """The records of several datasets, one after the other, each id and each pair once.

    Attributes:
        records: The records.
        taken: How many come from each dataset.
        doubles: How many were left out, since the same pair was there.
        renumbered: How many have an id of their own now, since a different pair had theirs.
    """

    def __init__(self, read: Sequence[Read], *, renumber: bool) -> None:
        self.records: list[CaaRecord] = []
        self.taken: list[int] = []
        self.doubles = 0
        self.renumbered = 0
        pairs: set[tuple[str, ...]] = set()
        owners: dict[str, StoredDataset] = {}
        ids = {record.id for _, records in read for record in records}
        for dataset, records in read:
            before = len(self.records)
            for record in records:
                pair = (record.id, record.situation, record.character, record.positive_text, record.neutral_text)
                if pair in pairs:
                    self.doubles += 1
                    continue
                pairs.add(pair)
                if record.id in owners:
                    if not renumber:
                        raise _conflict(record.id, owners[record.id], dataset)
                    record = dataclasses.replace(record, id=next(_free(record.id, ids)))
                    ids.add(record.id)
                    self.renumbered += 1
                owners[record.id] = dataset
                self.records.append(record)
            self.taken.append(len(self.records) - before)

    def notes(self) -> Iterator[str]:
        """What to tell of ids."""
        if self.doubles:
            yield f"There more than once: {counted(self.doubles, 'pair')}; each is kept once, as it stands first."
        if self.renumbered:
            yield f"Given a new id, such as ID#2, which a different pair had: {counted(self.renumbered, 'pair')}."


def _free(id: str, taken: set[str]) -> Iterator[str]:
    """Ids as those of further answers to a scene are made, without those that are taken."""
    return (new for number in count(2) if (new := f"{id}#{number}") not in taken)


def _conflict(id: str, first: StoredDataset, second: StoredDataset) -> UsageError:
    where = f"{first.location} and {second.location} have" if first is not second else f"{first.location} has"
    return UsageError(
        f"{where} different pairs with the id '{id}'.",
        "With --renumber both are kept, the later one as a further answer to that scene, with an id such as ID#2.",
    )


def _state(dataset: StoredDataset, datasets: int) -> Iterator[str]:
    for note in dataset.state():
        yield f"{dataset.location}: {note}" if datasets > 1 else note


def _differences(datasets: Sequence[StoredDataset], choice: Choice) -> Iterator[str]:
    """One line on what the datasets were made with differently, and one where they come from different sinks."""
    first, *others = map(_decides, datasets)
    found = list(dict.fromkeys(each for other in others for each in runs.differences(first, other)))
    if found:
        yield f"The datasets were made differently ({runs.in_short(found)}); run.json has it all."
    sinks = {str(dataset.sink.origin) for dataset in datasets if dataset.sink is not None}
    if len(sinks) > 1:
        yield f"They were kept by {' and '.join(sorted(sinks))}; this one is by the {choice.origin}."


def _decides(dataset: StoredDataset) -> dict[str, object]:
    """What decided the answers, without where they went and what was made of them later."""
    identity = dataset.run.get("identity", {})
    return {name: value for name, value in identity.items() if name not in ("sink", "traits", "made_from")}
