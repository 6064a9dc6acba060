"""Thoughts and control tokens are taken out of what models write; ordinary brackets are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psyctl_core.markup import closing, cut_at_control, ends_thoughts, is_control, without_thoughts

SAID = "I would love to come."

PAIRS = [
    ("<think>", "</think>"),
    ("<Think>\n", "\n</Think>\n"),
    ("< think >", "</ think >"),
    ("<thinking>", "</thinking>"),
    ('<thinking effort="3">', "</thinking>"),
    ("<thought>", "</thought>"),
    ("<thoughts>", "</thoughts>"),
    ("<reasoning>", "</reasoning>"),
    ("<reflection>", "</reflection>"),
    ("<scratchpad>", "</scratchpad>"),
    ("<inner_monologue>", "</inner_monologue>"),
    ("<seed:think>", "</seed:think>"),
    ("<longcat_think>", "</longcat_think>"),
    ("&lt;think&gt;", "&lt;/think&gt;"),
    ("[THINK]", "[/THINK]"),
    ("[Start thinking]", "[End thinking]"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<unused94>thought", "<unused95>"),
    ("◁think▷", "◁/think▷"),
    ('<details type="reasoning" done="true">', "</details>"),
    ("Here is my thought process:\n", "\nHere is my response:\n"),
    ("Thinking Process:\n", "</think>"),
    ("Thinking Process:\n", "\n...done thinking.\n"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("<|start|>assistant<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final <|constrain|>text<|message|>"),
    ("analysisThe user asks, so ", "assistantfinal"),
]


@pytest.mark.parametrize(("opening", "closing"), PAIRS)
class TestThoughts:
    def test_in_front_are_removed(self, opening, closing):
        assert without_thoughts(f"{opening}They ask me.\n\nSo I go: a < b.{closing}{SAID}").strip() == SAID

    def test_without_an_end_are_all_there_is(self, opening, closing):
        del closing
        assert without_thoughts(f"{opening}They ask me, {SAID}").strip() == ""

    def test_that_the_prompt_had_begun_are_dropped_with_their_end(self, opening, closing):
        ordinary = opening.startswith("<details")  # the end of a fold may be anybody's
        assert (without_thoughts(f"They ask me.{closing}{SAID}").strip() == SAID) is not ordinary

    def test_with_nothing_in_them_leave_the_rest(self, opening, closing):
        assert without_thoughts(f"{opening}{closing}{SAID}").strip() == SAID


def test_thoughts_in_the_middle_and_more_than_once_are_removed():
    assert without_thoughts("<think>a</think>One. <thinking>b</thinking>Two.") == "One. Two."
    assert without_thoughts("One. <think>a") == "One. "
    assert without_thoughts("<think/>One.") == "One."


def test_thoughts_within_thoughts_end_with_the_last_end():
    assert without_thoughts("<think>a<think>b</think>c</think>d") == "d"
    assert without_thoughts("<think>\n<think>b</think>d") == "d"
    assert without_thoughts("<think>a</reasoning>b</think>c") == "c"


def test_only_the_first_final_channel_is_said():
    turns = "<|channel|>final<|message|>Yes.<|return|><|start|>user<|message|>And?<|end|><|start|>assistant"
    assert without_thoughts(f"{turns}<|channel|>final<|message|>No.<|return|>") == "Yes."
    assert without_thoughts("<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>") == ""
    assert without_thoughts("<|start|>assistant<|message|>Yes.<|end|>") == "Yes."
    assert without_thoughts("finalYes.") == "Yes."


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("<answer>", "</answer>"),
        ("<response>\n", "\n</response>\n"),
        ("<|begin_of_solution|>", "<|end_of_solution|>"),
        ("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
    ],
)
def test_what_wraps_the_answer_goes_with_the_thoughts(opening, closing):
    assert without_thoughts(f"<think>a</think>\n{opening}{SAID}{closing}").strip() == SAID
    assert without_thoughts(f"{opening}{SAID}").strip() == SAID


ORDINARY = [
    "I <3 you",
    "a < b and b > a",
    "[sighs] Fine.",
    "[thinking] Let me see.",
    "[INSTANT] noodles [pad] [Sep] [mask]",
    "<b>No</b>, <i>you</i> do it.",
    "I <s>hate</s> love it. <S>gone</S>",
    "<sigh> <laughs> <end>",
    "Think. I think so; on reflection, my reasoning and analysis hold.",
    "analysis is dull, and the final is on Sunday",
    "Finally! The assistant final is tomorrow.",
    "{character} {{user}} $x$ <|:-)",
    "x || y | z, |> and <| pipe",
    "<details><summary>more</summary>text</details>",
    "Here, my thought process: none. This is my response: no.",
    "(thinking) *thinks* -- _thought_",
    "if (a<bos) then; 3<eos",
    "비가 와요 <비> ｜ ▁ 🌧",
    "[/b][b] [1] [[x]]",
    "",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_survives(text):
    assert without_thoughts(text) == text
    assert cut_at_control(text) == text


@pytest.mark.parametrize(
    "token",
    [
        "<|eot_id|>", "<|im_end|>", "<|endoftext|>", "<|end|>", "<|return|>", "<|eom_id|>", "<|end_of_text|>",
        "<|user|>", "<|start_header_id|>user<|end_header_id|>", "<|im_start|>user\n", "<end_of_turn>",
        "<start_of_turn>user", "<end_of_utterance>", "</s>", "<s>", "<eos>", "<bos>", "<pad>", "<eoa>",
        "[INST] Hi [/INST]", "[/INST]", "<<SYS>>", "[TOOL_CALLS]", "[gMASK]", "[EOS]", "[SEP]", "[|endofturn|]",
        "[|user|]", "<turn|>", "<|turn>user", "<｜end▁of▁sentence｜>", "<｜User｜>", "<|end▁of▁sentence|>",
        "<seed:eos>",
        "<reserved_106>", "<unused7>", "<extra_id_0>", "<0x0A>", "<tool_call>{}", "<|END_OF_TURN_TOKEN|>",
        "<|reserved_special_token_3|>", "<|role_end|>", "<|im_end", "<|im_end|",
    ],
)  # fmt: skip
def test_the_text_is_cut_at_a_control_token(token):
    rest = "" if token in ("<|im_end", "<|im_end|") else "assistant and more"  # cut off together with the text
    assert cut_at_control(f"{SAID}{token}{rest}") == SAID
    assert cut_at_control(f"{SAID}\n{token}{rest}").rstrip() == SAID


@pytest.mark.parametrize(
    "begins",
    [
        "<s>", "<s> ", "<bos>", "<|begin_of_text|>", "<|im_start|>assistant\n", "<start_of_turn>model\n",
        "<|assistant|>", "<|begin_of_text|><|start_header_id|>assistant<|end_header_id|>\n\n", "<｜Assistant｜>",
        "[/INST] ", "[|assistant|]", "<|start|>assistant<|message|>", "<|turn>model\n",
        "<bos><start_of_turn>model\n",
    ],
)  # fmt: skip
def test_the_turns_own_beginning_is_stepped_over(begins):
    assert cut_at_control(f"{begins}{SAID}<|im_end|>").strip() == SAID


def test_a_turn_that_begins_with_its_end_says_nothing():
    assert cut_at_control("<|im_end|>\n<|im_start|>user\nHello") == ""


MARKS = st.sampled_from(
    [part for pair in PAIRS for part in pair] + ["<|im_end|>", "</s>", "<|", "<", "\n", " ", "a", "</details>"]
)


@given(st.lists(MARKS, max_size=12).map("".join))
def test_nothing_that_looks_like_a_mark_is_left(text):
    left = cut_at_control(without_thoughts(text))
    assert cut_at_control(left) == left
    for mark in ("<think>", "</think>", "[THINK]", "<|channel|>", "<|im_end|>", "</s>"):
        assert mark not in left


@pytest.mark.parametrize(
    "piece", ["<", "<think>", "</think>", "<s>", "<|channel|>", "<|a", "< " * 9, "&lt;", " ", "<details ", "[/INST]\n"]
)
def test_long_texts_are_read_once(piece):
    """Twice as long takes about twice as long; a quadratic pattern would not come back."""
    text = piece * (300_000 // len(piece))
    assert len(cut_at_control(without_thoughts(text))) <= len(text)


@pytest.mark.parametrize(("opening", "end"), PAIRS)
def test_thoughts_that_a_prompt_begins_can_be_closed(opening, end):
    if not opening.startswith(("&lt;", "< ", "[Start", "<details", "Thinking", "analysis")):  # no template writes these
        added = closing(f"<|end|>\n<|assistant|>\n{opening}")
        assert end.strip().split(" <|constrain|>")[0].lower() in added.lower()
        assert without_thoughts(f"{opening}{added}{SAID}").strip() == SAID
    assert closing(f"<|assistant|>{opening}{end}") == ""


def test_a_prompt_without_open_thoughts_needs_no_closing():
    assert closing("<|im_end|>\n<|im_start|>assistant\n") == ""
    assert closing("<|assistant|>\n<think>\n\n</think>\n\n") == ""
    assert closing("<think>\n</think><think>\n") == "\n</think>\n\n"
    assert closing("") == ""


def test_control_tokens_are_told_from_words_and_bytes():
    for token in (
        "<|im_end|>",
        "</s>",
        "<think>",
        "</think>",
        "[THINK]",
        "[/INST]",
        "<eos>",
        "<|channel|>",
        "<unused7>",
    ):
        assert is_control(token), token
    for token in ("<0x0A>", "Yes", " the", "<b>", "[sighs]", "\n\n", "  ", "<", "|", "...", "think", ""):
        assert not is_control(token), token
    assert ends_thoughts("</think>")
    assert ends_thoughts("[/THINK]")
    assert not ends_thoughts("<think>")
    assert not ends_thoughts("<|im_end|>")
    assert not ends_thoughts("")
