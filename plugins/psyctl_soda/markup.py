"""What stands in texts for machines: reasoning, chat templates' tokens, placeholders, marks of images and sounds.

Where the marks come from: reasoning tags as DeepSeek-R1, QwQ and others write them; control tokens of the chat
templates on the Hugging Face Hub; ``{{user}}`` and ``{{char}}`` of SillyTavern's cards, ``<USER>`` and ``<BOT>``
of Pygmalion's data; ``<image>`` of LLaVA's.
"""

from __future__ import annotations

import re

_NAMES = (
    "think", "thinking", "thought", "thoughts", "reasoning", "reason", "reflection", "scratchpad", "analysis",
    "inner_monologue", "antthinking", "seed:think",
)  # fmt: skip
_ENDS = {f"<{name}>": f"</{name}>" for name in _NAMES} | {
    "<|begin_of_thought|>": "<|end_of_thought|>", "<|start_thinking|>": "<|end_thinking|>", "[think]": "[/think]",
    "◁think▷": "◁/think▷", "<|channel|>analysis": "<|end|>", "<|channel|>commentary": "<|end|>",
}  # fmt: skip
"""What ends a thought, by what begins one; both are compared in small letters."""

_BEGINS = re.compile("|".join(map(re.escape, _ENDS)), re.IGNORECASE)
_STRAY_END = re.compile(
    "|".join(re.escape(end) for end in dict.fromkeys(_ENDS.values()) if end != "<|end|>"), re.IGNORECASE
)
_ANSWER_TAG = re.compile(
    r"</?(?:answer|response|output|final|final_answer)>|<\|(?:begin|end)_of_solution\|>|<\|channel\|>final<\|message\|>",
    re.IGNORECASE,
)

_TOKEN = re.compile(
    r"<\|(?:im_start|im_end|endoftext|end|eot_id|eom_id|begin_of_text|end_of_text|start_header_id|end_header_id|"
    r"user|assistant|system|eos|bos|pad|end_of_turn|start_of_turn|message|return|start|eot|sep|endofturn|"
    r"START_OF_TURN_TOKEN|END_OF_TURN_TOKEN|USER_TOKEN|CHATBOT_TOKEN|SYSTEM_TOKEN)\|>"
    r"|<(?:end_of_turn|start_of_turn|bos|eos|pad|unk)>|</?s>(?=\s|\Z|\[|<)|\[/?INST\]|<</?SYS>>|<EOS_TOKEN>|\[EOS\]"
    r"|<end_of_utterance>|<START>|<｜(?:User|Assistant|begin▁of▁sentence|end▁of▁sentence)｜>"
)

_MEDIA = re.compile(
    r"<\|?/?(?:image|images|audio|video|speech|sound)(?:_?(?:\d+|pad|placeholder|start|end|soft_token))?\|?>"
    r"|<(?:ImageHere|image_soft_token|AudioHere|VideoHere)>|<\|vision_start\|>|<Img>[^<]{0,500}</Img>|\[(?:IMAGE|AUDIO|VIDEO)\]",
)
_OMITTED = re.compile(
    r"[\u200e\u200f]?\W{0,2}(?:media|image|video|audio|sticker|gif|document|photo|voice message|contact card)"
    r"(?: file)? omitted\W{0,2}|<attached: [^<>]*>|<file_\w+>|<(?:photo|gif|video|voice|sticker)>"
    r"|\[(?:photo|video|sticker|voice|voice message|gif|file)\]"
    r"|[\u200e\u200f]?(?:this message was deleted|you deleted this message|null|missed (?:voice|video) call)\.?"
    r"|<?(?:medien|multimedia|médias?|arquivo de mídia)(?: weggelassen| ausgeschlossen| omitido| omis| oculto)>?"
    r"|사진|동영상|이모티콘|삭제된 메시지입니다\.?|\[removed\]|\[deleted\]",
    re.IGNORECASE,
)

MAX_OMITTED = 60
"""Characters that such a turn has at most, but for an attachment's long name."""

_PLACEHOLDER = re.compile(r"\{\{\s*(user|char)\s*\}\}|<(user|bot|char)>(?!\s*</)", re.IGNORECASE)

IMAGE = "<image>"
"""Stands in a text for what cannot be read out."""


def without_reasoning(text: str) -> str:
    """A text without the thoughts before an answer; what opens no thought but ends one had it before."""
    if "<" not in text and "[" not in text and "◁" not in text:
        return text
    small = text.lower() if len(text.lower()) == len(text) else text
    kept, at = [], 0
    while begin := _BEGINS.search(text, at):
        kept.append(text[at : begin.start()])
        end = _ENDS[begin[0].lower()]
        found = small.find(end, begin.end())
        at = found + len(end) if found >= 0 else len(text)  # a thought without an end was cut off in thinking
    text = " ".join([*kept, text[at:]])
    for stray in reversed(list(_STRAY_END.finditer(text))):
        text = text[stray.end() :]
        break
    return _ANSWER_TAG.sub(" ", text)


def without_tokens(text: str) -> str:
    """A text without the control tokens of chat templates."""
    return _TOKEN.sub(" ", text) if "<" in text or "[" in text else text


def is_about_media(text: str) -> bool:
    """Whether an image or a sound belongs to a text."""
    return ("<" in text or "[" in text) and _MEDIA.search(text) is not None


def is_omitted(text: str) -> bool:
    """Whether a turn of a chat export stands for something that is not in it: a picture, a deleted message."""
    return len(text) <= MAX_OMITTED and _OMITTED.fullmatch(text.strip()) is not None


def has_placeholders(text: str) -> bool:
    """Whether names are left to be filled in."""
    return ("{" in text or "<" in text) and _PLACEHOLDER.search(text) is not None


def filled(text: str, user: str, character: str) -> str:
    """A text with its placeholders for the user's and the character's name filled in."""
    return _PLACEHOLDER.sub(lambda found: user if (found[1] or found[2]).lower() == "user" else character, text)
