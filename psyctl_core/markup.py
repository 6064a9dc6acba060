"""Takes out of a model's text what was never meant to be read: its thoughts, and the tokens that steer it.

The markers are those that models were trained to write, as their model cards and chat templates show them. Every
function reads its text once, from front to back: the time it takes grows with the text's length and no faster.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_WORD = r"(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|analysis|scratchpad|inner[_ ]monologue|cot)"
_TAG = r"(?:<|&lt;)\s*{}(?:\w{{1,16}}[:_])?" + _WORD  # also with a prefix or escaped: <seed:think>, &lt;think&gt;
_TAG_END = r"\s*(?:>|&gt;)"


def _any(*patterns: str) -> str:
    return "(?:" + "|".join(patterns) + ")"


_OPEN = _any(
    _TAG.format("") + r"(?:\s[^<>\n]{0,80})?" + _TAG_END,  # <think>, <thinking time="3">
    r"<\|(?:(?:begin|start)_(?:of_)?)?" + _WORD + r"\|>",  # <|begin_of_thought|>, <|START_THINKING|>
    r"<\|inner_prefix\|>|<unused94>|<\|channel>\s*thought|◁think▷",  # Apertus, MedGemma, Gemma 4, Kimi-VL
    r"(?-i:\[THINK(?:ING)?\])|\[start thinking\]",  # Magistral, llama.cpp; "[thinking]" is a stage direction
    r"<details\s[^<>\n]{0,80}reasoning[^<>\n]{0,80}>",  # Open WebUI
    r"^here(?: is|'s) my thought process:|^thinking process:[ \t]*$",  # Granite, Qwen
)
_CLOSE = _any(
    _TAG.format(r"/\s*") + _TAG_END,
    r"<\|(?:/|end_(?:of_)?)" + _WORD + r"\|>",
    r"<\|inner_suffix\|>|<unused95>|<channel\|>|◁/think▷",
    r"\[/think(?:ing)?\]|\[end thinking\]",
    r"^here(?: is|'s) my response:|^\.\.\.done thinking\.?",  # Granite, Ollama
)
_EMPTY = _TAG.format("") + r"\s*/" + _TAG_END
_THOUGHTS = re.compile(
    rf"(?P<empty>{_EMPTY})|(?P<close>{_CLOSE})|(?P<fold></details>)|(?P<open>{_OPEN})", re.IGNORECASE | re.MULTILINE
)

# Around what follows the thoughts: <answer>…</answer>, <|START_RESPONSE|>…<|END_RESPONSE|>, <|begin_of_solution|>…
_ANSWER = r"(?:<(?:{0})(?:answer|response|final|solution|output)>|<\|(?:{1})(?:answer|response|solution|text)\|>)"
_ANSWER_BEGINS = re.compile(r"\A\s*" + _ANSWER.format("", "(?:begin|start)_(?:of_)?"), re.IGNORECASE)
_ANSWER_ENDS = re.compile(_ANSWER.format("/", "end_(?:of_)?"), re.IGNORECASE)

# OpenAI's harmony format: https://cookbook.openai.com/articles/openai-harmony
_HARMONY = re.compile(r"<\|(start|channel|message|constrain|end|return|call)\|>")
_BARE_HARMONY = re.compile(r"\A\s*(?:assistant)?(?:analysis|commentary)(?=[A-Z\"'“*(])")
_BARE_FINAL = re.compile(r"\A\s*(?:assistant)?final(?=[A-Z\"'“*(])")


def without_thoughts(text: str) -> str:
    """The text without the thoughts in it, whichever model's marks stand around them.

    Thoughts that nothing ends are all there is: the rest of the text is dropped. Where thoughts end that nothing
    began (the prompt had begun them), everything before is dropped. Of harmony's channels the final one is kept.

    Args:
        text: What a model wrote, special tokens included or not.

    Returns:
        What it said, as it stands there; empty where it only thought.
    """
    text = _without_tagged(_final_channel(text))
    if begins := _ANSWER_BEGINS.match(text):
        text = text[begins.end() :]
        ends = _ANSWER_ENDS.search(text)
        text = text[: ends.start()] if ends else text
    return text


def _without_tagged(text: str) -> str:
    kept: list[str] = []
    thinking = False
    at = 0
    for found in _THOUGHTS.finditer(text):
        if not thinking and found["fold"]:
            continue  # the end of an ordinary fold
        if not thinking:
            kept.append(text[at : found.start()])
        if not thinking and found["close"]:
            kept.clear()
        thinking = bool(found["open"]) or (thinking and bool(found["empty"]))
        at = found.end()
    return "".join(kept) + ("" if thinking else text[at:])


def _final_channel(text: str) -> str:
    """Harmony text reduced to its final channel; other text as it is."""
    if "<|channel|>" in text or "<|message|>" in text:
        return next((said for channel, said in _harmony(text) if channel in ("final", "")), "")
    _, bare, final = text.rpartition("assistantfinal")  # a server that left the tokens out, and not the names
    if bare:
        return final
    if _BARE_HARMONY.match(text):
        return ""
    return _BARE_FINAL.sub("", text, count=1)


def _harmony(text: str) -> Iterator[tuple[str, str]]:
    """The channel and the words of each of the assistant's messages; what stands before the first is nobody's."""
    role, channel = "assistant", ""
    marks = list(_HARMONY.finditer(text))
    for mark, until in zip(marks, [*(m.start() for m in marks[1:]), len(text)], strict=True):
        words = text[mark.end() : until]
        if mark[1] == "start":
            role, channel = words.strip(), ""
        elif mark[1] == "channel":
            channel = (words.split() or ["?"])[0].lower()
        elif mark[1] == "message" and role.startswith("assistant"):
            yield channel, words


_NAMES = "bos|eos|pad|unk|mask|eod|eop|sop|eoa|eoh|eot|eom"
_CAPITALS = "/?INST|/?SYSTEM_PROMPT|/?AVAILABLE_TOOLS|TOOL_CALLS|gMASK|PAD|UNK|CLS|SEP|BOS|EOS"
_CONTROL = re.compile(
    _any(
        r"<\|[^|<>\s][^|<>\n]{0,38}\|>",  # <|eot_id|>, <|im_end|>, <|user|>
        r"<｜[^｜<>\n]{1,40}｜>",  # DeepSeek's, with full-width bars
        r"\[\|[a-z_]{1,24}\|\]",  # EXAONE's [|endofturn|]
        r"<(?:start|end|begin|beginning)_of_[a-z_]{1,24}>",  # <end_of_turn>
        r"<\|(?:turn|channel|tool_call|tool_response|tool)>|<(?:turn|channel|tool_call|tool_response|tool)\|>",
        rf"</?(?:{_NAMES})>|<seed:\w{{2,24}}>|<(?:extra_id|reserved|unused)_?\d{{1,5}}>|<0x[0-9a-f]{{2}}>",
        r"(?P<struck><s>[^<>\n]{1,80}</s>)|</?s>",
        rf"(?-i:\[(?:{_CAPITALS})\])|<</?SYS>>|</?tool_call>",
        r"<\|\w{2,38}\|?\Z",  # one that was cut off with the text
    ),
    re.IGNORECASE,
)
_TURN_BEGINS = _any(
    r"<s>|<bos>|<\|begin_of_text\|>|<\|startoftext\|>|<｜begin▁of▁sentence｜>|<seed:bos>|\[gMASK\]|<sop>",
    r"<\|(?:im_start|start|start_of_role)\|>\s*(?:assistant|model)\s*(?:<\|end_of_role\|>|<\|message\|>)?",
    r"<\|(?:start_header_id|header_start)\|>\s*assistant\s*<\|(?:end_header_id|header_end)\|>",
    r"(?:<start_of_turn>|<\|turn>)\s*model\b",
    r"<\|(?:assistant|bot|start_response|start_text)\|>|<｜Assistant｜>|\[\|assistant\|\]|\[/INST\]",
)
_BEGINS = re.compile(rf"\A(?:\s*{_TURN_BEGINS})+", re.IGNORECASE)


def cut_at_control(text: str) -> str:
    """The text up to the first control token written out in it: what comes after is another turn, or nothing.

    A beginning of the assistant's own turn at the very start is stepped over. Ordinary angle and square brackets
    (``<3``, ``a < b``, ``[sighs]``, ``<b>``, ``<s>struck out</s>``) are left alone.

    Args:
        text: What a model wrote, thoughts already taken out.
    """
    text = _BEGINS.sub("", text, count=1)
    for found in _CONTROL.finditer(text):
        if not found["struck"]:
            return text[: found.start()]
    return text


def is_control(token: str) -> bool:
    """Whether a token's text is one that steers a model, and no word or byte of an answer."""
    if re.fullmatch(r"<0x[0-9a-fA-F]{2}>", token):
        return False
    return cut_at_control(token) != token or without_thoughts(token) != token


