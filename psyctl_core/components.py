"""What a plugin hands over: components, commands, and the protocols that components implement."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from psyctl_core.budget import Budget
from psyctl_core.options import Config
from psyctl_core.records import (
    CaaRecord,
    ChatRequest,
    Completion,
    ContrastivePair,
    JsonValue,
    Message,
    Persona,
    Scenario,
    SkippedRow,
    Verdict,
)

API_VERSION = 2
"""The version of this contract; a component made for another one is refused."""

KindName = Literal["source", "prompter", "backend", "judge", "runner", "sink", "exporter"]

Identity = Mapping[str, JsonValue]
"""JSON values that must be equal for two runs to be the same run."""


@dataclass(frozen=True, slots=True)
class Component:
    """One thing that a user can choose with ``--KIND NAME``, such as ``--source soda``; an exporter with ``--to NAME``.

    Attributes:
        name: What the user types; unique per kind.
        factory: ``"package.module:callable"``, imported only when chosen, called with
            ``(config, context)``; returns the source, prompter, backend, judge, runner, sink or exporter.
        config: A frozen dataclass; every field is the flag ``--NAME-FIELD``. See :func:`~psyctl_core.option`.
        summary: One line for ``psyctl plugins.list``.
        extra: The ``psyctl`` extra to name when the factory's import fails, or ``None``.
        api_version: The contract's version this component was written for.
        implied_by: Config fields whose flag, typed alone, chooses this component.
    """

    name: str
    factory: str
    config: type[Config]
    summary: str
    extra: str | None = None
    api_version: int = API_VERSION
    implied_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """One command that a plugin adds to ``psyctl``.

    Attributes:
        name: What the user types after ``psyctl``, such as ``vector.export``.
        factory: ``"package.module:function"``, imported only when the command is typed. The function's
            parameters become arguments and options, as in a Typer application
            (https://typer.tiangolo.com/tutorial/commands/); its docstring is the command's help.
        summary: One line for ``psyctl --help``.
        api_version: The contract's version this command was written for.
    """

    name: str
    factory: str
    summary: str
    api_version: int = API_VERSION


@dataclass(frozen=True, slots=True)
class Context:
    """What a factory is told about the run besides its own config.

    Attributes:
        seed: The run's seed.
    """

    seed: int = 0


class Ask(Protocol):
    """Asks the chosen backend one thing and returns its text, stripped."""

    def __call__(self, messages: tuple[Message, ...], *, max_tokens: int, prefill: str = "") -> str:
        """Return the answer's text without the prefill; raises BackendError when there is none."""
        ...


@runtime_checkable
class ScenarioSource(Protocol):
    """Where scenarios come from. Subclass it to inherit what has a default."""

    def identity(self) -> Identity:
        """What decides the scenarios beyond the config, such as a dataset's revision."""
        return {}

    def total(self) -> int | None:
        """How many rows there are, or ``None`` where that is not known without reading them."""
        return None

    def describe(self) -> Mapping[str, str]:
        """What it made of its rows, by heading, for a preview; asked after some rows were read."""
        return {}

    def scenarios(self, start: int) -> Iterator[Scenario | SkippedRow]:
        """Yield everything whose offset is ``start`` or later, always in the same order with the same ids."""
        ...


@runtime_checkable
class PersonalityPrompter(Protocol):
    """How a person with a trait is described to the model. Subclass it to inherit what has a default."""

    def identity(self) -> Identity:
        """What decides the descriptions beyond the config, such as the prompts' version."""
        return {}

    def describe(self, trait: str, ask: Ask) -> Persona:
        """Describe somebody with the trait, or the neutral person where ``trait`` is ``"neutral"``."""
        ...


@runtime_checkable
class DescribesOthers(Protocol):
    """What a prompter has besides, so that it can be used with ``--contrast opposite`` and ``--personas``.

    Attributes:
        descriptions: How many descriptions of one person it has; the most that ``--personas`` may ask for.
    """

    descriptions: int

    def describe_other(self, trait: str, ask: Ask, *, opposite: bool, number: int) -> Persona:
        """Describe somebody else than ``describe`` does.

        Args:
            trait: The trait, or ``"neutral"``.
            ask: Asks the backend.
            opposite: Describe somebody who has little of the trait; never asked with ``"neutral"``.
            number: Which of its descriptions, from 1 to ``descriptions``; they say the same in other words, and
                those of one number are alike in form and length on both sides.

        Raises:
            UsageError: It has no such description.
        """
        ...


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a number of requests would take.

    Attributes:
        prompt_tokens: Tokens read.
        completion_tokens: Tokens generated at most.
        cost: US dollars at most, or ``None`` where they cost nothing.
        price: What the cost goes by, in words, such as ``$0.10 a million tokens read``.
    """

    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    price: str = ""


@runtime_checkable
class InferenceBackend(Protocol):
    """Who answers. Subclass it to inherit what has a default.

    Attributes:
        block: How many requests are computed together at most, or 0. A backend whose answers depend on
            which requests share a batch names a number: it is then handed blocks cut by the scenarios'
            offsets, the same ones in a resumed run. With 0 requests flow as room appears.
        is_free: Whether an answer costs no money, so that one lost at a kill is not counted as spent.
        max_cost: US dollars that its own options allow the run to cost, or ``None``.
    """

    block: int = 0
    is_free: bool = False
    max_cost: float | None = None

    def identity(self) -> Identity:
        """What decides the answers beyond the config, such as a model's revision."""
        return {}

    def estimate(self, example: ChatRequest, requests: int) -> Estimate | None:
        """What so many requests like the example would take, for a dry run; asks the model nothing."""
        del example, requests
        return None

    def start(self, budget: Budget) -> None:
        """Make ready to answer: load the model, check the key. Called once, before the first request.

        Args:
            budget: What the run may spend; one whose calls cost money keeps to it. See
                :class:`~psyctl_core.budget.Budget`.

        Raises:
            BackendError: No answer can be had; nothing was asked or paid.
        """
        del budget

    def speed(self) -> float | None:
        """Requests a second that it expects to answer, once started; ``None`` where it cannot tell."""
        return None

    def generate(self, requests: Iterator[ChatRequest]) -> Iterator[Completion]:
        """Answer every request exactly once, in any order, pulling them only as room appears.

        Requests must be pulled from the thread that iterates. One that fails alone is answered with
        ``finish_reason="error"``; raising BackendError ends the run.
        """
        ...

    def stop(self) -> None:
        """The user wants to stop: begin nothing more, and end when what is on its way has arrived.

        Called from a signal handler while :meth:`generate` is under way, so it may only set a flag. Requests
        that were pulled may then be left unanswered.
        """
        return

    def adaptations(self) -> Sequence[str]:
        """What the model or server was found not to take, and is asked without, in words; saved with the run."""
        return ()

    def close(self) -> None:
        """Let go of the model, connections and threads; called once."""
        return


@dataclass(frozen=True, slots=True)
class BackendState:
    """What a backend does besides answering.

    Attributes:
        waiting: What it waits for, such as ``rate limited``; empty where it waits for nothing but answers.
        retries: How often it has asked something again.
        workers: How many processes answer now, where it is not this one alone.
        answered: Where several servers answer, how many requests each has answered, by its address.
    """

    waiting: str = ""
    retries: int = 0
    workers: int | None = None
    answered: Mapping[str, int] = field(default_factory=dict, hash=False)


@runtime_checkable
class TellsState(Protocol):
    """What a backend has besides, so that whoever watches the run sees what it waits for."""

    def state(self) -> BackendState:
        """What it does now; called from any thread at any time, so it may only look, and must not wait."""
        ...


class BackendMaker(Protocol):
    """Makes the chosen backend anew, in this process or another; it can be pickled, and holds no secret then."""

    def make(self, is_stopping: Callable[[], bool]) -> InferenceBackend:
        """The backend, made as it was here and not started; what it answers is checked.

        Secret options are read from the environment of the process that it is made in.

        Args:
            is_stopping: Whether requests may be left unanswered, because the user wants to stop.

        Raises:
            PsyctlError: It cannot be made, or would not be the same: psyctl, the plugin or the model is another one.
        """
        ...


@dataclass(frozen=True, slots=True)
class RunnerTarget:
    """What a runner has answered.

    Attributes:
        name: What the backend is called in messages.
        backend: The backend, made and not started. A runner that answers in this process uses it; another one
            leaves it alone.
        maker: Makes it in another process; ``None`` for an object that a program handed over, which cannot be sent.
    """

    name: str
    backend: InferenceBackend
    maker: BackendMaker | None


NextBlock: TypeAlias = "Callable[[], Iterator[ChatRequest] | None]"
"""Gives the next requests to answer, or ``None`` where there is nothing to ask now."""


@runtime_checkable
class WorkerPool(Protocol):
    """Who answers in the end: one backend or several equal ones. Subclass it to inherit what has a default.

    Attributes:
        workers: How many backends answer at the same time, at most.
    """

    workers: int = 1

    @property
    def block(self) -> int:
        """The backends' :attr:`InferenceBackend.block`; asked after :meth:`start`."""
        ...

    def start(self, budget: Budget, folder: Path) -> None:
        """Make ready to answer. Called once, before the first request.

        Args:
            budget: What the run may spend.
            folder: The run's folder, which exists; what is kept in it against a crash must have a name of its own.

        Raises:
            BackendError: No answer can be had.
        """
        ...

    def speed(self) -> float | None:
        """Requests a second that one of the backends expects to answer, or ``None``."""
        return None

    def run(self, next_block: NextBlock) -> Iterator[Completion]:
        """Answer what ``next_block`` gives until it gives nothing and every answer was yielded, each request once.

        With backends that have blocks each iterator is one block: it is answered by one backend in one call of
        ``generate``. Otherwise requests are pulled as room appears. ``next_block`` is called from the thread that
        iterates, whenever there is room for more; it may give ``None`` while answers are under way, and something
        again after the next one was yielded.
        """
        ...

    def stop(self) -> None:
        """The user wants to stop; as :meth:`InferenceBackend.stop`."""
        return

    def state(self) -> BackendState:
        """What it waits for and who answers now; called from any thread, so it may only look."""
        return BackendState()

    def adaptations(self) -> Sequence[str]:
        """As :meth:`InferenceBackend.adaptations`."""
        return ()

    def forget(self) -> None:
        """The run is complete: what was kept against a crash may go."""
        return

    def close(self) -> None:
        """Let go of everything but the target's own backend, which is closed by psyctl; called once."""
        return


@runtime_checkable
class Runner(Protocol):
    """How requests reach the backend: in this process, or on other machines."""

    def open(self, target: RunnerTarget) -> WorkerPool:
        """Get ready to have a backend's answers; starts nothing, so that a dry run may call it, too.

        Raises:
            UsageError: It cannot be used with this backend.
        """
        ...


@dataclass(frozen=True, slots=True)
class RunFolder:
    """What a run has for a backend whose answers outlive the process, such as a batch that a server works on.

    Attributes:
        path: A folder of the backend's own in the run folder, to be made by the backend. Once the run is complete it is
            removed, unless :attr:`tell` was last told that something goes on.
        safe: To be called with how many of the requests that the backend has would be found again by the next
            process: should this one be killed, they are not booked as lost.
        tell: To be called with one line that says what goes on while no process runs, for ``dataset.status``; empty
            where nothing does.
    """

    path: Path
    safe: Callable[[int], None]
    tell: Callable[[str], None]


@runtime_checkable
class UsesRunFolder(Protocol):
    """What a backend has besides, where it keeps something for the next process of the run."""

    def use(self, folder: RunFolder) -> None:
        """Keep it in there; called before ``start``. What is kept must not change any answer."""
        ...


@runtime_checkable
class PairJudge(Protocol):
    """Who accepts or rejects pairs. Subclass it to inherit what has a default."""

    def identity(self) -> Identity:
        """What decides the verdicts beyond the config, such as the rubric's version."""
        return {}

    def guide(self, trait: str, ask: Ask) -> str:
        """What it must know of a trait; asked once a trait, kept with the run, and handed back with every pair."""
        del trait, ask
        return ""

    def requests(self, pair: ContrastivePair, guide: str) -> Sequence[ChatRequest]:
        """What it asks about a pair, if anything. Ids and seeds are psyctl's: it gives each request its own."""
        ...

    def verdict(
        self, pair: ContrastivePair, guide: str, completions: Sequence[Completion]
    ) -> Verdict | Sequence[ChatRequest]:
        """What it says of the pair, or what it asks in addition.

        Args:
            pair: The pair.
            guide: What :meth:`guide` gave for its trait.
            completions: The answers to all that was asked about it so far, in the order of asking; failed ones
                have ``finish_reason="error"``.
        """
        ...

    def decide(self, scores: Mapping[str, float | None]) -> Verdict | None:
        """The verdict that follows from scores found before, so that other thresholds need no asking.

        ``None`` where only asking tells.
        """
        del scores
        return None


@dataclass(frozen=True, slots=True)
class SinkTarget:
    """Where one dataset goes.

    Attributes:
        folder: An existing folder that the dataset's files belong in.
        name: The run's name, such as ``caa_dataset_20250107_143022``.
        trait: The dataset's trait.
    """

    folder: Path
    name: str
    trait: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a dataset had come at a moment from which a run can go on.

    Attributes:
        num_generated: Records written.
        offset: The source's offset from which to go on.
        accepted: Records that come from before ``offset``; at most ``num_generated``.
        rejected: Scenarios before ``offset`` that gave no record, by reason.
        skipped: Rows before ``offset`` that held no scenario, by reason.
        exhausted: Whether the source has nothing from ``offset`` on.
    """

    num_generated: int = 0
    offset: int = 0
    accepted: int = 0
    rejected: Mapping[str, int] = dataclasses.field(default_factory=dict)
    skipped: Mapping[str, int] = dataclasses.field(default_factory=dict)
    exhausted: bool = False


@runtime_checkable
class DatasetWriter(Protocol):
    """One dataset that a sink has opened."""

    def last_checkpoint(self) -> Checkpoint | None:
        """The last checkpoint that was kept, or ``None`` if there is no good one."""
        ...

    def record_ids(self, start: int) -> Iterator[str]:
        """The ids of the records already there, in order, from the record numbered ``start`` on."""
        ...

    def write(self, record: CaaRecord) -> None:
        """Append one record, so that it outlives this process. Raises OutputError."""
        ...

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint, replacing the last one atomically. Raises OutputError."""
        ...

    def close(self) -> None:
        """Finish writing and let go; called once."""
        ...


@dataclass(frozen=True, slots=True)
class Inspection:
    """What lies at a target: how many records (``None``: cannot tell), and what is wrong with them, in words."""

    records: int | None
    problems: tuple[str, ...] = ()


@runtime_checkable
class OutputSink(Protocol):
    """Where datasets go and how they are read again; touches nothing before it is asked to.

    Subclass it to inherit what has a default.
    """

    def identity(self) -> Identity:
        """What decides the output's form beyond the config."""
        return {}

    def open(self, target: SinkTarget) -> DatasetWriter:
        """Begin or continue a dataset; several may be open at the same time.

        Whatever a crash left half-written at the end is removed first. Raises OutputError.
        """
        ...

    def read(self, target: SinkTarget) -> Iterator[CaaRecord]:
        """The records of a dataset in the order of writing, while nobody or somebody writes; changes nothing.

        Raises:
            OutputError: There is no such dataset, or a record cannot be read; the message says which.
        """
        ...

    def location(self, target: SinkTarget) -> str:
        """Where the dataset is: a path or an address to show the user."""
        ...

    def targets(self, folder: Path) -> Iterator[SinkTarget]:
        """The datasets of this sink in a folder and its subfolders, found without any run folder's help."""
        del folder
        return iter(())

    def inspect(self, target: SinkTarget) -> Inspection:
        """How many records there are and what is wrong with them; changes nothing."""
        return Inspection(sum(1 for _ in self.read(target)))


@dataclass(frozen=True, slots=True)
class ExportTarget:
    """Where an exporter writes one dataset.

    Attributes:
        folder: An existing, empty folder to write in. It takes its place when everything is written, or is gone.
        name: The trait as a file may be called, such as ``openness-to-change``; the same for all files.
        trait: The trait.
        place: Where the folder will be, for texts that name a file.
    """

    folder: Path
    name: str
    trait: str
    place: Path


@dataclass(frozen=True, slots=True)
class Exported:
    """What an exporter wrote of one dataset.

    Attributes:
        files: The files, as paths within the target's folder.
        next: What to run next in the tool that reads them, in one line or several.
        notes: What was left out, stood in for or changed, one line each.
    """

    files: tuple[Path, ...]
    next: str
    notes: tuple[str, ...] = ()


@runtime_checkable
class DatasetExporter(Protocol):
    """Writes a dataset as another tool reads it.

    Attributes:
        reads: What that tool reads of it, in one line, such as "the last token of either text".
    """

    reads: str = ""

    def export(self, pairs: Sequence[CaaRecord], held_out: Sequence[CaaRecord], target: ExportTarget) -> Exported:
        """Write a dataset; the same records give the same files.

        Args:
            pairs: The records to extract or train from, at least one.
            held_out: Those that are kept back for a test; may be empty. They are never among ``pairs``.
            target: Where to.

        Raises:
            UsageError: The tool's form cannot hold what is there; the message says what is missing.
            OSError: A file cannot be written.
        """
        ...
