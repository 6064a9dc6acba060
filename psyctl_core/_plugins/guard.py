"""The border: wraps each component where it is made, checks what it hands over, and says whose fault it is.

Behind the guard everything is trusted and typed. No other module checks or blames.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast, get_args

from psyctl_core import schema
from psyctl_core._caa.given import MAX_PERSONA_CHARACTERS
from psyctl_core.budget import Budget
from psyctl_core.checks import CheckedPair, CheckFacts, CheckFunction, CheckVerdict, Finding
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
from psyctl_core.errors import OutputError, PluginError, PsyctlError, UsageError
from psyctl_core.figures import counted
from psyctl_core.local_models import LendsModel, LentModel
from psyctl_core.markup import cut_at_control, without_thoughts
from psyctl_core.records import (
    CaaRecord,
    ChatRequest,
    Completion,
    ContrastivePair,
    FinishReason,
    JsonValue,
    Persona,
    Scenario,
    SkippedRow,
    Turn,
    Verdict,
)

T = TypeVar("T")

FINISH_REASONS = frozenset(get_args(FinishReason))

MAX_CHARACTERS_A_TOKEN = 128
"""Hardly a token of any vocabulary is longer; a text that would need longer ones was not bounded as asked."""

MAX_WAITING = 200
"""Characters of what a backend says that it waits for."""

MAX_TOKENS_TOLD = 1 << 40
MAX_COST = 1_000.0
"""US dollars: no single answer costs more."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who supplies something.

    Attributes:
        kind: ``source``, ``prompter``, ``backend``, ``judge``, ``runner``, ``sink``, ``exporter``, ``command`` or
            ``check``; ``plugin`` where it is none of them.
        name: The component's name, or the entry point's.
        distribution: The pip name of who supplies it.
        version: That distribution's version; empty for a component that a program handed over, whose
            distribution is its module.
    """

    kind: str
    name: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.kind} '{self.name}' (from {f'{self.distribution} {self.version}'.strip()})"

    def fault(self, error: BaseException) -> PluginError:
        """The error to raise in place of what the component raised."""
        return PluginError(
            f"The {self} failed: {type(error).__name__}: {error}",
            "Run again with --debug for the traceback; what was written so far is kept.",
        )

    def misdeed(self, text: str) -> PluginError:
        """The error for something that the component did against its contract."""
        return PluginError(
            f"The {self} {text}.", f"Tell {self.distribution}'s authors; what is written so far is kept."
        )


class blamed:  # noqa: N801 - used like a function
    """Turns whatever a component raises, psyctl's own errors aside, into an error that names it."""

    __slots__ = ("_origin",)

    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, PsyctlError):
            raise self._origin.fault(error) from error


def blamed_items(origin: Origin, items: Iterable[T]) -> Generator[T, None, None]:
    """Iterate over what a component yields, with :func:`blamed` around each step."""
    with blamed(origin):
        yield from items


class _Guarded(Generic[T]):
    """A component and who supplies it."""

    def __init__(self, component: T, origin: Origin) -> None:
        self._component = component
        self.origin = origin


class _HasIdentity(Protocol):
    def identity(self) -> Identity: ...


C = TypeVar("C", bound=_HasIdentity)


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


