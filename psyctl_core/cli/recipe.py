"""``psyctl recipe.show``: a recipe of a run, or of the options that are typed, on stdout."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from psyctl_core._plugins.registry import Registry
from psyctl_core.cli.build import Debug, job_parameters, with_parameters
from psyctl_core.errors import UsageError
from psyctl_core.terminal import say, visible


def command(registry: Registry) -> Callable[..., None]:
    """The command with the flags of what is installed."""
    core, of_components, asked_of = job_parameters(registry)
    optional = [p.replace(default=None, annotation=_optional(p.annotation)) for p in [*core, *of_components]]

    def recipe_show(
        run: Annotated[
            Path | None,
            typer.Argument(help="A run folder, a dataset file, or a folder of runs: then the newest one."),
        ] = None,
        debug: Debug = False,
        **flags: Any,
    ) -> None:
        """Write a recipe for dataset.build.caa to stdout, from a run or from the options that are typed."""
        from psyctl_core._engine.asked import job_of
        from psyctl_core._engine.recipe_text import recipe_of_job, recipe_of_run

        del debug  # read where errors become text
        typed = {name: value for name, value in flags.items() if value is not None}
        if run is not None and typed:
            name = next(iter(typed)).replace("_", "-")
            raise UsageError(
                f"The run '{run}' is named, and --{name} is typed.", "Give one of them: a run, or options."
            )
        if run is None and not typed:
            raise UsageError("Nothing says what to write a recipe of.", "Name a run folder, or type a run's options.")
        if run is not None:
            written = recipe_of_run(run.expanduser(), registry)
        else:
            written = recipe_of_job(job_of(registry, asked_of({"output": Path(), **typed})), registry)
        for note in written.notes:
            say(f"Note: {note}", err=True)
        text = written.text()
        few_letters = not (sys.stdout.encoding or "utf-8").lower().startswith("utf")
        say((written.text(ascii_only=True) if few_letters or visible(text) != text else text).rstrip("\n"))

    return with_parameters(recipe_show, optional)


def _optional(annotation: Any) -> Any:
    """The annotation of an option that can be left out."""
    parts = (annotation.__origin__ | None, *annotation.__metadata__)
    return cast(Any, Annotated)[parts]
