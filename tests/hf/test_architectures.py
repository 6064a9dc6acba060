"""Tiny models of many architectures: rows answered together, one after another and alone get the same words."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from psyctl_core import Context
from psyctl_hf import HfConfig
from psyctl_hf.backend import HfBackend

HEADS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 512}
PLAIN = {**HEADS, "intermediate_size": 64, "num_key_value_heads": 2, "initializer_range": 0.6}
MOE = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512, "initializer_range": 0.6}
MIXED = ["sliding_attention", "full_attention"]
OWN, GENERATE = True, False

ARCHITECTURES = {
    "Llama": (OWN, PLAIN),
    "Mistral": (OWN, {**PLAIN, "head_dim": 8, "sliding_window": 400}),
    "Mixtral": (OWN, {**PLAIN, "num_local_experts": 4}),
    "Qwen2": (OWN, PLAIN),
    "Qwen3": (OWN, {**PLAIN, "head_dim": 8}),
    "Qwen3Moe": (OWN, {**PLAIN, **MOE, "head_dim": 8, "num_experts": 4}),
    "Gemma": (OWN, {**PLAIN, "head_dim": 8}),
    "Gemma2": (OWN, {**PLAIN, "head_dim": 8, "sliding_window": 400, "layer_types": MIXED}),
    "Gemma3Text": (OWN, {**PLAIN, "head_dim": 8, "sliding_window": 400, "layer_types": MIXED}),
    "Phi3": (OWN, PLAIN),
    "Olmo2": (OWN, PLAIN),
    "StableLm": (OWN, PLAIN),
    "Granite": (OWN, PLAIN),
    "Starcoder2": (OWN, PLAIN),
    "Cohere": (OWN, PLAIN),
    "SmolLM3": (OWN, PLAIN),
    "GptOss": (OWN, {**PLAIN, "head_dim": 8, "num_local_experts": 4, "sliding_window": 400, "layer_types": MIXED}),
    "GPT2": (OWN, GPT),
    "GPTNeoX": (OWN, {**HEADS, "intermediate_size": 64, "initializer_range": 0.6}),
    "OPT": (OWN, {**HEADS, "ffn_dim": 64, "word_embed_proj_dim": 32, "init_std": 0.6}),
    "Falcon": (OWN, {**HEADS, "initializer_range": 0.6}),
    "Bloom": (GENERATE, {"hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.6}),
    "Mpt": (GENERATE, {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 512, "initializer_range": 0.6}),
    "Mamba": (GENERATE, {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "initializer_range": 0.6}),
    "FalconMamba": (GENERATE, {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "initializer_range": 0.6}),
}


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request, tiny_model, tmp_path_factory) -> SimpleNamespace:
    """A backend with random weights of one architecture and the tiny model's tokenizer, built once."""
    import torch
    import transformers

    own, options = ARCHITECTURES[request.param]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
    special = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": 0, "bos_token_id": None}
    config = getattr(transformers, f"{request.param}Config")(vocab_size=len(tokenizer), **special, **options)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp(request.param)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    livelier = HfConfig(model=str(folder), dtype="float32", device="cpu", repetition_penalty=2.0)
    return SimpleNamespace(backend=HfBackend(livelier, Context()), own=own)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_answers_are_the_same_together_and_alone(model, requests, temperature, monkeypatch):
    made = model.backend
    asked = requests(6, max_tokens=6, temperature=temperature)
    assert bool(made._loaded()._reach) is model.own
    assert 1 <= made._loaded().rows_that_fit([(asked[0], ids) for ids in made._loaded().encode(asked)]) <= 64

    def answers(at_once, batch_size):
        object.__setattr__(made._config, "batch_size", batch_size)
        return {c.id: (c.text, c.finish_reason, c.completion_tokens) for each in at_once for c in made.generate(each)}

    together = answers([asked], 6)
    assert together == answers([asked], 1)
    assert together == answers([[one] for one in asked], 6)
    assert len({text for text, *_ in together.values()}) > 1
    monkeypatch.setattr(made._loaded(), "_reach", 0)
    assert together == answers([asked], 6)
