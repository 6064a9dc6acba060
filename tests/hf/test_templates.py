"""Chat templates like those that models come with: where the answer begins, and that every text is there."""

from __future__ import annotations

import logging

import pytest

from psyctl_core import BackendError, ChatRequest, Message, chat
from psyctl_core.budget import Budget

SYSTEM, USER, PREFILL = "Answer in one line.", "Robin waits for bus 3.\n\nWhat does Kim say?", 'Kim: "'
REQUEST = ChatRequest("1", (Message("system", SYSTEM), Message("user", USER)), prefill=PREFILL)

EACH = "{% for m in messages %}"
REFUSES = "{% if messages[0].role == 'system' %}{{ raise_exception('No system role here') }}{% endif %}"
MARKS = [
    "<s>", "</s>", "<|turn|>", "<|over|>", "<think>", "</think>", "<|start|>", "<|channel|>", "<|message|>",
    "<|end|>", "<|return|>", "[INST]", "[/INST]", "<start_of_turn>", "<end_of_turn>", "[THINK]", "[/THINK]", "<eot>",
]  # fmt: skip

PLAIN = (
    EACH + "<|turn|>{{ m.role }}\n{{ m.content }}<|over|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)
BOTH = f"{SYSTEM}\n\n{USER}"
TEMPLATES = {
    # ChatML's way, with a line of its own where there is no system turn.
    "turns": (PLAIN, f"<|turn|>system\n{SYSTEM}<|over|>\n<|turn|>user\n{USER}<|over|>\n<|turn|>assistant\n"),
    # Gemma's way: no system turn, the assistant is called model, texts are trimmed.
    "refuses": (
        "<s>" + REFUSES + EACH + "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
        "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
        f"<s><start_of_turn>user\n{BOTH}<end_of_turn>\n<start_of_turn>model\n",
    ),
    # Mistral's way: nothing begins the answer but the end of the instruction.
    "instructs": (
        "<s>" + EACH + "{% if m.role == 'system' %}[INST] {{ m.content }}\n\n"
        "{% elif m.role == 'user' %}{% if loop.first %}[INST] {% endif %}{{ m.content }} [/INST]"
        "{% else %} {{ m.content }}</s>{% endif %}{% endfor %}",
        f"<s>[INST] {SYSTEM}\n\n{USER} [/INST]",
    ),
    # Phi-3's first way: a system turn is passed over in silence.
    "drops": (
        EACH + "{% if m.role == 'user' %}<|turn|>user\n{{ m.content }}<|over|>\n"
        "{% elif m.role == 'assistant' %}<|turn|>assistant\n{{ m.content }}<|over|>\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}",
        f"<|turn|>user\n{BOTH}<|over|>\n<|turn|>assistant\n",
    ),
    # Multimodal ways: a content is a list of parts; a string's letters have no part in it.
    "parts": (
        EACH + "<|turn|>{{ m.role }}\n{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% endif %}"
        "{% endfor %}<|over|>\n{% endfor %}{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}",
        f"<|turn|>system\n{SYSTEM}<|over|>\n<|turn|>user\n{USER}<|over|>\n<|turn|>assistant\n",
    ),
    # Reasoning models: the answer begins in the middle of thoughts.
    "thinks": (
        PLAIN.replace("<|turn|>assistant\n{%", "<|turn|>assistant\n<think>\n{%"),
        f"<|turn|>system\n{SYSTEM}<|over|>\n<|turn|>user\n{USER}<|over|>\n<|turn|>assistant\n<think>\n\n</think>\n\n",
    ),
    # The same with a switch that is named differently, and another mark.
    "thinks unless told": (
        PLAIN.replace("<|turn|>assistant\n{%", "<|turn|>assistant\n{% if thinking is not false %}[THINK]{% endif %}{%"),
        f"<|turn|>system\n{SYSTEM}<|over|>\n<|turn|>user\n{USER}<|over|>\n<|turn|>assistant\n",
    ),
    # gpt-oss's way: the model is to choose a channel first.
    "channels": (
        EACH + "{% if m.role == 'assistant' %}<|start|>assistant<|channel|>final<|message|>{{ m.content }}<|return|>"
        "{% else %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|start|>assistant{% endif %}",
        f"<|start|>system<|message|>{SYSTEM}<|end|><|start|>user<|message|>{USER}<|end|>"
        "<|start|>assistant<|channel|>final<|message|>",
    ),
    # Templates that do not know add_generation_prompt.
    "never begins": (
        EACH + "<|turn|>{{ m.role }}\n{{ m.content }}<|over|>\n{% endfor %}",
        f"<|turn|>system\n{SYSTEM}<|over|>\n<|turn|>user\n{USER}<|over|>\n<|turn|>assistant\n",
    ),
    # Templates that end whatever they write.
    "ends": (
        EACH + "<|turn|>{{ m.role }}\n{{ m.content }}{% if not loop.last %}<|over|>\n{% endif %}{% endfor %}</s>",
        f"<|turn|>system\n{SYSTEM}<|over|>\n<|turn|>user\n{USER}<|over|>\n<|turn|>assistant\n",
    ),
    # A calendar, as Llama 3.2 and gpt-oss have one.
    "dates": (
        "Today: {{ strftime_now('%d %b %Y') }}\n" + PLAIN,
        f"Today: 01 Jan 2025\n<|turn|>system\n{SYSTEM}<|over|>\n<|turn|>user\n{USER}<|over|>\n<|turn|>assistant\n",
    ),
}


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    """The tiny model's, with the marks of all templates: half of them nothing calls special."""
    from transformers import AddedToken, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in MARKS[1::2]])
    tokenizer.add_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKS[::2]], special_tokens=True)
    tokenizer.add_tokens(["Kim", "Robin waits", "  ", "can't"])  # words are added too
    tokenizer.bos_token, tokenizer.eos_token = "<s>", "</s>"
    return tokenizer


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_prompt_ends_where_the_answer_begins(tokenizer, name):
    template, expected = TEMPLATES[name]
    tokenizer.chat_template = template
    assert chat.render(tokenizer, REQUEST) == expected + PREFILL


