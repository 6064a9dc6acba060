"""What a vector does is measured: one that works is told from one that does not, and from one that is turned round."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch", reason="the extra 'hf' is not installed")

from psyctl_core import UsageError, schema  # noqa: E402
from psyctl_steering import SteeringVector, items, measure, measuring, told  # noqa: E402
from psyctl_steering.controls import random_directions, shuffled_directions  # noqa: E402
from psyctl_steering.damage import Neutral, repetition  # noqa: E402
from psyctl_steering.figures import effect  # noqa: E402
from psyctl_steering.passes import Passes  # noqa: E402
from psyctl_steering.vector import LayerFacts, VectorFacts  # noqa: E402

TRAIT = "Extroversion"


@pytest.fixture(scope="module")
def layer(lent) -> str:
    return f"model.layers[{lent.model.config.num_hidden_layers - 1}]"


@pytest.fixture(scope="module")
def statements():
    return items.questionnaire(TRAIT)[0]


@pytest.fixture(scope="module")
def planted(lent, layer, statements) -> torch.Tensor:
    """The direction along which the trait's statements become likelier than their opposites, dimension by dimension."""
    width = lent.model.config.hidden_size
    passes = Passes(lent.model, layer)
    groups = statements.write(lent, "")
    texts = [text for group in groups for text in group]
    small = torch.eye(width) * 0.05
    values = statements.value(passes.logprobs(passes.prepared(groups), texts, torch.cat([small, -small])))
    effects = torch.tensor([effect(row.tolist(), statements.signs) for row in values])
    return effects[:width] - effects[width:]


def vector(lent, layer: str, direction: torch.Tensor) -> SteeringVector:
    facts = VectorFacts(lent.name, lent.fingerprint, "mean", "answer-mean", TRAIT, "d", 100)
    return SteeringVector({layer: direction}, {layer: LayerFacts(5.0)}, facts)


def measured(lent, layer, direction, sets, **options):
    return measure(lent, vector(lent, layer, direction), sets, **{"damage": 0.01, "doses": (-0.1, 0.1), **options})


def test_a_vector_that_works_is_said_to_and_one_turned_round_is_backwards(
    lent, layer, planted, statements, measured_on_less
):
    found = measured(lent, layer, planted, [statements])
    assert found.verdict.word == "works", found.verdict
    assert found.damage == pytest.approx(0.01, rel=0.2)
    assert found.sets[0].backwards < 0.5
    assert "20 random vectors" in found.verdict.why
    turned = measured(lent, layer, -planted, [statements])
    assert turned.verdict.word == "backwards", turned.verdict
    assert turned.sets[0].effect == pytest.approx(-found.sets[0].effect, rel=0.02)


@pytest.mark.slow
def test_random_vectors_are_within_the_noise_in_19_of_20_seeds(lent, layer, statements, measured_on_less, monkeypatch):
    monkeypatch.setattr(measuring, "factors", dict)  # other traits are nothing to the verdict
    monkeypatch.setattr(measuring, "SAYS", ())  # texts could only make it milder
    drawn = random_directions(20, lent.model.config.hidden_size, 1234)
    words = [
        measured(lent, layer, each, [statements], seed=n, doses=[0.1]).verdict.word for n, each in enumerate(drawn)
    ]
    assert words.count("works") <= 1, words


def test_the_same_seed_gives_the_same_figures(lent, layer, planted, statements, measured_on_less):
    one, other = (measured(lent, layer, planted, [statements], controls=3, seed=5) for _ in range(2))
    assert told.as_json(one, lent) == told.as_json(other, lent)