class GuardedBackend(GuardedComponent[InferenceBackend]):
    """A backend whose completions are checked against the requests that it pulled.

    Attributes:
        is_stopping: Whether requests may be left unanswered, because the user wants to stop.
    """

    def __init__(self, component: InferenceBackend, origin: Origin) -> None:
        super().__init__(component, origin)
        self.is_stopping: Callable[[], bool] = lambda: False

    @property
    def block(self) -> int:
        """How many requests are computed together at most, or 0."""
        return self._component.block

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

    def speed(self) -> float | None:
        """As the backend says."""
        with blamed(self.origin):
            return self._component.speed()

    def state(self) -> BackendState:
        """What it says that it does; called from any thread, so nothing may be raised."""
        with suppress(Exception):
            if isinstance(self._component, TellsState):
                return sane_state(self._component.state())
        return BackendState()

    def stop(self) -> None:
        """The user wants to stop; called from a signal handler, so nothing may be raised."""
        with suppress(Exception):
            self._component.stop()

    def adaptations(self) -> list[JsonValue]:
        """As the backend says, fit to be stored."""
        with blamed(self.origin):
            return [storable(str(said)) for said in self._component.adaptations()]

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
            if wrong := completion_problem(completion):
                raise self.origin.misdeed(f"answered with something unusable: {wrong}")
            if completion.id not in unanswered:
                raise self.origin.misdeed(
                    f"answered a request '{completion.id}' that is not open: it was never made, or was answered before"
                )
            yield storable_completion(completion, unanswered.pop(completion.id))
        if threads - {owner}:
            raise self.origin.misdeed("pulled requests from another thread than the one that iterates")
        if unanswered and not self.is_stopping():
            first = min(unanswered)
            raise self.origin.misdeed(f"left {counted(len(unanswered), 'request')} unanswered, '{first}' among them")

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

    def close(self) -> None:
        """Let go of the model, connections and threads."""
        with blamed(self.origin):
            self._component.close()


def as_backend(backend: GuardedBackend) -> InferenceBackend:
    """A guarded backend for a plugin: it has all that the protocol names, though nothing of it can be set."""
    return cast("InferenceBackend", backend)


class GuardedPool(_Guarded[WorkerPool]):
    """A pool of workers that is held to what it was given, and to nothing else.

    Attributes:
        is_free: Whether an answer costs no money.
    """

    def __init__(self, component: WorkerPool, origin: Origin, *, is_free: bool = False) -> None:
        super().__init__(component, origin)
        self.is_free = is_free

    @property
    def block(self) -> int:
        """How many requests are computed together at most, or 0."""
        return self._component.block

    @property
    def workers(self) -> int:
        """How many backends answer at the same time, at most."""
        return max(1, int(self._component.workers))

    def start(self, budget: Budget, folder: Path) -> None:
        """Make it ready to answer."""
        with blamed(self.origin):
            self._component.start(budget, folder)

    def speed(self) -> float | None:
        """As the pool says."""
        with blamed(self.origin):
            return self._component.speed()

    def run(self, next_block: NextBlock, is_stopping: Callable[[], bool]) -> Generator[Completion, None, None]:
        """Its completions, each for a request that is open.

        Args:
            next_block: Gives what is to be answered, and never raises.
            is_stopping: Whether requests may be left unanswered, because the user wants to stop.

        Raises:
            PluginError: The pool fails, or answers something that it was not asked, or not all.
        """
        unanswered: set[str] = set()

        def noted(block: Iterator[ChatRequest]) -> Iterator[ChatRequest]:
            for request in block:
                unanswered.add(request.id)
                yield request

        def next_noted() -> Iterator[ChatRequest] | None:
            block = next_block()
            return None if block is None else noted(block)

        with blamed(self.origin):
            completions = self._component.run(next_noted)
        for completion in blamed_items(self.origin, completions):
            if wrong := completion_problem(completion):
                raise self.origin.misdeed(f"handed over something unusable: {wrong}")
            if completion.id not in unanswered:
                raise self.origin.misdeed(f"handed over an answer to '{completion.id}', which nobody waits for")
            unanswered.remove(completion.id)
            yield completion
        if unanswered and not is_stopping():
            first = min(unanswered)
            raise self.origin.misdeed(f"left {counted(len(unanswered), 'request')} unanswered, '{first}' among them")

    def stop(self) -> None:
        """The user wants to stop; called from a signal handler, so nothing may be raised."""
        with suppress(Exception):
            self._component.stop()

    def state(self) -> BackendState:
        """What it says that it does; called from any thread, so nothing may be raised."""
        with suppress(Exception):
            return sane_state(self._component.state())
        return BackendState()

    def adaptations(self) -> list[JsonValue]:
        """As the pool says, fit to be stored."""
        with blamed(self.origin):
            return [storable(str(said)) for said in self._component.adaptations()]

    def forget(self) -> None:
        """The run is complete."""
        with blamed(self.origin):
            self._component.forget()

    def close(self) -> None:
        """Let go of everything."""
        with blamed(self.origin):
            self._component.close()


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
        odd = [name for name, value in verdict.scores.items() if not (value is None or _is_number(value))]
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


