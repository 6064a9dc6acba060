"""The hf backend's own decode loop: the answers of one-at-a-time generate, in batches that cost less."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace

import pytest
import torch

from psyctl_hf import decoding
from psyctl_hf.packing import by_likeness, common, pack, tree_mask


def test_greedy_answers_equal_one_at_a_time_generate(backend, requests, answers, tiny_model):
    made = backend(tiny_model)
    generator = made._loaded()
    asked = requests(12, max_tokens=16)
    assert generator._reach > 1000
    expected = {}
    for request, prompt in zip(asked, generator.encode(asked), strict=True):
        output = generator._model.generate(
            torch.tensor([prompt]), max_new_tokens=16, do_sample=False, repetition_penalty=1.1
        )[0, len(prompt) :]
        ended = generator._end_tokens(request.stop)[output]
        length = int(ended.int().argmax()) + 1 if ended.any() else len(output)
        expected[request.id] = generator._tokenizer.decode(output[:length], skip_special_tokens=True)
    for rows in (1, 5, 12):
        done = {i: text for i, (text, _) in answers(tiny_model, asked, batch_size=rows).items()}
        assert done == expected


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_rows_come_and_go_without_changing_an_answer(backend, requests, answers, tiny_model, monkeypatch, attention):
    monkeypatch.setattr(decoding, "PACK", 60)
    monkeypatch.setattr(decoding, "SPARE", 1)  # moved to the front as often as can be
    asked = requests(24, max_tokens=30)
    made = backend(tiny_model, batch_size=6)
    made._loaded()._model.set_attn_implementation(attention)
    done = {c.id: (c.text, c.finish_reason) for c in made.generate(asked)}
    assert done == answers(tiny_model, asked, batch_size=1)
    assert len({len(text) for text, _ in done.values()}) > 3


def test_in_float32_requests_enter_as_rows_fall_free_and_get_the_answers_they_get_alone(
    backend, requests, answers, tiny_model, monkeypatch
):
    monkeypatch.setattr(decoding, "PACK", 60)
    monkeypatch.setattr(decoding, "SPARE", 1)
    asked = sorted(requests(24, max_tokens=30), key=lambda request: len(request.messages[1].content))
    made = backend(tiny_model, batch_size=6)
    assert made.block
    made.start(None)
    assert made.block == 0
    pulled, done = [], {}
    for completion in made.generate(pulled.append(request) or request for request in asked):
        done[completion.id] = completion.text, completion.finish_reason
        assert len(pulled) - len(done) <= 6
    assert done == answers(tiny_model, asked, batch_size=1)


def test_in_sixteen_bits_requests_come_in_blocks(backend, tiny_model):
    made = backend(tiny_model, dtype="bfloat16")
    made.start(None)
    assert made.block


def test_a_prompt_that_cannot_be_taken_does_not_end_the_flow(backend, requests, tiny_model, monkeypatch):
    made = backend(tiny_model, batch_size=2)
    generator = made._loaded()
    monkeypatch.setattr(generator, "refusal", lambda request, ids: "too odd" if int(request.id) in (2, 3, 9) else "")
    done = {c.id: c.finish_reason for c in made.generate(iter(requests(10)))}
    assert len(done) == 10
    assert {id for id, reason in done.items() if reason == "error"} == {"2", "3", "9"}


def test_the_same_block_gets_the_same_answers_in_bfloat16(requests, answers, tiny_model):
    asked = requests(30)
    assert answers(tiny_model, asked, dtype="bfloat16") == answers(tiny_model, asked, dtype="bfloat16")


def test_sampled_answers_do_not_depend_on_the_batch(requests, answers, tiny_model):
    warm = requests(12, temperature=1.0)
    assert answers(tiny_model, warm, batch_size=12) == answers(tiny_model, warm, batch_size=1)


def test_sampling_follows_the_distribution_at_every_step():
    from psyctl_core import ChatRequest
    from psyctl_hf.choosing import Chooser

    wanted = torch.zeros(1000)
    wanted[[3, 500, 998]] = torch.tensor([0.5, 0.2, 0.3])
    asked = [ChatRequest(str(n), (), temperature=0.5, max_tokens=2, seed=n) for n in range(10_000)]
    choose = Chooser(asked, [[1]] * len(asked), 1.0, 0.0, torch.device("cpu"))
    logits = (wanted.log() * 0.5).expand(len(asked), 1000)
    drawn = [choose(logits.clone(), list(range(len(asked))), [step] * len(asked)) for step in (0, 1)]
    for tokens in drawn:
        assert torch.allclose(torch.bincount(tokens, minlength=1000) / 10_000, wanted, atol=0.02)
    both = ((drawn[0] == 3) & (drawn[1] == 3)).float().mean()
    assert abs(both - 0.25) < 0.02  # one step's draw says nothing of the next one's


def test_what_is_unlikely_beside_the_likeliest_is_never_drawn():
    from psyctl_core import ChatRequest
    from psyctl_hf.choosing import Chooser

    probabilities = torch.tensor([0.04, 0.50, 0.30, 0.16])  # after the temperature; 0.04 is less than a tenth of 0.50
    asked = [ChatRequest(str(n), (), temperature=0.5, max_tokens=1, seed=n) for n in range(10_000)]
    choose = Chooser(asked, [[1]] * len(asked), 1.0, 0.1, torch.device("cpu"))
    drawn = choose((probabilities.log() * 0.5).repeat(len(asked), 1), list(range(len(asked))), [0] * len(asked))
    shares = torch.bincount(drawn, minlength=4) / 10_000
    assert shares[0] == 0
    assert torch.allclose(shares[1:], probabilities[1:] / 0.96, atol=0.02)


def test_noise_that_was_let_go_comes_back_the_same(monkeypatch):
    from psyctl_core import ChatRequest
    from psyctl_hf import choosing

    monkeypatch.setattr(choosing, "SPARE", 1)
    asked = [ChatRequest(str(n), (), temperature=1.0, max_tokens=4, seed=n) for n in range(9)]
    logits = torch.zeros(9, 500)
    device = torch.device("cpu")
    whole = choosing.Chooser(asked, [[1]] * 9, 1.0, 0.0, device)
    pieces = choosing.Chooser(asked, [[1]] * 9, 1.0, 0.0, device)
    for step in range(4):
        together = whole(logits.clone(), list(range(9)), [step] * 9).tolist()
        assert [int(pieces(logits[:1].clone(), [row], [step])) for row in range(9)] == together
        assert len(pieces._noise) <= 2


@pytest.mark.parametrize("min_p", [0.0, 0.05])
def test_what_is_drawn_does_not_hang_on_rounding(min_p):
    """Logits of rows computed together differ in the last digits from those computed alone."""
    from psyctl_core import ChatRequest
    from psyctl_hf.choosing import Chooser

    asked = [ChatRequest(str(n), (), temperature=1.0, max_tokens=1, seed=n) for n in range(200)]
    logits = torch.randn(200, 30_000, generator=torch.Generator().manual_seed(0))
    near = logits + 1e-6 * torch.randn(200, 30_000, generator=torch.Generator().manual_seed(1))
    rows = list(range(200))
    made = [Chooser(asked, [[1]] * 200, 1.0, min_p, torch.device("cpu")) for _ in range(2)]
    drawn = [choose(each.clone(), rows, [0] * 200) for choose, each in zip(made, (logits, near), strict=True)]
    assert torch.equal(*drawn)
    assert len(set(drawn[0].tolist())) > 150


def test_what_prompts_share_is_computed_once():
    prompts = [[1, 2, 3, 4], [1, 2, 3, 5, 6], [1, 9], [7, 8]]
    packed = pack(prompts)
    assert packed.ids == [1, 2, 3, 4, 5, 6, 9, 7, 8]
    assert packed.positions == [0, 1, 2, 3, 3, 4, 1, 0, 1]
    assert [[packed.ids[i] for i in path] for path in packed.paths] == prompts
    seen = tree_mask(packed, torch.float32)[0, 0] == 0
    for path in packed.paths:
        for n, token in enumerate(path):
            assert seen[token].nonzero().flatten().tolist() == path[: n + 1]


def test_a_prompt_keeps_a_last_token_of_its_own():
    assert common([1, 2, 3], [1, 2, 3]) == 2
    assert common([1, 2, 3], [1, 2, 3, 4]) == 2
    assert common([], [1]) == 0
    assert len({path[-1] for path in pack([[1, 2], [1, 2], [1, 2]]).paths}) == 3


def test_prompts_that_share_most_stand_together_the_longest_first():
    prompts = [[1, 5, 5], [1, 8, 8, 8, 8, 1], [1, 5, 6], [1, 8, 8, 8, 8, 2, 2]]
    order = by_likeness(prompts)
    assert sorted(order[:2]) == [1, 3]
    assert sorted(order[2:]) == [0, 2]


def tiny(folder, like, config) -> str:
    """Another architecture with random weights and the tiny model's tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(like)
    tokenizer.save_pretrained(folder)
    config.vocab_size, config.eos_token_id, config.pad_token_id = len(tokenizer), tokenizer.eos_token_id, 0
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return str(folder)


