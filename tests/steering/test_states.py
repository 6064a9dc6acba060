"""States over both answers of each pair: against a plain script, and what stops a reading."""

from __future__ import annotations

import dataclasses
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the extra 'hf' is not installed")

from psyctl_core import BackendError, ChatRequest, Message, OutputError, UsageError  # noqa: E402
from psyctl_core.records import prompt_of  # noqa: E402
from psyctl_steering import states  # noqa: E402
from psyctl_steering.choices import POSITIONS  # noqa: E402
from psyctl_steering.states import Differences, read, readings_of  # noqa: E402

BLOCKS = ["model.layers[0]", "model.layers[1]"]


def plain(lent, prompt, answer, place):
    """The states of one answer behind each block, its text run alone; written anew, so that a mistake shows."""
    turns = [{"role": "user", "content": prompt}]
    before = lent.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    start = len(lent.tokenizer(before, add_special_tokens=False)["input_ids"])
    ids = lent.tokenizer(before + answer, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        hidden = []
        hooks = [block.register_forward_hook(lambda m, i, o: hidden.append(o)) for block in lent.model.model.layers]
        lent.model(ids)
        for hook in hooks:
            hook.remove()
    found = [each if isinstance(each, torch.Tensor) else each[0] for each in hidden]
    return torch.stack([each[0, start:].mean(0) if place == "answer-mean" else each[0, -1] for each in found])


def differences_of(lent, records, position, **options):
    with read(lent, records, position=position, **options) as found:
        return torch.stack([found.at(layer) for layer in found.layers]), found.norms


@pytest.mark.parametrize("position", ["answer-mean", "answer-last"])
def test_answers_are_read_as_a_plain_script_reads_them(lent, records, position):
    found, _ = differences_of(lent, records, position)
    for number, record in enumerate(records):
        asked = prompt_of(record)
        expected = plain(lent, asked, record.positive_text, position) - plain(
            lent, asked, record.neutral_text, position
        )
        assert torch.allclose(found[:, number], expected, atol=1e-4)


def test_a_choice_is_read_at_its_digit_in_both_orders(lent, records):
    found, _ = differences_of(lent, records, "choice")
    for number, record in enumerate(records):
        one, two = record.positive_text, record.neutral_text
        expected = 0
        for first, second in ((one, two), (two, one)):
            question = record.question.partition("\n1. ")[0] + f"\n1. {first}\n2. {second}\n[Answer]"
            digits = [plain(lent, question, text, "answer-last") for text in ("(1", "(2")]
            expected = expected + (digits[0] - digits[1]) * (0.5 if first == one else -0.5)
        assert torch.allclose(found[:, number], expected, atol=1e-4)


def test_the_order_in_which_a_record_has_its_answers_is_nothing_to_a_choice(lent, records):
    def swapped(record):
        other = {"(1": "(2", "(2": "(1"}
        return dataclasses.replace(
            record, question=states._swapped(record), positive=other[record.positive], neutral=other[record.neutral]
        )

    as_it_is, _ = differences_of(lent, records, "choice")
    turned, _ = differences_of(lent, [swapped(record) for record in records], "choice")
    assert torch.allclose(as_it_is, turned, atol=1e-5)


@pytest.mark.parametrize("position", POSITIONS)
def test_what_is_computed_together_changes_nothing(lent, records, position, monkeypatch):
    whole, norms = differences_of(lent, records, position)
    monkeypatch.setattr(states, "WINDOW", 5)
    for batch_size in (1, 3, 64):
        parted, other = differences_of(lent, records, position, batch_size=batch_size)
        assert torch.allclose(whole, parted, atol=1e-3)
        assert norms == pytest.approx(other, rel=1e-4)


def test_norms_are_the_median_of_what_was_read(lent, records):
    _, norms = differences_of(lent, records, "answer-last")
    texts = [(prompt_of(r), text) for r in records for text in (r.positive_text, r.neutral_text)]
    each = torch.stack([plain(lent, prompt, text, "answer-last").norm(dim=-1) for prompt, text in texts])
    assert list(norms.values()) == pytest.approx(each.median(0).values.tolist(), rel=1e-4)


def test_layers_are_named_as_users_of_other_tools_name_them(lent, records):
    for patterns, expected in (
        (["model.layers[*]"], BLOCKS),
        (["model.layers.1", "0"], BLOCKS),
        (["-1"], BLOCKS[1:]),
        (["model.layers[*].mlp.down_proj"], [f"{block}.mlp.down_proj" for block in BLOCKS]),
        (["model.layers[1].self_attn"], ["model.layers[1].self_attn"]),
    ):
        with read(lent, records[:2], patterns) as found:
            assert list(found.layers) == expected


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        ("model.layer[0]", "no layer 'model.layer\\[0\\]'.*model.layers\\[0\\]"),
        ("7", "no block 7: the model has 2"),
        ("model.layers[0].mlp.gate_proj", "not put out a state of 32 numbers for each token"),
        ("model.rotary_emb", "not put out a state of 32 numbers"),
        ("lm_head", "no layer|not put out|does not compute"),
    ],
)
def test_a_layer_that_cannot_be_read_is_one_line(lent, records, layer, says):
    with pytest.raises(UsageError) as error:
        read(lent, records, [layer])
    assert re.search(says, f"{error.value.message} {error.value.hint}")