def exported_problem(exported: object, folder: Path) -> str:
    """What is wrong with what an exporter returned, or nothing.

    Args:
        exported: What it returned.
        folder: Where it was to write.
    """
    if not isinstance(exported, Exported):
        return f"returned a {type(exported).__name__}, not an Exported"
    if not exported.files:
        return "named no file that it wrote"
    for file in exported.files:
        if not (folder / file).is_file() or not (folder / file).resolve().is_relative_to(folder.resolve()):
            return f"named a file that is not in its folder: {file}"
    texts = (exported.next, *exported.notes)
    return "" if exported.next and all(isinstance(text, str) for text in texts) else "did not say what to run next"


def sane_state(state: BackendState) -> BackendState:
    """What a backend or a pool says of itself, on one line and with whole numbers."""
    workers = None if state.workers is None else int(state.workers)
    waiting = " ".join(str(state.waiting).split())[:MAX_WAITING]
    answered = {str(name)[:MAX_WAITING]: int(count) for name, count in {**state.answered}.items()}
    return BackendState(waiting, int(state.retries), workers, answered)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


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


def checked_instance(instance: Any, protocol: type[Any], origin: Origin) -> Any:
    """What a factory returned, if it holds to its protocol.

    Raises:
        PluginError: It does not; the message names what it lacks.
    """
    if isinstance(instance, protocol):
        return instance
    members = [name for name in vars(protocol) if not name.startswith("_")]
    lacking = ", ".join(name for name in members if not hasattr(instance, name))
    raise origin.misdeed(
        f"returned a {type(instance).__name__}, which is not {_article(protocol.__name__)}: it lacks {lacking}"
    )


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def storable(text: str) -> str:
    """The text without what no file can hold: half an emoji becomes a replacement character."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def storable_scenario(scenario: Scenario) -> Scenario:
    """A scenario whose texts can be stored."""
    texts = (scenario.situation, scenario.character, *(part for t in scenario.dialogue for part in (t.speaker, t.text)))
    if all(storable(text) == text for text in texts):
        return scenario
    dialogue = tuple(Turn(storable(turn.speaker), storable(turn.text)) for turn in scenario.dialogue)
    return replace(
        scenario,
        situation=storable(scenario.situation),
        character=storable(scenario.character),
        dialogue=dialogue,
    )


def storable_completion(completion: Completion, request: ChatRequest) -> Completion:
    """A completion that can be stored: no thoughts, no control tokens, no longer than was asked, sane numbers.

    Numbers that cannot be are taken as not told. What is longer than so many tokens can be was cut off.
    """
    text = storable(completion.text)
    most = request.max_tokens * MAX_CHARACTERS_A_TOKEN
    length = len(text) > most
    spoken = cut_at_control(without_thoughts(text[:most]))
    cost = completion.cost if completion.cost is not None and 0 <= completion.cost <= MAX_COST else None
    return replace(
        completion,
        text=spoken,
        finish_reason="length" if length and completion.finish_reason == "stop" else completion.finish_reason,
        prompt_tokens=_count(completion.prompt_tokens),
        completion_tokens=_count(completion.completion_tokens),
        cost=cost,
        error=storable(completion.error),
        unpriced=completion.unpriced or (cost is None and completion.cost is not None),
    )


def _count(tokens: int | None) -> int | None:
    return int(tokens) if tokens is not None and 0 <= tokens <= MAX_TOKENS_TOLD else None


def scenario_as_json(scenario: Scenario) -> dict[str, JsonValue]:
    """A scenario as its schema describes it."""
    row: dict[str, JsonValue] = {
        "id": scenario.id,
        "offset": scenario.offset,
        "situation": scenario.situation,
        "character": scenario.character,
        "dialogue": [{"speaker": turn.speaker, "text": turn.text} for turn in scenario.dialogue],
    }
    return {**row, "metadata": scenario.metadata} if scenario.metadata else row


def item_problem(item: object, last_offset: int) -> str:
    """What is wrong with an item that a source yielded, or nothing.

    Args:
        item: What came.
        last_offset: The offset of the item before it; -1 where it is the first.
    """
    if isinstance(item, Scenario):
        dialogue: object = item.dialogue
        if not isinstance(dialogue, tuple):
            return f"its dialogue is a {type(dialogue).__name__}, which could change later; a tuple is wanted"
        if odd := next((turn for turn in dialogue if not isinstance(turn, Turn)), None):
            return f"its dialogue holds a {type(odd).__name__}, which is not a Turn"
        if wrong := schema.problem("scenario", scenario_as_json(item)):
            return wrong
        if item.dialogue and item.dialogue[-1].speaker == item.character:
            return f"'{item.character}' is to answer their own words"
    elif not isinstance(item, SkippedRow):
        return f"a {type(item).__name__} is not a Scenario or SkippedRow"
    if item.offset <= last_offset:
        return f"offset {item.offset} comes after offset {last_offset}; offsets must rise"
    return ""


def record_problem(record: object) -> str:
    """What is wrong with something that a sink read, or nothing."""
    if not isinstance(record, CaaRecord):
        return f"a {type(record).__name__} is not a CaaRecord"
    return schema.problem("caa-record", record.as_json())


def completion_problem(completion: object) -> str:
    """What is wrong with something that a backend yielded, or nothing."""
    if not isinstance(completion, Completion):
        return f"a {type(completion).__name__} is not a Completion"
    if not isinstance(completion.text, str):
        return f"its text is a {type(completion.text).__name__} (request {completion.id!r})"
    if completion.finish_reason not in FINISH_REASONS:
        return f"its finish_reason is {completion.finish_reason!r} (request {completion.id!r})"
    if not isinstance(completion.error, str):
        return f"its error is a {type(completion.error).__name__} (request {completion.id!r})"
    for name in ("prompt_tokens", "completion_tokens", "cost"):
        value = getattr(completion, name)
        if value is not None and not isinstance(value, (int, float)):
            return f"its {name} is a {type(value).__name__} (request {completion.id!r})"
    return ""


def persona_problem(persona: object) -> str:
    """What is wrong with something that a prompter returned, or nothing."""
    text = persona.description if isinstance(persona, Persona) else None
    if not isinstance(text, str) or not text.strip():  # who wrote it may not have checked types
        return f"it described nobody: {persona!r} is not a Persona with a description"
    return ""


def finding_problem(finding: object) -> str:
    """What is wrong with what a check returned, or ``""``."""
    if not isinstance(finding, Finding):
        return f"a {type(finding).__name__}, not a Finding"
    value: Any = finding.value  # who wrote it may not have checked types
    text: Any = finding.text
    interval: Any = finding.interval
    if not (value is None or _is_number(value)):
        return f"its value is {value!r}, not a number"
    if not (
        interval is None or (isinstance(interval, tuple) and len(interval) == 2 and all(map(_is_number, interval)))
    ):
        return f"its interval is {interval!r}, not two numbers"
    if not (isinstance(text, str) and text.strip()):
        return f"its text is {text!r}"
    if finding.verdict not in (None, *get_args(CheckVerdict)):
        return f"its verdict is {finding.verdict!r}"
    rows: Sequence[Any] = finding.worst
    for row in rows:
        if not (isinstance(row, tuple) and len(row) == 2 and all(isinstance(part, str) for part in row)):
            return f"among its worst pairs is {row!r}, not an id and a text"
    return ""
