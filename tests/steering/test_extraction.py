"""Extraction: what a vector says of itself, each method, and what stops it."""

from __future__ import annotations

import dataclasses
import logging
import re

import pytest

torch = pytest.importorskip("torch", reason="the extra 'hf' is not installed")

from psyctl_core import ChatRequest, Message, UsageError, split_pairs  # noqa: E402
from psyctl_steering import Steering, SteeringVector, bipo, extract, lend  # noqa: E402
from psyctl_steering.directions import cosine  # noqa: E402
from psyctl_steering.extraction import sureness  # noqa: E402
from psyctl_steering.states import read, readings_of  # noqa: E402

BLOCKS = ["model.layers[0]", "model.layers[1]"]


def test_a_vector_says_what_it_was_made_from(lent, records, tmp_path):
    extract(lent, records, held_out=4, seed=3).save(tmp_path / "v.safetensors")
    vector = SteeringVector.load(tmp_path / "v.safetensors")
    facts = vector.facts
    assert list(vector.directions) == BLOCKS, "under the names that Transformers gives them"
    assert (facts.model, facts.fingerprint) == (lent.name, lent.fingerprint)
    assert (facts.trait, facts.method, facts.position, facts.seed) == ("Extroversion", "mean", "answer-mean", 3)
    assert (facts.pairs, facts.held_out, facts.normalized) == (8, 4, False)
    assert (facts.architecture, facts.blocks) == ("llama", 2)
    assert facts.dataset == extract(lent, records, layers=["0"]).facts.dataset
    assert facts.dataset != extract(lent, records[::-1], layers=["0"]).facts.dataset
    for known in vector.layers.values():
        assert known.norm > 0
        assert None not in (known.coherence, known.split_half, known.separation)


def test_the_same_pairs_make_the_same_vector(lent, records):
    one, other = extract(lent, records, held_out=4), extract(lent, records, held_out=4)
    assert (one.facts, one.layers) == (other.facts, other.layers)
    assert all(torch.equal(one.directions[layer], other.directions[layer]) for layer in BLOCKS)


def test_held_out_pairs_are_those_of_an_export_and_only_measured_with(lent, records):
    pairs, kept = split_pairs(records, 4)
    vector = extract(lent, records, held_out=4)
    alone = extract(lent, pairs)
    for layer in BLOCKS:
        assert torch.allclose(vector.directions[layer], alone.directions[layer], atol=1e-4)
        assert alone.layers[layer].separation is None
        with read(lent, kept, [layer]) as held:
            share = (held.at(layer) @ vector.directions[layer] > 0).float().mean()
        assert vector.layers[layer].separation == pytest.approx(float(share))


def test_the_layer_is_judged_by_the_read_that_is_extracted(lent, records):
    """Figures and direction come from the same differences: neither of another position, nor of other pairs."""
    for position in ("answer-last", "choice"):
        vector = extract(lent, records, position=position)
        with read(lent, records, position=position) as found:
            for layer in BLOCKS:
                rows = found.at(layer)
                assert torch.allclose(vector.directions[layer], rows.mean(0), atol=1e-3)
                halves = cosine(rows[::2].mean(0), rows[1::2].mean(0))
                assert vector.layers[layer].split_half == pytest.approx(halves, abs=1e-4)


def test_normalized_directions_have_length_1_and_steer_alike(lent, records):
    vector, unit = extract(lent, records), extract(lent, records, normalize=True)
    assert unit.facts.normalized
    ids = torch.tensor([[5, 6, 7]])
    found = []
    for each in (vector, unit):
        with torch.no_grad(), Steering(lent.model, each, 0.3):
            found.append(lent.model(ids).logits)
    assert torch.allclose(*found, atol=1e-3)
    assert [float(each.norm()) for each in unit.directions.values()] == pytest.approx([1, 1], abs=1e-5)


@pytest.mark.parametrize("method", ["pca", "logistic"])
def test_other_methods_point_from_neutral_to_positive(lent, records, method):
    mean, vector = extract(lent, records), extract(lent, records, method=method)
    assert all(cosine(vector.directions[layer], mean.directions[layer]) > 0 for layer in BLOCKS)


def test_a_model_that_the_program_holds_is_left_as_it_was(tiny_model, lent, records):
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).train()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
    template, side = tokenizer.chat_template, tokenizer.padding_side
    mine, theirs = extract(lend(model, tokenizer), records), extract(lent, records)
    for layer in BLOCKS:
        assert torch.allclose(mine.directions[layer], theirs.directions[layer], atol=1e-4)
    assert model.training
    assert (tokenizer.chat_template, tokenizer.padding_side) == (template, side)
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())
    assert lend(model, tokenizer).fingerprint == lend(model, tokenizer).fingerprint


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "mean_diff"}, "no method 'mean_diff'.*mean, pca, logistic, bipo"),
        ({"method": "pca", "position": "choice"}, "PCA on choices does not find the trait"),
        ({"method": "bipo", "position": "answer-last", "held_out": 2}, "reads no states at 'answer-last'"),
        ({"method": "bipo"}, "needs held-out pairs"),
        ({"held_out": 11}, "needs 2 pairs or more, and some 80 to be sure of it; there is 1"),
        ({"held_out": 40}, "there are 0"),
        ({"layers": ["model.layers[*].mpl"]}, "no layer 'model.layers.*mlp"),
    ],
)
def test_what_makes_no_sense_is_one_line_before_the_model_runs(lent, records, options, says, monkeypatch):
    monkeypatch.setattr(type(lent.model), "forward", None)
    with pytest.raises(UsageError) as error:
        extract(lent, records, **options)
    assert re.search(says, f"{error.value.message} {error.value.hint}")


