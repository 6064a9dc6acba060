"""What is seen while a run goes on: a line that stays in place, plain lines now and then, or events for programs."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO

import typer

from psyctl_core import schema
from psyctl_core._engine.progress import Progress, in_parts
from psyctl_core._engine.watching import logging_to
from psyctl_core._store.runs import now
from psyctl_core.errors import ExitCode, PsyctlError
from psyctl_core.terminal import say, say_json, visible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from psyctl_core.records import JsonValue

Style = Literal["auto", "plain", "json"]
"""``auto`` is a line that stays in place where that can be, and plain lines elsewhere."""

REFRESH_A_SECOND = 4
PLAIN_SECONDS = 10.0
MOST_PLAIN_SECONDS = 60.0
"""Plain lines come ten seconds apart at first, and a minute apart in a long run."""

EVENT_SECONDS = 2.0
LEAST_BAR = 6
MOST_BAR = 40

log = logging.getLogger("psyctl")


class Seen(Protocol):
    """What shows a run."""

    def told(self, p: Progress) -> None:
        """How the run is doing; called from the run's thread and from another one."""
        ...

    def note(self, line: str, level: int) -> None:
        """Something was logged."""
        ...

    def ended(self, code: int, summary: dict[str, JsonValue]) -> None:
        """The run has ended without an error."""
        ...


class _Handler(logging.Handler):
    """Hands each record on as a line of text, with its level."""

    def __init__(self, write: Callable[[str, int], None], level: int) -> None:
        super().__init__(level)
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        """Hand one record on."""
        self._write(record.getMessage(), record.levelno)


@contextlib.contextmanager
def logging_to_stderr(*, quiet: bool, debug: bool, write: Callable[[str, int], None] | None = None) -> Iterator[None]:
    """Show what psyctl logs, as plain lines or through ``write``; with ``quiet`` errors alone."""
    handler = _Handler(write or _plain_note, logging.ERROR if quiet else logging.DEBUG if debug else logging.INFO)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG if debug else logging.INFO)  # for the run's log, which --quiet takes nothing from
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(handler)


def _plain_note(line: str, level: int) -> None:
    say(_with_level(line, level), err=True)


def _with_level(line: str, level: int) -> str:
    return f"Warning: {line}" if level >= logging.WARNING else line


@contextlib.contextmanager
def watching(style: Style, *, quiet: bool, debug: bool, log_file: Path | None = None) -> Iterator[Seen]:
    """Show a run for as long as the block runs.

    Args:
        style: How.
        quiet: Show nothing but errors.
        debug: Show details as well.
        log_file: Where to append what is shown, with times; ``None`` for nowhere.
    """
    with contextlib.ExitStack() as stack:
        if log_file is not None:
            stack.enter_context(logging_to(log_file))
        seen: Seen
        if style == "json":
            seen = stack.enter_context(_events())
        elif quiet:
            seen = _Silent()
        elif style == "auto" and can_stay_in_place(sys.stderr):
            seen = stack.enter_context(_line_in_place())
        else:
            seen = _PlainLines()
        stack.enter_context(logging_to_stderr(quiet=quiet, debug=debug, write=seen.note))
        yield seen


def can_stay_in_place(stream: TextIO) -> bool:
    """Whether what was written to a stream can be drawn anew: it is a terminal, and none that says it is dumb."""
    if not stream.isatty():
        return False
    from rich.console import Console

    return not Console(file=stream).is_dumb_terminal


class _Silent:
    """What shows nothing that is not an error."""

    def told(self, p: Progress) -> None:
        """Say nothing."""

    def note(self, line: str, level: int) -> None:
        """Say what is logged."""
        _plain_note(line, level)

    def ended(self, code: int, summary: dict[str, JsonValue]) -> None:
        """Say nothing: the summary is printed afterwards."""


