"""What a backend keeps in the run folder for the next process, and what it says goes on elsewhere meanwhile."""

from __future__ import annotations

import shutil
from pathlib import Path

from psyctl_core.files import write_atomically, writing

ROLES = ("backend", "judge_backend")
TOLD_FILE = "elsewhere.txt"
MAX_TOLD = 2_000
"""Characters of what a backend says."""


def folder_of(run_folder: Path, role: str) -> Path:
    """A backend's own folder in the run folder; it may not be there."""
    return run_folder / role


def tell(folder: Path, text: str) -> None:
    """Keep what goes on while no process runs, in one line; nothing takes it away again.

    Raises:
        OutputError: It cannot be written.
    """
    path = folder / TOLD_FILE
    with writing(path):
        if text:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, " ".join(text.split())[:MAX_TOLD] + "\n")
        else:
            path.unlink(missing_ok=True)


def told(run_folder: Path) -> list[str]:
    """What goes on for a run, by whichever of its backends; locks nothing."""
    lines = []
    for role in ROLES:
        try:
            text = (folder_of(run_folder, role) / TOLD_FILE).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        lines.append(text[:MAX_TOLD].strip())
    return lines


def forget(run_folder: Path) -> None:
    """The run is complete: remove what its backends kept, as far as nothing goes on."""
    for role in ROLES:
        folder = folder_of(run_folder, role)
        if not (folder / TOLD_FILE).exists():
            shutil.rmtree(folder, ignore_errors=True)
