"""One dataset while it is being made: its run, its sink, and how far it has come."""

from __future__ import annotations

import dataclasses
from collections import Counter, deque
from collections.abc import Iterable

from psyctl_core import schema
from psyctl_core.components import Checkpoint, OutputSink, SinkTarget
from psyctl_core.errors import OutputError, PluginError
from psyctl_core.question import to_record
from psyctl_core.records import ContrastivePair, Scenario
from psyctl_core.registry import Found, blamed
from psyctl_core.run import Run
from psyctl_core.traits import Trait

NOT_RECORDED = "reason not recorded"
MOST_UNMATCHED = 10_000


class Dataset:
    """Keeps a dataset, its checkpoint and its rejects in step; one per trait.

    Args:
        trait: The dataset's trait.
        run: Its run folder.
        sink: An unopened sink of its own.
        sink_found: Who supplies the sink, for blame.
        interval: Records between two checkpoints.
        seed: The run's seed, which decides the answers' positions.
    """

    def __init__(
        self, trait: Trait, run: Run, sink: OutputSink, sink_found: Found, *, interval: int, seed: int
    ) -> None:
        self.trait = trait
        self.run = run
        self.accepted = 0
        self.start_place = 0
        self.rejected: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.exhausted = False
        self.found_records = 0
        self._sink = sink
        self._found = sink_found
        self._interval = interval
        self._seed = seed
        self._written: deque[str] = deque()
        self._old_reasons: dict[str, str] = {}
        self._unmatched = 0
        self._next_place = 0
        self._safe = Checkpoint()
        self._saved: Checkpoint | None = None

    def open(self) -> None:
        """Open the sink and find out how far it is.

        Raises:
            OutputError: What lies there cannot be continued.
        """
        with blamed(self._found):
            found = self._sink.open(SinkTarget(self.run.folder, self.run.name, self.trait.name))
            self._safe = found or Checkpoint()
            self._written = deque(self._sink.record_ids(self._safe.accepted))
        self.accepted = self._safe.accepted
        self.start_place = self._next_place = self._safe.place
        self.rejected = Counter(found.rejected if found else self.run.rejects(0).values())
        self.skipped = Counter(self._safe.skipped)
        self.exhausted = self._safe.exhausted and not self._written
        self._saved = found
        self.found_records = self.num_generated

    @property
    def saved_place(self) -> int:
        """From where a run would go on if this process ended now."""
        return self._saved.place if self._saved else 0

    @property
    def is_saved(self) -> bool:
        """Whether a good checkpoint and a finished run.json were found, or have been written."""
        return self._saved is not None and self.run.status == "complete"

    @property
    def num_generated(self) -> int:
        """Records in the dataset, those not yet reached again after a resume included."""
        return self.accepted + len(self._written)

    def lacks(self, limit: int | None) -> bool:
        """Whether the dataset can still take records."""
        return not self.exhausted and (limit is None or self.num_generated < limit)

    def start(self) -> None:
        """Make ready to write: read the rejects that are about to be met again."""
        self.rejected = Counter(self._safe.rejected)
        self._old_reasons = self.run.rejects(self.start_place)

    def already(self, scenario: Scenario) -> bool | None:
        """Whether an earlier process accepted (True) or rejected (False) this scenario; None if not met.

        Called once per scenario, in order. The records already written decide.

        Raises:
            OutputError: They come from other scenarios than the source yields.
        """
        if not self._written:
            return None
        if scenario.id == self._written[0]:
            self._written.popleft()
            self._unmatched = 0
            return True
        self._unmatched += 1
        if self._unmatched > MOST_UNMATCHED:
            self._refuse_foreign_rows()
        return False

    def keep(self) -> None:
        """Count a scenario whose record an earlier process wrote."""
        self.accepted += 1

    def accept(self, pair: ContrastivePair) -> None:
        """Write the pair's record.

        Raises:
            PluginError: The record does not hold to its schema.
            OutputError: The sink cannot write.
        """
        record = to_record(pair, self.accepted, self._seed)
        wrong = schema.problem("caa-record", record.as_json())
        if wrong:
            raise PluginError(
                f"The record for scenario '{pair.scenario.id}' is refused by the schema caa-record: {wrong}.",
                "The source or the backend handed over something unusable; what is written so far is kept.",
            )
        with blamed(self._found):
            self._sink.write(record)
        if self._old_reasons.pop(pair.scenario.id, ""):
            self.run.forget_reject(pair.scenario.id)
        self.accepted += 1
        if self.accepted % self._interval == 0:
            self.checkpoint()

    def reject(self, scenario: Scenario, reason: str = "") -> None:
        """Count and record a scenario that gave no pair."""
        recorded = self._old_reasons.pop(scenario.id, "")
        reason = reason or recorded or NOT_RECORDED
        self.rejected[reason] += 1
        if reason != recorded:
            self.run.reject(scenario.place, scenario.id, reason)

    def skip(self, reason: str) -> None:
        """Count a row that held no scenario."""
        self.skipped[reason] += 1

    def settle_up_to(self, place: int, *, resumable: bool) -> None:
        """Note that everything before ``place`` is settled; ``resumable`` if a run may go on from there."""
        self._next_place = place
        if resumable:
            self.mark()

    def mark(self, *, exhausted: bool = False) -> None:
        """State that a run may go on from where the dataset is settled up to.

        Raises:
            OutputError: The source ended before all records already written were met again.
        """
        if exhausted and self._written:
            self._refuse_foreign_rows()
        self.exhausted = exhausted
        self._safe = Checkpoint(
            self.accepted, self._next_place, self.accepted, dict(self.rejected), dict(self.skipped), exhausted
        )

    def checkpoint(self) -> None:
        """Save the checkpoint and the statistics, unless nothing has changed."""
        checkpoint = dataclasses.replace(self._safe, num_generated=self.num_generated)
        if checkpoint == self._saved:
            return
        with blamed(self._found):
            self._sink.checkpoint(checkpoint)
        self._saved = checkpoint
        self.save()

    def save(self) -> None:
        """Save run.json with the statistics so far. Raises OutputError."""
        self.run.save(self.num_generated, self.rejected, self.skipped)

    def location(self) -> str:
        """Where the dataset is, to show the user."""
        with blamed(self._found):
            return self._sink.location()

    def close(self) -> None:
        """Close the sink."""
        with blamed(self._found):
            self._sink.close()

    def _refuse_foreign_rows(self) -> None:
        raise OutputError(
            f"Failed to load checkpoint: {self.location()} holds a record of scenario '{self._written[0]}', "
            "which the source does not yield.",
            "The source or the file was changed since. Start another file with --fresh.",
        )


def close_all(datasets: Iterable[Dataset]) -> None:
    """Close every dataset, even where one of them fails to; the first failure is raised."""
    failures = []
    for dataset in datasets:
        try:
            dataset.close()
        except Exception as error:
            failures.append(error)
    if failures:
        raise failures[0]
