"""In which order turns were said: by what each one replies to, then by a time or a number, then as they stand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise
from typing import Any

from psyctl_soda.shapes.sample import plain
from psyctl_soda.values import is_missing

IDS = (
    "messageid", "id", "utteranceid", "uttid", "msgid", "uuid", "commentid", "postid", "nodeid", "tweetid", "turnid",
    "responseid", "ts", "lineid",
)  # fmt: skip
PARENTS = (
    "replyto", "parentid", "parent", "inreplyto", "parentmessageid", "replytoid", "replytomessageid", "inreplytoid",
    "replytomsgid", "parentuuid", "parentmessageuuid", "responseto", "reference", "messagereference", "previousid",
    "parentcommentid", "inresponsetotweetid", "inreplytostatusid", "replyid",
)  # fmt: skip
RANKS = ("rank", "ranking")
CHILDREN = ("replies", "children", "responses", "comments")
NUMBERS = (
    "utteranceidx", "utteranceindex", "utteranceid", "utteranceno", "turnidx", "turnindex", "turnid", "turnno",
    "turnnumber", "turn", "messageidx", "messageindex", "messageno", "position", "order", "lineno", "linenumber",
    "sentenceid", "sequence", "seq", "index", "idx", "no", "num", "number", "step", "round", "uttid", "utterance",
    "messagenumber", "responseid", "line", "srno",
)  # fmt: skip
TIMES = (
    "timestamp", "timestampms", "createdat", "createdutc", "createdtime", "created", "createtime", "createddate",
    "time", "datetime", "date", "ts", "sentat", "senddate", "sent", "datesent", "unixtime", "dateunixtime", "epoch",
    "starttime", "start", "postedat", "messagetime", "publishedat", "senttime", "dateutc", "unixtimestamp",
)  # fmt: skip

_NUMBERED = re.compile(r"[A-Za-z_#. -]{0,12}?(\d{1,18})")
_PREFIXED = re.compile(r"^t\d_")
_FORMATS = (
    "%m/%d/%y, %I:%M %p", "%m/%d/%Y, %I:%M %p", "%m/%d/%Y %I:%M %p", "%d/%m/%Y, %H:%M", "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%a %b %d %H:%M:%S %z %Y", "%d-%m-%Y %H:%M:%S",
    "%H:%M:%S,%f", "%H:%M:%S.%f", "%H:%M:%S", "%H:%M", "%d.%m.%Y %H:%M", "%d.%m.%Y, %H:%M", "%B %d, %Y %I:%M%p",
)  # fmt: skip
"""Beside ISO 8601. Which of day and month stands first cannot be told from one row: the order is the same mostly."""


@dataclass(frozen=True, slots=True)
class Order:
    """The keys that say in which order the turns of a conversation were said; each may be "".

    Attributes:
        own: A turn's own id.
        parent: The id of the turn that it replies to.
        rank: Which of several replies is the best, 0 first.
        number: A number or time that rises.
        backwards: Whether turns stand newest first, with nothing but falling ids to tell.
    """

    own: str = ""
    parent: str = ""
    rank: str = ""
    number: str = ""
    backwards: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that are needed."""
        return tuple(filter(None, (self.own, self.parent, self.rank, self.number)))


def order_of(conversations: Sequence[Sequence[Mapping[str, Any]]], keys: Sequence[str], taken: Sequence[str]) -> Order:
    """What the turns of these conversations are ordered by.

    Args:
        conversations: The turns of some.
        keys: The keys that turns have.
        taken: Keys that are something else, such as the words.
    """
    free = [key for key in keys if key not in taken]
    own, parent = _first(free, IDS), _first(free, PARENTS)
    number = next((key for key in _all(free, NUMBERS) if _rises(conversations, key)), "")
    number = number or next((key for key in _all(free, TIMES) if _rises(conversations, key)), "")
    if own and parent and any(_is_tree(turns, own, parent) for turns in conversations):
        return Order(own, parent, _first(free, RANKS), number)
    backwards = not number and bool(own) and _falls(conversations, own)
    return Order(own=own if backwards else "", number=number, backwards=backwards)


def arranged(turns: Sequence[Mapping[str, Any]], order: Order) -> Sequence[Mapping[str, Any]]:
    """The turns in the order in which they were said; of a tree, one path."""
    if order.parent and _is_tree(turns, order.own, order.parent):
        return _path(turns, order)
    if order.number:
        return by_number(turns, order.number)
    return turns[::-1] if order.backwards else turns


def by_number(turns: Sequence[Mapping[str, Any]], key: str) -> Sequence[Mapping[str, Any]]:
    """The turns by a rising number or time, or as they stand where one of them has none."""
    found = [number_in(turn.get(key)) for turn in turns]
    if any(number is None for number in found):
        return turns
    order = sorted(range(len(turns)), key=lambda at: found[at] or 0.0)
    return [turns[at] for at in order]


