"""Recipes as they are typed: --recipe beside other options, recipe.show, and the same bytes from a run's recipe."""

from __future__ import annotations

import pytest
import yaml
from typer.main import get_command

from psyctl_core import build, read_recipe, recipe_of
from psyctl_core.cli.app import make_app

RECIPE = """
personality: Extroversion, Openness
limit-samples: 30
seed: 11
source: {component: fakes, fakes-rows: 200}
backend: fakes
prompter: static
"""


@pytest.fixture
def reached(fakes, monkeypatch, tmp_path):
    """The job that a command line comes to."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text(RECIPE)

    class ReachedError(Exception):
        pass

    def stop(config, **options):
        raise ReachedError(config)

    def typed(*arguments):
        monkeypatch.setattr("psyctl_core.api.build", stop)
        with pytest.raises(ReachedError) as caught:
            make_app()(["dataset.build.caa", "--recipe", "my.yaml", *arguments], standalone_mode=False)
        return caught.value.args[0]

    return typed


def test_what_is_typed_beside_a_recipe_wins(reached):
    job = reached("--output", "out", "--limit-samples", "4", "--seed", "0")
    assert (job.limit_samples, job.sampling.seed) == (4, 0)
    assert job.personality == "Extroversion, Openness"
    assert job.components["source"].config.rows == 200
    job = reached("--output", "out", "--personality", "Narcissism", "--fakes-rows", "7")
    assert (job.personality, job.limit_samples) == ("Narcissism", 30)
    assert job.components["source"].config.rows == 7


def test_the_command_line_and_python_come_to_the_same_job(reached, tmp_path):
    (tmp_path / "my.yaml").write_text(
        RECIPE + "output: out\npersona-file: {Extroversion: {positive: Loud.}, neutral: Calm.}\nstrict: true\n"
    )
    assert reached() == read_recipe("my.yaml")


def test_another_component_that_is_typed_is_said_to_replace_the_recipes(reached, capsys):
    job = reached("--output", "out", "--source", "starter")
    assert job.components["source"].name == "psyctl:starter"
    assert capsys.readouterr().err == "The recipe's source 'fakes', with its options, gives way to 'starter'.\n"


def test_a_runs_recipe_gives_the_same_bytes_elsewhere(fakes, tmp_path):
    (tmp_path / "my.yaml").write_text(RECIPE)
    build(read_recipe(tmp_path / "my.yaml", output=tmp_path / "here"))
    (tmp_path / "again.yaml").write_text(recipe_of(tmp_path / "here"))
    build(read_recipe(tmp_path / "again.yaml", output=tmp_path / "elsewhere"))
    for trait in ("extroversion", "openness"):
        first, second = (next((tmp_path / name / trait).glob("*.jsonl")) for name in ("here", "elsewhere"))
        assert first.read_bytes() == second.read_bytes()
        assert len(first.read_text().splitlines()) == 30


def test_recipe_show_writes_what_is_typed(psyctl, tmp_path):
    typed = (
        "--personality",
        "No",
        "--source",
        "starter",
        "--model",
        "embedded",
        "--backend",
        "openvino",
        "--seed",
        "3",
    )
    done = psyctl("recipe.show", *typed)
    assert done.returncode == 0, done.stderr
    found = yaml.safe_load(done.stdout)
    assert found["personality"] == "No"
    assert found["seed"] == 3
    assert found["backend"]["model"] == "embedded"
    assert "output" not in found
    escaped = psyctl("recipe.show", *typed[2:], "--personality", "a\u202eb\u00fc").stdout
    assert yaml.safe_load(escaped)["personality"] == "a\u202eb\u00fc"
    assert "\u202e" not in escaped


def test_recipe_show_keeps_a_typed_key_to_itself(psyctl):
    key = "sk-or-v1-0123456789"
    done = psyctl("recipe.show", "--personality", "x", "--openrouter-api-key", key)
    assert key not in done.stdout + done.stderr
    assert "openrouter-api-key: env:OPENROUTER_API_KEY" in done.stdout
    assert (
        "openrouter-api-key: env:MINE"
        in psyctl("recipe.show", "--personality", "x", "--openrouter-api-key", "env:MINE").stdout
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("recipe.show",), "Nothing says what to write a recipe of."),
        (("recipe.show", ".", "--seed", "3"), "The run '.' is named, and --seed is typed."),
        (("recipe.show", "nowhere"), "There is no run at 'nowhere'."),
        (("recipe.show", "--seed", "3"), "Nothing says what --personality is."),
        (("dataset.build.caa", "--recipe", "none.yaml"), "The recipe 'none.yaml' cannot be read"),
        (("dataset.build.caa", "--recipe", "."), "The recipe '.' cannot be read: Is a directory."),
    ],
)
def test_an_ordinary_mistake_gets_one_clear_message(psyctl, arguments, words):
    done = psyctl(*arguments)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_model_gives_the_same_bytes_from_a_runs_recipe(typed_here, tiny_model, tmp_path):
    """In float32, in which the same requests have the same answers; OpenVINO's differ by a word now and then."""
    first = typed_here(
        "dataset.build.caa", "--personality", "Extroversion", "--source", "starter", "--prompter", "static", "--quiet",
        "--backend", "hf", "--hf-dtype", "float32", "--model", str(tiny_model), "--limit-samples", "4", "--seed", "5",
        "--max-tokens", "24", "--output", "here",
    )  # fmt: skip
    assert first.returncode == 0, first.stderr
    (tmp_path / "again.yaml").write_text(typed_here("recipe.show", "here").stdout)
    second = typed_here("dataset.build.caa", "--recipe", "again.yaml", "--output", "elsewhere", "--quiet")
    assert second.returncode == 0, second.stderr
    paths = [tmp_path / done.stdout.strip() for done in (first, second)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert len(paths[0].read_text(encoding="utf-8").splitlines()) == 4


def test_help_leaves_to_help_all_what_is_rarely_wanted(psyctl):
    common, every = (psyctl("dataset.build.caa", option).stdout for option in ("--help", "--help-all"))
    command = get_command(make_app()).commands["dataset.build.caa"]
    for parameter in command.params:
        assert parameter.opts[0] in every
        assert (f"{parameter.opts[0]} " in common) != parameter.hidden, parameter.opts
    assert "--hf-device" in common
    assert "--openrouter-patience" not in common
    assert len(common.splitlines()) < len(every.splitlines()) / 2
