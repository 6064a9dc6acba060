"""One text of ``Name: words`` lines: SAMSum, DialogSum (``#Person1#: ...``), Synthetic-Persona-Chat, chat exports.

A line that begins with no name goes on with the turn before it. Where a user and an assistant part a text,
nothing else in it is a speaker. Labels must come again, or differ from row to row; the same ones in the same
order in every row are a form.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psyctl_soda.markup import is_omitted
from psyctl_soda.scenario import MEDIA, NO_DIALOGUE, USER, Conversation, neutral_name
from psyctl_soda.shapes.chats import people, pictured
from psyctl_soda.shapes.labels import FIELDS, is_field, is_stage, is_stamped, lines_of, parted, stage_text
from psyctl_soda.shapes.roles import ASSISTANT, answering, named, role, talk
from psyctl_soda.shapes.sample import Match, Row, Sample, used
from psyctl_soda.text import NUMBERED_WORDS
from psyctl_soda.values import is_text

NAME = "script"
SUMMARY = "one text of 'Name: words' lines (SAMSum, DialogSum, Synthetic-Persona-Chat)"
COLUMNS = (
    "dialogue", "dialog", "conversation", "chat", "script", "transcript", "text", "chosen", "conversations",
    "dialogues", "dialogs", "messages", "chatlog", "log", "screenplay", "turns", "utterances", "thread",
)  # fmt: skip
ANY = {"text", "chosen", "log", "thread", "messages"}
"""Names among these that do not say that a column is a dialogue."""

_CAPITALS = re.compile(r"^[^\W\d_a-z][^a-z:?!]{0,38}$")
_ASIDES = re.compile(r"\s*\([^()]{0,40}\)\s*$")
_INLINE = re.compile(
    r"(?:(?<=\s)|^|(?<=</s>)|(?<=>))(USER|ASSISTANT|Human|Assistant|### ?Human|### ?Assistant)[:：]\s?"
)


@dataclass(frozen=True, slots=True)
class Script:
    """A text that was read as a script.

    Attributes:
        scene: What its stage directions say before anybody speaks.
        turns: Names and words, as they stand there.
    """

    scene: str
    turns: list[tuple[str, str]]


def recognises(sample: Sample) -> Match | None:
    """A column whose texts are mostly lines that begin with two or more names."""
    column = sample.any(COLUMNS, lambda value: is_text(value) and is_script(value))
    column = column if column and is_talk(sample, column) else ""
    column = column or next((c for c in sample.columns if c != column and _is_talk_column(sample, c)), "")
    if not column:
        return None
    scene = sample.scene()
    scene = "" if scene == column else scene
    called, is_pictured = people(sample), pictured(sample)

    def read(row: Row) -> Conversation | str:
        value = row.get(column)
        script = read_script(lines_of(value)) if isinstance(value, str) else None
        if script is None or not script.turns:
            return NO_DIALOGUE
        if is_pictured(row):
            return MEDIA
        return talk(named(script.turns), row.get(scene) if scene else script.scene, people=called(row))

    doubts = () if _recurs(sample, column) else ("no name comes again in a text",)
    return Match(
        NAME, f"column '{column}' holds lines of the form 'Name: words'", used(scene, column), read, doubts=doubts
    )


def _is_talk_column(sample: Sample, column: str) -> bool:
    return sample.mostly(column, lambda value: is_text(value) and is_script(value)) and is_talk(sample, column)


def is_script(text: str) -> bool:
    """Whether half of the lines begin with a name, and two names or more do so."""
    script = read_script(lines_of(text))
    return len({name for name, _ in script.turns}) > 1


def is_talk(sample: Sample, column: str) -> bool:
    """Whether the labels in a column's texts are speakers and not the fields of a form."""
    texts = [value for value in sample.values(column) if isinstance(value, str)]
    told = [[name for name, _ in read_script(lines_of(text)).turns] for text in texts]
    told = [names for names in told if len(set(names)) > 1]
    if not told:
        return False
    known = [set(map(role, names)) for names in told]
    if any({USER, ASSISTANT} <= names or names == _QUIZ for names in known) or any(map(_are_numbered, told)):
        return True
    again = sum(len(set(names)) < len(names) for names in told)
    if 3 * again >= len(told):
        return True
    plain = re.sub(r"[\W_]", "", column.rpartition(".")[2].lower())
    varied = len({tuple(names) for names in told}) > 1
    if plain in COLUMNS and plain not in ANY:
        few = len(told) < 3 and max(map(len, told)) < 4
        return varied or few or bool(answering(told[0])) or all(len(name) == 1 for name in told[0])
    labels = [name for names in told for name in set(names)]
    return varied and len(told) > 2 and 5 * len(set(labels)) > 3 * len(labels)


def _are_numbered(names: Sequence[str]) -> bool:
    """Whether the labels are one word with several numbers, as in ``Speaker 1``."""
    words = {re.sub(r"[\W\d_]", "", name).lower() for name in names}
    numbered = all(any(ch.isdigit() for ch in name) for name in names)
    return len(words) == 1 and words <= _PERSONS and len(set(names)) > 1 and numbered


def _recurs(sample: Sample, column: str) -> bool:
    texts = [value for value in sample.values(column) if isinstance(value, str)]
    told = [[name for name, _ in read_script(lines_of(text)).turns] for text in texts]
    return any(len(set(names)) < len(names) for names in told) or len({tuple(names) for names in told}) > 1