def test_no_such_position(lent, records):
    with pytest.raises(UsageError, match="no position 'last'"):
        read(lent, records, position="last")


def test_a_tokenizer_that_merges_the_digit_is_said(lent, records):
    def merged(requests):
        return [[*ids[:-2], sum(ids[-2:]) % 200] for ids in lent.encode(requests)]

    with pytest.raises(UsageError, match="does not keep the digit of a choice apart") as error:
        read(dataclasses.replace(lent, encode=merged), records, position="choice")
    assert "--position answer-mean" in error.value.hint


def test_a_token_that_prompt_and_answer_share_belongs_to_the_answer(lent, records):
    def merging(requests):
        """The prompt's last token and the answer's first become one."""
        return [
            ids if not each.prefill else [*bare[:-1], 7, *ids[len(bare) + 1 :]]
            for ids, bare, each in zip(
                lent.encode(requests),
                lent.encode([dataclasses.replace(each, prefill="") for each in requests]),
                requests,
                strict=True,
            )
        ]

    (bare,) = lent.encode([ChatRequest("", (Message("user", prompt_of(records[0])),))])
    (readings, *_) = readings_of(dataclasses.replace(lent, encode=merging), records, "answer-mean")
    assert {each.start for each in readings} == {len(bare) - 1}


def test_pairs_beyond_the_window_are_left_out_and_told_once(lent, records, caplog):
    lengths = [max(len(each.ids) for each in readings) for readings in readings_of(lent, records, "answer-mean")]
    narrow = dataclasses.replace(lent, longest=sorted(lengths)[8])
    fit = [record for record, length in zip(records, lengths, strict=True) if length <= narrow.longest]
    with caplog.at_level(logging.WARNING, "psyctl"), read(narrow, records) as found:
        assert found.records == fit
        with read(lent, fit) as expected:
            assert torch.allclose(found.at(BLOCKS[0]), expected.at(BLOCKS[0]), atol=1e-4)
    (line,) = caplog.messages
    assert line.startswith(f"Left out are {12 - len(fit)} of 12 pairs")


def test_what_is_no_number_is_named_with_its_layer_and_pair(own, records):
    with torch.no_grad():
        own.model.model.layers[1].mlp.down_proj.weight[3, 3] = float("nan")
    with pytest.raises(BackendError, match=r"no number at model\.layers\[1\] for pair 's\d+', in float32"):
        read(own, records)


def test_where_memory_runs_out_half_as_many_are_computed_together(lent, records, monkeypatch, caplog):
    whole, _ = differences_of(lent, records, "answer-mean")
    tried, freed = [], []
    monkeypatch.setattr(states.gc, "collect", lambda: freed.append(tried[-1]))  # that takes a third of a second

    def scarce(model, pairs, layers):
        tried.append(len(pairs))
        if len(pairs) > most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return compute(model, pairs, layers)

    compute, most = states.compute, 3
    monkeypatch.setattr(states, "compute", scarce)
    with caplog.at_level(logging.WARNING, "psyctl"):
        assert torch.allclose(whole, differences_of(lent, records, "answer-mean")[0], atol=1e-4)
    assert tried == [12, 6, 3, 3, 3, 3]
    assert freed == [12, 6]
    assert caplog.messages[-1] == "Out of memory with 6 pairs at once: going on with 3."
    most = 0
    with pytest.raises(BackendError, match="not even the two answers of one pair"):
        read(lent, records)
    monkeypatch.setattr(states, "compute", lambda *_: (_ for _ in ()).throw(RuntimeError("another")))
    with pytest.raises(RuntimeError, match="another"):
        read(lent, records)


def test_the_model_is_left_as_it_was(own, records):
    own.model.model.layers[0].train()
    before = [module.training for module in own.model.modules()]
    with read(own, records[:2]) as found:
        assert len(found) == 2
    assert [module.training for module in own.model.modules()] == before
    assert not any(module._forward_hooks for module in own.model.modules())


def test_progress_tells_of_every_pair(lent, records, monkeypatch):
    monkeypatch.setattr(states, "WINDOW", 5)
    told = []
    with read(lent, records, batch_size=4, progress=lambda *each: told.append(each)) as found:
        assert told[-1] == (12, 12, found.tokens)
    assert [done for done, _, _ in told] == [2, 4, 5, 7, 9, 10, 12]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is full")
def test_a_full_disk_is_one_line():
    with Differences(["a"], 4, 2) as found:
        found._file.close()
        found._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
        with pytest.raises(OutputError, match=r"2 pairs at 1 layer need 0\.0 GiB") as error:
            found.put(0, torch.zeros(1, 4))
    assert "TMPDIR" in error.value.hint


MEMORY = """
import resource, torch
from psyctl_steering.directions import coherence, mean_of
from psyctl_steering.states import Differences

def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def filled(pairs):
    with Differences(["a", "b"], 2048, pairs) as found:
        for n in range(pairs):
            found.put(n, torch.full((2, 2048), float(n)))
            found.records.append(None)
        coherence(lambda: found.chunks("b"))
        return found.mean("b")[0].item()

assert filled(2048) == 2047 / 2
before = most()
assert filled(16384) == 16383 / 2  # 256 MiB
print(most() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="maxrss is in other units elsewhere")
def test_memory_does_not_grow_with_the_pairs():
    ended = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert float(ended.stdout) < 40, "MiB, of the 256 that were written"
