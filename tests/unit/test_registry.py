"""Plugins are found through real entry points; a broken one is named and hurts nobody else."""

from __future__ import annotations

import dataclasses
import shutil
from typing import Any

import pytest

from psyctl_core import Component, Context, PluginError, UsageError, option
from psyctl_core._plugins.flags import flags_of
from psyctl_core._plugins.registry import BrokenPlugin, discover, make
from psyctl_core._plugins.selection import choose
from psyctl_core.options import settings


def problems() -> dict[str, str]:
    return {entry.origin.name: entry.problem for entry in discover().entries if isinstance(entry, BrokenPlugin)}


def test_the_built_ins_come_from_their_entry_points():
    names = {(entry.origin.kind, entry.origin.name) for entry in discover().usable()}
    assert {
        ("source", "soda"),
        ("source", "starter"),
        ("prompter", "p2"),
        ("prompter", "static"),
        ("backend", "hf"),
        ("backend", "openrouter"),
        ("sink", "jsonl"),
    } <= names
    assert problems() == {}


def test_a_strangers_component_is_found_beside_them(install, source_code):
    install("psyctl-mine", source_code())
    assert discover().get("source", "mine").origin.distribution == "psyctl-mine"


def test_what_is_installed_and_uninstalled_while_a_program_runs_is_seen(install, source_code, tmp_path):
    install("psyctl-mine", source_code())
    assert "yours" not in {entry.origin.name for entry in discover().usable("source")}
    site = tmp_path / "site"  # which is on the path already
    shutil.copytree(site / "psyctl_mine-1.0.dist-info", site / "psyctl_yours-1.0.dist-info")
    for file in (site / "psyctl_yours-1.0.dist-info").iterdir():
        file.write_text(file.read_text().replace("mine", "yours"))
    (site / "psyctl_yours.py").write_text(source_code("yours"))
    assert discover().get("source", "yours").origin.distribution == "psyctl-yours"
    shutil.rmtree(site / "psyctl_yours-1.0.dist-info")
    assert "yours" not in {entry.origin.name for entry in discover().usable("source")}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import no_such_module_anywhere", "ModuleNotFoundError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("this is no python", "SyntaxError"),
        (
            "from psyctl_core import hookimpl\n@hookimpl\ndef psyctl_scenario_source():\n    return []",
            "psyctl_scenario_source",
        ),
        (
            "from psyctl_core import hookimpl\n@hookimpl\ndef psyctl_scenario_sources():\n    return ['soda']",
            "not a Component",
        ),
        (
            "from psyctl_core import hookimpl\n@hookimpl\ndef psyctl_output_sinks():\n    return 1 / 0",
            "ZeroDivisionError",
        ),
    ],
)
def test_a_broken_plugin_is_listed_with_its_reason(install, code, words):
    install("psyctl-broken", code)
    assert words in problems()["psyctl-broken"]
    assert discover().get("source", "starter")


def test_choosing_a_broken_plugin_tells_why(install):
    install("broken", "1 / 0")
    with pytest.raises(UsageError, match=r"'broken' \(from broken 1.0\) cannot be used: ZeroDivisionError"):
        discover().get("source", "broken")


def test_another_api_version_is_refused_with_both_named(install, source_code):
    install("psyctl-future", source_code().replace("api_version=2", "api_version=3"))
    with pytest.raises(UsageError, match="made for plugin API 3; this psyctl has 2"):
        discover().get("source", "mine")


def test_two_components_of_one_name_are_both_named(install, source_code):
    install("psyctl-impostor", source_code(name="soda"))
    found = discover()
    with pytest.raises(UsageError, match=r"psyctl 0\.\S+ and psyctl-impostor 1\.0"):
        found.get("source", "soda")
    assert found.get("source", "psyctl:soda").origin.distribution == "psyctl"
    assert found.get("source", "psyctl-impostor:soda").origin.distribution == "psyctl-impostor"
    assert found.get("source", "starter")


def test_an_unknown_name_suggests_a_near_one():
    with pytest.raises(UsageError, match="Did you mean 'starter'"):
        discover().get("source", "startre")


@dataclasses.dataclass(frozen=True)
class Config:
    size: int = option(3, help="How many.", env="FAKE_SIZE", parse=int)
    token: str = option("", help="A key.", secret=True)