def ends_thoughts(token: str) -> bool:
    """Whether a token's text ends thoughts, so that what stands before it was thought and not said."""
    found = _THOUGHTS.fullmatch(token.strip())
    return bool(found and found["close"])


_CLOSING = (
    (r"<((?:\w{1,16}[:_])?" + _WORD + r")\b[^<>]*>", r"</\1>"),
    (r"<\|begin_of_(\w+)\|>", r"<|end_of_\1|>"),
    (r"<\|START_(\w+)\|>", r"<|END_\1|>"),
    (r"<\|inner_prefix\|>", "<|inner_suffix|>"),
    (r"<unused94>", "<unused95>"),
    (r"<\|channel>\s*thought", "<channel|>"),
    (r"◁think▷", "◁/think▷"),
    (r"\[(THINK(?:ING)?)\]", r"[/\1]"),
    (r"here(?: is|'s) my thought process:", "Here is my response:"),
)
_IN_ANALYSIS = re.compile(r"<\|channel\|>(?:analysis|commentary)<\|message\|>(?!.*<\|(?:end|start)\|>)", re.DOTALL)


def closing(text: str) -> str:
    """What must be written behind a prompt's end so that no thoughts are open there; nothing where none are.

    Args:
        text: What a chat template wrote behind the last message.
    """
    if _IN_ANALYSIS.search(text):
        return "<|end|><|start|>assistant<|channel|>final<|message|>"
    marks = [found for found in _THOUGHTS.finditer(text) if not found["empty"]]
    if not marks or not marks[-1]["open"]:
        return ""
    opening = marks[-1].group()
    end = next((m.expand(end) for form, end in _CLOSING if (m := re.fullmatch(form, opening, re.IGNORECASE))), "")
    if not end.startswith("</"):
        return end
    return f"\n{end}\n\n" if text.endswith("\n") else f"\n\n{end}\n\n"