SIZES = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512, "initializer_range": 0.6,
}  # fmt: skip
MIXED = ["sliding_attention", "full_attention", "sliding_attention"]


@pytest.mark.parametrize(
    ("name", "window"),
    [
        ("Gemma2Config", 400),
        ("Gemma3TextConfig", 400),
        ("Gemma3TextConfig", 90),
        ("MistralConfig", 90),
        ("Qwen3Config", None),
        ("Phi3Config", None),
    ],
)
def test_the_architectures_that_people_use_are_decoded_here_within_their_window(
    backend, requests, tiny_model, tmp_path, monkeypatch, name, window
):
    import transformers

    options = {"layer_types": MIXED} if name.startswith("Gemma") else {}
    config = getattr(transformers, name)(**SIZES, sliding_window=window, **options)
    model = tiny(tmp_path / "model", tiny_model, config)
    made = backend(model, batch_size=4, repetition_penalty=2.0)  # livelier
    assert made._loaded()._reach == (window or sys.maxsize)
    asked = requests(8, max_tokens=16)
    lengths = [len(prompt) + 16 for prompt in made._loaded().encode(asked)]
    beyond = [length > made._loaded()._reach for length in lengths]
    assert any(beyond) == (window == 90)
    assert not all(beyond)
    done = {c.id: c.text for c in made.generate(asked)}
    made._loaded()._reach = 0
    alone = {c.id: c.text for request in asked for c in made.generate([request])}
    assert done == alone
    assert len(set(done.values())) >= 3
    if name == "MistralConfig":  # the only lively one with a short window
        made._loaded()._reach = sys.maxsize
        assert {c.id: c.text for c in made.generate(asked)} != done


