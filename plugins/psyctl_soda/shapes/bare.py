"""A bare scene or prompt, with no dialogue: a narrative is the situation, a prompt is somebody's words.

Who acts in a scene is named by a column such as ``character`` or, where a sentence begins with somebody's
name as its subject ("Alice is at a party"), by the scene itself; otherwise the name is a neutral one.
"""

from __future__ import annotations

import re
from typing import Any

from psyctl_soda.scenario import NO_DIALOGUE, Talk, neutral_name
from psyctl_soda.shapes.sample import Fit, Row, Sample, listed, used
from psyctl_soda.text import clean_name
from psyctl_soda.values import is_missing, is_text

NAME = "bare"
SUMMARY = "a narrative, context or prompt column with no dialogue"
WORDS = ("prompt", "question", "instruction", "query", "request")
CHARACTERS = ("character", "charactername", "protagonist", "name", "speaker", "personx")

_SUBJECT = re.compile(
    r"(?:^|[.!?…]\s+)([A-Z][a-zà-ÿ]+)(?: and [A-Z][a-zà-ÿ]+)? "
    r"(?:is|was|has|had|does|did|will|would|can|could|went|sat|stood|ran|came|felt|saw|[a-z]{2,}(?:s|ed)) "
)
_NO_NAMES = {
    "The", "This", "That", "These", "Those", "There", "Here", "It", "He", "She", "They", "We", "You", "Who", "What",
    "When", "Where", "Why", "How", "Which", "One", "Someone", "Somebody", "Everyone", "Everybody", "Nobody",
    "Everything", "Nothing", "Something", "Anyone", "Each", "Both", "All", "Some", "Many", "Most", "Few", "Another",
    "Other", "Today", "Tomorrow", "Yesterday", "Now", "Then", "Later", "Life", "Time", "People", "Work", "School",
    "Summer", "Winter", "Spring", "Autumn", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
    "Sunday",
}  # fmt: skip


def recognises(sample: Sample) -> Fit | None:
    """A column named as a scene or a prompt whose values are texts."""
    scene = sample.scene()
    words = sample.named(WORDS, is_text)
    more = sample.named(("input",), is_text) if words else ""
    if not scene and not words:
        return None
    character = sample.named(CHARACTERS, lambda value: isinstance(value, str))
    columns = used(scene, words, more, character)
    why = f"no dialogue, but {'columns' if len(columns) > 1 else 'column'} {listed(columns)}"

    def read(row: Row) -> Talk | str:
        said = [value for value in (row.get(words), row.get(more)) if isinstance(value, str)]
        return bare_talk(row.get(scene), "\n".join(said), row.get(character))

    return Fit(NAME, why, columns, read)


def bare_talk(scene: Any, words: Any, character: Any) -> Talk | str:
    """A talk in which somebody is about to speak, having heard these words or none.

    Args:
        scene: The situation, or anything but a text.
        words: What is said to the character, or anything but a text.
        character: Who answers, or anything but a text.
    """
    scene, words, character = (value if isinstance(value, str) else "" for value in (scene, words, character))
    if is_missing(scene) and is_missing(words):
        return NO_DIALOGUE
    name = clean_name(character) or subject(scene)
    if is_missing(words):
        return Talk((), scene, character=name or neutral_name(0))
    speaker = neutral_name(int(name == neutral_name(0)))
    return Talk([(speaker, words), (name or neutral_name(1), "")], scene)


def subject(scene: str) -> str:
    """The name of whoever a sentence of the scene is about, or "" where none can be told."""
    for match in _SUBJECT.finditer(scene[:2000]):
        name = match[1]
        if name not in _NO_NAMES and not re.search(rf"\b(?:in|at|to|from|near|of|the|on) {name}\b", scene):
            return name
    return ""
