"""The border: wraps each component where it is made, and checks what it hands over.

Behind the guard everything is trusted and typed. No other module checks or blames.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Generic, Protocol, TypeVar, cast

from psyctl_core import schema
from psyctl_core._caa.given import MAX_PERSONA_CHARACTERS
from psyctl_core._plugins.blame import Origin, blamed, blamed_items, checked_instance
from psyctl_core._plugins.problems import (
    completion_problem,
    exported_problem,
    finding_problem,
    is_number,
    item_problem,
    persona_problem,
    record_problem,
    sane_state,
    storable,
    storable_completion,
    storable_scenario,
)
from psyctl_core.budget import Budget
from psyctl_core.checks import CheckedPair, CheckFacts, CheckFunction, Finding
from psyctl_core.components import (
    Ask,
    BackendState,
    Checkpoint,
    DatasetExporter,
    DatasetWriter,
    DescribesOthers,
    Estimate,
    Exported,
    ExportTarget,
    Identity,
    InferenceBackend,
    Inspection,
    NextBlock,
    OutputSink,
    PairJudge,
    PersonalityPrompter,
    RunFolder,
    Runner,
    RunnerTarget,
    ScenarioSource,
    SinkTarget,
    TellsState,
    UsesRunFolder,
    WorkerPool,
)
from psyctl_core.errors import OutputError, PluginError, UsageError
from psyctl_core.figures import counted
from psyctl_core.local_models import LendsModel, LentModel
from psyctl_core.records import (
    CaaRecord,
    ChatRequest,
    Completion,
    ContrastivePair,
    JsonValue,
    Persona,
    Scenario,
    SkippedRow,
    Verdict,
)

T = TypeVar("T")


class _Guarded(Generic[T]):
    """A component and who supplies it."""

    def __init__(self, component: T, origin: Origin) -> None:
        self._component = component
        self.origin = origin


class _HasIdentity(Protocol):
    def identity(self) -> Identity: ...


C = TypeVar("C", bound=_HasIdentity)
A = TypeVar("A", InferenceBackend, WorkerPool)


class GuardedComponent(_Guarded[C]):
    """A component that a user can choose."""

    def identity(self) -> Identity:
        """As the component says."""
        with blamed(self.origin):
            return dict(self._component.identity())


class GuardedSource(GuardedComponent[ScenarioSource]):
    """A source whose items are checked."""

    def total(self) -> int | None:
        """As the source says."""
        with blamed(self.origin):
            return self._component.total()

    def describe(self) -> Mapping[str, str]:
        """As the source says, as text."""
        with blamed(self.origin):
            return {str(key): str(value) for key, value in self._component.describe().items()}

    def scenarios(self, start: int) -> Generator[Scenario | SkippedRow, None, None]:
        """The source's items from an offset on.

        Raises:
            PluginError: The source fails, or yields something unusable.
        """
        last = start - 1
        with blamed(self.origin):
            items = self._component.scenarios(start)
        for item in blamed_items(self.origin, items):
            if wrong := item_problem(item, last):
                raise self.origin.misdeed(
                    f"yielded something unusable: {wrong} (scenario id {getattr(item, 'id', None)!r})"
                )
            last = item.offset
            yield storable_scenario(item) if isinstance(item, Scenario) else item


class GuardedPrompter(GuardedComponent[PersonalityPrompter]):
    """A prompter whose personas are checked."""

    def describe(self, trait: str, ask: Ask, *, opposite: bool = False, number: int = 1) -> Persona:
        """The prompter's description of somebody with the trait or of its low pole, or another than the first one.

        Raises:
            PluginError: The prompter fails, or returns no usable persona.
            UsageError: It has no such description.
        """
        with blamed(self.origin):
            if opposite or number > 1:
                persona = self._others(number).describe_other(trait, ask, opposite=opposite, number=number)
            else:
                persona = self._component.describe(trait, ask)
        if wrong := persona_problem(persona):
            raise self.origin.misdeed(f"returned something unusable: {wrong}")
        return replace(persona, description=storable(persona.description)[:MAX_PERSONA_CHARACTERS])

    def check(self, *, opposite: bool, number: int) -> None:
        """See that it has as many descriptions, and opposites, before anything is asked.

        Raises:
            UsageError: It has not.
        """
        if opposite or number > 1:
            self._others(number)

    def _others(self, number: int) -> DescribesOthers:
        prompter: object = self._component
        if not isinstance(prompter, DescribesOthers):
            raise UsageError(
                f"The {self.origin} describes one person with each trait and nobody else.",
                "Leave out --contrast opposite and --personas, or take --prompter static or p2.",
            )
        if number > prompter.descriptions:
            raise UsageError(
                f"The {self.origin} has {counted(prompter.descriptions, 'description')} of a person, "
                f"and {number} are wanted.",
                f"Give --personas {prompter.descriptions} or less, or your own with --persona-file.",
            )
        return prompter


class _GuardedAnswers(_Guarded[A]):
    """Who answers, a backend or a pool of workers: what both are asked, and what both are held to."""

    @property
    def block(self) -> int:
        """How many requests are computed together at most, or 0."""
        return self._component.block

    def speed(self) -> float | None:
        """As the component says."""
        with blamed(self.origin):
            return self._component.speed()

    def stop(self) -> None:
        """The user wants to stop; called from a signal handler, so nothing may be raised."""
        with suppress(Exception):
            self._component.stop()

    def state(self) -> BackendState:
        """What it says that it does; called from any thread, so nothing may be raised."""
        with suppress(Exception):
            if isinstance(self._component, TellsState):
                return sane_state(self._component.state())
        return BackendState()

    def adaptations(self) -> list[JsonValue]:
        """As the component says, fit to be stored."""
        with blamed(self.origin):
            return [storable(str(said)) for said in self._component.adaptations()]

    def close(self) -> None:
        """Let go of everything."""
        with blamed(self.origin):
            self._component.close()

    def _request_of(self, completion: Completion, unanswered: dict[str, ChatRequest]) -> ChatRequest:
        """The request that a completion answers, which is open no longer."""
        if wrong := completion_problem(completion):
            raise self.origin.misdeed(f"answered with something unusable: {wrong}")
        if completion.id not in unanswered:
            raise self.origin.misdeed(
                f"answered a request '{completion.id}' that is not open: it was never made, or was answered before"
            )
        return unanswered.pop(completion.id)

    def _see_all_answered(self, unanswered: Mapping[str, ChatRequest]) -> None:
        if unanswered:
            first = min(unanswered)
            raise self.origin.misdeed(f"left {counted(len(unanswered), 'request')} unanswered, '{first}' among them")


class GuardedBackend(_GuardedAnswers[InferenceBackend], GuardedComponent[InferenceBackend]):
    """A backend whose completions are checked against the requests that it pulled.

    Attributes:
        is_stopping: Whether requests may be left unanswered, because the user wants to stop.
    """

    def __init__(self, component: InferenceBackend, origin: Origin) -> None:
        super().__init__(component, origin)
        self.is_stopping: Callable[[], bool] = lambda: False

    @property
    def is_free(self) -> bool:
        """Whether an answer costs no money."""
        return self._component.is_free

    @property
    def max_cost(self) -> float | None:
        """US dollars that its own options allow, or ``None``."""
        return self._component.max_cost

    def estimate(self, example: ChatRequest, requests: int) -> Estimate | None:
        """As the backend says."""
        with blamed(self.origin):
            return self._component.estimate(example, requests)

    def start(self, budget: Budget) -> None:
        """Make it ready to answer."""
        with blamed(self.origin):
            self._component.start(budget)

    def use(self, folder: RunFolder) -> None:
        """Lend it a folder of the run, if it keeps anything for the next process."""
        if isinstance(self._component, UsesRunFolder):
            with blamed(self.origin):
                self._component.use(folder)

    def generate(self, requests: Iterator[ChatRequest]) -> Generator[Completion, None, None]:
        """The backend's completions, each for a request that is open, bounded and fit to be stored.

        Args:
            requests: An iterator that never raises what is not the backend's fault.

        Raises:
            PluginError: The backend fails, or answers something that it was not asked.
        """
        unanswered: dict[str, ChatRequest] = {}
        owner, threads = threading.get_ident(), set()

        def pulled() -> Iterator[ChatRequest]:
            for request in requests:
                threads.add(threading.get_ident())
                unanswered[request.id] = request
                yield request

        with blamed(self.origin):
            completions = self._component.generate(pulled())
        for completion in blamed_items(self.origin, completions):
            yield storable_completion(completion, self._request_of(completion, unanswered))
        if threads - {owner}:
            raise self.origin.misdeed("pulled requests from another thread than the one that iterates")
        if not self.is_stopping():
            self._see_all_answered(unanswered)

    def lend(self) -> LentModel:
        """Its model, for whoever computes with it directly.

        Raises:
            UsageError: It has none to lend.
        """
        if not isinstance(self._component, LendsModel):
            raise UsageError(
                f"The {self.origin} does not give its model away, so no vector can be extracted with it.",
                "Take --backend hf.",
            )
        with blamed(self.origin):
            return self._component.lend()


def as_backend(backend: GuardedBackend) -> InferenceBackend:
    """A guarded backend for a plugin: it has all that the protocol names, though nothing of it can be set."""
    return cast("InferenceBackend", backend)


class GuardedPool(_GuardedAnswers[WorkerPool]):
    """A pool of workers that is held to what it was given, and to nothing else.

    Attributes:
        is_free: Whether an answer costs no money.
        is_started: Whether it was made ready, or that was tried.
    """

    def __init__(self, component: WorkerPool, origin: Origin, *, is_free: bool = False) -> None:
        super().__init__(component, origin)
        self.is_free = is_free
        self.is_started = False

    @property
    def workers(self) -> int:
        """How many backends answer at the same time, at most."""
        return max(1, int(self._component.workers))

    def start(self, budget: Budget, folder: Path) -> None:
        """Make it ready to answer."""
        self.is_started = True
        with blamed(self.origin):
            self._component.start(budget, folder)

    def run(self, next_block: NextBlock, is_stopping: Callable[[], bool]) -> Generator[Completion, None, None]:
        """Its completions, each for a request that is open.

        Args:
            next_block: Gives what is to be answered, and never raises.
            is_stopping: Whether requests may be left unanswered, because the user wants to stop.

        Raises:
            PluginError: The pool fails, or answers something that it was not asked, or not all.
        """
        unanswered: dict[str, ChatRequest] = {}

        def noted(block: Iterator[ChatRequest]) -> Iterator[ChatRequest]:
            for request in block:
                unanswered[request.id] = request
                yield request

        def next_noted() -> Iterator[ChatRequest] | None:
            block = next_block()
            return None if block is None else noted(block)

        with blamed(self.origin):
            completions = self._component.run(next_noted)
        for completion in blamed_items(self.origin, completions):
            self._request_of(completion, unanswered)
            yield completion
        if not is_stopping():
            self._see_all_answered(unanswered)

    def forget(self) -> None:
        """The run is complete."""
        with blamed(self.origin):
            self._component.forget()


class GuardedRunner(_Guarded[Runner]):
    """A runner whose pools are wrapped."""

    def open(self, target: RunnerTarget) -> GuardedPool:
        """Get ready to have a backend's answers.

        Raises:
            UsageError: It cannot be used with this backend.
            PluginError: It fails, or returns no pool.
        """
        with blamed(self.origin):
            pool = self._component.open(target)
        return GuardedPool(checked_instance(pool, WorkerPool, self.origin), self.origin, is_free=target.backend.is_free)


class GuardedJudge(GuardedComponent[PairJudge]):
    """A judge whose requests and verdicts are checked."""

    def guide(self, trait: str, ask: Ask) -> str:
        """What it must know of a trait, fit to be stored.

        Raises:
            PluginError: The judge fails, or returns no text.
        """
        with blamed(self.origin):
            guide = self._component.guide(trait, ask)
        if not isinstance(guide, str):
            raise self.origin.misdeed(f"gave a {type(guide).__name__} as its guide for {trait}")
        return storable(guide)

    def requests(self, pair: ContrastivePair, guide: str) -> Sequence[ChatRequest]:
        """What it asks about a pair.

        Raises:
            PluginError: The judge fails, or gives something else than requests.
        """
        with blamed(self.origin):
            asked = self._component.requests(pair, guide)
        return self._checked(asked)

    def verdict(
        self, pair: ContrastivePair, guide: str, completions: Sequence[Completion]
    ) -> Verdict | Sequence[ChatRequest]:
        """What it says of the pair, or what it asks in addition.

        Raises:
            PluginError: The judge fails, or returns neither.
        """
        with blamed(self.origin):
            said = self._component.verdict(pair, guide, completions)
        if isinstance(said, Verdict):
            return self._sane(said)
        if not (asked := self._checked(said)):
            raise self.origin.misdeed("gave neither a verdict nor anything to ask")
        return asked

    def decide(self, scores: Mapping[str, float | None]) -> Verdict | None:
        """The verdict that follows from scores found before; ``None`` where only asking tells."""
        with blamed(self.origin):
            verdict = self._component.decide(scores)
        return None if verdict is None else self._sane(verdict)

    def _checked(self, asked: object) -> Sequence[ChatRequest]:
        given = list(asked) if isinstance(asked, Sequence) and not isinstance(asked, str) else [asked]
        requests = [request for request in given if isinstance(request, ChatRequest)]
        if len(requests) < len(given):
            odd = next(request for request in given if not isinstance(request, ChatRequest))
            raise self.origin.misdeed(f"gave a {type(odd).__name__} where a ChatRequest is wanted")
        return requests

    def _sane(self, verdict: Verdict) -> Verdict:
        odd = [name for name, value in verdict.scores.items() if not (value is None or is_number(value))]
        if odd or not isinstance(verdict.reason, str):
            raise self.origin.misdeed(
                f"gave {odd[0]}={verdict.scores[odd[0]]!r} as a score" if odd else "gave no reason"
            )
        return replace(verdict, reason=storable(verdict.reason), scores=dict(verdict.scores))


class GuardedWriter(_Guarded[DatasetWriter]):
    """An open dataset whose records are checked on the way in."""

    def last_checkpoint(self) -> Checkpoint | None:
        """As the writer says.

        Raises:
            PluginError: It is not a checkpoint.
        """
        with blamed(self.origin):
            found = self._component.last_checkpoint()
        if found is not None and not isinstance(found, Checkpoint):
            raise self.origin.misdeed(f"gave a {type(found).__name__} as its last checkpoint")
        return found

    def record_ids(self, start: int) -> list[str]:
        """The ids of the records from the one numbered ``start`` on."""
        with blamed(self.origin):
            return list(self._component.record_ids(start))

    def write(self, record: CaaRecord) -> None:
        """Append a record.

        Raises:
            PluginError: The record does not hold to its schema.
            OutputError: It cannot be written.
        """
        if wrong := schema.problem("caa-record", record.as_json()):
            raise PluginError(
                f"The record for scenario '{record.id}' is refused by the schema caa-record: {wrong}.",
                "The source or the backend handed over something unusable; what is written so far is kept.",
            )
        with blamed(self.origin):
            self._component.write(record)

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint."""
        with blamed(self.origin):
            self._component.checkpoint(checkpoint)

    def close(self) -> None:
        """Finish writing."""
        with blamed(self.origin):
            self._component.close()


