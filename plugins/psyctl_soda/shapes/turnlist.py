"""Lists of turn objects: which of their keys has the words, which the speaker, and in which order they were said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from psyctl_soda.scenario import USER
from psyctl_soda.shapes.order import Order, arranged, branch, order_of
from psyctl_soda.shapes.roles import ASSISTANT, FLAGS, Cast, are_sides, content_text, label, named
from psyctl_soda.shapes.sample import lifted, plain
from psyctl_soda.values import is_missing, objects_in

Turn = Mapping[str, Any]

TEXTS = (
    "utterance", "text", "content", "message", "value", "line", "sentence", "transcript", "body", "speech", "mes",
    "msg", "words", "utt", "said", "selftext", "comment", "parts", "dialogue", "turn", "statement", "reply", "post",
    "messagetext", "contenttext", "original", "txt", "utterancetext", "textcontent",
)  # fmt: skip
SPEAKERS = (
    "speaker", "speakername", "sender", "sendername", "author", "authorname", "name", "role", "from", "user",
    "username", "participant", "participantid", "character", "charactername", "agent", "agentid", "senderid",
    "speakerid", "userid", "speakerrole", "who", "personid", "person", "actor", "party", "talker", "fromname",
    "fromid", "nickname", "authorid", "speakeridx", "userprofile", "participantrole", "speakertype", "sendertype",
    "interlocutor", "channelname", "by", "characterid", "handle", "side", "spk", "spkid", "usertype", "player",
)  # fmt: skip
LABELS = {
    "emotion", "emotions", "sentiment", "act", "acts", "dialogact", "dialogueact", "intent", "intents", "label",
    "labels", "type", "kind", "topic", "topics", "lang", "language", "date", "time", "timestamp", "state", "split",
    "domain", "category", "tags", "strategy", "knowledge", "url", "rating", "turnrating", "score", "service",
    "services", "valence", "arousal", "toxicity", "status", "channel", "location", "device", "season", "episode",
    "scene",
}  # fmt: skip
"""Keys whose values come again and again, as speakers do, and are something else."""

MAX_SPEAKER = 60
MAX_SAMPLED = 50


@dataclass(frozen=True, slots=True)
class Keys:
    """Where turn objects have what.

    Attributes:
        text: The words.
        speaker: Who says them, or "".
        order: In which order they were said.
        cast: What the speakers' labels mean.
        guessed: Whether the speaker's key was found by its values and not by its name.
        flag: The key that tells human from bot beside the speaker's, or "".
    """

    text: str
    speaker: str
    order: Order
    cast: Cast
    guessed: bool = False
    flag: str = ""

    def said(self, turns: Sequence[Turn]) -> list[tuple[object, object]]:
        """Names and words in the order of saying; names are "" where the turns have none."""
        ordered = arranged(turns, self.order)
        words = [content_text(turn.get(self.text)) for turn in ordered]
        if not self.speaker:
            return [("", text) for text in words]
        speaker = self.flag if self.people(turns)[1] else self.speaker
        key = plain(speaker)
        return named(
            ((label(turn.get(speaker), key), text) for turn, text in zip(ordered, words, strict=True)), self.cast
        )

    def people(self, turns: Sequence[Turn]) -> tuple[str, str]:
        """What the user and the assistant are called where a flag tells them apart and names stand beside it."""
        if not self.flag:
            return "", ""
        sides: dict[str, list[str]] = {USER: [], ASSISTANT: []}
        for turn in turns:
            side = sides.get(label(turn.get(self.flag), plain(self.flag)))
            name = label(turn.get(self.speaker))
            if side is not None and name not in side and name.lower() != "you":
                side.append(name)
        user, bot = sides[USER], sides[ASSISTANT]
        return (user[0] if len(user) == 1 else "", bot[0]) if len(bot) == 1 and bot != user else ("", "")


def turn_objects(value: object) -> list[Turn] | None:
    """The turns in a value: a list of objects, objects by their ids, or one path of a nested tree; None otherwise."""
    if isinstance(value, Mapping):
        path = branch(value)
        if path:
            return path
        inner = list(value.values())
        if len(inner) > 1 and all(isinstance(item, Mapping) for item in inner) and _alike(inner):
            return _flat([{"id": key, **item} for key, item in value.items()])
    items = objects_in(value)
    if items and len(items) == 1:
        return branch(items[0]) or _flat(items)
    return _flat(items) if items else None


def _is_named(item: Turn) -> bool:
    return len(item) == 1 and all(
        isinstance(words, str) and plain(str(key)) not in TEXTS for key, words in item.items()
    )


def _alike(items: Sequence[Mapping[str, Any]]) -> bool:
    first = {str(key) for key in items[0]}
    return all({str(key) for key in item} & first for item in items[:MAX_SAMPLED])


def _flat(items: Sequence[Turn]) -> list[Turn]:
    """Turns whose words are inside another object (``message.content``), with that object's keys as their own.

    Objects of one key each, whose values are texts, are speakers with their words: ``{"Ana": "Hello"}``.
    """
    some = items[:MAX_SAMPLED]
    if len({key for item in some for key in item}) > 1 and all(_is_named(item) for item in some):
        return [{"speaker": key, "text": words} for item in items for key, words in item.items()]
    if any(plain(str(key)) in TEXTS and content_text(item[key]) for item in items[:MAX_SAMPLED] for key in item):
        return list(items)
    inner = [item for item in items[:MAX_SAMPLED] if any(isinstance(value, Mapping) for value in item.values())]
    return [lifted(item, 1) for item in items] if inner else list(items)


def keys_of(conversations: Sequence[Sequence[Turn]], text: str = "", speaker: str = "") -> Keys | None:
    """Where the turns of these conversations have what, or None where they have no words.

    Args:
        conversations: The turns of some.
        text: The key of the words, where it is known.
        speaker: The speaker's key, likewise.
    """
    conversations = [turns for turns in conversations if turns][:MAX_SAMPLED]
    turns = [turn for conversation in conversations for turn in conversation]
    keys = list(dict.fromkeys(str(key) for turn in turns for key in turn))
    known = _speaker_by_name(turns, [key for key in keys if key != text])
    text = text or _text_key(turns, keys, known)
    if not text:
        return None
    rest = [key for key in keys if key != text]
    speaker = speaker or _speaker_by_name(turns, rest)
    guessed = "" if speaker else _speaker_by_values(conversations, rest)
    speaker = speaker or guessed
    order = order_of(conversations, keys, (text, speaker))
    labels = [[label(turn.get(speaker), plain(speaker)) for turn in c] for c in conversations] if speaker else []
    flag = next((key for key in rest if plain(key) in FLAGS and key != speaker), "") if speaker else ""
    return Keys(text, speaker, order, Cast.of(labels), bool(guessed), flag)


def text_key(turns: Sequence[Turn]) -> str:
    """The key under which most of the turns have words, by its name, or ""."""
    return _text_key(turns, list(dict.fromkeys(str(key) for turn in turns for key in turn)), "")


def speaker_key(turns: Sequence[Turn]) -> str:
    """The key that says who speaks, by its name, or ""."""
    keys = list(dict.fromkeys(str(key) for turn in turns for key in turn))
    return _speaker_by_name(turns, [key for key in keys if key != text_key(turns)])


def _text_key(turns: Sequence[Turn], keys: Sequence[str], speaker: str) -> str:
    some = turns[: 4 * MAX_SAMPLED]
    for name in TEXTS:
        for key in keys:
            if plain(key) == name and key != speaker and 2 * _with_words(some, key) >= len(some):
                return key
    if not speaker:
        return ""
    longest = Counter({
        key: sum(len(turn[key]) for turn in some if isinstance(turn.get(key), str))
        for key in keys
        if key != speaker and plain(key) not in LABELS and 2 * _with_prose(some, key) >= len(some)
    })  # fmt: skip
    return longest.most_common(1)[0][0] if longest else ""


def _with_words(turns: Sequence[Turn], key: str) -> int:
    return sum(bool(content_text(turn.get(key)).strip()) or isinstance(turn.get(key), str) for turn in turns)


def _with_prose(turns: Sequence[Turn], key: str) -> int:
    found = (turn.get(key) for turn in turns)
    return sum(isinstance(value, str) and (" " in value.strip() or not value.isascii()) for value in found)


def _speaker_by_name(turns: Sequence[Turn], keys: Iterable[str]) -> str:
    known = [(key, plain(key)) for key in keys]
    found = [
        key for name in (*SPEAKERS, *sorted(FLAGS)) for key, its in known if its == name and _are_labels(turns, key)
    ]
    return next(
        (key for key in found if len({label(turn.get(key), plain(key)) for turn in turns}) > 1), [*found, ""][0]
    )


def _are_labels(turns: Sequence[Turn], key: str) -> bool:
    """Whether a key has short values that may be speakers in most turns."""
    found = [label(turn.get(key), plain(key)) for turn in turns[: 4 * MAX_SAMPLED] if not is_missing(turn.get(key))]
    return bool(found) and 2 * sum(0 < len(text) <= 2 * MAX_SPEAKER for text in found) >= len(found)


def _speaker_by_values(conversations: Sequence[Sequence[Turn]], keys: Sequence[str]) -> str:
    """The key that is short, in every turn, and comes again after another value (A, B, A) or names both sides."""
    for key in keys:
        known = plain(key)
        if known in LABELS or known.rstrip("s") in LABELS:
            continue
        told = [[_short(turn.get(key)) for turn in turns] for turns in conversations if len(turns) > 1]
        if not told or any("" in values for values in told):
            continue
        changes = sum(a != b for values in told for a, b in pairwise(values))
        steps = sum(len(values) - 1 for values in told)
        again = any(_comes_again(values) for values in told) or are_sides(value for each in told for value in each)
        few = all(2 <= len(set(values)) <= 1 + (len(values) + 1) // 2 for values in told if len(values) > 2)
        if again and few and 2 * changes >= steps:
            return key
    return ""


def _short(value: object) -> str:
    text = label(value)
    return text if len(text) <= MAX_SPEAKER and not isinstance(value, float) else ""


def _comes_again(values: Sequence[str]) -> bool:
    last: dict[str, int] = {}
    for at, value in enumerate(values):
        if value in last and last[value] < at - 1:
            return True
        last[value] = at
    return False
