"""``psyctl extract.steering``: where vectors go, what is printed, and what stops it."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the extra 'hf' is not installed")

import psyctl_steering  # noqa: E402
from psyctl_core import UsageError  # noqa: E402
from psyctl_core.testing import FakeBackend  # noqa: E402
from psyctl_steering import SteeringVector, shown  # noqa: E402
from psyctl_steering.choices import BIPO, FORMATS, NAMES  # noqa: E402
from psyctl_steering.command_compare import steering_compare  # noqa: E402
from psyctl_steering.command_export import vector_export  # noqa: E402
from psyctl_steering.command_extract import extract_steering  # noqa: E402
from psyctl_steering.command_measure import steering_measure  # noqa: E402
from psyctl_steering.command_try import steering_try  # noqa: E402
from psyctl_steering.directions import METHODS  # noqa: E402
from psyctl_steering.formats import WRITERS  # noqa: E402


@pytest.fixture
def extracted(tiny_model, tmp_path):
    """Type the command, with the tiny model."""

    def typed(dataset="out", output="v.safetensors", **options):
        extract_steering(
            model=str(tiny_model), dataset=tmp_path / dataset, output=tmp_path / output, device="cpu", **options
        )

    return typed


def test_every_command_is_offered_and_its_function_is_there():
    for command in psyctl_steering.psyctl_commands():
        module, _, name = command.factory.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_one_trait_makes_one_file_and_everything_is_said(run, extracted, tmp_path, capsys, tiny_model):
    run(limit_samples=10)
    extracted(held_out=4, layer=["model.layers[*]"])
    vector = SteeringVector.load(tmp_path / "v.safetensors")
    assert (vector.facts.pairs, vector.facts.held_out, list(vector.directions)) == (
        6, 4, ["model.layers[0]", "model.layers[1]"],
    )  # fmt: skip
    out = capsys.readouterr().out
    assert out.startswith("Extroversion: 6 pairs, 4 more held out, from ")
    assert "tokens/s" in out
    for column in ("norm of states", "coherence", "split-half", "separation"):
        assert column in out
    assert "model.layers[1] *" in out
    assert f"psyctl steering.try --model {tiny_model} --vector {tmp_path / 'v.safetensors'}" in out


def test_what_is_wrong_with_the_dataset_is_said(run, extracted, caplog):
    (path,) = run(limit_samples=5).paths
    path.write_bytes(path.read_bytes()[:-9])
    shutil.rmtree(path.with_suffix(".run"))
    extracted()
    assert f"{path} ends in half a line" in caplog.text
    assert "no run folder" in caplog.text


@pytest.mark.parametrize("there", ["file", "loop"])
def test_where_no_vector_can_be_written_no_model_is_loaded(run, extracted, tmp_path, monkeypatch, there):
    run(limit_samples=3)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setattr("psyctl_core.api.lent_model", None)
    for output in (there, f"{there}/deep/v.safetensors"):
        with pytest.raises(UsageError, match=f"{there}' is not a folder"):
            extracted(output=output)
    assert (tmp_path / "file").read_text() == "mine"


def test_several_traits_make_a_file_each_in_a_folder_or_one_is_chosen(run, extracted, tmp_path):
    run("Extroversion, Openness", limit_samples=4)
    with pytest.raises(UsageError, match="2 traits: Extroversion, Openness") as error:
        extracted()
    assert "--trait" in error.value.hint
    assert not (tmp_path / "v.safetensors").exists()
    extracted(output="vectors")
    made = {path.name: SteeringVector.load(path).facts.trait for path in (tmp_path / "vectors").iterdir()}
    assert made == {"extroversion.safetensors": "Extroversion", "openness.safetensors": "Openness"}
    extracted(trait="extroVERSION")
    assert SteeringVector.load(tmp_path / "v.safetensors").facts.trait == "Extroversion"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dataset": "nowhere"}, "no dataset at"),
        ({"output": "v.pt"}, "no name for a vector"),
        ({"trait": "Openness"}, "no datasets of Openness"),
        ({"held_out": 9}, "needs 2 pairs or more"),
        ({"dtype": "float31"}, "float31"),
    ],
)
def test_what_stops_it_is_one_line_and_leaves_nothing(run, extracted, tmp_path, options, says):
    run(limit_samples=10, backend=FakeBackend())
    with pytest.raises(UsageError, match=says):
        extracted(**options)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_bipo_takes_float32_of_itself(run, extracted, tmp_path, monkeypatch):
    monkeypatch.setattr("psyctl_steering.bipo.EPOCHS", 1)
    run(limit_samples=8)
    extracted(method="bipo", held_out=4)
    vector = SteeringVector.load(tmp_path / "v.safetensors")
    assert (vector.facts.method, len(vector.directions)) == ("bipo", 1)
    assert next(iter(vector.layers.values())).split_half is None


def test_progress_is_a_line_now_and_then_where_nobody_watches(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(shown.time, "monotonic", lambda: now[0])
    with shown.progress("pairs") as tell:
        for done in range(1, 41):
            now[0] = float(done)
            tell(done, 40, done * 100)
    assert capsys.readouterr().err.splitlines() == [
        "10/40 pairs, 100 tokens/s, 0:00:30 to go",
        "20/40 pairs, 100 tokens/s, 0:00:20 to go",
        "30/40 pairs, 100 tokens/s, 0:00:10 to go",
        "40/40 pairs, 100 tokens/s, 0:00:00 to go",
    ]
    with shown.progress("pairs", quiet=True) as tell:
        assert tell is None


@pytest.mark.parametrize(
    "command",
    [
        lambda: extract_steering("m", Path("data"), Path("v.safetensors")),
        lambda: vector_export(Path("v.safetensors"), "caa", Path("out")),
        lambda: steering_try("m", Path("v.safetensors")),
        lambda: steering_measure("m", Path("v.safetensors")),
        lambda: steering_compare([Path("v.safetensors"), Path("w.safetensors")], "m"),
    ],
)
def test_what_is_not_installed_is_told(monkeypatch, command):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(UsageError, match=r"packages that are not installed \(gguf\)") as told:
        command()
    assert "pip install 'psyctl[hf]'" in told.value.hint


def test_what_is_offered_is_what_there_is():
    assert {*METHODS, BIPO} == set(NAMES)
    assert WRITERS.keys() == FORMATS.keys()


@pytest.mark.slow
def test_what_is_typed_and_what_is_logged_and_wrong_is_shown(typed_here, run, tiny_model, tmp_path):
    run(limit_samples=10)
    typed = ["extract.steering", "--model", str(tiny_model), "--dataset", "out", "--output", "v.safetensors"]
    ended = typed_here(*typed, "--layer", "1", "--layer", "model.layers[0].mlp.down_proj")
    assert ended.returncode == 0, ended.stderr
    assert list(SteeringVector.load(tmp_path / "v.safetensors").directions) == [
        "model.layers[0].mlp.down_proj", "model.layers[1]",
    ]  # fmt: skip
    assert "Warning: A direction of 10 pairs" in ended.stderr, "what is logged is shown"
    wrong = typed_here(*typed, "--layer", "model.layers[*].mpl")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "Error: The model has no layer 'model.layers[*].mpl'.\nNear names: " in wrong.stderr
    assert "Traceback" not in wrong.stderr
