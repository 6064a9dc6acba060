"""``psyctl vector.export``: a vector as another tool reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from psyctl_core.errors import UsageError
from psyctl_core.terminal import say
from psyctl_steering.choices import FORMATS, check_installed


def vector_export(
    vector: Annotated[Path, typer.Argument(help="The vector's file, from extract.steering.")],
    to: Annotated[str, typer.Option(help=f"Whom to write for: {', '.join(FORMATS)}.")],
    output: Annotated[Path, typer.Option(help="The file to write; for tools with a file a layer a new folder.")],
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Write a steering vector as another tool reads it, and say what to run there next.

    Directions keep their length. Which number means which block differs from tool to tool; that is seen to.
    """
    del debug  # read where errors become text
    if to not in FORMATS:
        forms = "; ".join(f"{name} ({summary})" for name, summary in FORMATS.items())
        raise UsageError(f"There is no format '{to}'.", f"There are: {forms}.")
    check_installed()
    from psyctl_steering.formats import export
    from psyctl_steering.vector import SteeringVector

    written = export(SteeringVector.load(vector), to, output.expanduser())
    for file in written.files[:3]:
        say(f"Wrote {file}")
    if len(written.files) > 3:
        say(f"and {len(written.files) - 3} more")
    for note in written.notes:
        say(f"Note: {note}")
    say(f"Next: {written.next}")
