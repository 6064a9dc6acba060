"""One text that is a chat template filled in: ChatML, Llama, Gemma, Phi, Mistral, Alpaca, OpenAssistant, Vicuna.

Models are trained on such texts, so data sets hold them in a column such as ``text``. They are read as the
messages that they were made of.
"""

from __future__ import annotations

import re

from psyctl_soda.scenario import MEDIA, NO_DIALOGUE, Conversation
from psyctl_soda.shapes.chats import people, pictured
from psyctl_soda.shapes.roles import named, role, talk
from psyctl_soda.shapes.sample import Match, Row, Sample, used
from psyctl_soda.text import MAX_RAW
from psyctl_soda.values import is_text

NAME = "template"
SUMMARY = "one text that is a filled chat template (ChatML, Llama, Gemma, Mistral, Alpaca)"
COLUMNS = ("text", "chosen", "prompt", "messages", "conversation", "conversations", "content", "formattedchat")

_HEADS = (
    r"<\|im_start\|>\s*(\w+)[^\n<]*\n",
    r"<\|start_header_id\|>\s*(\w+)\s*<\|end_header_id\|>\n*",
    r"<start_of_turn>\s*(\w+)\n",
    r"<\|start\|>(\w+)[^<]*?(?:<\|channel\|>\w+)?<\|message\|>",
    r"<\|(user|assistant|system|prompter|human|bot|model)\|>:?\n?",
    r"<\|(USER|CHATBOT|SYSTEM)_TOKEN\|>",
    r"<｜(User|Assistant|System)｜>",
    r"<(human|bot|user|assistant|gpt|HUMAN|BOT)>:\s*",
    r"(?:^|(?<=\s)|(?<=[.!?。？！]))#{2,3} ?"
    r"(Human|Assistant|User|Instruction|Input|Response|Question|Answer|System|Output):?[ \t]*\n?",
    r"\[\|(Human|AI|User|Assistant)\|\]\s*",
    r"(<s>\s*\[INST\]|\[INST\])\s*(?:<<SYS>>.*?<</SYS>>)?\s*",
    r"(\[/INST\])\s*",
)
_HEAD = re.compile("|".join(_HEADS), re.DOTALL)
_ENDS = re.compile(
    r"<\|(?:im_end|eot_id|end|eom_id|endoftext|return|END_OF_TURN_TOKEN|end_of_text)\|>|<end_of_turn>|</s>|<eos>"
    r"|<｜end▁of▁sentence｜>|<\|eos\|>"
)
_MARKS = ("<|", "<start_of_turn>", "## ", "##", "[INST]", "<human>", "<｜", "[|", "<user>", "<bot>", "<HUMAN>")
_ALIASES = {
    "instruction": "user", "input": "user", "question": "user", "response": "assistant", "answer": "assistant",
    "output": "assistant", "chatbot": "assistant", "[/inst]": "assistant",
}  # fmt: skip


def recognises(sample: Sample) -> Match | None:
    """A column whose texts are parted by a template's marks, a user's turn among them."""
    column = sample.any(COLUMNS, lambda value: is_text(value) and is_template(value))
    if not column:
        return None
    scene, called, is_pictured = sample.scene(), people(sample), pictured(sample)

    def read(row: Row) -> Conversation | str:
        turns = messages_in(row.get(column))
        if not turns:
            return NO_DIALOGUE
        if is_pictured(row):
            return MEDIA
        return talk(named(turns), row.get(scene) if scene != column else "", chat=True, people=called(row))

    return Match(NAME, f"column '{column}' holds filled chat templates", used(column), read)


def is_template(text: str) -> bool:
    """Whether a text holds a user's turn of a template and an assistant's, or a token that nothing else has."""
    text = text[:MAX_RAW]
    if not any(
        mark in text
        for mark in ("<|", "<start_of_turn>", "###", "[INST]", "## ", "<human>", "<｜", "[|", "<user>", "<bot>")
    ):
        return False
    roles = {role(who) for who, _ in messages_in(text)}
    return {"User", "Assistant"} <= roles


def messages_in(text: object) -> list[tuple[object, object]]:
    """Roles and words of a filled template, merged where one role has several parts in a row."""
    if not isinstance(text, str):
        return []
    text = text[:MAX_RAW]
    heads = list(_HEAD.finditer(text))
    turns: list[tuple[object, object]] = []
    for at, head in enumerate(heads):
        end = heads[at + 1].start() if at + 1 < len(heads) else len(text)
        who = next(filter(None, head.groups())).strip().lower()
        who = "user" if who.endswith("[inst]") else _ALIASES.get(who, who)
        words = _ENDS.split(text[head.end() : end])[0].strip()
        if turns and turns[-1][0] == who:
            words = f"{turns.pop()[1]}\n{words}"
        turns.append((who, words))
    return turns
