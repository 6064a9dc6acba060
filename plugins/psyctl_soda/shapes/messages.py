"""OpenAI ``messages``: a list of {role, content}, the content a text or a list of parts.

The form is OpenAI's chat format (https://platform.openai.com/docs/api-reference/chat). The assistant answers;
system prompts, tool calls and tool results are nobody's words.
"""

from __future__ import annotations

from typing import Any

from psyctl_soda.scenario import Talk
from psyctl_soda.shapes.roles import chat, content_text
from psyctl_soda.shapes.sample import SCENES, Fit, Row, Sample, used
from psyctl_soda.values import is_text, objects_in

NAME = "messages"
SUMMARY = "OpenAI messages: a list of {role, content}"
COLUMNS = ("messages", "conversations", "conversation", "chat", "prompt", "chosen")


def recognises(sample: Sample) -> Fit | None:
    """A column with lists of objects that have ``role`` and ``content``."""
    column = sample.any(COLUMNS, _has_messages)
    if not column:
        return None

    scene = sample.named(SCENES, is_text)

    def read(row: Row) -> Talk | str:
        messages = objects_in(row.get(column)) or ()
        return chat([(m.get("role"), content_text(m.get("content"))) for m in messages], row.get(scene))

    return Fit(NAME, f"column '{column}' lists objects with role and content", used(scene, column), read)


def _has_messages(value: Any) -> bool:
    return any({"role", "content"} <= message.keys() for message in objects_in(value) or ())
