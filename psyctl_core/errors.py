"""Every error a user can meet: what happened, and the way out."""

from __future__ import annotations


class PsyctlError(Exception):
    """The family that every error meant for a user belongs to.

    Args:
        message: One line naming the thing and the value met.
        hint: What to do about it, as a sentence or a command to type; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(PsyctlError):
    """What was asked for makes no sense as asked: nothing was started."""

    exit_code = 2


class PluginError(PsyctlError):
    """A plugin broke its contract; the message names the component and its distribution."""


class SourceError(PsyctlError):
    """Scenarios cannot be read: not found, gated, offline, unreadable or of an unknown shape."""


class BackendError(PsyctlError):
    """No answer can be had at all, so the run ends; what is written stays and can be resumed."""


class OutputError(PsyctlError):
    """The output cannot be written, or what lies there cannot be continued."""
