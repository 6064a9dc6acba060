"""Every error a user can meet: what happened, the way out, and the exit code that a script acts on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """What ``psyctl`` leaves with; 130 and 143 besides, where a signal stopped it."""

    DONE = 0
    FAILED = 1
    """It would fail again until something is changed: a key, a model's name, a file, psyctl itself."""
    USAGE = 2
    CHECK_FAILED = 3
    FEWER = 4
    """Done, with fewer pairs than wanted: the source or ``--max-scenarios`` ended it."""
    LATER = 75
    """The same command may succeed later, as EX_TEMPFAIL in BSD's sysexits.h says."""


class PsyctlError(Exception):
    """The family that every error meant for a user belongs to.

    Args:
        message: One line naming the thing and the value met.
        hint: What to do about it, as a sentence or a command to type; may be empty.
        later: Whether the same command may succeed later with nothing changed here: a server is down, a rate limit
            or a budget is reached. It decides the exit code.
    """

    exit_code: int = ExitCode.FAILED

    def __init__(self, message: str, hint: str = "", *, later: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if later:
            self.exit_code = ExitCode.LATER

    @property
    def later(self) -> bool:
        """Whether the same command may succeed later."""
        return self.exit_code == ExitCode.LATER

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(PsyctlError):
    """What was asked for makes no sense as asked: nothing was started."""

    exit_code = ExitCode.USAGE


class PluginError(PsyctlError):
    """A plugin broke its contract; the message names the component and its distribution."""


class SourceError(PsyctlError):
    """Scenarios cannot be read: not found, gated, offline, unreadable or of an unknown shape."""


class BackendError(PsyctlError):
    """No answer can be had at all, so the run ends; what is written stays and can be resumed."""


class OutputError(PsyctlError):
    """The output cannot be written, or what lies there cannot be continued."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The beginning of a hint: ``Did you mean 'x'? ``, with the known name that is most like it, or nothing."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean '{near[0]}'? " if near else ""
