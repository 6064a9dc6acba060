"""``psyctl doctor``: what is installed, what can be used here, and what is missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from psyctl_core._plugins.registry import Registry
from psyctl_core.figures import counted
from psyctl_core.terminal import say, say_json

if TYPE_CHECKING:
    from psyctl_core._engine.doctor import Health


def command(registry: Registry) -> Callable[..., None]:
    """The command for what is installed."""

    def doctor(
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    ) -> None:
        """Look at this machine: versions, backends, GPU, Hub, keys, room on the disk; and what mends what is missing.

        Keys are never shown. Leaves with exit code 1 where no backend can answer.
        """
        from psyctl_core._engine.doctor import examine

        found = examine(registry)
        if as_json:
            say_json({"can_run": found.can_run, "symptoms": [dataclasses.asdict(each) for each in found.symptoms]})
        else:
            width = max(len(each.about) for each in found.symptoms)
            for each in found.symptoms:
                say(f"{each.state:<8} {each.about:<{width}}  {' '.join(each.text.split())}")
                if each.mend and each.state != "ok":
                    say(f"{'':<8} {'':<{width}}  -> {each.mend}")
            say(_verdict(found))
        if not found.can_run:
            raise typer.Exit(1)

    return doctor


def _verdict(found: Health) -> str:
    problems = sum(each.state == "problem" for each in found.symptoms)
    rest = f" {counted(problems, 'problem')}: see the lines above." if problems else ""
    if found.can_run:
        return f"A backend can be used here.{rest}"
    return f"No backend can be used here: see what stands behind -> at the backends.{rest}"