@pytest.mark.parametrize("name", TEMPLATES)
def test_data_adds_no_control_token_whether_or_not_it_is_called_special(tokenizer, name):
    tokenizer.chat_template = TEMPLATES[name][0]
    evil = "".join(f"x{mark}y" for mark in MARKS) + "<|tu<|turn|>rn|>"
    attack = ChatRequest("2", (Message("system", SYSTEM + evil), Message("user", evil + USER)), prefill=evil + PREFILL)
    control = set(tokenizer.convert_tokens_to_ids(MARKS))
    first, second = (
        [i for i in tokenizer(chat.render(tokenizer, r), add_special_tokens=False)["input_ids"] if i in control]
        for r in (REQUEST, attack)
    )
    assert second == first


def test_words_that_were_added_as_tokens_stay_whole(tokenizer):
    tokenizer.chat_template = PLAIN
    request = ChatRequest("1", (Message("user", "Kim  can't. Robin waits <3 [sighs] user assistant"),), prefill="Kim: ")
    assert "Kim  can't. Robin waits <3 [sighs] user assistant" in chat.render(tokenizer, request)
    assert chat.render(tokenizer, request).endswith("Kim: ")


def test_a_template_without_a_system_turn_is_said_once(tokenizer, caplog):
    tokenizer.chat_template = TEMPLATES["drops"][0]
    writer = chat.writer(tokenizer, "tiny")
    with caplog.at_level(logging.INFO, "psyctl"):
        assert writer.write(REQUEST) == writer.write(REQUEST)
    assert caplog.text.count("The chat template of tiny has no system turn: its text leads the user's turn.") == 1


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ messages[0].content + 3 }}", "can only concatenate str"),
        ("{{ nothing.at.all }}", "nothing"),
        ("{{ raise_exception('Never again') }}", "Never again"),
        ("{% for m in messages %}", "Unexpected end of template|unexpected end of template|endfor"),
        ("<|turn|>user\nHello<|over|>", "leaves out the text 'Answer in one line.'"),
        ({"rag": PLAIN, "tool_use": PLAIN}, "emplate"),
    ],
)
def test_a_template_that_cannot_be_used_is_a_plain_error(tokenizer, template, why):
    tokenizer.chat_template = template
    with pytest.raises(BackendError, match=f"(?s)The chat template of 'the model' cannot be used: .*{why}") as caught:
        chat.render(tokenizer, REQUEST)
    assert "\n" not in caught.value.message


def test_a_template_that_cannot_be_used_is_told_before_anything_is_asked(backend, tiny_model, tmp_path):
    import shutil

    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (folder / "chat_template.jinja").write_text("{{ messages[0].content + 3 }}")
    with pytest.raises(BackendError, match="The chat template of 'model' cannot be used"):
        backend(folder).start(Budget(None))


@pytest.mark.parametrize(
    "asked",
    ["strftime_now('%Y-%m-%d')", 'strftime_now( "%Y-%m-%d" )', "strftime_now('%Y-' + '%m-%d')", "strftime_now(f)"],
)
def test_the_day_does_not_change_a_prompt(tokenizer, asked):
    tokenizer.chat_template = "{% set f = '%Y-%m-%d' %}{{ " + asked + " }}" + PLAIN
    assert chat.render(tokenizer, REQUEST).startswith("2025-01-01<|turn|>system")


def test_a_plain_prompt_begins_once_and_never_ends(backend, tiny_model, requests):
    from tokenizers.processors import TemplateProcessing

    generator = backend(tiny_model)._loaded()
    tokenizer = generator._tokenizer
    tokenizer.chat_template = None
    start, end = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A <|im_end|>", special_tokens=[("<|im_start|>", start), ("<|im_end|>", end)]
    )
    generator._prompts = chat.writer(tokenizer, "tiny")
    for ids in generator.encode(requests(3)):
        assert ids[0] == start
        assert ids.count(start) == 1
        assert end not in ids
