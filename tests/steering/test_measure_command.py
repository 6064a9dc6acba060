"""``steering.measure`` and ``steering.compare`` as they are typed, and the page that shows what was measured."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch", reason="the extra 'hf' is not installed")

from psyctl_core import UsageError, build_caa, open_dataset, schema, split_pairs
from psyctl_core.terminal import NOTICE
from psyctl_core.testing import FakeBackend, FakePrompter, FakeSource
from psyctl_steering import command_measure, items
from psyctl_steering.command_compare import steering_compare
from psyctl_steering.command_measure import doses_typed, item_sets, steering_measure
from psyctl_steering.extraction import digest_of
from psyctl_steering.subject import Subject, subject
from psyctl_steering.vector import LayerFacts, SteeringVector, VectorFacts

FEW = {"max_items": 100, "controls": 2, "device": "cpu", "dtype": "float32", "damage": 0.01}


@pytest.fixture
def dataset(tmp_path):
    """Forty pairs."""

    def make(name: str = "data", trait: str = "Extroversion"):
        build_caa(trait, tmp_path / name, source=FakeSource(40), prompter=FakePrompter(), backend=FakeBackend(),
                  limit_samples=40)  # fmt: skip
        return tmp_path / name

    return make


@pytest.mark.slow
def test_a_dataset_is_measured_and_the_report_shows_it(typed_here, tiny_model, dataset, measured_on_less):
    folder = dataset()
    typed = (
        "--model",
        str(tiny_model),
        "--dataset",
        str(folder),
        "--controls",
        "2",
        "--damage",
        "0.01",
        "--layer",
        "1",
    )
    done = typed_here("steering.measure", *typed, "--held-out", "4")
    assert done.returncode in (0, 3), done.stderr
    assert "Extracting from 36 pairs, measuring on 4 others." in done.stderr
    for words in ("SD from random", "SD from label-shuffled", "prompting", "perplexity", "by statements"):
        assert words in done.stdout
    (file,) = folder.glob("*.run/steering.json")
    found = json.loads(file.read_text(encoding="utf-8"))
    assert schema.problem("steering", found) == ""
    assert [each["name"] for each in found["sets"]] == ["statements", "pairs"]
    assert found["sets"][1]["verdict"]["word"] == "too few items to tell"
    assert done.returncode == (0 if found["verdict"]["word"] == "works" else 3)

    assert typed_here("dataset.report", str(folder)).returncode == 0
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "What a vector of it does" in page
    assert found["verdict"]["why"].split(" (")[0] in page
    assert page.count(", by dose<br>") == 3  # a curve a set, and the damage

    again = typed_here(
        "steering.measure", *typed, "--items", "ipip", "--json", "--output", "told.json", "--held-out", "0"
    )
    assert json.loads(again.stdout)["sets"][0]["name"] == "ipip"


@pytest.mark.slow
def test_two_datasets_are_compared_on_the_same_items(typed_here, tiny_model, dataset, measured_on_less):
    one, other = dataset("one"), dataset("other")
    done = typed_here("steering.compare", str(one), str(other), "--model", str(tiny_model), "--controls", "2",
                  "--damage", "0.01", "--layer", "1")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "On 100 items of statements" in done.stdout
    assert f"{one} - {other}: +0.000 (+0.000 to +0.000 over items)" in done.stdout  # the same pairs
    assert "check" in done.stdout


def vector(lent_name: str = "m", **facts) -> SteeringVector:
    import torch

    told = {"model": lent_name, "fingerprint": "f", "method": "mean", "position": "answer-mean",
            "trait": "Extroversion", "dataset": "d", "pairs": 10, **facts}  # fmt: skip
    return SteeringVector(
        {"model.layers[1]": torch.ones(32)}, {"model.layers[1]": LayerFacts(1.0)}, VectorFacts(**told)
    )


def test_items_default_to_the_shipped_statements_and_pairs(dataset, caplog):
    records = list(open_dataset(dataset()))
    caplog.clear()
    caplog.set_level(NOTICE)
    known = Subject("v", vector(trait="Machiavellianism"), records[:3], None, None)
    assert [each.name for each in item_sets(known, [], 100)] == ["statements", "pairs"]
    assert "no shipped statements" not in caplog.text
    own = Subject("v", vector(trait="Sarcasm"), records[:3], None, None)
    assert [each.name for each in item_sets(own, [], 100)] == ["pairs"]
    assert "There are no shipped statements of Sarcasm, but of: Extroversion" in caplog.text


def test_the_questionnaire_is_still_there_to_choose():
    found = item_sets(Subject("v", vector(), [], None, None), ["ipip", "ipip-answers"], 100)
    assert [(each.name, len(each)) for each in found] == [("ipip", 24), ("ipip-answers", 24)]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ipip", "no factor for Sarcasm: its factors are Extroversion"),
        ("statements", "no shipped statements of Sarcasm, but of: Extroversion"),
        ("pairs", "no pairs to measure on"),
    ],
)
def test_items_that_are_not_there_are_told(name, words):
    with pytest.raises(UsageError, match=words):
        item_sets(Subject("v", vector(trait="Sarcasm"), [], None, None), [name], 100)


def test_pairs_that_a_vector_was_made_from_are_not_measured_on(tiny_model, dataset, tmp_path, caplog):
    from psyctl_core import lent_model

    caplog.set_level(NOTICE)
    folder = dataset()
    records = list(open_dataset(folder))
    with lent_model(str(tiny_model), options={"device": "cpu"}) as lent:
        for facts, held, words in (
            ({"dataset": digest_of(records), "held_out": 10, "pairs": 30}, split_pairs(records, 10)[1], ""),
            ({"dataset": digest_of(records), "pairs": 40}, [], "none is left to measure on"),
            ({"dataset": "another"}, records, "other pairs than these"),
        ):
            caplog.clear()
            vector(lent.name, fingerprint=lent.fingerprint, **facts).save(tmp_path / "v.safetensors")
            with subject(lent, tmp_path / "v.safetensors", folder, held_out=40) as what:
                assert [each.id for each in what.held_out] == [each.id for each in held]
            assert words in caplog.text


def test_what_makes_no_sense_is_told_before_a_model_is_loaded(tmp_path):
    with pytest.raises(UsageError, match="nothing to compare with"):
        steering_compare([tmp_path], "none")
    with pytest.raises(UsageError, match="each dataset's own"):
        steering_compare([tmp_path, tmp_path], "none", item=["pairs"])
    with pytest.raises(UsageError, match="no list of doses"):
        doses_typed("0.1,much")
    with pytest.raises(UsageError, match="nothing to measure"):
        steering_measure("none")
    assert command_measure.NOT_WORKING == 3
    own = [*items.shipped("Openness"), *items.questionnaire("Openness")]
    assert set(command_measure.OWN) == {"pairs", *(each.name for each in own)}
