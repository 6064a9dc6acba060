"""One dataset while it is being made: its run, its writer, and how far it has come."""

from __future__ import annotations

import dataclasses
from collections import Counter, deque
from collections.abc import Iterator

from psyctl_core._caa.contrast import Rejected
from psyctl_core._caa.question import to_record
from psyctl_core._caa.traits import Trait
from psyctl_core._engine.eligibility import Lane
from psyctl_core._engine.scheduler import Kept, Outcome, Result
from psyctl_core._engine.scores import summary_of
from psyctl_core._plugins.guard import GuardedSink, GuardedWriter
from psyctl_core._store import course
from psyctl_core._store.runs import Run, rejected_pairs
from psyctl_core.components import Checkpoint, SinkTarget
from psyctl_core.errors import OutputError
from psyctl_core.records import ContrastivePair, Scenario, SkippedRow

NOT_RECORDED = "reason not recorded"


class Dataset:
    """Keeps a dataset, its checkpoint and its rejects in step; one per trait.

    Args:
        trait: The dataset's trait.
        run: Its run folder.
        sink: Where its records go.
        interval: Records between two checkpoints.
        seed: The run's seed, which decides the answers' positions.
    """

    def __init__(self, trait: Trait, run: Run, sink: GuardedSink, *, interval: int, seed: int) -> None:
        self.trait = trait
        self.run = run
        self.accepted = 0
        self.start_offset = 0
        self.rejected: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.exhausted = False
        self.found_records = 0
        self._sink = sink
        self._target = SinkTarget(run.folder, run.name, trait.name)
        self._writer: GuardedWriter | None = None
        self._interval = interval
        self._seed = seed
        self._written: deque[str] = deque()
        self._old_reasons: dict[str, str] = {}
        self._met_again = 0
        self._next_offset = 0
        self._safe = Checkpoint()
        self._saved: Checkpoint | None = None

    @property
    def writer(self) -> GuardedWriter:
        """What the records are written with."""
        assert self._writer is not None, "the dataset is not open"
        return self._writer

    def open(self) -> None:
        """Open the dataset and find out how far it is.

        Raises:
            OutputError: What lies there cannot be continued.
        """
        self._writer = self._sink.open(self._target)
        found = self._writer.last_checkpoint()
        self._safe = found or Checkpoint()
        self._written = deque(self._writer.record_ids(self._safe.accepted))
        self.accepted = self._safe.accepted
        self.start_offset = self._next_offset = self._safe.offset
        since = self.run.rejects(self.start_offset).values()  # a killed process noted them after its last checkpoint
        self.rejected = Counter(self._safe.rejected) + Counter(since)
        self.skipped = Counter(self._safe.skipped)
        self.exhausted = self._safe.exhausted and not self._written
        self._saved = found
        self.found_records = self.num_generated

    @property
    def scenarios_before(self) -> int:
        """Scenarios before the offset from which it goes on."""
        return self._safe.accepted + sum(self._safe.rejected.values())

    @property
    def saved_offset(self) -> int:
        """From where a run would go on if this process ended now."""
        return self._saved.offset if self._saved else 0

    @property
    def is_saved(self) -> bool:
        """Whether a good checkpoint and a finished run.json were found, or have been written."""
        return self._saved is not None and self.run.status == "complete"

    @property
    def num_generated(self) -> int:
        """Records in the dataset, those not yet reached again after a resume included."""
        return self.accepted + self._met_again + len(self._written)

    def lacks(self, limit: int | None) -> bool:
        """Whether the dataset can still take records."""
        return not self.exhausted and (limit is None or self.num_generated < limit)

    @property
    def is_ahead(self) -> bool:
        """Whether it holds records that are not reached again since its last checkpoint."""
        return bool(self._written)

    def catch_up(self, items: Iterator[Scenario | SkippedRow]) -> None:
        """Count the rows up to the last record of a dataset that lacks none: a process was killed at its end.

        Args:
            items: The source's items from ``start_offset`` on.

        Raises:
            OutputError: Its records come from other scenarios than the source yields.
        """
        self.lane(None)
        while self.is_ahead and (item := next(items, None)) is not None:
            self.commit(Outcome(item.offset, {self.trait.slug: self._met(item)}, is_boundary=False))
        if self.is_ahead:
            raise self._foreign_record()
        self._mark()

    def _met(self, item: Scenario | SkippedRow) -> Result:
        if isinstance(item, SkippedRow):
            return item
        return Kept() if self.already(item) else Rejected(item, "")

    def lane(self, limit: int | None) -> Lane:
        """Make ready to write: the dataset as the scheduler sees it."""
        self.rejected = Counter(self._safe.rejected)
        self._old_reasons = self.run.rejects(self.start_offset)
        return Lane(self.trait.slug, self.start_offset, limit, self.accepted, self.already)

    def already(self, scenario: Scenario) -> bool | None:
        """Whether an earlier process accepted (True) or rejected (False) this scenario; None if not met.

        Called once per scenario, in order. The records and the rejects already written decide.

        Raises:
            OutputError: They come from other scenarios than the source yields.
        """
        if not self._written:
            return None
        if scenario.id == self._written[0]:
            self._written.popleft()
            self._met_again += 1
            return True
        if scenario.id in self._old_reasons:
            return False
        raise self._foreign_record()

    def commit(self, outcome: Outcome) -> None:
        """Write, count or skip what became of a row, if it was for this dataset.

        Raises:
            PluginError: The record does not hold to its schema.
            OutputError: It cannot be written.
        """
        result = outcome.results.get(self.trait.slug)
        if isinstance(result, ContrastivePair):
            self._accept(result)
        elif isinstance(result, Rejected):
            self._reject(result)
        elif isinstance(result, SkippedRow):
            self.skipped[result.reason] += 1
        elif isinstance(result, Kept):
            self.accepted += 1
            self._met_again -= 1
        if result is not None:
            self._next_offset = outcome.offset + 1
        if outcome.is_boundary:
            self._mark()

    def finish(self) -> None:
        """The source has no more for this dataset.

        Raises:
            OutputError: It ended before all records already written were met again.
        """
        if self._written:
            raise self._foreign_record()
        self.exhausted = True
        self._mark()

    def _accept(self, pair: ContrastivePair) -> None:
        self.writer.write(to_record(pair, self.accepted, self._seed))
        if self._old_reasons.pop(pair.scenario.id, ""):
            self.run.forget_reject(pair.scenario.id)
        self.accepted += 1
        if self.accepted % self._interval == 0:
            self.checkpoint()

    def _reject(self, rejected: Rejected) -> None:
        recorded = self._old_reasons.pop(rejected.scenario.id, "")
        reason = rejected.reason or recorded or NOT_RECORDED
        self.rejected[reason] += 1
        if reason != recorded:
            self.run.reject(rejected.scenario.offset, rejected.scenario.id, reason, rejected.pair)

    def _mark(self) -> None:
        """Note that a run may go on from here."""
        self._safe = Checkpoint(
            self.accepted, self._next_offset, self.accepted, dict(self.rejected), dict(self.skipped), self.exhausted
        )

    def checkpoint(self) -> None:
        """Save the checkpoint and the statistics, unless nothing has changed."""
        checkpoint = dataclasses.replace(self._safe, num_generated=self.num_generated)
        if checkpoint == self._saved:
            return
        self.writer.checkpoint(checkpoint)
        self._saved = checkpoint
        self.save()

    def sum_up_scores(self) -> None:
        """Note in run.json how a judge's scores are spread, accepted and rejected pairs together."""
        records = self._sink.read(self._target) if self.num_generated else ()
        self.run.scores = summary_of([*records, *rejected_pairs(self.run.path)])

    def save(self) -> None:
        """Save run.json with the statistics so far. Raises OutputError."""
        self.run.save(self.num_generated, self.rejected, self.skipped)

    def note(self) -> None:
        """Note in the run folder how far the dataset is now. Raises OutputError."""
        used = self.run.usage
        moment = course.Moment(
            used.seconds, used.requests, used.prompt_tokens, used.completion_tokens, used.cost,
            self.num_generated, dict(self.rejected), dict(self.skipped),
        )  # fmt: skip
        course.append(self.run.path, moment)

    def location(self) -> str:
        """Where the dataset is, to show the user."""
        return self._sink.location(self._target)

    def close(self) -> None:
        """Finish writing."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()

    def _foreign_record(self) -> OutputError:
        number = self.accepted + self._met_again + 1
        return OutputError(
            f"Failed to load checkpoint: record {number} of {self.location()} is of scenario '{self._written[0]}', "
            "which the source does not yield there.",
            "The source or the file was changed since. Take that record out if it is not psyctl's, or start another "
            "file with --fresh.",
        )
