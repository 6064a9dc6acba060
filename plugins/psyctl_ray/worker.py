"""What runs on the machines: one backend, made anew from its name and options, that answers block after block."""

from __future__ import annotations

import logging
import os
import pickle
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from psyctl_core.budget import Budget
from psyctl_core.components import BackendMaker, InferenceBackend
from psyctl_core.errors import PsyctlError
from psyctl_core.records import ChatRequest, Completion
from psyctl_ray.spool import SpoolFile, is_marked

PART = 8
"""Answers that are handed over together at most: one by one costs a third of the speed."""

PART_SECONDS = 0.05
"""And how long they are held back at most for that, while others come."""

HOST = socket.gethostname()

log = logging.getLogger("psyctl")


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of psyctl's family, by its class's name: what was raised there is raised again at the driver."""

    host: str
    kind: str
    message: str
    hint: str
    later: bool = False


@dataclass(frozen=True, slots=True)
class Started:
    """What a worker says of itself once its backend is ready.

    Attributes:
        host: The machine's name.
        process: The process's number.
        block: The backend's.
        speed: Requests a second that it expects to answer.
        spool: The name of its file in the spool; empty where it sees no spool.
        notes: What was logged as a warning.
    """

    host: str
    process: int
    block: int
    speed: float | None
    spool: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """Some answers, what was logged as a warning, and what ended the block early, if anything did."""

    completions: tuple[Completion, ...]
    notes: tuple[str, ...] = ()
    failure: Failure | None = None


class Worker:
    """One backend in a process of its own.

    Args:
        made_of: The pickled :class:`BackendMaker`.
        spool: The spool's folder, which this machine may not see.
        mark: What the mark in it says, if it is the driver's.
    """

    def __init__(self, made_of: bytes, spool: str, mark: str) -> None:
        self._made_of = made_of
        self._backend: InferenceBackend | None = None
        self._spool = SpoolFile(Path(spool) if is_marked(Path(spool), mark) else None)
        self._notes = _Notes()
        self._is_stopping = False
        self._left = -1
        log.addHandler(self._notes)

    def start(self) -> Started | Failure:
        """Make the backend and have it get ready."""
        try:
            maker: BackendMaker = pickle.loads(self._made_of)  # noqa: S301 - the driver's own
            backend = maker.make(lambda: self._is_stopping)
            backend.start(Budget(None))
        except PsyctlError as error:
            return _failure(error)
        except ImportError as error:
            return Failure(HOST, "UsageError", f"psyctl is another one there: {error}.", "Install the same everywhere.")
        self._backend = backend
        return Started(HOST, os.getpid(), backend.block, backend.speed(), self._spool.name, self._notes.taken())

    def answer(self, number: int, requests: Sequence[ChatRequest]) -> Iterator[Part]:
        """Answer a block, part by part; each answer is in the spool before it is handed over.

        Args:
            number: The block's, by which it can be left.
            requests: What is asked.
        """
        assert self._backend is not None
        held: list[Completion] = []
        sent = time.monotonic()
        failure = None
        try:
            self._spool.begin(requests)
            answers = self._backend.generate(iter(requests))
            for completion in answers:
                self._spool.keep(completion)
                held.append(completion)
                if len(held) >= PART or time.monotonic() - sent >= PART_SECONDS:
                    yield Part(tuple(held), self._notes.taken())
                    held, sent = [], time.monotonic()
                if self._left == number:
                    getattr(answers, "close", lambda: None)()
                    break
        except PsyctlError as error:
            failure = _failure(error)
        except OSError as error:
            failure = Failure(HOST, "OutputError", f"The spool cannot be written: {error}.", "Make room there.", True)
        yield Part(tuple(held), self._notes.taken(), failure)

    def stop(self) -> None:
        """The user wants to stop: begin nothing more. Called while a block is under way."""
        self._is_stopping = True
        if self._backend is not None:
            self._backend.stop()

    def leave(self, number: int) -> None:
        """Nobody waits for this block any more. Called while it is under way."""
        self._left = number

    def adaptations(self) -> tuple[str, ...]:
        """As the backend says."""
        return () if self._backend is None else tuple(map(str, self._backend.adaptations()))


def _failure(error: PsyctlError) -> Failure:
    return Failure(HOST, type(error).__name__, error.message, error.hint, error.later)


class _Notes(logging.Handler):
    """Keeps what psyctl and its plugins warn of, to be said where somebody reads it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        self._lines.append(record.getMessage())

    def taken(self) -> tuple[str, ...]:
        """What was said since the last time."""
        lines, self._lines = tuple(self._lines), []
        return lines
