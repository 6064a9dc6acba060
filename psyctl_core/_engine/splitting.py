"""Splits finished datasets into parts that share no scene."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from psyctl_core._engine.derived import Derived, DerivedReport, Parent, check_place, write_all
from psyctl_core._engine.exporting import Read, names_of, no_pairs, other_size
from psyctl_core._engine.reading import StoredDataset, sink_choice, trait_of
from psyctl_core._engine.scenes import parted_alike
from psyctl_core._plugins.registry import Registry
from psyctl_core._plugins.selection import Selection, resolve
from psyctl_core._store import runs
from psyctl_core.errors import UsageError
from psyctl_core.figures import counted
from psyctl_core.records import JsonValue

Parts = Mapping[str, int | float | None]
"""How large each part is: so many pairs, such a share of them (between 0 and 1), or, for one of them, the rest."""

_NAME = re.compile(r"[A-Za-z0-9][\w-]*")


def split(
    datasets: Sequence[StoredDataset],
    read_from: Path,
    place: Path,
    parts: Parts,
    sink: Selection | None,
    registry: Registry,
) -> tuple[DerivedReport, ...]:
    """Write each part of each dataset, a part into a folder each, and in it several traits into a folder each.

    Raises:
        UsageError: A part makes no sense, or there are too few pairs.
        OutputError: A record cannot be read or a dataset not be written; then nothing is.
    """
    _check(parts)
    check_place(place, [read_from])
    read: list[Read] = [(dataset, list(dataset)) for dataset in datasets]
    names = names_of(read)
    wanted = [sizes_of(parts, dataset, len(records)) for dataset, records in read]
    sized = [part for part in parts if parts[part] is not None]
    found = parted_alike([records for _, records in read], [[each[part] for part in sized] for each in wanted])
    order = [*sized, *(part for part in parts if parts[part] is None)]
    begun = runs.free_names([dataset.target.folder for dataset in datasets], len(parts))
    outputs = []
    for (dataset, records), name, sizes, pieces in zip(read, names, wanted, found, strict=True):
        inside = dict(zip(order, pieces, strict=False))  # what is in no part is the last piece
        _check_pieces({part: len(inside[part]) for part in parts}, dataset)
        told: JsonValue = {part: {"name": begun[n], "pairs": len(inside[part])} for n, part in enumerate(parts)}
        unused = len(records) - sum(len(inside[part]) for part in parts)
        choice = resolve(registry, "sink", sink) if sink else sink_choice(dataset.run, registry)
        for number, part in enumerate(parts):
            notes = [*dataset.state(), *_left_behind(dataset, unused)] if number == 0 else []
            outputs.append(
                Derived(
                    inner=Path(part) / name if len(read) > 1 else Path(part),
                    name=begun[number],
                    trait=trait_of(dataset, records),
                    records=inside[part],
                    parents=[Parent(dataset, records, len(inside[part]))],
                    made_from={"how": "split", "part": part, "parts": told},
                    choice=choice,
                    notes=[*notes, *other_size(f"in '{part}'", sizes[part], len(inside[part]))],
                )
            )
    return write_all(sorted(outputs, key=lambda output: begun.index(output.name)), place)


def sizes_of(parts: Parts, dataset: StoredDataset, pairs: int) -> dict[str, int]:
    """How many of a dataset's pairs each part shall have.

    Shares are rounded so that together they have what they have together: three thirds of 10 pairs are 3, 4 and 3.

    Raises:
        UsageError: There are too few.
    """
    if not pairs:
        raise no_pairs(dataset.location)
    sizes, share, given = {}, 0.0, 0
    for part, size in parts.items():
        if isinstance(size, float):
            share += size
            sizes[part] = round(share * pairs) - given
            given += sizes[part]
        elif size is not None:
            sizes[part] = size
    rest = pairs - sum(sizes.values())
    if rest < 0:
        raise UsageError(
            f"The parts take {counted(sum(sizes.values()), 'pair')}, and there are {pairs} in {dataset.location}.",
            "Make them smaller, or build more pairs: psyctl dataset.build.caa with a higher --limit-samples.",
        )
    return {part: sizes.get(part, rest) for part in parts}


def _check(parts: Parts) -> None:
    """See that names can be folders and sizes make sense."""
    for part, size in parts.items():
        if not _NAME.fullmatch(part):
            raise UsageError(f"A part cannot be called '{part}'.", "Take letters, digits, '-' and '_', such as test.")
        if size is not None and not (size >= 1 if isinstance(size, int) else 0 < size < 1):
            raise UsageError(
                f"The part '{part}' cannot be {size} of a dataset.",
                "Give a number of pairs, such as 100, or a share of them, such as 0.2.",
            )
    if len(parts) < 2 and None in parts.values():
        raise UsageError("One part is no split.", "Give --held-out 0.2, or --parts train=0.8,test=0.2.")
    if sum(size is None for size in parts.values()) > 1:
        raise UsageError("Two parts cannot both be the rest.", "Give all but one of them a size, such as test=0.2.")


def _check_pieces(pieces: Mapping[str, int], dataset: StoredDataset) -> None:
    for part, pairs in pieces.items():
        if not pairs:
            raise UsageError(
                f"No pair of {dataset.location} would be in '{part}': it is too small a part, or too few scenes are "
                "there, and pairs of one scene stay together.",
                "Make that part larger, or build pairs of more scenes: psyctl dataset.build.caa.",
            )


def _left_behind(dataset: StoredDataset, unused: int) -> list[str]:
    """What is in no part: pairs, and what the run rejected."""
    notes = [f"In no part: {counted(unused, 'pair')}."] if unused else []
    rejected = sum(dataset.run.get("statistics", {}).get("rejected", {}).values())
    if rejected:
        notes.append(f"Rejected scenarios ({rejected}) stay listed with {dataset.target.name} alone.")
    return notes