def test_llama_is_decoded_by_the_own_loop_whatever_the_release(backend, requests, tiny_model, monkeypatch, caplog):
    """Transformers has renamed what `forward` takes before; this fails when the quick way is off."""
    made = backend(tiny_model, batch_size=4)
    with caplog.at_level(logging.INFO, "psyctl"):
        generator = made._loaded()
    monkeypatch.setattr(generator, "_generated", None)
    assert len(list(made.generate(requests(6)))) == 6
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("name", ["position_ids", "attention_mask", "logits_to_keep"])
def test_a_plain_model_that_is_not_decoded_here_is_said_once(
    backend, requests, answers, tiny_model, monkeypatch, caplog, name
):
    import inspect

    from transformers import LlamaForCausalLM

    real = inspect.signature(LlamaForCausalLM.forward)
    renamed = [p.replace(name=f"new_{p.name}") if p.name == name else p for p in real.parameters.values()]
    asked = requests(6)
    before = answers(tiny_model, asked)
    monkeypatch.setattr(LlamaForCausalLM.forward, "__signature__", real.replace(parameters=renamed), raising=False)
    made = backend(tiny_model, batch_size=4)
    with caplog.at_level(logging.WARNING, "psyctl"):
        done = [{c.id: (c.text, c.finish_reason) for c in made.generate(asked)} for _ in range(2)]
    assert done == [before, before]
    said = [record.message for record in caplog.records]
    assert len(said) == 1, said
    assert said[0].startswith(
        f"Decoding with Transformers' generate, which is slower: the model does not take {name} ("
    )


