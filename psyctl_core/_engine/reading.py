"""Finds datasets again and reads them through the sink that wrote them, whichever that is."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psyctl_core._engine import frames
from psyctl_core._engine.labels import Label, agreement, labelled, read_labels
from psyctl_core._engine.showing import dataset_html
from psyctl_core._plugins.guard import GuardedSink
from psyctl_core._plugins.kinds import KINDS
from psyctl_core._plugins.registry import Registry
from psyctl_core._plugins.selection import Choice, Selection, resolve
from psyctl_core._store import course, runs
from psyctl_core._store.course import Moment
from psyctl_core._store.runs import RejectedPair
from psyctl_core.components import Context, SinkTarget
from psyctl_core.errors import OutputError, PsyctlError, UsageError
from psyctl_core.files import is_draft
from psyctl_core.options import Config
from psyctl_core.records import CaaRecord, JsonValue
from psyctl_core.terminal import NOTICE

if TYPE_CHECKING:
    import datasets
    import pandas

log = logging.getLogger("psyctl")

UNKNOWN = "unknown"
"""The trait of a dataset whose run folder is gone."""

RESTORE = (
    "Restore that file, or install the psyctl that wrote it. "
    "Without its run folder the dataset's file can be read by itself."
)


@dataclass(frozen=True, slots=True)
class StoredDataset:
    """A dataset on the disk or wherever its sink keeps it.

    Attributes:
        target: Where it is, as its sink is told.
        run: What its run.json says; empty where there is none.
        sink: The sink that wrote it; ``None`` where that cannot be had.
        problem: Why not.
        way_out: What to do then.
    """

    target: SinkTarget
    run: Mapping[str, Any]
    sink: GuardedSink | None
    problem: str = ""
    way_out: str = "Install the plugin that wrote it; `psyctl plugins.list` shows what there is."

    @property
    def unfinished(self) -> str:
        """One line where the run is known not to be complete; empty where it is, or nobody can tell."""
        status = self.run.get("status", "complete")
        return "" if status == "complete" else f"The run is not finished ({status}): these are the pairs so far."

    @property
    def trait(self) -> str:
        """The dataset's trait, or ``unknown``."""
        return self.target.trait

    @property
    def location(self) -> str:
        """A path or an address to show."""
        return self.sink.location(self.target) if self.sink else str(self.target.folder / self.target.name)

    def __iter__(self) -> Iterator[CaaRecord]:
        """The records, in the order of writing.

        Raises:
            OutputError: The sink cannot be had, or a record cannot be read.
        """
        if self.sink is None:
            raise OutputError(
                f"The dataset {self.location} cannot be read: {self.problem}.",
                self.way_out,
            )
        return self.sink.read(self.target)

    def rows(self) -> list[dict[str, JsonValue]]:
        """The records as plain dicts, as the dataset's lines have them: ``metadata`` only where there is something.

        Raises:
            OutputError: The sink cannot be had, or a record cannot be read.
        """
        return [record.as_json() for record in self]

    def to_pandas(self) -> pandas.DataFrame:
        """The records as a pandas DataFrame, a row each and a column for each field; ``metadata`` holds dicts.

        Raises:
            OutputError: The sink cannot be had, or a record cannot be read.
        """
        return frames.to_pandas(list(self))

    def to_datasets(self) -> datasets.Dataset:
        """The records as a Hugging Face ``datasets.Dataset``, all columns text; ``metadata`` is JSON or empty.

        Raises:
            OutputError: The sink cannot be had, or a record cannot be read.
        """
        return frames.to_datasets(list(self))

    def _repr_html_(self) -> str:
        """What a notebook shows of it: its trait, how many pairs, where they are, and the first of them.

        See https://ipython.readthedocs.io/en/stable/config/integrating.html.
        """
        return dataset_html(self)

    @property
    def run_folder(self) -> Path:
        """Where run.json, the rejects and a person's labels are."""
        return self.target.folder / f"{self.target.name}.run"

    def readable(self) -> tuple[list[CaaRecord], list[str]]:
        """The records that can be read, and a line for each thing that cannot be, naming it."""
        if self.sink is None:
            return [], [f"The dataset {self.location} cannot be read: {self.problem}."]
        found = list(self.sink.readable(self.target))
        return [each for each in found if not isinstance(each, str)], [each for each in found if isinstance(each, str)]

    def state(self) -> list[str]:
        """What a reader should know of it, a line each: whether its run is finished, and what is wrong with it."""
        notes = []
        if not self.run:
            notes.append("The dataset has no run folder, so nobody can tell whether it is finished.")
        elif self.unfinished:
            notes.append(self.unfinished)
        return notes + self.problems()

    def problems(self) -> list[str]:
        """What its sink finds wrong with it, a line each; what is damaged so is no record of it."""
        return [] if self.sink is None else [f"{problem}." for problem in self.sink.inspect(self.target).problems]

    @property
    def cost_before(self) -> float | None:
        """US dollars that the datasets cost which it was made of; ``None`` where none is known."""
        return runs.cost_before(self.run)

    def rejected(self) -> list[RejectedPair]:
        """The pairs that a judge rejected, in the order of rejecting."""
        return list(runs.rejected_pairs(self.run_folder))

    def course(self) -> list[Moment]:
        """How far the run was from time to time; empty where it noted nothing.

        Raises:
            OSError: The file cannot be read.
        """
        return course.read(self.run_folder)

    def labels(self) -> dict[str, Label]:
        """What a person said of pairs, by the pair's id: ``right``, ``wrong`` or ``unclear``.

        Raises:
            OutputError: The labels cannot be read.
        """
        return read_labels(self.run_folder)

    def agreement(self, pairs: Sequence[CaaRecord | RejectedPair]) -> list[tuple[str, str]]:
        """How far a person's labels of these pairs agree with the judge, in rows; none where nobody labelled.

        Raises:
            OutputError: The labels cannot be read.
        """
        found = labelled(pairs, self.labels())
        return agreement(found) if found else []


