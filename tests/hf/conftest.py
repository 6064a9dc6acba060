"""A real, tiny, randomly weighted Llama with a chat template, made once for the session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from psyctl_core import ChatRequest, Context, Message
from psyctl_core.prompts import STOP

pytest.importorskip("transformers", reason="the extra 'hf' is not installed")

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SAMPLE = [
    'Robin: "Is this bus number 3?"\nKim: "Yes, it is. Get on, please."\n',
    "Kim is outgoing. Robin waits at the stop in the rain, under a large umbrella.\n",
    "You write what one person in a scene says next: one short line of speech and nothing else.\n",
]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that ``from_pretrained`` reads."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    bpe.train_from_iterator(SAMPLE * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>", additional_special_tokens=special
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, eos_token_id=tokenizer.eos_token_id, initializer_range=0.6,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def backend() -> Callable:
    """Makes a backend on the CPU in float32, unless told otherwise."""
    from psyctl_hf import HfConfig
    from psyctl_hf.backend import HfBackend

    def make(model, **options) -> HfBackend:
        return HfBackend(HfConfig(model=str(model), **{"dtype": "float32", "device": "cpu", **options}), Context())

    return make


@pytest.fixture
def requests() -> Callable:
    """Makes requests whose prompts have very different lengths, some of which begin alike."""

    def make(count: int, *, max_tokens: int = 16, temperature: float = 0.0) -> list[ChatRequest]:
        scene = "Robin waits at the stop in the rain. "
        return [
            ChatRequest(
                id=str(n),
                messages=(Message("system", "One line."), Message("user", scene * (n % 5 + 1) + f"Bus {n}?")),
                prefill='Kim: "',
                stop=STOP,
                max_tokens=max_tokens,
                temperature=temperature,
                seed=n,
            )
            for n in range(count)
        ]

    return make


@pytest.fixture
def answers(backend) -> Callable:
    """Asks a new backend, and returns text and finish reason by request."""

    def ask(model, asked, **options) -> dict[str, tuple[str, str]]:
        return {c.id: (c.text, c.finish_reason) for c in backend(model, **options).generate(asked)}

    return ask