def read_script(lines: Sequence[str]) -> Script:
    """Scene, speakers and words of a text's lines; no turns where it is not a script."""
    every, lines = lines, [line for line in lines if line.strip() and not _is_subtitle_mark(line)]
    inline = _of_inline(lines)
    if inline is not None:
        return inline
    found = [parted(line) for line in lines]
    names = Counter(part.label for part in found if part.label and not is_field(part.label))
    if not names:
        return _of_screenplay(every) or Script("", [])
    if _is_quiz(names):
        return _renamed(_script(lines, set(names)))
    roles = {name for name in names if role(name) in (USER, ASSISTANT)}
    if {USER, ASSISTANT} <= set(map(role, roles)):
        names = Counter({name: names[name] for name in roles})
    elif not _are_enough(names, sum(not is_stage(line) for line in lines)):
        return _of_screenplay(every) or Script("", [])
    return _script(lines, set(names))


_PERSONS = {
    "",
    *NUMBERED_WORDS,
    "man",
    "woman",
    "p",
    "s",
    "spk",
    "spkr",
    "caller",
    "voice",
    "guest",
    "friend",
    "guard",
    "npc",
}
_QUIZ = {neutral_name(0), neutral_name(1)}
_ASKS, _REPLIES = {"q", "question"}, {"a", "answer"}


def _is_quiz(names: Iterable[str]) -> bool:
    there = {name.lower() for name in names}
    return bool(there & _ASKS and there & _REPLIES) and there <= _ASKS | _REPLIES


def _renamed(script: Script) -> Script:
    return Script(script.scene, [(neutral_name(int(n.lower() in _REPLIES)), words) for n, words in script.turns])


def _are_enough(names: Counter[str], lines: int) -> bool:
    """Whether half of the lines are labelled, or a fifth where two labels come again."""
    again = sum(count > 1 for count in names.values()) > 1
    return (5 if again else 2) * sum(names.values()) >= lines


def _script(lines: Sequence[str], names: set[str]) -> Script:
    scene: list[str] = []
    turns: list[list[str]] = []
    exported = sum(is_stamped(line) for line in lines if parted(line).label in names) > 0
    for line in lines:
        name, words = parted(line)
        if name in names:
            turns.append([name, "" if is_omitted(words) else words])
        elif exported and is_stamped(line):
            continue  # what the program says: who joined, who left, what is encrypted
        elif is_stage(line):
            scene += [] if turns else [stage_text(line)]
        elif turns:
            turns[-1][1] = f"{turns[-1][1]}\n{line.strip()}".strip("\n")
        elif not name:
            scene.append(line.strip())
    return Script(_sentences(scene), [(name, words) for name, words in turns])


def _sentences(parts: Iterable[str]) -> str:
    """What several stage directions say, one after the other."""
    parts = list(filter(None, parts))
    return " ".join(part if part[-1] in ".!?…" or len(parts) == 1 else f"{part}." for part in parts)


def _is_subtitle_mark(line: str) -> bool:
    """Whether a line is a subtitle's number or its times, or an export's line between two days."""
    text = line.strip()
    ruled = text[:3] == text[-3:] and text[:3] in ("---", "===", "***", "———", "___")
    return text.isdigit() or "-->" in text or ruled or set(text) <= set("-–—=_*~# ")


def _of_inline(lines: Sequence[str]) -> Script | None:
    """A text in which ``USER:`` and ``ASSISTANT:`` part the turns wherever they stand in a line."""
    if len(lines) > 400:
        return None
    text = "\n".join(lines)
    parts = _INLINE.split(text)
    labels, words = [part.strip("# ") for part in parts[1::2]], parts[2::2]
    inside = sum(bool(re.search(r"[^\n][ >]?$", before)) for before in parts[0:-1:2]) > 0
    if not inside or {USER, ASSISTANT} - set(map(role, labels)):
        return None
    return Script("", [(label, said.strip()) for label, said in zip(labels, words, strict=True)])


def _of_screenplay(lines: Sequence[str]) -> Script | None:
    """A film script: names in capitals on lines of their own, each with its words below."""
    heads = [_ASIDES.sub("", line.strip()) for line in lines]
    names = Counter(head for head in heads if _is_head(head))
    if len(names) < 2 or max(names.values()) < 2:
        return None
    scene: list[str] = []
    turns: list[list[str]] = []
    open_turn = False
    for line, head in zip(lines, heads, strict=True):
        if not line.strip():
            open_turn = open_turn and not turns[-1][1]
        elif head in names:
            turns.append([head, ""])
            open_turn = True
        elif is_stage(line):
            open_turn = open_turn and line.strip().startswith("(")
            scene += [] if turns else [stage_text(line)]
        elif open_turn:
            turns[-1][1] = f"{turns[-1][1]}\n{line.strip()}".strip("\n")
        elif not turns:
            scene.append(line.strip())
    return Script(" ".join(scene), [(name.title(), words) for name, words in turns])


def _is_head(head: str) -> bool:
    return bool(_CAPITALS.match(head)) and len(head.split()) <= 3 and not is_stage(head) and head.lower() not in FIELDS


def script_turns(lines: Iterable[str]) -> list[tuple[object, object]]:
    """Speaker and words of each turn, roles already told."""
    return named(read_script(list(lines)).turns)