def test_config_fields_become_flags_and_read_the_environment(monkeypatch):
    component = Component("fake", "fakes:Fake", Config, "A fake")
    assert [(flag.spelling, flag.type) for flag in flags_of(component)] == [("--fake-size", int), ("--fake-token", str)]
    monkeypatch.setenv("FAKE_SIZE", "8")
    assert Config().size == 8
    monkeypatch.setenv("FAKE_SIZE", "eight")
    with pytest.raises(UsageError, match="FAKE_SIZE='eight'"):
        Config()
    assert "hidden" not in repr(Config(size=1, token="hidden"))


@dataclasses.dataclass(frozen=True)
class Unflaggable:
    names: dict[str, Any] = dataclasses.field(default_factory=dict)


def test_a_field_that_no_flag_can_have_is_told():
    with pytest.raises(TypeError, match="'names'"):
        flags_of(Component("fake", "fakes:Fake", Unflaggable, "A fake"))


def test_the_backend_follows_from_what_is_given():
    found = discover()
    assert choose(found, {}, {"--model": "embedded"})["backend"].name == "psyctl:hf"
    assert choose(found, {}, {"--openrouter-api-key": "k"})["backend"].name == "psyctl:openrouter"
    with pytest.raises(UsageError, match="ask for different backends"):
        choose(found, {}, {"--model": "embedded", "--openrouter-api-key": "k"})


def test_nothing_is_guessed_into_paid_calls(monkeypatch):
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-v1-secret")
    with pytest.raises(UsageError, match="No model and no key") as caught:
        choose(discover(), {}, {})
    assert "OPENROUTER_API_KEY is set" in str(caught.value)
    assert "sk-or-v1-secret" not in str(caught.value)


def test_a_flag_of_a_component_not_chosen_is_refused():
    with pytest.raises(UsageError, match="--openrouter-model belongs to the backend 'openrouter'"):
        choose(discover(), {}, {"--model": "embedded", "--openrouter-model": "x"})
    with pytest.raises(UsageError, match="--dataset belongs to the source 'soda'"):
        choose(discover(), {"source": "starter"}, {"--model": "embedded", "--dataset": "x"})


def test_both_spellings_of_a_flag_are_refused():
    with pytest.raises(UsageError, match="a second time"):
        choose(discover(), {}, {"--model": "embedded", "--hf-model": "other"})


def test_a_factory_that_needs_an_extra_names_the_pip_line(install, source_code):
    install(
        "psyctl-heavy",
        source_code(factory="no_such_heavy_module:Source").replace("api_version", "extra='big', api_version"),
    )
    found = discover().get("source", "mine")
    with pytest.raises(UsageError, match=r"pip install 'psyctl-heavy\[big\]'"):
        make(found, None, Context())


def test_a_factory_that_fails_or_returns_something_else_is_named(install, source_code):
    install("psyctl-odd", source_code(factory="builtins:dict"))
    found = discover().get("source", "mine")
    with pytest.raises(PluginError, match=r"'mine' \(from psyctl-odd 1.0\) failed: TypeError"):
        make(found, 1, Context())
    component = dataclasses.replace(found.component, factory="builtins:divmod")
    with pytest.raises(
        PluginError, match=r"from psyctl-odd 1.0\) returned a tuple, which is not a ScenarioSource"
    ) as told:
        make(dataclasses.replace(found, component=component), 7, 2)
    assert "it lacks identity, total, describe, scenarios" in told.value.message


def test_a_distribution_can_be_switched_off_and_is_not_imported(install, monkeypatch):
    install("psyctl-mine", "raise RuntimeError('imported')")
    monkeypatch.setenv("PSYCTL_DISABLE_PLUGINS", "other, Psyctl_Mine")
    assert "switched off" in problems()["psyctl-mine"]
    monkeypatch.setenv("PSYCTL_DISABLE_PLUGINS", "all")
    assert "switched off" in problems()["psyctl-mine"]
    assert discover().get("source", "starter")


def test_no_address_is_kept_with_its_password():
    @dataclasses.dataclass(frozen=True)
    class Config:
        address: str = option("", help="Where")

    for identity in (False, True):
        kept = settings(Config("https://me:secret@host:8000/v1,http://b/v1"), identity=identity)
        assert kept == {"address": "https://***@host:8000/v1,http://b/v1"}
