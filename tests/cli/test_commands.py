"""A plugin adds commands: listed without an import, run when typed, and never in the place of one of ours."""

from __future__ import annotations

from pathlib import Path

from typer.main import get_command

from psyctl_core.cli.app import CORE, make_app

PLUGIN = """
from psyctl_core import Command, hookimpl

@hookimpl
def psyctl_commands():
    return [
        Command("vector.count", "psyctl_more_commands:count", "Count the pairs of a dataset"),
        Command("dataset.show", "psyctl_more_commands:count", "Stands in for ours"),
        Command("vector.broken", "psyctl_nowhere:count", "Cannot be imported"),
    ]
"""
COMMANDS = '''
from pathlib import Path
from typing import Annotated

import typer

from psyctl_core import open_dataset

print("the module was loaded")


def count(
    output: Annotated[Path, typer.Argument(help="A dataset.")],
    twice: Annotated[bool, typer.Option("--twice", help="Count twice.")] = False,
) -> None:
    """Count the pairs that lie there."""
    typer.echo(sum(1 for _ in open_dataset(output)) * (2 if twice else 1))
'''


def test_a_plugins_command_is_listed_and_runs(psyctl, install, tmp_path):
    install("psyctl-more", PLUGIN)
    (tmp_path / "site" / "psyctl_more_commands.py").write_text(COMMANDS)
    listed = psyctl("--help").stdout
    assert "vector.count" in listed
    assert "Count the pairs of a dataset" in listed
    assert "the module was loaded" not in listed
    assert "Count twice." in psyctl("vector.count", "--help").stdout
    kept = Path(__file__).parents[1] / "unit" / "kept" / "caa-record.v1.jsonl"
    assert psyctl("vector.count", str(kept), "--twice").stdout.splitlines()[-1] == "4"
    missing = psyctl("vector.count", "nowhere")
    assert missing.returncode == 2
    assert "There is no dataset at 'nowhere'" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_a_command_that_cannot_be_had_is_named_and_ours_stays(psyctl, install, tmp_path):
    install("psyctl-more", PLUGIN)
    (tmp_path / "site" / "psyctl_more_commands.py").write_text(COMMANDS)
    broken = psyctl("vector.broken")
    assert broken.returncode == 1
    assert "command 'vector.broken' (from psyctl-more 1.0) failed: ModuleNotFoundError" in broken.stderr
    assert "Show pairs of a dataset" in psyctl("dataset.show", "--help").stdout
    rows = psyctl("plugins.list").stdout
    assert "vector.count" in rows
    assert "BROKEN: psyctl has a command dataset.show of its own" in rows


def test_only_the_typed_command_is_made_with_its_flags_and_help_lists_them_all(monkeypatch):
    """The flags of all commands together take longer than a light command itself."""

    def made(*words):
        monkeypatch.setattr("sys.argv", ["psyctl", *words])
        return get_command(make_app(for_typed=True)).commands

    every, status, measure = made("--help"), made("dataset.status", "doctor"), made("steering.measure")
    assert list(status) == list(measure) == list(every)
    assert all(every[name].help and every[name].params for name in CORE)
    assert [name for name in CORE if status[name].params] == ["dataset.status"]
    assert [name for name in CORE if measure[name].params] == []
    assert [param.name for param in status["dataset.status"].params] == [
        param.name for param in every["dataset.status"].params
    ]
