"""Likelihoods under many directions: the short way gives what whole passes give, and leaves the model as it was."""

from __future__ import annotations

import random

import pytest

torch = pytest.importorskip("torch", reason="the extra 'hf' is not installed")
import transformers  # noqa: E402

from psyctl_core import BackendError  # noqa: E402
from psyctl_steering.passes import Passes, Text, common  # noqa: E402
from psyctl_steering.steering import changed  # noqa: E402

HEADS = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "max_position_embeddings": 256}
PLAIN = {**HEADS, "intermediate_size": 64, "num_key_value_heads": 2, "initializer_range": 0.6}
MIXED = ["sliding_attention", "full_attention"] * 2
MODELS = {
    "Llama": PLAIN,
    "Qwen2": PLAIN,
    "Gemma2": {**PLAIN, "head_dim": 8, "sliding_window": 8, "layer_types": MIXED},
    "Gemma3Text": {**PLAIN, "head_dim": 8, "sliding_window": 8, "layer_types": MIXED},
    "GPTNeoX": {**HEADS, "intermediate_size": 64, "initializer_range": 0.6},
    "GPT2": {"n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 256, "initializer_range": 0.6},
    "Mamba": {"hidden_size": 32, "num_hidden_layers": 4, "state_size": 8, "initializer_range": 0.6},
}


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    config = getattr(transformers, f"{request.param}Config")(vocab_size=60, pad_token_id=0, **MODELS[request.param])
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def layer_of(model, number=2):
    from psyctl_steering.layers import blocks

    return blocks(model)[number]


def texts(seed: int = 0) -> list[list[Text]]:
    """A group that shares a beginning, with answers of several lengths, and one of its own."""
    drawn = random.Random(seed)
    begin = [drawn.randrange(1, 60) for _ in range(11)]
    group = []
    for length in (3, 9, 5, 1):
        answer = [drawn.randrange(1, 60) for _ in range(length)]
        group.append(Text((*begin, *answer[:-1]), 9, tuple((token,) for token in answer)))
    alone = Text(tuple(begin[3:]), 6, ((4, 5, 6),))
    return [group, [alone]]


def by_hand(model, text: Text, layer: str, direction: torch.Tensor) -> torch.Tensor:
    """One whole pass over one text."""

    def change(states: torch.Tensor) -> torch.Tensor:
        states = states.clone()
        states[:, text.start :] += direction
        return states

    with torch.inference_mode(), changed(model, {layer: change}):
        logits = model(input_ids=torch.tensor([text.ids])).logits[0].float().log_softmax(-1)
    return logits[-len(text.wanted) :].gather(-1, torch.tensor(text.wanted))


@pytest.mark.parametrize("number", [0, 2, 3])
def test_the_short_way_gives_what_whole_passes_give(model, number):
    layer = layer_of(model, number)
    groups = texts()
    flat = [text for group in groups for text in group]
    directions = torch.cat([torch.zeros(1, 32), torch.randn(4, 32, generator=torch.Generator().manual_seed(1))])
    passes = Passes(model, layer)
    found = passes.logprobs(passes.prepared(groups), flat, directions)
    for text, got in zip(flat, found, strict=True):
        for direction, one in zip(directions, got, strict=True):
            assert torch.allclose(one, by_hand(model, text, layer, direction), atol=2e-4)


def test_it_skips_the_blocks_before_the_layer_and_reads_what_is_shared_once():
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(transformers.LlamaConfig(vocab_size=60, **PLAIN)).eval()
    seen = dict.fromkeys(range(4), 0)
    for number, block in enumerate(model.model.layers):
        block.self_attn.register_forward_hook(
            lambda module, given, output, number=number: seen.update({number: seen[number] + output[0].shape[1]})
        )
    group = texts()[0]
    passes = Passes(model, "model.layers[2]")
    batches = passes.prepared([group])
    seen.update(dict.fromkeys(seen, 0))
    passes.logprobs(batches, group, torch.zeros(10, 32))
    assert (seen[0], seen[1]) == (0, 0)
    assert seen[2] == seen[3] > 0
    assert passes.tokens < 20 * len(group) * (max(len(text.ids) for text in group) - common(group))


def test_the_model_is_as_before_also_after_an_error(model):
    ids = torch.tensor([[3, 4, 5, 6]])
    with torch.inference_mode():
        before = model(input_ids=ids).logits
    group = texts()[0]
    passes = Passes(model, layer_of(model))
    batches = passes.prepared([group])
    with pytest.raises(BackendError, match="nothing that is a number"):
        passes.logprobs(batches, group, torch.full((1, 32), float("nan")))
    with torch.inference_mode():
        assert torch.equal(before, model(input_ids=ids).logits)
    assert all("forward" not in module.__dict__ for module in model.modules())


def test_a_model_that_does_not_go_on_from_where_it_was_is_computed_whole():
    """A block that looks at what the first one saw, not at what it is handed."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(transformers.LlamaConfig(vocab_size=60, **PLAIN)).eval()
    seen = []
    model.model.layers[0].register_forward_hook(lambda module, given, output: seen.append(output * 1.5))
    model.model.layers[3].register_forward_hook(lambda module, given, output: output + seen[-1])
    group = texts()[0]
    passes = Passes(model, "model.layers[2]")
    direction = torch.randn(1, 32)
    found = passes.logprobs(passes.prepared([group]), group, direction)
    for text, got in zip(group, found, strict=True):
        assert torch.allclose(got[0], by_hand(model, text, "model.layers[2]", direction[0]), atol=2e-4)
