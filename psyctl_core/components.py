"""What a plugin hands over: components, their options, and the four protocols they implement."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from psyctl_core.errors import UsageError
from psyctl_core.records import CaaRecord, ChatRequest, Completion, Message, Persona, Scenario, SkippedRow

API_VERSION = 1
"""The version of this contract; a component made for another one is refused."""

Kind = Literal["source", "prompter", "backend", "sink"]
KINDS: tuple[Kind, ...] = ("source", "prompter", "backend", "sink")

Identity = Mapping[str, Any]
"""JSON values that must be equal for two runs to be the same run."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Component:
    """One thing that a user can choose with ``--source``, ``--prompter``, ``--backend`` or ``--sink``.

    Attributes:
        name: What the user types; unique per kind.
        factory: ``"package.module:callable"``, imported only when chosen, called with
            ``(config, context)``; returns the source, prompter, backend or sink.
        config: A frozen dataclass; every field is the flag ``--NAME-FIELD``. See :func:`option`.
        summary: One line for ``psyctl plugins.list``.
        extra: The ``psyctl`` extra to name when the factory's import fails, or ``None``.
        api_version: The contract's version this component was written for.
        implied_by: Config fields whose flag, typed alone, chooses this component.
    """

    name: str
    factory: str
    config: type[Any]
    summary: str
    extra: str | None = None
    api_version: int = API_VERSION
    implied_by: tuple[str, ...] = ()


def option(
    default: T,
    *,
    help: str,
    flag: str = "",
    env: str = "",
    parse: Callable[[str], T] | None = None,
    secret: bool = False,
    identity: bool = True,
) -> T:
    """Declare a field of a component's config, and so a command-line flag.

    Args:
        default: The value when neither the flag nor the environment variable is given.
        help: The flag's help text.
        flag: A shorter spelling such as ``--model``; components may share one, it goes to the chosen one.
        env: Environment variable read when the flag is not given.
        parse: Turns the environment variable's text into a value; needed with ``env`` unless text is wanted.
        secret: Kept out of ``repr``, files and messages.
        identity: Whether a different value makes a different run (batch sizes and workers do not).

    Returns:
        A dataclass field (typed as the value, as :func:`dataclasses.field` is).

    Raises:
        UsageError: When a config is made while the environment variable holds what ``parse`` refuses.
    """

    def value() -> T:
        text = os.environ.get(env, "").strip() if env else ""
        if not text:
            return default
        try:
            return parse(text) if parse else text  # type: ignore[return-value]
        except ValueError as error:
            raise UsageError(
                f"{env}={text!r} cannot be used: {error}.", f"Set {env} to another value or unset it."
            ) from error

    metadata = {
        "help": help,
        "flag": flag,
        "env": env,
        "secret": secret,
        "identity": identity,
        "default": default,
    }
    field: T = dataclasses.field(default_factory=value, repr=not secret, metadata=metadata)
    return field


def settings(config: object, *, identity: bool) -> dict[str, Any]:
    """A config's fields as JSON values, secrets left out.

    Args:
        config: An instance of a component's config dataclass.
        identity: Take the fields that decide the answers, or the others.
    """
    return {
        field.name: str(value) if isinstance(value, Path) else value
        for field in dataclasses.fields(config)  # type: ignore[arg-type]
        if not field.metadata.get("secret", False) and field.metadata.get("identity", True) == identity
        for value in [getattr(config, field.name)]
    }


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

    def scenarios(self, start: int) -> Iterator[Scenario | SkippedRow]:
        """Yield everything whose place is ``start`` or later, always in the same order with the same ids."""
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


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a number of requests would take: tokens, and US dollars or ``None`` where they cost nothing."""

    prompt_tokens: int
    completion_tokens: int
    cost: float | None


@runtime_checkable
class InferenceBackend(Protocol):
    """Who answers. Subclass it to inherit what has a default.

    Attributes:
        block: How many requests are computed together, or 0. A backend whose answers depend on which
            requests share a batch names a number: it is then handed blocks cut by the scenarios' places,
            the same ones in a resumed run. With 0 requests flow as room appears.
    """

    block: int = 0

    def identity(self) -> Identity:
        """What decides the answers beyond the config, such as a model's revision."""
        return {}

    def estimate(self, example: ChatRequest, requests: int) -> Estimate | None:
        """What so many requests like the example would take, for a dry run; asks the model nothing."""
        del example, requests
        return None

    def start(self, spent: float) -> None:
        """Make ready to answer: load the model, check the key. Called once, before the first request.

        Args:
            spent: US dollars that earlier processes of the same run were charged, as far as known.

        Raises:
            BackendError: No answer can be had; nothing was asked or paid.
        """
        del spent

    def generate(self, requests: Iterable[ChatRequest]) -> Iterator[Completion]:
        """Answer every request exactly once, in any order, pulling them only as room appears.

        Requests must be pulled from the thread that iterates. One that fails alone is answered with
        ``finish_reason="error"``; raising BackendError ends the run.
        """
        ...

    def close(self) -> None:
        """Let go of the model, connections and threads; called once."""
        return


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
        place: The source's place from which to go on.
        accepted: Records that come from before ``place``; at most ``num_generated``.
        rejected: Scenarios before ``place`` that gave no record, by reason.
        skipped: Rows before ``place`` that held no scenario, by reason.
        exhausted: Whether the source has nothing from ``place`` on.
    """

    num_generated: int = 0
    place: int = 0
    accepted: int = 0
    rejected: Mapping[str, int] = dataclasses.field(default_factory=dict)
    skipped: Mapping[str, int] = dataclasses.field(default_factory=dict)
    exhausted: bool = False


@runtime_checkable
class OutputSink(Protocol):
    """Where one dataset's records go; an instance serves one dataset, and touches nothing before ``open``.

    Subclass it to inherit what has a default.
    """

    def identity(self) -> Identity:
        """What decides the output's form beyond the config."""
        return {}

    def open(self, target: SinkTarget) -> Checkpoint | None:
        """Begin or continue the dataset; return the last checkpoint, or ``None`` if there is no good one.

        Whatever a crash left half-written at the end is removed first. Raises OutputError.
        """
        ...

    def inspect(self, target: SinkTarget) -> tuple[int | None, list[str]]:
        """How many records are there (``None``: cannot tell) and what is wrong with them; changes nothing."""
        del target
        return None, []

    def record_ids(self, start: int) -> Iterator[str]:
        """The ids of the records already there, in order, from the record numbered ``start`` on."""
        ...

    def write(self, record: CaaRecord) -> None:
        """Append one record, so that it outlives this process. Raises OutputError."""
        ...

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint, replacing the last one atomically. Raises OutputError."""
        ...

    def location(self) -> str:
        """Where the dataset is: a path or an address to show the user."""
        ...

    def close(self) -> None:
        """Finish writing and let go; called once."""
        return


PROTOCOLS: Mapping[Kind, type[Any]] = {
    "source": ScenarioSource,
    "prompter": PersonalityPrompter,
    "backend": InferenceBackend,
    "sink": OutputSink,
}
"""What a component of each kind implements."""
