"""Models that cannot be loaded, or only seem to be: what is said, and that nothing answers with random weights."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest

from psyctl_core import BackendError, ChatRequest, Message, UsageError
from psyctl_core.budget import Budget
from psyctl_core.local_models import longest
from psyctl_hf import loading
from psyctl_hf.locate import locate


@pytest.fixture
def model(tiny_model, tmp_path) -> Path:
    """A copy of the tiny model, to be damaged."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def change(folder: Path, file: str, **entries) -> None:
    found = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**found, **entries}))


def weights(folder: Path, edit) -> None:
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    save_file(edit(load_file(file)), file, metadata={"format": "pt"})


def refused(backend, folder: Path) -> BackendError:
    with pytest.raises((BackendError, UsageError)) as caught:
        backend(folder).start(Budget(None))
    assert "\n" not in caught.value.message
    return caught.value


def test_weights_that_are_missing_are_named(backend, model):
    weights(model, lambda w: {name: value for name, value in w.items() if "layers.1.mlp" not in name})
    error = refused(backend, model)
    assert error.message == (
        "Model 'model' lacks 3 of its weights, which would be random: model.layers.1.mlp.down_proj.weight, "
        "model.layers.1.mlp.gate_proj.weight, model.layers.1.mlp.up_proj.weight."
    )


def test_weights_under_other_names_are_missing_weights(backend, model):
    weights(model, lambda w: {f"pretrained.{name}": value for name, value in w.items()})
    error = refused(backend, model)
    assert "which would be random" in error.message
    assert "The files have others instead, such as pretrained." in error.message


def test_weights_of_another_size_are_not_made_up(backend, model):
    change(model, "config.json", intermediate_size=48)
    error = refused(backend, model)
    assert "mlp" in error.message
    assert "config.json does not belong to these weights" in error.hint


@pytest.mark.parametrize("kind", ["LlamaForSequenceClassification", "LlamaForTokenClassification", "LlamaRewardModel"])
def test_a_model_that_judges_is_refused(backend, model, kind):
    change(model, "config.json", architectures=[kind])
    assert f"does not write: its architecture is {kind}" in refused(backend, model).message


def test_weights_that_are_no_numbers_are_told(backend, model):
    weights(model, lambda w: {name: value * float("nan") if "norm" in name else value for name, value in w.items()})
    error = refused(backend, model)
    assert error.message == "Model 'model' computes nothing that is a number in float32."
    assert "--hf-dtype" in error.hint


def test_tied_weights_are_not_missing(backend, model, requests):
    weights(model, lambda w: {name: value for name, value in w.items() if name != "lm_head.weight"})
    change(model, "config.json", tie_word_embeddings=True)
    assert len(list(backend(model).generate(requests(2)))) == 2


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n", "is a Git LFS pointer"),
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "is a web page|is cut off|is damaged"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_named(backend, model, name, content, why):
    (model / name).write_bytes(content)
    error = refused(backend, model)
    assert name in error.message
    assert any(part in error.message for part in why.split("|"))
    assert "git lfs pull" in error.hint or "Download it again" in error.hint


def test_cut_weights_are_told_with_both_sizes(backend, model):
    file = model / "model.safetensors"
    whole = file.read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 100, 8, 3):
        file.write_bytes(whole[:size])
        error = refused(backend, model)
        assert f"'{file}' is cut off: {size:,} of " in error.message


def test_a_part_of_the_weights_that_is_not_there_is_named(backend, model):
    (model / "model.safetensors").rename(model / "model-00001-of-00002.safetensors")
    parts = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    error = refused(backend, model)
    assert "1 of 2 weight files" in error.message
    assert "model-00002-of-00002.safetensors" in error.message


def test_a_tokenizer_of_a_newer_release_is_told(backend, model):
    found = json.loads((model / "tokenizer.json").read_text())
    found["model"] = {"type": "Unheard", "pieces": 3}
    (model / "tokenizer.json").write_text(json.dumps(found))
    error = refused(backend, model)
    assert (
        "The file tokenizer.json is of a newer release: upgrade with 'pip install -U transformers tokenizers'"
        in error.hint
    )


def test_an_architecture_of_a_newer_release_is_told(backend, model):
    change(model, "config.json", model_type="llama99")
    error = refused(backend, model)
    assert "llama99" in error.message
    assert "pip install -U transformers" in error.hint


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (ImportError("This model needs sentencepiece, which was not found"), "pip install sentencepiece"),
        (ImportError("Using `bitsandbytes` requires it: `pip install -U bitsandbytes`"), "Install the package"),
        (ModuleNotFoundError("No module named 'mamba_ssm'"), "Install the package that is named"),
        (RuntimeError("PytorchStreamReader failed reading zip archive"), "cut off or damaged"),
        (ValueError("loading needs trust_remote_code=True"), "Code from the Hub is never run"),
        (ValueError("GGUF model with architecture xyz is not supported yet."), "Upgrade with"),
        (AttributeError("something else"), "It must be a causal language model"),
    ],
)
def test_the_hint_fits_the_cause_and_the_message_is_whole(backend, model, monkeypatch, error, hint):
    def fails(*_, **__):
        raise type(error)(f"{error}\nand a second line")

    monkeypatch.setattr(loading.AutoTokenizer, "from_pretrained", fails)
    told = refused(backend, model)
    assert told.message.endswith(f"{error} and a second line.")
    assert hint in told.hint


