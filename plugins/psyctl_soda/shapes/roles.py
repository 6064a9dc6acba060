"""Who is who where the data name roles instead of people: the user's side, the assistant's, and the machinery."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from psyctl_soda.scenario import NO_DIALOGUE, Talk

USER = "User"
ASSISTANT = "Assistant"

_USERS = {"user", "human", "usr", "prompter"}
_ASSISTANTS = {
    "assistant", "gpt", "chatgpt", "gpt4", "bot", "chatbot", "model", "ai", "llm", "bing", "bard", "claude",
}  # fmt: skip
_UNSPOKEN = {
    "system", "developer", "tool", "toolcall", "toolcalls", "tools", "toolresponse", "toolresult", "toolresults",
    "function", "functions", "functioncall", "functionresponse", "functionresult", "observation", "ipython",
    "environment",
}  # fmt: skip


def role(value: object) -> str:
    """``User``, ``Assistant``, "" for what nobody says (system prompts, tools), or the name itself."""
    if not isinstance(value, str):
        return ""
    plain = "".join(ch for ch in value.lower() if ch.isalnum())
    if plain in _USERS:
        return USER
    if plain in _ASSISTANTS:
        return ASSISTANT
    return "" if plain in _UNSPOKEN else value


def partner(name: str) -> str:
    """As :func:`role` where the system is one who talks, as in task-oriented dialogues."""
    return ASSISTANT if name.strip().lower() in ("system", "sys") else role(name) or name


def talk_of_partners(turns: list[tuple[object, object]], situation: object = "") -> Talk:
    """A talk between whoever the turns name; between a user and an assistant, it is the assistant who answers."""
    names = {name for name, _ in turns}
    return Talk(turns, situation, (ASSISTANT,) if names == {USER, ASSISTANT} else ())


def chat(turns: Iterable[tuple[object, object]], situation: object = "") -> Talk | str:
    """A chat by roles: the unspoken ones are left out, and the assistant answers, also at the very end."""
    said: list[tuple[object, object]] = [(who, text) for name, text in turns if (who := role(name))]
    names = {name for name, _ in said}
    if not said:
        return NO_DIALOGUE
    if len(names) > 1 and ASSISTANT not in names:
        return Talk(said, situation)
    return Talk([*said, (ASSISTANT, "")], situation, (ASSISTANT,))


def content_text(content: object) -> str:
    """A message's text: the content itself, or its text parts one after the other."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, list):
        return ""
    return "\n".join(filter(None, map(_part_text, content)))


def _part_text(part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping) or part.get("type", "text") not in ("text", "input_text", "output_text"):
        return ""
    return next((part[key] for key in ("text", "value", "content") if isinstance(part.get(key), str)), "")
