"""Who is who where the data name roles instead of people: the user's side, the assistant's, and the machinery.

There is one mapping for every shape. What a label means may depend on the others in the data: ``system`` is a
prompt in a chat between ``user`` and ``assistant``, and one who talks in a dialogue between ``usr`` and ``sys``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psyctl_soda.markup import IMAGE
from psyctl_soda.scenario import NO_DIALOGUE, USER, Conversation, neutral_name
from psyctl_soda.values import is_missing

ASSISTANT = "Assistant"

_USERS = {"you", "user", "human", "usr", "prompter", "enduser", "humanuser", "userinput"}
_ASSISTANTS = {
    "assistant", "gpt", "chatgpt", "gpt4", "gpt35", "bot", "chatbot", "model", "ai", "llm", "bing", "bard", "claude",
    "gemini", "moss", "aiassistant", "botuser", "virtualassistant", "machine", "asst", "assistent",
}  # fmt: skip
_SYSTEMS = {"system", "sys"}
_UNSPOKEN = {
    "developer", "tool", "toolcall", "toolcalls", "tools", "toolresponse", "toolresult", "toolresults", "tooloutput",
    "function", "functions", "functioncall", "functionresponse", "functionresult", "functionoutput", "observation",
    "ipython", "environment", "api", "apicall", "apiresponse", "search", "knowledge", "metadata", "reasoning",
}  # fmt: skip

_CLIENTS = {
    "user", "customer", "client", "seeker", "caller", "patient", "apprentice", "guest", "visitor", "buyer", "student",
    "helpseeker", "questioner", "asker", "human", "consumer", "passenger", "shopper", "tourist", "inquirer",
}  # fmt: skip
_SERVERS = {
    "agent", "wizard", "supporter", "operator", "therapist", "counselor", "counsellor", "doctor", "advisor",
    "adviser", "helper", "expert", "clerk", "representative", "rep", "staff", "support", "salesperson", "salesman",
    "seller", "teacher", "tutor", "responder", "answerer", "consultant", "service", "customerservice", "recommender",
    "guide", "helpdesk", "agentassist", "csr",
}  # fmt: skip

_HUMAN_FLAGS = {"ishuman", "isuser", "fromuser", "isfromuser", "fromhuman", "isprompter", "inbound", "isclient"}
_BOT_FLAGS = {"isbot", "isassistant", "isai", "ismodel", "frombot", "isfrombot", "ischaracter", "isresponse", "isagent"}
FLAGS = _HUMAN_FLAGS | _BOT_FLAGS
"""Keys that say by true or false whose turn it is."""

_TRUE = {True: True, False: False, "true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
_NUMBER_FIRST = re.compile(r"^\d{1,4}[_\-\s.:)]+(?=[^\W\d])")
_NAMES_IN = ("displayname", "nickname", "globalname", "name", "username", "realname", "role", "title", "login", "id")


def label(value: object, key: str = "") -> str:
    """A speaker as the data have them, as a text: a name, a role, a flag or a number; "" where there is none.

    Args:
        value: What stands under the speaker's key: also an object that has a name, as chat exports write it.
        key: The key in small letters and digits.
    """
    if isinstance(value, str) and key not in FLAGS:
        return _label_of(value)
    if key in FLAGS and isinstance(value, (bool, int, str)):
        flag = _TRUE.get(value.strip().lower() if isinstance(value, str) else value)
        if flag is not None:
            return USER if flag == (key in _HUMAN_FLAGS) else ASSISTANT
    if isinstance(value, Mapping):
        found = {re.sub(r"[\W_]", "", str(name).lower()): item for name, item in value.items()}
        return next((text for name in _NAMES_IN if (text := label(found.get(name)))), "")
    if isinstance(value, (int, float)):
        return f"{value:.0f}" if value == value and abs(value) < 1e15 else ""
    return _label_of(value) if isinstance(value, str) else ""


@functools.lru_cache(maxsize=10_000)
def _label_of(text: str) -> str:
    return _NUMBER_FIRST.sub("", text.strip())


def _plain(name: str) -> str:
    return "".join(ch for ch in name.lower() if ch.isalnum())


def role(value: object) -> str:
    """``User``, ``Assistant``, ``System``, "" for what nobody says (tools), or the name itself."""
    return _role_of(label(value))


@functools.lru_cache(maxsize=10_000)
def _role_of(name: str) -> str:
    known = _plain(name)
    if known in _USERS:
        return USER
    if known in _ASSISTANTS:
        return ASSISTANT
    if known in _SYSTEMS:
        return "System"
    return "" if known in _UNSPOKEN else name


@dataclass(frozen=True, slots=True)
class Cast:
    """What the labels of a data set's turns mean.

    Attributes:
        system_talks: Whether the system is the one who answers, as in task-oriented dialogues.
    """

    system_talks: bool = False

    @classmethod
    def of(cls, conversations: Iterable[Sequence[object]]) -> Cast:
        """The cast of conversations, given the labels of their turns.

        The system talks where no assistant does and it has the word after others have had it.
        """
        after_others = False
        for labels in conversations:
            roles = [found for found in map(role, labels) if found]
            if ASSISTANT in roles:
                return cls(False)
            others = [at for at, name in enumerate(roles) if name != "System"]
            after_others |= bool(others) and "System" in roles[others[0] :]
        return cls(after_others)

    def name(self, value: object) -> str:
        """How a speaker is called, or "" for what nobody says."""
        found = role(value)
        return (ASSISTANT if self.system_talks else "") if found == "System" else found


def named(turns: Iterable[tuple[object, object]], cast: Cast | None = None) -> list[tuple[object, object]]:
    """Turns by names, roles or numbers; what nobody says is left out, and a turn of nobody's too.

    Args:
        turns: Labels and words. A label that is only a number gets a neutral name, by order of appearance.
        cast: What the labels mean; by these turns alone where it is not given.
    """
    turns = list(turns)
    cast = cast or Cast.of([[who for who, _ in turns]])
    numbers: dict[str, str] = {}
    found: list[tuple[object, object]] = []
    for who, words in turns:
        text = label(who)
        name = numbers.setdefault(text, neutral_name(len(numbers))) if text.isdigit() else cast.name(text)
        if name:
            found.append((name, words))
    return found


def answering(names: Iterable[object]) -> tuple[object, ...]:
    """Who may answer of these: the assistant, or who serves a client; empty where anybody may."""
    there = list(dict.fromkeys(names))
    if ASSISTANT in there and len(there) > 1:
        return (ASSISTANT,)
    if USER in there and len(there) > 1:  # a character who talks with a user
        return tuple(name for name in there if name != USER)
    plain = {name: re.sub(r"\d", "", _plain(str(name))) for name in there}
    servers = tuple(name for name in there if plain[name] in _SERVERS)
    rest = [name for name in there if name not in servers]
    return servers if servers and rest and all(plain[name] in _CLIENTS for name in rest) else ()


def are_sides(labels: Iterable[object]) -> bool:
    """Whether labels are the two sides of a talk, such as customer and agent, and nothing else."""
    names = {role(each) for each in labels}
    known = {USER, ASSISTANT, "System"}
    return bool(answering(names)) and all(name in known or _plain(name) in _CLIENTS | _SERVERS for name in names)


def talk(
    turns: Sequence[tuple[object, object]],
    situation: object = "",
    *,
    chat: bool = False,
    people: tuple[str, str] = ("", ""),
) -> Conversation | str:
    """A conversation between whoever the turns name; between a user and an assistant, the assistant answers.

    Args:
        turns: Names and words, roles already told.
        situation: The scene.
        chat: Whether the one who answers a user is an assistant even if it never does here.
        people: What the user and the assistant are called, where the data say it.
    """
    if not turns:
        return NO_DIALOGUE
    names = {name for name, _ in turns}
    if chat and names == {USER}:
        names.add(ASSISTANT)
    answers = answering(sorted(names, key=str))
    if ASSISTANT in names and (answers or chat):
        turns, answers = [*turns, (ASSISTANT, "")], (ASSISTANT,)
    called = {USER: people[0] or USER, ASSISTANT: people[1] or ASSISTANT}
    renamed = [(called.get(name, name) if isinstance(name, str) else name, words) for name, words in turns]
    return Conversation(renamed, situation, tuple(called.get(str(name), name) for name in answers), names=people)


def content_text(content: object) -> str:
    """A message's text: the content itself, or its text parts one after the other; a mark for an image or a sound."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        parts = content.get("parts")
        content = parts if isinstance(parts, list) else [content]
    if not isinstance(content, list):
        return ""
    return "\n".join(filter(None, map(_part_text, content)))


def _part_text(part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping):
        return ""
    kind = str(part.get("type") or part.get("content_type") or "text").lower()
    if any(word in kind for word in ("image", "audio", "video", "picture")) or _has_media(part):
        return IMAGE
    if kind not in _TEXT_KINDS:
        return ""
    return next((part[key] for key in ("text", "value", "content") if isinstance(part.get(key), str)), "")


_TEXT_KINDS = {
    "text", "input_text", "output_text", "plain", "bold", "italic", "link", "mention", "hashtag", "underline",
    "strikethrough", "spoiler", "text_link", "mention_name", "blockquote", "email", "phone", "custom_emoji",
}  # fmt: skip
"""Parts of OpenAI's messages (``text``, ``input_text``, ``output_text``) and of Telegram's."""


def _has_media(part: Mapping[str, Any]) -> bool:
    media = ("image", "image_url", "audio", "video", "inlineData", "inline_data")
    return "text" not in part and any(not is_missing(part.get(key)) for key in media)
