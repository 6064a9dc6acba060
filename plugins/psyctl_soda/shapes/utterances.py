"""One row an utterance, the rows of a conversation grouped by its id: EmpatheticDialogues and its like.

In EmpatheticDialogues ``prompt`` is the situation and ``context`` an emotion, so a prompt goes first. Where no
column groups them but each row says who speaks, a file is a conversation, as in chat exports.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from psyctl_soda.scenario import NO_DIALOGUE, Conversation
from psyctl_soda.shapes.chats import NOBODY_NAMED
from psyctl_soda.shapes.roles import talk
from psyctl_soda.shapes.sample import Match, Row, Sample, plain, runs, used
from psyctl_soda.shapes.speakers import alternating
from psyctl_soda.shapes.turnlist import LABELS, SPEAKERS, TEXTS, Keys, keys_of
from psyctl_soda.values import is_missing, is_text

NAME = "utterances"
SUMMARY = "one row an utterance, grouped by a conversation id (EmpatheticDialogues)"
GROUPS = (
    "convid", "conversationid", "conversationhash", "dialogueid", "dialogid", "dialogidx", "dialogueidx", "convidx",
    "threadid", "sessionid", "chatid", "conversation", "conversationno", "dialoguenumber", "sceneid", "messagetreeid",
    "treeid", "root", "rootid", "dialoghash", "linkid", "submissionid", "roomid", "callid", "meetingid", "groupid",
    "interactionid", "ticketid", "caseid", "conversationnum", "convno", "dialogno", "dialogueno", "transcriptid",
    "dialognum", "dialoguenum", "scene", "dialog", "dialogue", "thread", "session", "chat", "conv", "threadts",
    "storyid", "topicid", "episodeid", "episode", "channelid", "channel", "room",
)  # fmt: skip
FILE = "(file)"
"""Stands for the file that rows are in, as :data:`psyctl_soda.table.FILE` does."""


def recognises(sample: Sample) -> Match | None:
    """A column of ids that stay the same from one row to the next, and one with a text."""
    group = next(
        (name for name in (sample.named((name,), _is_id) for name in GROUPS) if name and _runs(sample, name)), ""
    )
    if not group:
        return _of_a_file(sample)
    keys = _keys(sample, list(runs(sample.rows, group)), group)
    return _match(sample, group, keys) if keys else None


def _is_id(value: object) -> bool:
    return isinstance(value, (str, int)) and not (isinstance(value, str) and len(value) > 200)


def _runs(sample: Sample, group: str) -> bool:
    ids = [row.get(group) for row in sample.rows]
    return any(one == next_one and not is_missing(one) for one, next_one in pairwise(ids))


def _keys(sample: Sample, conversations: list[list[Row]], group: str) -> Keys | None:
    scene = sample.scene("prompt")
    taken = {group, scene} - {""}
    rows = [[{k: v for k, v in row.items() if k not in taken} for row in run] for run in conversations]
    text = Sample.of([row for run in rows for row in run]).named(TEXTS, _is_said)
    return keys_of(rows, text) if text else None


def _is_said(value: object) -> bool:
    """Whether a value may be what somebody says, and not a turn's number."""
    return is_text(value) and not str(value).strip().isdigit()


def _match(sample: Sample, group: str, keys: Keys) -> Match:
    scene = sample.scene("prompt")
    scene = "" if scene in (keys.text, keys.speaker, group) else scene

    def read(rows: Sequence[Row]) -> Conversation | str:
        if all(is_missing(row.get(keys.text)) for row in rows):
            return NO_DIALOGUE
        situation = next((row[scene] for row in rows if scene and not is_missing(row.get(scene))), "")
        said = keys.said(rows)
        if not keys.speaker:
            return Conversation(alternating(words for _, words in said), situation)
        return talk(said, situation, people=keys.people(rows))

    order = f", in the order of '{keys.order.parent or keys.order.number}'" if keys.order.keys else ""
    of = (
        "all rows of a file are one conversation"
        if group == FILE
        else f"column '{group}' is the same in the rows of a conversation"
    )
    why = f"{of}, and '{keys.text}' has its words{order}"
    columns = used("" if group == FILE else group, *keys.order.keys, keys.speaker, keys.flag, keys.text, scene)
    return Match(NAME, why, columns, read, group, _doubts(sample, group, keys, scene))


def _doubts(sample: Sample, group: str, keys: Keys, scene: str) -> tuple[str, ...]:
    found = []
    if group == FILE:
        apart = f"--columns situation={scene},character={keys.speaker},line={keys.text}"
        way_out = f"; if each row is a scene of its own, give {apart}" if scene and keys.speaker else ""
        found.append(f"no column tells one conversation from the next: each file is taken for one{way_out}")
    elif _come_back(sample, group):
        found.append(f"a conversation's rows do not stand together: '{group}' comes again after others")
    if keys.guessed:
        found.append(f"who speaks is taken from '{keys.speaker}' because of its values")
    elif not keys.speaker:
        found.append(NOBODY_NAMED)
    return tuple(found)


def _come_back(sample: Sample, group: str) -> bool:
    begun = [str(run[0].get(group)) for run in runs(sample.rows, group)]
    return len(set(begun)) < len(begun)


def _of_a_file(sample: Sample) -> Match | None:
    """Rows that say who speaks and what, in one column each, with speakers who come again."""
    rows = [row for row in sample.rows if "chat_metadata" not in row]
    keys = _keys(sample, [rows], "") if len(rows) > 1 else None
    if keys is None or not keys.speaker or keys.guessed:
        return None
    if plain(keys.speaker) not in SPEAKERS or plain(keys.text) in LABELS:
        return None
    names = [str(row.get(keys.speaker)) for row in rows if not is_missing(row.get(keys.speaker))]
    turns_come_again = len(set(names)) < len(names) and len(set(names)) > 1
    return _match(sample, FILE, keys) if turns_come_again and 2 * len(names) > len(rows) else None
