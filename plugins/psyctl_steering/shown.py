"""What long computations show on stderr while they run."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from psyctl_core.terminal import say

if TYPE_CHECKING:
    from psyctl_steering.states import Progress

EVERY = 10.0
"""Seconds between lines where there is no terminal."""


@contextlib.contextmanager
def progress(what: str, *, quiet: bool = False) -> Iterator[Progress | None]:
    """Show how far it is for as long as the block runs: a bar on a terminal, a line now and then elsewhere.

    Args:
        what: What is counted, such as ``pairs``.
        quiet: Show nothing.
    """
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _bar(what) as tell:
            yield tell
    else:
        yield _lines(what)


@contextlib.contextmanager
def _bar(what: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(), MofNCompleteColumn(), TextColumn(what), TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
    )  # fmt: skip
    began = time.monotonic()
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None, rate="")

        def tell(done: int, total: int, tokens: int) -> None:
            bar.update(task, completed=done, total=total, rate=_rate(tokens, time.monotonic() - began))

        yield tell


def _lines(what: str) -> Progress:
    began = told = time.monotonic()

    def tell(done: int, total: int, tokens: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told < EVERY or not done:
            return
        told = now
        left = timedelta(seconds=int((now - began) / done * (total - done)))
        say(f"{done}/{total} {what}, {_rate(tokens, now - began)}, {left} to go", err=True)

    return tell


def _rate(tokens: int, seconds: float) -> str:
    return f"{tokens / seconds:,.0f} tokens/s" if seconds else ""
