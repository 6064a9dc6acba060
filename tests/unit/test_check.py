"""``plugins.check`` names what is wrong with a plugin before it is used."""

from __future__ import annotations

import pytest

from psyctl_core import UsageError
from psyctl_core._plugins.check import check_plugin
from psyctl_core._plugins.registry import discover


def found(name: str, **given) -> dict[str, list[str]]:
    levels: dict[str, list[str]] = {"ok": [], "note": [], "problem": []}
    for finding in check_plugin(
        name, discover(), {f"--{key.replace('_', '-')}": value for key, value in given.items()}
    ):
        levels[finding.level].append(finding.text)
    return levels


def test_a_good_one_has_no_problem():
    assert found("starter")["problem"] == []
    assert any("20 scenarios" in text for text in found("starter")["ok"])
    assert any("opened" in text for text in found("jsonl")["ok"])


def test_what_is_not_installed_is_told():
    with pytest.raises(UsageError, match="No plugin named 'startre'") as caught:
        found("startre")
    assert "Did you mean 'starter'" in caught.value.hint


def test_with_its_options_a_source_is_read(tmp_path):
    rows = tmp_path / "rows.jsonl"
    row = '{"narrative": "Robin waits.", "dialogue": ["Late?", "Yes."], "speakers": ["Robin", "Kim"]}\n'
    rows.write_text(row, encoding="utf-8")
    assert any("1 scenario in all of its 1 item" in text for text in found("soda", dataset=str(rows))["ok"])
    rows.write_text('{"narrative": ""}\n', encoding="utf-8")
    levels = found("soda", dataset=str(rows))
    assert any("'soda'" in text for text in levels["problem"])
    missing = found("soda", dataset=str(tmp_path / "none.jsonl"))
    assert any("not tried further" in text for text in missing["problem"])
    assert missing["note"] == []
    assert any("Give its options" in text for text in found("hf")["note"])
    with pytest.raises(UsageError, match="--model belongs to no component of 'soda'") as caught:
        found("soda", model="x")
    assert "--dataset" in caught.value.hint


PROMPTER = """
import dataclasses
from psyctl_core import Component, Persona, hookimpl

@dataclasses.dataclass(frozen=True)
class C:
    pass

class Prompter:
    def __init__(self, config, context):
        pass
    def identity(self):
        return {{}}
    def describe(self, trait, ask):
        {body}

@hookimpl
def psyctl_personality_prompters():
    return [Component("p", "psyctl_p:Prompter", C, "A prompter")]
"""


@pytest.mark.parametrize(
    ("body", "level", "words"),
    [
        ("return Persona(trait, '{{character}} is kind.')", "ok", "describes the neutral person: {character} is kind."),
        ("return Persona(trait, ask((), max_tokens=9))", "ok", "asks the model"),
        ("return Persona(trait, 'Alex is kind.')", "problem", "not a Persona with {character} in it"),
        ("return None", "problem", "not a Persona"),
        ("return 1 / 0", "problem", "ZeroDivisionError"),
    ],
)
def test_a_prompter_describes_the_neutral_person(install, body, level, words):
    install("psyctl-p", PROMPTER.format(body=body.replace("{{", "{").replace("}}", "}")))
    assert any(words in text for text in found("p")[level])


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("def psyctl_scenario_source():\n    return []", "did you mean psyctl_scenario_sources?"),
        ("def psyctl_scenario_sources():\n    return []", "not marked with @hookimpl"),
    ],
)
def test_a_broken_one_is_told_why(install, code, words):
    install("psyctl-broken", code)
    if words == "ZeroDivisionError":
        assert words in str(found("psyctl-broken")["problem"])
        return
    good = (
        "import dataclasses\nfrom psyctl_core import Component, hookimpl\n@dataclasses.dataclass(frozen=True)\n"
        "class C:\n    pass\n@hookimpl\ndef psyctl_output_sinks():\n"
        "    return [Component('s', 'nowhere:S', C, 'A sink')]\n"
    )
    install("psyctl-half", good + code)
    assert words in str(found("psyctl-half")["problem"])
    assert "ModuleNotFoundError" in str(found("psyctl-half")["problem"])