def test_rows_that_padding_changes_are_computed_one_at_a_time(backend, requests, tiny_model, monkeypatch, caplog):
    made = backend(tiny_model, batch_size=4)
    generator = made._loaded()
    generator._reach = 0
    run, sizes = generator._run, []

    def blind(prompts, *args):
        """The model's own way, but what is padded is seen."""
        sizes.append(len(prompts))
        width = max(map(len, prompts))
        return run([[5] * (width - len(prompt)) + list(prompt) for prompt in prompts], *args)

    monkeypatch.setattr(generator, "_run", blind)
    asked = requests(6)
    with caplog.at_level(logging.WARNING, "psyctl"):
        done = {c.id: c.text for c in made.generate(asked)}
    assert sizes == [2, 1, *[1] * (len(sizes) - 2)]
    assert "Computing one prompt at a time, which is slower: rows that are padded get other logits" in caplog.text
    assert done == {c.id: c.text for one in asked for c in backend(tiny_model).generate([one])}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("pad", ["<|endoftext|>", "<|im_end|>"])
def test_generate_pads_without_a_trace(backend, requests, tiny_model, temperature, pad):
    """A pad token that ends answers too must not be penalised in the rows that are padded with it."""
    made = backend(tiny_model, batch_size=8, repetition_penalty=1.5)
    made._loaded()._reach = 0
    made._loaded()._tokenizer.pad_token = pad
    asked = requests(8, temperature=temperature)
    alone = {c.id: c.text for one in asked for c in made.generate([one])}
    assert {c.id: c.text for c in made.generate(asked)} == alone
    made._loaded()._reach = sys.maxsize
    assert {c.id: c.text for c in made.generate(asked)} == alone


def test_a_layer_that_reads_anothers_keys_is_left_to_generate(backend, tiny_model, caplog, monkeypatch):
    model = backend(tiny_model)._loaded()._model
    monkeypatch.setattr(model.config, "num_kv_shared_layers", 1, raising=False)
    with caplog.at_level(logging.DEBUG, "psyctl"):
        assert decoding.reach(model) == 0
    assert "nothing of their own" in caplog.text


def test_layers_without_keys_and_values_are_left_to_generate(backend, tiny_model, caplog, monkeypatch):
    model = backend(tiny_model)._loaded()._model
    monkeypatch.setattr(model.config, "layer_types", ["linear_attention", "full_attention"], raising=False)
    with caplog.at_level(logging.DEBUG, "psyctl"):
        assert decoding.reach(model) == 0
    assert "something else than keys and values" in caplog.text


def test_positions_that_depend_on_the_rows_length_are_left_to_generate(backend, tiny_model, caplog, monkeypatch):
    model = backend(tiny_model)._loaded()._model
    rope = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    monkeypatch.setattr(model.config, "rope_parameters", rope)
    with caplog.at_level(logging.DEBUG, "psyctl"):
        assert decoding.reach(model) == 0
    assert "row's length" in caplog.text


def test_a_model_that_ignores_masks_is_left_to_generate(backend, tiny_model, caplog, monkeypatch):
    model = backend(tiny_model)._loaded()._model
    monkeypatch.setattr(decoding, "tree_mask", lambda packed, dtype: torch.zeros(1, 1, *[len(packed.ids)] * 2))
    with caplog.at_level(logging.DEBUG, "psyctl"):
        assert decoding.reach(model) == 0
    assert "get other logits than alone" in caplog.text


def test_generate_and_the_own_loop_answer_alike(backend, requests, answers, tiny_model):
    asked = requests(9)
    made = backend(tiny_model, batch_size=4)
    made._loaded()._reach = 0
    assert {c.id: (c.text, c.finish_reason) for c in made.generate(asked)} == answers(tiny_model, asked)


def test_an_unpacked_copy_answers_like_the_original(backend, requests, answers, tiny_model, tmp_path, monkeypatch):
    from psyctl_hf import unpacked

    generator = backend(tiny_model)._loaded()
    target = tmp_path / "deep" / "copy"
    unpacked.keep(target, generator._tokenizer, generator._model)
    assert answers(target, requests(5)) == answers(tiny_model, requests(5))
    assert [path.name for path in target.parent.iterdir()] == ["copy"]
    monkeypatch.setattr(unpacked, "MOST_BYTES", 10)
    unpacked.keep(tmp_path / "other", generator._tokenizer, generator._model)
    assert not (tmp_path / "other").exists()


DIGITS = tuple("0123456789")


