"""Writes finished datasets as other tools read them: everything or nothing, and what was held out apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from psyctl_core._caa.traits import slug_of
from psyctl_core._engine.reading import UNKNOWN, StoredDataset
from psyctl_core._plugins.guard import GuardedExporter, storable
from psyctl_core.components import Exported, ExportTarget
from psyctl_core.errors import OutputError, UsageError
from psyctl_core.files import written_whole
from psyctl_core.records import CaaRecord


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written of one dataset.

    Attributes:
        trait: Its trait.
        location: Where it lies.
        folder: The folder that was written.
        pairs: How many of its pairs are for extracting or training.
        held_out: How many are kept back.
        files: The files, as paths within the folder.
        next: What to run next in the tool that reads them.
        notes: What the user should know, one line each.
    """

    trait: str
    location: str
    folder: Path
    pairs: int
    held_out: int
    files: tuple[Path, ...]
    next: str
    notes: tuple[str, ...]


def export(
    datasets: Sequence[StoredDataset], exporter: GuardedExporter, place: Path, held_out: int
) -> tuple[ExportReport, ...]:
    """Write each dataset, several traits into a folder each.

    Raises:
        UsageError: A dataset has too few pairs, the place holds something, or the tool's form cannot hold the pairs.
        OutputError: A record cannot be read or a file cannot be written; then nothing is.
    """
    read = [(dataset, [_storable(record) for record in dataset]) for dataset in datasets]
    names = [slug_of(_trait(dataset, records)) or "dataset" for dataset, records in read]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UsageError(
            f"More than one of these datasets is of '{twice[0]}': {', '.join(d.location for d, _ in read)}.",
            "Export one at a time: name its file.",
        )
    try:
        _make_room(place)
        with written_whole(place) as draft:
            draft.mkdir()
            reports = []
            for name, (dataset, records) in zip(names, read, strict=True):
                inner = Path(name) if len(read) > 1 else Path()
                (draft / inner).mkdir(exist_ok=True)
                target = ExportTarget(draft / inner, name, _trait(dataset, records), place / inner)
                reports.append(_exported(dataset, records, exporter, target, held_out))
        return tuple(reports)
    except OSError as error:
        raise OutputError(
            f"The export to {place} cannot be written: {error.strerror or error}.",
            "Make room or give access, or choose another --output; nothing is left half-written.",
        ) from error


def _exported(
    dataset: StoredDataset, records: Sequence[CaaRecord], exporter: GuardedExporter, target: ExportTarget, held_out: int
) -> ExportReport:
    pairs, kept_back = split_pairs(records, held_out, dataset.location)
    exported: Exported = exporter.export(pairs, kept_back, target)
    return ExportReport(
        trait=target.trait,
        location=dataset.location,
        folder=target.place,
        pairs=len(pairs),
        held_out=len(kept_back),
        files=exported.files,
        next=exported.next,
        notes=(*_state(dataset), *exported.notes),
    )


def split_pairs(
    records: Sequence[CaaRecord], held_out: int, location: str = "the dataset"
) -> tuple[list[CaaRecord], list[CaaRecord]]:
    """The records without those that are held out, and these: so many, spread evenly.

    Raises:
        UsageError: There is none, or none is left.
    """
    if not records:
        raise UsageError(f"There are no pairs in {location} yet.", "Build some first: psyctl dataset.build.caa.")
    if not 0 <= held_out < len(records):
        raise UsageError(
            f"{held_out} pairs cannot be held out of the {len(records)} in {location}.",
            "Give a smaller --held-out, or build more pairs: psyctl dataset.build.caa with a higher --limit-samples.",
        )
    chosen = {(2 * i + 1) * len(records) // (2 * held_out) for i in range(held_out)}
    parts: tuple[list[CaaRecord], list[CaaRecord]] = ([], [])
    for index, record in enumerate(records):
        parts[index in chosen].append(record)
    return parts


def _make_room(place: Path) -> None:
    """Make the place's parents, and see that it is new or an empty folder, which makes room for the new one."""
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        raise UsageError(f"'{place}' is not a folder.", "Give --output a new or empty folder.")
    if place.is_dir() and any(place.iterdir()):
        raise UsageError(
            f"The folder '{place}' is not empty, and an export is written whole.",
            "Give --output a new folder, or remove this one.",
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir():
        place.rmdir()


def _state(dataset: StoredDataset) -> list[str]:
    """What a reader of the export should know of the dataset: whether its run is finished, and what is wrong."""
    notes = []
    if not dataset.run:
        notes.append("The dataset has no run folder, so nobody can tell whether it is finished.")
    elif dataset.run["status"] != "complete":
        notes.append(f"The run is not finished ({dataset.run['status']}): these are the pairs so far.")
    if dataset.sink is not None:
        notes += [f"{problem}." for problem in dataset.sink.inspect(dataset.target).problems]
    return notes


def _trait(dataset: StoredDataset, records: Sequence[CaaRecord]) -> str:
    return records[0].trait if records and dataset.trait == UNKNOWN else dataset.trait


def _storable(record: CaaRecord) -> CaaRecord:
    """A record whose texts every file can hold; a dataset that somebody edited may have halves of characters."""
    texts = {field.name: getattr(record, field.name) for field in fields(record) if field.name != "metadata"}
    clean = {name: storable(text) for name, text in texts.items()}
    return record if clean == texts else replace(record, **clean)  # type: ignore[arg-type] # the same fields
