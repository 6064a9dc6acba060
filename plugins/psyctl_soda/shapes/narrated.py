"""SODA: a narrative, the turns of a dialogue, and a name for each turn; also its simplified forms.

Read off https://huggingface.co/datasets/allenai/soda: ``speakers`` has one name a turn, turns may be empty,
a speaker may take two in a row. Simplified forms keep the two names and only the first turn, or more turns
than names: in both readings the first name says the first turn and the second name answers.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from psyctl_soda.scenario import NO_DIALOGUE, NO_NAMES, USER, Conversation, neutral_name
from psyctl_soda.shapes.labels import lines_of
from psyctl_soda.shapes.roles import ASSISTANT, Cast, label, role, talk
from psyctl_soda.shapes.sample import Match, Row, Sample, listed, used
from psyctl_soda.shapes.script import is_script, script_turns
from psyctl_soda.shapes.speakers import names_in
from psyctl_soda.values import as_list, is_missing, is_text, texts_in

NAME = "soda"
SUMMARY = "SODA and its simplified forms: turns in one column, speakers' names in another"
DIALOGUES = ("dialogue", "dialog", "utterances", "turns", "conversation", "lines", "texts", "speech", "messages")
NAMES = ("speakers", "speaker", "names", "characters", "participants", "senders", "roles", "character", "agents")


def recognises(sample: Sample) -> Match | None:
    """A column with texts or a first turn, and one with the speakers' names."""
    names = sample.named(NAMES, lambda value: len(_names(value)) > 1)
    dialogue = sample.named(DIALOGUES, lambda value: texts_in(value) is not None or is_text(value))
    if not names or not dialogue:
        return None
    columns = used(sample.scene(), dialogue, names)
    reader = NarratedReader(columns[0] if len(columns) == 3 else "", dialogue, names)
    return Match(NAME, f"columns {listed(columns)}", columns, reader)


class NarratedReader:
    """Reads a row with these three columns; the scene's name may be empty."""

    def __init__(self, scene: str = "narrative", dialogue: str = "dialogue", names: str = "speakers") -> None:
        self._scene, self._dialogue, self._names = scene, dialogue, names

    def __call__(self, row: Row) -> Conversation | str:
        """The row's scene and turns, or why it has none."""
        value = row.get(self._dialogue)
        if isinstance(value, str) and is_script(value):
            return talk(script_turns(lines_of(value)), row.get(self._scene))
        texts = texts_in(value) or ([str(value)] if is_text(value) else [])
        if all(map(is_missing, texts)):
            return NO_DIALOGUE
        names = _names(row.get(self._names))
        if len(names) != len(texts):
            if len(names) != 2 or names[0] == names[1]:
                return NO_NAMES
            texts = [texts[0], ""]
        called = _called(names)
        turns = [(name, text) for name, text in zip(called, texts, strict=True) if name is not None]
        return Conversation(turns, row.get(self._scene), (ASSISTANT,) if {USER, ASSISTANT} <= set(called) else ())


@functools.lru_cache(maxsize=10_000)
def _is_a_role(name: str) -> bool:
    return not name or name.isdigit() or role(name) != name


def _called(names: list[str]) -> Sequence[str | None]:
    """The names, roles told and numbers made neutral ones; None for what nobody says, "" where a name is missing."""
    if not any(map(_is_a_role, set(names))):
        return names
    cast, numbers = Cast.of([names]), dict[str, str]()
    found: list[str | None] = []
    for name in map(label, names):
        if name.isdigit():
            found.append(numbers.setdefault(name, neutral_name(len(numbers))))
        else:
            found.append((cast.name(name) or None) if name else "")
    return found


def _names(value: Any) -> list[str]:
    """One name or number a turn, or the two names; also several in one text with commas and the like between them."""
    names = as_list(value)
    if names is None and isinstance(value, str):
        names = names_in(value)
    return [label(name) for name in names or ()]
