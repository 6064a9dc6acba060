"""``psyctl doctor``: what is installed, what can answer here, and what is missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated

import typer

from psyctl_core._plugins.registry import Registry
from psyctl_core.terminal import say, say_json


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
            say("A backend can answer here." if found.can_run else "No backend can answer here: see the lines above.")
        if not found.can_run:
            raise typer.Exit(1)

    return doctor