def find_datasets(path: Path, registry: Registry) -> list[StoredDataset]:
    """The datasets of a folder's newest run, one a trait, subfolders included, or the one dataset that a file is.

    They are one a trait, or one a trait and part where a dataset was split.

    Raises:
        UsageError: There is none.
    """
    if path.is_dir():
        found = all_datasets(path, registry)
        newest = max(map(_begun, found), default="")
        if not newest:
            raise UsageError(f"The folder '{path}' holds no dataset.", "Give the folder that --output named.")
        taken = [dataset for dataset in found if _begun(dataset) == newest]
        if others := len(found) - len(taken):
            log.log(NOTICE, "Older datasets in '%s' are left out: %d. Give a dataset's file to take it.", path, others)
        return taken
    if not path.is_file():
        raise UsageError(f"There is no dataset at '{path}'.", "Give the folder that --output named, or a dataset file.")
    run_file = path.with_suffix(".run") / runs.RUN_FILE
    if run_file.exists():
        return [of_run(run_file, registry)]
    sink: GuardedSink = sink_choice({}, registry).make(Context())
    target = SinkTarget(path.parent, path.stem, UNKNOWN)
    if Path(sink.location(target)).name != path.name:
        raise UsageError(
            f"'{path}' is no dataset: it has no run folder beside it, and the {sink.origin} names its files otherwise.",
            "Give the folder that --output named, or a dataset file.",
        )
    return [StoredDataset(target, {}, sink)]


def all_datasets(folder: Path, registry: Registry) -> list[StoredDataset]:
    """Every dataset in a folder and its subfolders: those with a run folder, then the default sink's others."""
    files = sorted(folder.rglob(f"{runs.PREFIX}_*.run/{runs.RUN_FILE}"))
    found = [of_run(path, registry) for path in files if not is_draft(path, folder)]
    known = {(dataset.target.folder, dataset.target.name) for dataset in found}
    sink: GuardedSink = sink_choice({}, registry).make(Context())
    others = [
        target
        for target in sink.targets(folder)
        if (target.folder, target.name) not in known and not is_draft(target.folder, folder)
    ]
    return found + [StoredDataset(target, {}, sink) for target in others]


def _begun(dataset: StoredDataset) -> str:
    """The name by which newer datasets are told from older ones; the parts of one that was split have the same."""
    parts = dataset.run.get("identity", {}).get("made_from", {}).get("parts", {})
    return min((part["name"] for part in parts.values()), default=dataset.target.name)


def of_run(path: Path, registry: Registry) -> StoredDataset:
    """The dataset that a run.json belongs to; one that cannot be used says why as its ``problem``."""
    folder, name = path.parent.parent, path.parent.name.removesuffix(".run")
    run, wrong = runs.read_run(path)
    if wrong:
        return StoredDataset(SinkTarget(folder, name, UNKNOWN), {}, None, f"{path}: {wrong}", RESTORE)
    target = SinkTarget(folder, name, run["trait"])
    try:
        return StoredDataset(target, run, sink_choice(run, registry).make(Context()))
    except (TypeError, KeyError, AttributeError):
        wrong = f"{path}: it does not say which sink wrote it"
        return StoredDataset(target, run, None, wrong, RESTORE)
    except PsyctlError as error:
        return StoredDataset(target, run, None, f"its sink cannot be asked: {error.message}")


def sink_choice(run: Mapping[str, Any], registry: Registry) -> Choice:
    """The sink that a run.json names, with its options; without one the default.

    Raises:
        PsyctlError: It is not installed, or cannot be chosen.
    """
    if not run:
        return resolve(registry, "sink", Selection(KINDS["sink"].default))
    component = run["identity"]["sink"]["component"]
    registered = registry.get("sink", f"{component['distribution']}:{component['name']}")
    options = {**run["settings"].get("sink", {}).get("settings", {}), **run["identity"]["sink"]["settings"]}
    config_type = registered.component.config
    fields = {field.name: field for field in dataclasses.fields(config_type)}
    config: Config = config_type(**{name: value for name, value in options.items() if name in fields})
    return resolve(registry, "sink", Selection(registered.full_name, config))


def trait_of(dataset: StoredDataset, records: Sequence[CaaRecord]) -> str:
    """The dataset's trait; its records' where its run folder is gone."""
    return records[0].trait if records and dataset.trait == UNKNOWN else dataset.trait
