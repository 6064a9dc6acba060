"""Types `psyctl` commands in processes forked from this one, which has done the imports; see the fixture ``psyctl``.

A line in is a command; a line out is its exit code. Started as a program: pytest and its threads are not forked.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
from typing import Any

from psyctl_core.cli import main

IMPORTED = ("psyctl_core.cli.app", "psyctl_core.api", "psyctl_openrouter.backend", "psyctl_soda.source", "rich.live",
            "jsonschema")  # fmt: skip
"""What most commands import. With PyTorch besides, a child would take longer to end than to import the rest."""

HANGS = 1200
"""Seconds after which a command is killed: not a measure of speed."""


def begin(words: list[str], folder: str, environment: dict[str, str], path: list[str], out: str, err: str) -> None:
    """Make this process one that was just started to run the command."""
    signal.alarm(HANGS)
    for number, file, mode in ((0, os.devnull, os.O_RDONLY), (1, out, os.O_WRONLY), (2, err, os.O_WRONLY)):
        os.dup2(os.open(file, mode), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[:] = path
    sys.argv = ["psyctl", *words]


def serve() -> dict[str, Any] | None:
    """Fork for each command; in the child, give the command."""
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            return json.loads(line)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    return None


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # what is shared with the children is not looked at in each
    if asked := serve():
        begin(**asked)
        main()