def number_in(value: object) -> float | None:
    """The number or point in time that a value spells, or None."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if value == value and abs(value) < 1e18 else None
    if isinstance(value, datetime):
        return value.timestamp()
    text = value.strip() if isinstance(value, str) else ""
    if not text or len(text) > 40 or not any(ch.isdigit() for ch in text):
        return None
    numbered = _NUMBERED.fullmatch(text)
    if numbered:
        return float(numbered[1])
    try:
        return float(text) if text.isascii() and not any(ch.isalpha() for ch in text) else _time(text)
    except ValueError:
        return _time(text)


def _time(text: str) -> float | None:
    text = re.sub(r"[\u202f\u00a0\s]+", " ", text)
    iso = re.sub(r"(\.\d{3,6})\d*", r"\1", text.replace("Z", "+00:00").replace(" UTC", "+00:00"))
    try:
        found = datetime.fromisoformat(iso)
    except ValueError:
        found = next(filter(None, (_formatted(text, form) for form in _FORMATS)), None)  # type: ignore[assignment]
    if found is None:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()


def _formatted(text: str, form: str) -> datetime | None:
    try:
        found = datetime.strptime(text, form)
    except ValueError:
        return None
    return found.replace(year=2000) if found.year == 1900 else found


def _first(keys: Sequence[str], names: Sequence[str]) -> str:
    return next(iter(_all(keys, names)), "")


def _all(keys: Sequence[str], names: Sequence[str]) -> list[str]:
    return [key for name in names for key in keys if plain(key) == name]


def _rises(conversations: Sequence[Sequence[Mapping[str, Any]]], key: str) -> bool:
    """Whether a key has a number in nearly every turn, and not the same one in all."""
    longer = [turns for turns in conversations if len(turns) > 1]
    told = [[number_in(turn.get(key)) for turn in turns] for turns in longer]
    good = sum(None not in numbers and len(set(numbers)) > (len(numbers) + 1) // 3 for numbers in told)
    return bool(told) and 10 * good >= 9 * len(told)


def _falls(conversations: Sequence[Sequence[Mapping[str, Any]]], key: str) -> bool:
    told = [[number_in(turn.get(key)) for turn in turns] for turns in conversations if len(turns) > 1]
    return bool(told) and all(
        one is not None and other is not None and one > other for numbers in told for one, other in pairwise(numbers)
    )


def _id(value: object) -> str:
    if isinstance(value, Mapping):
        found = {plain(str(key)): item for key, item in value.items()}
        return next((_id(found[name]) for name in ("messageid", "id") if name in found), "")
    if is_missing(value) or isinstance(value, (list, tuple)):
        return ""
    text = f"{value:.0f}" if isinstance(value, float) else str(value).strip()
    return "" if text in ("", "-1", "None", "null", "nan") else _PREFIXED.sub("", text)


def _is_tree(turns: Sequence[Mapping[str, Any]], own: str, parent: str) -> bool:
    """Whether most turns reply to another one of them."""
    ids = {_id(turn.get(own)) for turn in turns} - {""}
    links = sum(_id(turn.get(parent)) in ids for turn in turns)
    return len(turns) > 1 and links > 0 and 2 * links >= len(turns) - 1 and len(ids) == len(turns)


def _path(turns: Sequence[Mapping[str, Any]], order: Order) -> list[Mapping[str, Any]]:
    """From the root with the longest chain down: at each turn the best reply, or else the one that leads furthest."""
    ids = [_id(turn.get(order.own)) for turn in turns]
    places = {one: at for at, one in enumerate(ids)}
    parents = [places.get(_id(turn.get(order.parent)), -1) for turn in turns]
    children: dict[int, list[int]] = {}
    for at, parent in enumerate(parents):
        children.setdefault(parent if parent != at else -1, []).append(at)
    depth = _depths(children)

    def rank(at: int) -> tuple[float, int, float, int]:
        ranked = number_in(turns[at].get(order.rank)) if order.rank else None
        said = number_in(turns[at].get(order.number)) if order.number else None
        return (float("inf") if ranked is None else ranked, -depth.get(at, 0), said or 0.0, at)

    path, at = [], min(children.get(-1, []), key=lambda at: (-depth.get(at, 0), at), default=-1)
    while at >= 0:
        path.append(turns[at])
        at = min(children.get(at, []), key=rank, default=-1)
    return path or list(turns)


def _depths(children: Mapping[int, Sequence[int]]) -> dict[int, int]:
    """How many turns the longest chain below each turn has; what goes in a circle is not reached."""
    ordered, at = list(children.get(-1, ())), 0
    while at < len(ordered):
        ordered.extend(children.get(ordered[at], ()))
        at += 1
    depth: dict[int, int] = {}
    for one in reversed(ordered):
        depth[one] = 1 + max((depth[child] for child in children.get(one, ())), default=0)
    return depth


def branch(node: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """The turns from a nested tree's root down, the first or best reply each time; None for anything but a tree."""
    path: list[Mapping[str, Any]] = []
    at: Mapping[str, Any] | None = node
    while at is not None and len(path) < 1000:
        path.append(at)
        replies = next((at[key] for key in at if plain(str(key)) in CHILDREN and isinstance(at[key], list)), None)
        inner = [reply for reply in replies or () if isinstance(reply, Mapping)]
        at = min(inner, key=lambda reply: _rank(reply), default=None)
    return path if len(path) > 1 else None


def _rank(reply: Mapping[str, Any]) -> float:
    rank = number_in(reply.get("rank"))
    return float("inf") if rank is None else rank