class GuardedSink(GuardedComponent[OutputSink]):
    """A sink whose writers and records are checked."""

    def open(self, target: SinkTarget) -> GuardedWriter:
        """Begin or continue a dataset.

        Raises:
            PluginError: The sink fails, or opens something that cannot be written to.
            OutputError: The dataset cannot be opened.
        """
        with blamed(self.origin):
            writer = self._component.open(target)
        return GuardedWriter(checked_instance(writer, DatasetWriter, self.origin), self.origin)

    def read(self, target: SinkTarget) -> Generator[CaaRecord, None, None]:
        """The records of a dataset.

        Raises:
            PluginError: The sink fails, or yields something else.
            OutputError: There is no such dataset, or a record cannot be read.
        """
        with blamed(self.origin):
            records = self._component.read(target)
        for number, record in enumerate(blamed_items(self.origin, records), 1):
            if wrong := record_problem(record):
                raise self.origin.misdeed(f"read something unusable as record {number}: {wrong}")
            yield record

    def readable(self, target: SinkTarget) -> Iterator[CaaRecord | str]:
        """The records of a dataset that can be read, and in place of each other one why it cannot.

        Goes on as far as the sink's iterator does; one that is a generator ends with its first error.

        Raises:
            PluginError: The sink fails.
        """
        with blamed(self.origin):
            records = iter(self._component.read(target))
        problem = ""
        for number in count(1):
            try:
                with blamed(self.origin):
                    record = next(records, None)
            except OutputError as error:
                if error.message == problem:  # it would say so for ever
                    return
                problem = error.message
                yield problem
                continue
            if record is None:
                return
            wrong = record_problem(record)
            yield f"The {self.origin} read something unusable as record {number}: {wrong}." if wrong else record

    def location(self, target: SinkTarget) -> str:
        """Where the dataset is."""
        with blamed(self.origin):
            return str(self._component.location(target))

    def targets(self, folder: Path) -> list[SinkTarget]:
        """The datasets that it finds in a folder by itself."""
        with blamed(self.origin):
            return list(self._component.targets(folder))

    def inspect(self, target: SinkTarget) -> Inspection:
        """What lies there."""
        with blamed(self.origin):
            return self._component.inspect(target)