def test_several_layers_are_chosen_among_on_one_half_and_reported_on_the_other(
    lent, planted, statements, measured_on_less
):
    names = [f"model.layers[{n}]" for n in range(lent.model.config.num_hidden_layers)]
    facts = VectorFacts(lent.name, lent.fingerprint, "mean", "answer-mean", TRAIT, "d", 100)
    several = SteeringVector(dict.fromkeys(names, planted), dict.fromkeys(names, LayerFacts(5.0)), facts)
    found = measure(lent, several, [statements], layers=names, controls=3, damage=0.01)
    assert list(found.tried) == names
    assert found.sets[0].items == 12
    assert abs(found.tried[found.layer]) == max(map(abs, found.tried.values()))


def test_what_is_written_holds_to_its_schema(lent, layer, planted, measured_on_less, tmp_path):
    sets = items.questionnaire(TRAIT)
    differences = torch.randn(12, lent.model.config.hidden_size, generator=torch.Generator().manual_seed(0))
    found = told.as_json(measured(lent, layer, planted, sets, controls=3, differences=lambda _: differences), lent)
    assert schema.problem("steering", found) == ""
    assert list(found["sets"][0]["controls"]) == ["random", "label-shuffled"]
    assert found["doses"] == [-0.1, 0.0, 0.1]
    assert [found["sets"][0]["curve"][1], found["divergence"][1]] == pytest.approx([0, 0], abs=1e-5)
    assert 0 < found["sets"][1]["mass"] < 1
    told.write(found, tmp_path / "new" / "steering.json")
    assert json.loads((tmp_path / "new" / "steering.json").read_text(encoding="utf-8")) == found


def test_doses_of_equal_damage_are_found_for_every_direction(lent, layer):
    neutral = Neutral(lent, Passes(lent.model, layer))
    units = random_directions(6, lent.model.config.hidden_size, 0)
    doses = neutral.doses(units, 0.02, 30.0)
    assert neutral.both_ways(units * torch.tensor(doses)[:, None]) == pytest.approx([0.02] * 6, rel=0.15)
    assert neutral.costs(units * 0)[0] == pytest.approx([0] * 6, abs=1e-5)


def test_shuffled_labels_leave_nothing_of_what_all_pairs_share():
    differences = torch.zeros(40, 8)
    differences[:, 0] = 1
    differences[:, 1:] = torch.randn(40, 7, generator=torch.Generator().manual_seed(0))
    drawn = shuffled_directions(5, differences, 1)
    assert drawn.norm(dim=1) == pytest.approx([1.0] * 5)
    assert drawn[:, 0].abs().max() < 1e-6
    assert not torch.equal(drawn, shuffled_directions(5, differences, 2))


def test_repeated_runs_of_words_are_counted():
    assert repetition(["a b c d e f"]) == 0
    assert repetition(["go on go on go on go on go on"]) == pytest.approx(6 / 8)
    assert repetition(["", "one"]) == 0


WRONG = {
    "no items": ({}, [], "no items"),
    "doses": ({"doses": [0.0]}, None, "doses"),
    "not a number": ({"doses": [float("nan")]}, None, "doses"),
    "damage": ({"damage": -1.0}, None, "damage of -1"),
    "controls": ({"controls": 1}, None, "cannot show a spread"),
    "layer": ({"layers": ["model.layers[99]"]}, None, "no layer"),
}


@pytest.mark.parametrize("case", WRONG)
def test_options_that_make_no_sense_are_told(lent, layer, planted, statements, case):
    options, sets, words = WRONG[case]
    with pytest.raises(UsageError, match=words):
        measured(lent, layer, planted, [statements] if sets is None else sets, **options)


def test_another_models_vector_and_one_that_is_nothing_are_refused(lent, layer, statements):
    with pytest.raises(UsageError, match="another model's"):
        measured(lent, layer, torch.ones(7), [statements])
    with pytest.raises(UsageError, match="no direction"):
        measured(lent, layer, torch.zeros(lent.model.config.hidden_size), [statements])
    with pytest.raises(UsageError, match="no direction"):
        measured(lent, layer, torch.full((lent.model.config.hidden_size,), float("nan")), [statements])