def test_an_adapter_alone_is_no_model(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"x")
    with pytest.raises(UsageError, match="holds an adapter, not a model") as caught:
        locate(str(tmp_path))
    assert "merge_and_unload" in caught.value.hint


def test_an_adapter_beside_a_model_is_not_passed_over_in_silence(model, caplog):
    (model / "adapter_config.json").write_text("{}")
    with caplog.at_level(logging.WARNING, "psyctl"):
        locate(str(model))
    assert "The adapter in" in caplog.text
    assert "is not applied" in caplog.text


def test_a_tokenizer_that_does_not_belong_to_the_weights_is_told(backend, model):
    by_token = ("lm_head.weight", "model.embed_tokens.weight")
    weights(model, lambda w: {name: value[:200] if name in by_token else value for name, value in w.items()})
    change(model, "config.json", vocab_size=200)
    error = refused(backend, model)
    assert "does not belong to its weights" in error.message


def test_a_scene_beyond_the_models_positions_is_its_own_fault(backend, model, requests):
    made = backend(model, batch_size=4)
    asked = requests(5)
    room = 512 - asked[0].max_tokens
    texts = {name: ChatRequest(name, (Message("user", "bus " * n),)) for name, n in (("long", 600), ("huge", 9000))}
    found = {c.id: c for c in made.generate([texts["long"], *asked, texts["huge"]])}
    assert {name: found[name].error for name in texts} == {"long": "input too long", "huge": "input too long"}
    assert all(found[name].finish_reason == "error" for name in texts)
    assert found["long"].prompt_tokens > room
    assert all(found[r.id].finish_reason in ("stop", "length") for r in asked)


def test_what_the_model_can_place_is_counted_to_the_last_token(backend, model):
    generator = backend(model)._loaded()
    request = ChatRequest("a", (Message("user", "Hi."),), max_tokens=12)
    assert generator.refusal(request, [5] * 500) == ""
    assert generator.refusal(request, [5] * 501) == "input too long"
    assert generator.refusal(request, []) == "empty input"
    assert generator.refusal(request, [5, 10**6]) == "input has a token that the model does not know"


def scaled(kind, factor, original) -> dict:
    return {"rope_type": kind, "factor": factor, "original_max_position_embeddings": original}


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({"max_position_embeddings": 4096}, 4096),
        ({"max_position_embeddings": 131072, "rope": scaled("llama3", 8.0, 8192)}, 131072),
        ({"max_position_embeddings": 32768, "rope": scaled("yarn", 4.0, 32768)}, 131072),
        ({"max_position_embeddings": 2048, "rope": {"full_attention": scaled("linear", 2.0, None)}}, 4096),
        ({"n_positions": 1024}, 1024),
        ({}, 0),
    ],
)
def test_how_long_a_row_may_be_follows_from_the_config(options, most):
    from types import SimpleNamespace

    config = SimpleNamespace(rope_parameters=options.pop("rope", None), **options)
    model = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: config))
    assert longest(model) == most


@pytest.mark.parametrize("name", ["<|turn_end|>", "</think>", "<think>"])
@pytest.mark.parametrize("special", [True, False])
def test_a_control_token_ends_an_answer_although_no_setting_names_it(backend, model, monkeypatch, name, special):
    from transformers import AddedToken, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.add_tokens([AddedToken(name, special=special, normalized=False)], special_tokens=special)
    tokenizer.save_pretrained(model)
    weights(model, lambda w: {k: _longer(v, len(tokenizer)) for k, v in w.items()})
    change(model, "config.json", vocab_size=len(tokenizer))
    generator = backend(model)._loaded()
    end = tokenizer.convert_tokens_to_ids(name)
    words = tokenizer("Yes", add_special_tokens=False)["input_ids"]
    assert generator._end_tokens(("\n",))[end]
    assert generator._text([*words, end]) == ("" if name == "</think>" else "Yes")
    assert not any(generator._end_tokens(("\n",))[i] for i in words)


def _longer(value, size):
    import torch

    rows = size - len(value)
    grows = value.ndim == 2 and value.shape[1] == 32 and len(value) > 300
    return torch.cat([value, value[:rows]]) if grows else value
