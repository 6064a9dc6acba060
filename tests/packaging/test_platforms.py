"""The suite can be collected on Windows and macOS: what only other systems have is not asked for on import."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("tests", "psyctl_core", "plugins")
# "Availability: Unix" in the standard library's reference
UNIX_MODULES = {"curses", "fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}


def collected() -> list[Path]:
    """What a run of pytest imports; the benchmarks and the harness are programs of their own."""
    files = [path for folder in FOLDERS for path in ROOT.joinpath(folder).rglob("*.py")]
    return [path for path in files if "benchmarks" not in path.parts]


def on_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes under a node that run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from on_import(child)


def test_no_module_of_unix_alone_is_imported_at_the_top():
    for path in collected():
        for node in on_import(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not UNIX_MODULES.intersection(names), path


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_no_name_of_another_system_is_used_at_the_top(platform):
    """mypy knows what each system's library has; it looks into no function without annotations."""
    command = [sys.executable, "-m", "mypy", "--config-file=", "--platform", platform, "--follow-imports", "skip"]
    command += ["--ignore-missing-imports", "--explicit-package-bases", "--no-site-packages", "--cache-dir", os.devnull]
    done = subprocess.run([*command, *collected()], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert [line for line in done.stdout.splitlines() if "Module has no attribute" in line] == []