def test_pairs_of_several_traits_are_refused(lent, records):
    mixed = [records[0], dataclasses.replace(records[1], trait="Openness"), *records[2:]]
    with pytest.raises(UsageError, match="2 traits: Extroversion, Openness"):
        extract(lent, mixed)


def test_few_pairs_are_told_with_how_sure_the_direction_is(lent, records, caplog):
    with caplog.at_level(logging.WARNING, "psyctl"):
        vector = extract(lent, records)
        extract(lent, records[:3])
    sure = sureness(vector.layers[BLOCKS[1]].split_half)
    assert f"A direction of 12 pairs: it has a cosine of about {sure:.2f}, at {BLOCKS[1]}" in caplog.messages[0]
    assert "nobody can tell how sure it is" in caplog.messages[1]


def test_how_sure_a_direction_is_follows_from_its_halves():
    """Halves that agree by .6 make a whole of reliability .75 (Spearman-Brown), whose root is the cosine."""
    assert sureness(0.6) == pytest.approx(0.75**0.5)
    assert (sureness(-0.1), sureness(0.0), sureness(1.0), sureness(None)) == (0, 0, 1, None)


def test_a_direction_that_is_0_is_told(lent, records, caplog):
    with caplog.at_level(logging.WARNING, "psyctl"):
        vector = extract(lent, records, layers=["model.embed_tokens"], position="choice")
    assert "The direction is 0 at model.embed_tokens" in caplog.text
    with pytest.raises(UsageError, match="no direction at"):
        Steering(lent.model, vector)


def test_a_text_begins_once_however_the_tokenizer_is_used(tiny_model, lent, records):
    """A template writes the beginning of a sequence, and the tokenizer adds one: read and steered alike, once."""
    transformers = pytest.importorskip("transformers")
    processors = pytest.importorskip("tokenizers.processors")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
    begin = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    tokenizer.bos_token = "<|endoftext|>"
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", begin)]
    )
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    mine = lend(lent.model, tokenizer)
    assert tokenizer("x")["input_ids"][0] == begin
    for position in ("answer-mean", "choice"):
        for rows in readings_of(mine, records[:2], position):
            assert [row.ids.count(begin) for row in rows] == [1] * len(rows)
    (steered,) = mine.encode([ChatRequest("", (Message("user", "How are you?"),))])
    assert steered.count(begin) == 1


# bipo


def test_bipo_makes_held_out_positive_answers_likelier_and_is_repeatable(lent, records, monkeypatch):
    monkeypatch.setattr(bipo, "EPOCHS", 4)
    options = {"method": "bipo", "held_out": 4, "layers": ["0"]}
    vector, again = extract(lent, records, **options), extract(lent, records, **options)
    assert torch.equal(vector.directions[BLOCKS[0]], again.directions[BLOCKS[0]])
    answers = readings_of(lent, split_pairs(records, 4)[1], "answer-mean")
    gaps = []
    for sign in (-1, 0, 1):
        added = sign * vector.directions[BLOCKS[0]]
        with torch.no_grad(), bipo.changed(lent.model, {BLOCKS[0]: lambda states, added=added: states + added}):
            gaps.append(float(bipo._gaps(lent.model, answers).mean()))
    assert gaps[0] < gaps[1] < gaps[2]
    assert not any(module._forward_hooks for module in lent.model.modules())


def test_bipo_reads_answers_however_late_they_stand(own, records):
    """An answer behind 500 tokens and one before them have the same part in the loss."""
    answers = readings_of(own, records[:2], "answer-mean")
    late = [[dataclasses.replace(r, ids=[9] * 440 + r.ids, start=r.start + 440) for r in rows] for rows in answers]
    for pairs in (answers, late):
        direction = torch.zeros(32, requires_grad=True)
        loss = bipo._each_loss(own.model, BLOCKS[0], direction, [bipo._Pair(rows, 0.0) for rows in pairs], [1.0, 1.0])
        loss.sum().backward()
        assert direction.grad.norm() > 0


def test_bipo_wants_float32_and_says_so(tiny_model, records):
    from psyctl_core import lent_model

    with (
        lent_model(str(tiny_model), options={"device": "cpu", "dtype": "bfloat16"}) as lent,
        pytest.raises(UsageError, match="bipo trains in float32, and the model is in bfloat16"),
    ):
        extract(lent, records, method="bipo", held_out=4)


def test_likelihoods_are_the_models_own(lent, records):
    answers = readings_of(lent, records[:3], "answer-mean")
    with torch.no_grad():
        found = bipo._gaps(lent.model, answers)
        for gap, rows in zip(found, answers, strict=True):
            each = []
            for row in rows:
                logits = lent.model(torch.tensor([row.ids])).logits[0].log_softmax(-1)
                each.append(sum(logits[at - 1, row.ids[at]] for at in range(row.start, len(row.ids))))
            assert gap == pytest.approx(float(each[0] - each[1]), abs=1e-3)