class GuardedExporter(_Guarded[DatasetExporter]):
    """An exporter whose files are looked for."""

    @property
    def reads(self) -> str:
        """What the tool reads of a dataset."""
        return storable(str(self._component.reads))

    def export(self, pairs: Sequence[CaaRecord], held_out: Sequence[CaaRecord], target: ExportTarget) -> Exported:
        """Write a dataset.

        Raises:
            PluginError: The exporter fails, or names no file, or one that is not there.
            OutputError: A file cannot be written.
        """
        with blamed(self.origin):
            try:
                exported = self._component.export(pairs, held_out, target)
            except OSError as error:
                raise OutputError(
                    f"The export to {target.place} cannot be written: {error.strerror or error}.",
                    "Make room or give access, or choose another --output; nothing is left half-written.",
                ) from error
            if wrong := exported_problem(exported, target.folder):
                raise self.origin.misdeed(wrong)
        return replace(exported, next=storable(exported.next), notes=tuple(map(storable, exported.notes)))


class GuardedCheck(_Guarded[CheckFunction]):
    """A check whose finding is checked."""

    def __call__(self, pairs: Sequence[CheckedPair], facts: CheckFacts) -> Finding:
        """What the check finds in a dataset.

        Raises:
            PluginError: The check fails, or returns something unusable.
        """
        with blamed(self.origin):
            finding = self._component(pairs, facts)
            if isinstance(finding, Finding):
                finding = replace(finding, worst=tuple(finding.worst))
        if wrong := finding_problem(finding):
            raise self.origin.misdeed(f"returned something unusable: {wrong}")
        return finding
