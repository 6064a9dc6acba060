"""OpenAI ``messages``: a list of {role, content}, the content a text or a list of parts.

The form is OpenAI's chat format (https://platform.openai.com/docs/api-reference/chat). The assistant answers;
system prompts, tool calls and tool results are nobody's words.
"""

from __future__ import annotations

from typing import Any

from psyctl_soda.shapes.chats import match_list
from psyctl_soda.shapes.sample import Match, Sample
from psyctl_soda.shapes.turnlist import turn_objects

NAME = "messages"
SUMMARY = "OpenAI messages: a list of {role, content}"
COLUMNS = ("messages", "conversations", "conversation", "chat", "prompt", "chosen")


def recognises(sample: Sample) -> Match | None:
    """A column with lists of objects that have ``role`` and ``content``."""
    column = sample.any(COLUMNS, _has_messages)
    return match_list(sample, NAME, column, text="content", speaker="role", chat=True) if column else None


def _has_messages(value: Any) -> bool:
    return any({"role", "content"} <= message.keys() for message in turn_objects(value) or ())
