"""Starts psyctl often and soon: each start is a process of its own, forked from one that has everything imported.

As a program it is that one: it gets the words of a command over a pipe, forks, and tells the number of the new process
and, once that has ended, its exit code. So a kill meets psyctl at its work, and not while it imports its libraries.

What is imported is looked through by each process once, when it ends: with PyTorch, that takes as long as the imports
that most commands do.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ALWAYS = ("psyctl_core.api", "psyctl_core.cli.app", "pydantic.type_adapter", "psyctl_soda.starter",
          "psyctl_static.prompter", "psyctl_jsonl.sink", "psyctl_local.runner")  # fmt: skip
HTTP = ("psyctl_openrouter.backend", "psyctl_p2.prompter", "psyctl_rubric.judge")
"""What runs against a server import as well."""


class Start:
    """A process that was started."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.pid: int = connection.recv()
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int | None:
        """Its exit code once it has ended, or ``None`` where it has not in so many seconds."""
        if self.returncode is None and self._connection.poll(timeout):
            self.returncode = self._connection.recv()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.wait(0) is None:
            os.kill(self.pid, number)


class Forks:
    """Starts one process after the other.

    Args:
        modules: What they will import, beside what every command does.
        environment: Theirs.
    """

    def __init__(self, modules: Sequence[str], environment: Mapping[str, str]) -> None:
        self._connection, theirs = multiprocessing.Pipe()
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno()), *modules]
            self._process = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()])

    def start(self, words: Sequence[str], output: Path, errors: Path, **beside: Any) -> Start:
        """Type ``psyctl`` with these words, and have what it prints in two files.

        Args:
            words: What is typed after it.
            output: Where what it prints goes, at the file's end.
            errors: Where the rest goes.
            beside: What :func:`become` takes besides, where it is another than this program's.
        """
        self._connection.send((list(words), str(output), str(errors), beside))
        return Start(self._connection)

    def stop(self) -> None:
        """End the program that forks."""
        self._process.kill()
        self._process.wait()
        self._connection.close()


def main(number: str, *modules: str) -> None:
    """Import, then fork for each command; comes back in the forked process only, where psyctl has run."""
    if sys.platform == "win32":
        raise RuntimeError("Windows has no fork, nor the signals that the harness sends.")
    for module in (*ALWAYS, *modules):
        importlib.import_module(module)
    from psyctl_core.cli import main as typed

    gc.freeze()  # what is shared need not be looked through by each
    connection: Connection = Connection(int(number))
    while True:
        words, output, errors, beside = connection.recv()
        pid = os.fork()
        if not pid:
            break
        connection.send(pid)
        connection.send(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    connection.close()
    become(output, errors, **beside)
    sys.argv = ["psyctl", *words]
    typed()


def become(
    output: str,
    errors: str,
    folder: str = ".",
    environment: Mapping[str, str] | None = None,
    path: Sequence[str] = sys.path,
) -> None:
    """Be as a process that was started here, with nothing to read."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    for stream, file in ((sys.stdout, output), (sys.stderr, errors)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream.fileno())
    os.chdir(folder)
    if environment is not None:
        os.environ.clear()
        os.environ.update(environment)
    sys.path[:] = path


if __name__ == "__main__":
    main(*sys.argv[1:])
