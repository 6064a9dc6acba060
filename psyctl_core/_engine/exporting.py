"""Writes finished datasets as other tools read them: everything or nothing, and what was held out apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from psyctl_core._caa.traits import slug_of
from psyctl_core._engine.reading import StoredDataset, trait_of
from psyctl_core._engine.scenes import parted_alike
from psyctl_core._plugins.guard import GuardedExporter
from psyctl_core._plugins.problems import storable
from psyctl_core.components import Exported, ExportTarget
from psyctl_core.errors import OutputError, UsageError
from psyctl_core.figures import counted
from psyctl_core.files import make_room, written_whole
from psyctl_core.records import CaaRecord

Read = tuple[StoredDataset, Sequence[CaaRecord]]
"""A dataset with its records."""


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
    names = names_of(read)
    kept_back = held_out_of(read, held_out)
    try:
        make_room(place)
        with written_whole(place) as draft:
            draft.mkdir()
            reports = []
            for name, (dataset, records), parts in zip(names, read, kept_back, strict=True):
                inner = Path(name) if len(read) > 1 else Path()
                (draft / inner).mkdir(exist_ok=True)
                target = ExportTarget(draft / inner, name, trait_of(dataset, records), place / inner)
                reports.append(_exported(dataset, parts, exporter, target, held_out))
        return tuple(reports)
    except OSError as error:
        raise OutputError(
            f"The export to {place} cannot be written: {error.strerror or error}.",
            "Make room or give access, or choose another --output; nothing is left half-written.",
        ) from error


def _exported(
    dataset: StoredDataset,
    parts: Sequence[Sequence[CaaRecord]],
    exporter: GuardedExporter,
    target: ExportTarget,
    wanted: int,
) -> ExportReport:
    held_out, pairs = parts
    exported: Exported = exporter.export(pairs, held_out, target)
    return ExportReport(
        trait=target.trait,
        location=dataset.location,
        folder=target.place,
        pairs=len(pairs),
        held_out=len(held_out),
        files=exported.files,
        next=exported.next,
        notes=(*dataset.state(), *other_size("held out", wanted, len(held_out)), *exported.notes),
    )


def names_of(read: Sequence[Read]) -> list[str]:
    """What each dataset is called in files, by its trait.

    Raises:
        UsageError: Two are of one trait.
    """
    names = [slug_of(trait_of(dataset, records)) or "dataset" for dataset, records in read]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UsageError(
            f"More than one of these datasets is of '{twice[0]}': {', '.join(d.location for d, _ in read)}.",
            "Take one at a time: name its file.",
        )
    return names


def held_out_of(read: Sequence[Read], held_out: int) -> list[list[list[CaaRecord]]]:
    """Of each dataset the records that are held out, so many, spread evenly, and the others; they share no scene.

    Raises:
        UsageError: There is none, or none is left.
    """
    for dataset, records in read:
        _check_held_out(records, held_out, dataset.location)
    found = parted_alike([records for _, records in read], [[held_out]] * len(read))
    for (dataset, records), (_, pairs) in zip(read, found, strict=True):
        _check_rest(pairs, records, held_out, dataset.location)
    return found


def split_pairs(
    records: Sequence[CaaRecord], held_out: int, location: str = "the dataset"
) -> tuple[list[CaaRecord], list[CaaRecord]]:
    """The pairs without those that are held out, and these: spread evenly over the dataset, no scene in both.

    Args:
        records: The pairs; the same ones in the same order are split the same way.
        held_out: How many to hold out; as closely as whole scenes allow.
        location: What to call the dataset in an error.

    Raises:
        UsageError: There is none, or none is left.
    """
    _check_held_out(records, held_out, location)
    ((kept, pairs),) = parted_alike([records], [[held_out]])
    _check_rest(pairs, records, held_out, location)
    return pairs, kept


def _check_held_out(records: Sequence[CaaRecord], held_out: int, location: str) -> None:
    if not records:
        raise no_pairs(location)
    if not 0 <= held_out < len(records):
        raise UsageError(
            f"{counted(held_out, 'pair')} cannot be held out of the {len(records)} in {location}.",
            "Give a smaller --held-out, or build more pairs: psyctl dataset.build.caa with a higher --limit-samples.",
        )


def _check_rest(pairs: Sequence[CaaRecord], records: Sequence[CaaRecord], held_out: int, location: str) -> None:
    if not pairs:
        raise UsageError(
            f"Holding out {held_out} of {counted(len(records), 'pair')} in {location} leaves none: pairs of one scene "
            "stay together.",
            "Build pairs of more scenes: psyctl dataset.build.caa with a higher --limit-samples.",
        )


def other_size(part: str, wanted: int, found: int) -> list[str]:
    """What to tell of a part that has not the size that was asked for, if it has not."""
    if wanted == found:
        return []
    return [f"{part[:1].upper()}{part[1:]}: {counted(found, 'pair')}, not {wanted}: pairs of one scene stay together."]


def no_pairs(location: str) -> UsageError:
    """The error for a dataset without a pair."""
    return UsageError(f"There are no pairs in {location} yet.", "Build some first: psyctl dataset.build.caa.")


def _storable(record: CaaRecord) -> CaaRecord:
    """A record whose texts every file can hold; a dataset that somebody edited may have halves of characters."""
    texts = {field.name: getattr(record, field.name) for field in fields(record) if field.name != "metadata"}
    clean = {name: storable(text) for name, text in texts.items()}
    return record if clean == texts else replace(record, **clean)  # type: ignore[arg-type] # the same fields
