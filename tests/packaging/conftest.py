"""The built wheel in a fresh environment, beside what strangers wrote."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

PROGRAMS = "Scripts" if sys.platform == "win32" else "bin"
ROOT = Path(__file__).resolve().parents[2]
THIRD_PARTY = Path(__file__).parent / "psyctl-thirdparty"
EXAMPLE = ROOT / "docs" / "examples" / "psyctl-situations"


def _check(*command: object, **options) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="session")
def check():
    """Run a command that must succeed."""
    return _check


@pytest.fixture(scope="session")
def example() -> Path:
    """The example distribution of the documentation."""
    return EXAMPLE


@pytest.fixture(scope="session")
def wheel(once) -> Path:
    """The project's wheel, built as a release is."""
    folder = once("wheel", lambda folder: _check(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT))
    return next(folder.glob("psyctl-*.whl"))


@pytest.fixture(scope="session")
def environment(once, wheel) -> Path:
    """A virtual environment with the wheel and two strangers' packages: base dependencies and pytest only."""

    def fill(folder: Path) -> None:
        venv.create(folder, with_pip=True)
        pip = [
            folder / PROGRAMS / "python",
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "-q",
            "--no-compile",
        ]
        _check(*pip, "-c", ROOT / "constraints.txt", wheel, THIRD_PARTY, EXAMPLE, "pytest")

    return once("environment", fill) / PROGRAMS