class _PlainLines(_Silent):
    """A line for each phase, and one now and then."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = self._last = clock()
        self._phase = "starting"
        self._lock = threading.Lock()

    def told(self, p: Progress) -> None:
        """Say it where the phase is another one, or it was said long enough ago."""
        with self._lock:
            moment = self._clock()
            pause = min(max(PLAIN_SECONDS, (moment - self._began) / 10), MOST_PLAIN_SECONDS)
            if p.phase != self._phase or moment - self._last >= pause:
                self._phase, self._last = p.phase, moment
                say(", ".join(in_parts(p)), err=True)


class _LineInPlace(_Silent):
    """The newest progress as one line as wide as the terminal: a bar, and of the parts as many as there is room for."""

    def __init__(self, write: Callable[[str], None]) -> None:
        from rich.spinner import Spinner

        self._write = write
        self._progress: Progress | None = None
        self._spinner = Spinner("line")

    def told(self, p: Progress) -> None:
        """Keep it until the line is drawn again."""
        self._progress = p

    def note(self, line: str, level: int) -> None:
        """Say it on lines of its own, above this one."""
        self._write(_with_level(line, level))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        p, room = self._progress or Progress("starting"), options.max_width - 2  # beside the spinner
        parts = [visible(part) for part in in_parts(p)]
        text = fitting(parts, room)
        has_bar = bool(p.wanted) and p.phase == "generating"
        if has_bar and room - len(text) - 1 < LEAST_BAR:
            text = fitting(parts[:-1], room)  # a bar tells as well that it is generating
        cells: list[Any] = [self._spinner]
        bar = min(MOST_BAR, room - len(text) - 1)
        if has_bar and bar >= LEAST_BAR:
            cells.append(ProgressBar(total=p.wanted, completed=p.pairs, width=bar))
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_row(*cells, Text(text, no_wrap=True, overflow="crop"))
        yield grid


@contextlib.contextmanager
def _line_in_place() -> Iterator[Seen]:
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True, highlight=False)
    line = _LineInPlace(lambda text: console.print(visible(text), markup=False))
    with Live(line, console=console, refresh_per_second=REFRESH_A_SECOND, transient=True, redirect_stdout=False):
        yield line


@contextlib.contextmanager
def drawn_anew() -> Iterator[Callable[[list[Any]], None]]:
    """What is drawn on stdout takes the place of what was drawn before; it is gone in the end."""
    from rich.console import Console, Group
    from rich.live import Live

    with Live(console=Console(), auto_refresh=False, transient=True) as shown:
        yield lambda parts: shown.update(Group(*parts), refresh=True)


def fitting(parts: list[str], room: int) -> str:
    """As many of the parts as fit, from the first one on; at least the first one, cut off if need be."""
    text = parts[0]
    for part in parts[1:]:
        if len(text) + len(part) + 3 > room:
            break
        text += f" · {part}"
    return text[:room]


class _Events(_Silent):
    """An event a line on stderr, each as the schema ``progress`` has it."""

    def __init__(self) -> None:
        self._phase, self._last = "", 0.0
        self._lock = threading.Lock()

    def told(self, p: Progress) -> None:
        """Another phase at once, progress every other second."""
        with self._lock:
            moment = time.monotonic()
            is_new = p.phase != self._phase
            if is_new or moment - self._last >= EVENT_SECONDS:
                self._phase, self._last = p.phase, moment
                say_event("phase" if is_new else "progress", p.as_json())

    def note(self, line: str, level: int) -> None:
        """What is logged."""
        with self._lock:
            say_event("note", {"level": "warning" if level >= logging.WARNING else "note", "text": line})

    def ended(self, code: int, summary: dict[str, JsonValue]) -> None:
        """The last event."""
        say_event("end", {"exit_code": int(code), "text": "", "summary": summary})


@contextlib.contextmanager
def _events() -> Iterator[Seen]:
    """Events for as long as the block runs; an error that ends it is the last one, and is not told again as text."""
    try:
        yield _Events()
    except PsyctlError as error:
        say_event("end", {"exit_code": int(error.exit_code), "text": str(error)})
        raise typer.Exit(error.exit_code) from error
    except (KeyboardInterrupt, SystemExit) as stopped:
        code = stopped.code if isinstance(stopped, SystemExit) else 130
        say_event("end", {"exit_code": code, "text": "stopped"})
        raise
    except Exception as error:
        say_event("end", {"exit_code": int(ExitCode.FAILED), "text": f"{type(error).__name__}: {error}"})
        raise


def say_event(event: str, rest: dict[str, JsonValue]) -> None:
    """Write one event to stderr."""
    say_json({"format_version": schema.VERSIONS["progress"], "event": event, "time": now(), **rest}, line=True)
