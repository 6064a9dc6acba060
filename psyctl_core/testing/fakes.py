"""A deterministic backend, a tiny source, a prompter of one sentence and a sink in memory."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from psyctl_core.budget import Budget
from psyctl_core.components import (
    Ask,
    Checkpoint,
    DatasetWriter,
    InferenceBackend,
    OutputSink,
    PersonalityPrompter,
    ScenarioSource,
    SinkTarget,
)
from psyctl_core.errors import BackendError
from psyctl_core.records import CHARACTER, CaaRecord, ChatRequest, Completion, Persona, Scenario, SkippedRow, Turn


class FakeBackend(InferenceBackend):
    """Answers every request with a sentence that depends on the request alone.

    Args:
        block: As :attr:`InferenceBackend.block`.
        in_flight: How many requests it holds before it answers one of them, picked by ``order_seed``.
        order_seed: Decides the order of the answers, never their text.
        answer: Makes the completion instead; gets the request.
        dies_after: After so many answers it fails, as a process that is killed; ``None`` is never.
    """

    def __init__(
        self,
        *,
        block: int = 0,
        in_flight: int = 8,
        order_seed: int = 0,
        answer: Callable[[ChatRequest], Completion] | None = None,
        dies_after: int | None = None,
    ) -> None:
        self.block = block
        self.asked: list[ChatRequest] = []
        self.answered: list[str] = []
        self.most_in_flight = 0
        self.starts = 0
        self.closes = 0
        self._in_flight = in_flight
        self._order = random.Random(order_seed)  # noqa: S311 - an order, not a secret
        self._answer = answer or fake_answer
        self._dies_after = dies_after

    def start(self, budget: Budget) -> None:
        """Count the call."""
        del budget
        self.starts += 1

    def generate(self, requests: Iterable[ChatRequest]) -> Iterator[Completion]:
        """Hold up to ``in_flight`` requests, answering one at a time in a shuffled order."""
        requests = iter(requests)
        held: list[ChatRequest] = []
        while True:
            new = list(islice(requests, self._in_flight - len(held)))
            self.asked.extend(new)
            held.extend(new)
            self.most_in_flight = max(self.most_in_flight, len(held))
            if not held:
                return
            if len(self.answered) == self._dies_after:
                raise RuntimeError("killed")
            answer = self._answer(held.pop(self._order.randrange(len(held))))
            self.answered.append(answer.id)
            yield answer

    def close(self) -> None:
        """Count the call."""
        self.closes += 1


class TogetherBackend(InferenceBackend):
    """Answers with the ids of all requests that it was handed in one call, where it has blocks; it costs nothing.

    Args:
        block: As :attr:`InferenceBackend.block`.
        dies_after: After so many answers it fails with a BackendError; ``None`` is never.
    """

    is_free = True

    def __init__(self, *, block: int = 0, dies_after: int | None = None) -> None:
        self.block = block
        self.starts = 0
        self._left = dies_after

    def start(self, budget: Budget) -> None:
        """Count the call."""
        del budget
        self.starts += 1

    def generate(self, requests: Iterator[ChatRequest]) -> Iterator[Completion]:
        """Answer one after the other, a block's in its order."""
        asked = list(requests) if self.block else requests
        together = " ".join(request.id for request in asked) if isinstance(asked, list) else "flowing"
        for request in asked:
            if self._left == 0:
                raise BackendError("The fake is told to fail.", "Tell it otherwise.")
            self._left = None if self._left is None else self._left - 1
            yield Completion(request.id, together)


@dataclass(frozen=True)
class TogetherMaker:
    """Makes a :class:`TogetherBackend` in whatever process it is unpickled in."""

    block: int = 0
    dies_after: int | None = None

    def make(self, is_stopping: Callable[[], bool]) -> InferenceBackend:
        """The backend, not started."""
        del is_stopping
        return TogetherBackend(block=self.block, dies_after=self.dies_after)


def fake_answer(request: ChatRequest) -> Completion:
    """A short sentence that depends on the request's messages alone."""
    text = "\n".join(message.content for message in request.messages)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Completion(request.id, f"Answer {digest[:12]}.", prompt_tokens=len(text.split()), completion_tokens=2)


class FakeSource(ScenarioSource):
    """Yields so many scenarios.

    Args:
        count: How many rows there are.
        skip: At which offsets a row is skipped.
        make: The scenario at an offset; by default :func:`fake_scenario`.
    """

    def __init__(
        self,
        count: int,
        *,
        skip: Callable[[int], bool] = lambda offset: False,
        make: Callable[[int], Scenario] | None = None,
    ) -> None:
        self._count = count
        self._skip = skip
        self._make = make or fake_scenario

    def total(self) -> int:
        """How many rows there are."""
        return self._count

    def scenarios(self, start: int) -> Iterator[Scenario | SkippedRow]:
        """Yield the rows from ``start`` on."""
        for offset in range(start, self._count):
            yield SkippedRow(offset, "skipped on purpose") if self._skip(offset) else self._make(offset)


def fake_scenario(offset: int) -> Scenario:
    """The scenario that :class:`FakeSource` has at an offset."""
    return Scenario(
        id=f"fake-{offset}",
        offset=offset,
        situation=f"Robin and Kim wait at stop {offset}.",
        character="Kim",
        dialogue=(Turn("Robin", f"Is this bus number {offset}?"),),
    )


class FakePrompter(PersonalityPrompter):
    """Describes everybody in one sentence with the trait's name in it, and asks nothing."""

    def describe(self, trait: str, ask: Ask) -> Persona:
        """Describe somebody with the trait."""
        del ask
        return Persona(trait, f"{CHARACTER} is known for this: {trait}.")


class MemorySink(OutputSink):
    """Keeps datasets in memory; they outlive runs for as long as the object does.

    Attributes:
        datasets: What was written, by the target's name and trait.
    """

    def __init__(self) -> None:
        self.datasets: dict[tuple[str, str], MemoryDataset] = {}

    def open(self, target: SinkTarget) -> DatasetWriter:
        """The dataset of the target, a new one if it is the first time."""
        return self.datasets.setdefault((target.name, target.trait), MemoryDataset())

    def read(self, target: SinkTarget) -> Iterator[CaaRecord]:
        """The records so far."""
        return iter(self.datasets[target.name, target.trait].records)

    def location(self, target: SinkTarget) -> str:
        """An address that is none."""
        return f"memory:{target.name}"


class MemoryDataset(DatasetWriter):
    """One dataset of a :class:`MemorySink`."""

    def __init__(self) -> None:
        self.records: list[CaaRecord] = []
        self.saved: Checkpoint | None = None
        self.closes = 0

    def last_checkpoint(self) -> Checkpoint | None:
        """The checkpoint that was kept last."""
        return self.saved

    def record_ids(self, start: int) -> Iterator[str]:
        """The ids of the records from ``start`` on."""
        return (record.id for record in self.records[start:])

    def write(self, record: CaaRecord) -> None:
        """Append the record."""
        self.records.append(record)

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep the checkpoint."""
        self.saved = checkpoint

    def close(self) -> None:
        """Count the call."""
        self.closes += 1