def digits_asked(requests, count: int, prefill="Score=", choices=DIGITS):
    return [replace(r, prefill=prefill, choices=choices, stop=()) for r in requests(count, max_tokens=4)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_choices_are_weighed_against_each_other_in_one_pass_and_nothing_is_generated(
    backend, requests, tiny_model, dtype
):
    made = backend(tiny_model, dtype=dtype)
    generator = made._loaded()
    asked = digits_asked(requests, 11)
    assert generator.can_weigh(asked[0])
    done = {c.id: c for c in made.generate(iter(asked))}
    assert len(done) == len(asked)
    begun, tokens = generator._choice_tokens(asked[0])
    for request in asked:
        (ids,) = generator.encode([replace(request, prefill=begun)])
        for digit, token in zip(DIGITS, tokens, strict=True):
            assert generator._tokenizer.decode([*ids, token]).endswith(f"Score={digit}")
        logits = generator._model(input_ids=torch.tensor([ids])).logits[0, -1].float()
        expected = dict(zip(DIGITS, logits[tokens].softmax(-1).tolist(), strict=True))
        found = done[request.id]
        tolerance = 1e-4 if dtype == "float32" else 0.02
        assert found.metadata["choices"] == pytest.approx(expected, abs=tolerance)
        assert found.text == max(DIGITS, key=lambda digit: found.metadata["choices"][digit])
        assert found.completion_tokens == 0


def test_a_blank_and_a_choice_may_be_one_token_or_two(backend, requests, tiny_model):
    generator = backend(tiny_model)._loaded()
    vocabulary = generator._tokenizer.get_vocab()
    together = tuple(digit for digit in DIGITS if f"Ġ{digit}" in vocabulary)
    apart = tuple(digit for digit in DIGITS if digit not in together)
    assert together
    assert apart
    for choices, begun in ((together, "Score:"), (apart, "Score: ")):
        (request,) = digits_asked(requests, 1, "Score: ", choices)
        assert generator.can_weigh(request)
        assert generator._choice_tokens(request)[0] == begun
    (request,) = digits_asked(requests, 1, "Score: ")
    assert not generator.can_weigh(request)  # they could not be compared


def test_choices_of_several_tokens_are_answered_with_text(backend, requests, tiny_model):
    made = backend(tiny_model)
    asked = [replace(r, choices=("certainly not", "perhaps")) for r in requests(3, max_tokens=4)]
    done = list(made.generate(iter(asked)))
    assert len(done) == 3
    assert not any(c.metadata for c in done)
    assert all(c.completion_tokens for c in done)


def test_choices_and_answers_may_take_turns(backend, requests, answers, tiny_model):
    made = backend(tiny_model)
    plain = requests(6)
    mixed = [each for pair in zip(digits_asked(requests, 6), plain, strict=True) for each in pair]
    mixed = [replace(r, id=f"{r.id}:{len(r.choices)}") for r in mixed]
    done = {c.id: c for c in made.generate(iter(mixed))}
    assert len(done) == 12
    assert {i: done[f"{i}:0"].text for i in map(str, range(6))} == {
        i: t for i, (t, _) in answers(tiny_model, plain).items()
    }


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_continuation_is_as_likely_as_the_model_says_and_nothing_is_generated(backend, requests, tiny_model, dtype):
    made = backend(tiny_model, dtype=dtype)
    generator = made._loaded()
    texts = ["See you there.", "No.", "I would rather walk in the rain than wait."]
    asked = [replace(r, id=f"{r.id}:{n}", continuation=text) for r in requests(5) for n, text in enumerate(texts)]
    done = {c.id: c for c in made.generate(iter(asked))}
    assert len(done) == len(asked)
    for request in asked:
        (ids,) = generator.encode([replace(request, continuation="")])
        (whole,) = generator.encode([replace(request, prefill=request.prefill + request.continuation)])
        start = common(ids, whole)
        with torch.no_grad():
            logits = generator._model(input_ids=torch.tensor([whole])).logits[0].float().log_softmax(-1)
        expected = sum(float(logits[at - 1, whole[at]]) for at in range(start, len(whole)))
        found = done[request.id]
        assert found.metadata["logprob"] == pytest.approx(expected, rel=1e-4 if dtype == "float32" else 0.02)
        assert found.completion_tokens == len(whole) - start
        assert found.text == ""


def test_a_model_that_is_not_decoded_here_says_that_it_cannot_tell(backend, requests, tiny_model):
    made = backend(tiny_model)
    made._loaded()._reach = 0
    (done,) = made.generate(iter([replace(requests(1)[0], continuation="Yes.")]))
    assert done.finish_reason == "error"
    assert "cannot tell" in done.error
