"""The command line: parses, calls the Python API, prints; the only place where an error becomes text."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from typing import NoReturn

from psyctl_core.errors import ExitCode, PsyctlError
from psyctl_core.terminal import say

NO_PLUGINS = "--no-plugins"
COMPLETING = "_PSYCTL_COMPLETE"
"""Set by shells that want a word completed."""


def main() -> NoReturn:
    """Run the command that was typed and leave with its exit code.

    The codes are :class:`~psyctl_core.errors.ExitCode`; 130 or 143 where a signal stopped it.
    """
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # where the locale has no letter for what is to be said
    if os.environ.get(COMPLETING, "").startswith("complete"):  # whatever a plugin says would end up in the shell's line
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 - closed with the process
    if NO_PLUGINS in sys.argv:  # what can be typed depends on what is installed, so it must be known before the rest
        sys.argv.remove(NO_PLUGINS)
        os.environ["PSYCTL_DISABLE_PLUGINS"] = "all"
    try:
        from psyctl_core.cli.app import make_app

        make_app(for_typed=True)(prog_name="psyctl")
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(bool(error.code))
    except PsyctlError as error:
        code = _say(f"Error: {error}", error.exit_code)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = _say("Error: the output was closed by its reader.\nEverything so far is saved.", ExitCode.FAILED)
    except Exception as error:
        text = f"Error: psyctl itself failed: {type(error).__name__}: {error}"
        code = _say(f"{text}\nRun again with --debug and report the traceback.", ExitCode.FAILED)
    sys.exit(code)


def _say(text: str, code: int) -> int:
    if "--debug" in sys.argv:
        say(traceback.format_exc(), err=True)
    say(text, err=True)
    return code


def _terminate(number: int, frame: object) -> NoReturn:
    del frame
    raise SystemExit(128 + number)
