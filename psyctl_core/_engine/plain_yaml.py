"""Reads a YAML file as maps, lists and texts with their lines; refuses what a file of settings has no use for.

Every value stays the text that stands there, since only whoever wants it knows its type: a trait called ``No`` is no
"false", and the seed ``010`` no 8 (YAML 1.1, https://yaml.org/type/). Aliases are refused, so that no file unfolds into
more than it is; so are tags.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from psyctl_core.errors import UsageError

MAX_BYTES = 1_000_000
MAX_DEPTH = 8
NOTHING = ("", "~", "null", "Null", "NULL")
"""What stands for no value where it is not in quotation marks."""


@dataclass(frozen=True, slots=True)
class Text:
    """A value: its text, the line it stands on, and whether it is in quotation marks or a block."""

    line: int
    text: str
    is_quoted: bool

    @property
    def is_empty(self) -> bool:
        """Whether nothing is said."""
        return not self.is_quoted and self.text in NOTHING


@dataclass(frozen=True, slots=True)
class List:
    """A list, and the line it begins on."""

    line: int
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Map:
    """A map, the line it begins on, and the line of each of its keys."""

    line: int
    items: dict[str, Node]
    lines: dict[str, int]


Node: TypeAlias = "Text | List | Map"


class YamlError(Exception):
    """What is wrong in a file, and on which line; 0 where that is not known."""

    def __init__(self, problem: str, line: int = 0) -> None:
        super().__init__(problem)
        self.line = line


def read(path: Path, what: str) -> Map:
    """Read a file that holds one map.

    Args:
        path: The file.
        what: What it is to the user, such as "recipe".

    Raises:
        UsageError: It cannot be read, or holds something else. No line of the file is repeated: it may hold a key.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"The {what} '{path}' cannot be read: {error.strerror or error}.", "Name a YAML file."
        ) from error
    try:
        return _map_in(data)
    except YamlError as problem:
        where = f", line {problem.line}" if problem.line else ""
        raise UsageError(f"The {what} '{path}'{where} cannot be used: {problem}.", "Mend the file.") from problem


def _map_in(data: bytes) -> Map:
    import yaml  # not before a file is to be read: help must be quick

    if len(data) > MAX_BYTES:
        raise YamlError(f"it has more than {MAX_BYTES:,} bytes")
    try:
        events = yaml.parse(data.decode("utf-8-sig"), Loader=yaml.SafeLoader)
        found = _document(iter(events))
    except UnicodeDecodeError as error:
        raise YamlError(f"it is not UTF-8 text (byte {error.start + 1})") from error
    except yaml.reader.ReaderError as error:
        raise YamlError(f"the character U+{error.character:04X} may not stand in it") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(_said(error), mark.line + 1 if mark else 0) from error
    if not isinstance(found, Map):
        kind = "a list" if isinstance(found, List) else "one text" if found and found.text else "nothing"
        raise YamlError(f"it holds {kind} where a map of options is wanted")
    return found


def _said(error: Any) -> str:
    """What the parser says, without the passage of the file."""
    problem = str(error.problem or error.context or "it is not YAML")
    if "\\t" in problem:
        return "a tab stands where only spaces may: indent with spaces"
    if "mapping values are not allowed" in problem:
        return "a colon stands where none may: put the value in quotation marks"
    return f"{problem}, so it is not YAML"


def _document(events: Iterator[Any]) -> Node | None:
    """The file's only document."""
    found: Node | None = None
    for event in events:
        kind = type(event).__name__
        if kind in ("StreamStartEvent", "StreamEndEvent", "DocumentStartEvent", "DocumentEndEvent"):
            continue
        if found is not None:
            raise YamlError("a second document begins there", event.start_mark.line + 1)
        found = _node(event, events, 1)
    return found


def _node(event: Any, events: Iterator[Any], depth: int) -> Node:
    line = event.start_mark.line + 1
    kind = type(event).__name__
    if kind == "AliasEvent" or getattr(event, "anchor", None):
        raise YamlError("an anchor (&) or alias (*) stands there: write the value out, or put it in quotes", line)
    if event.tag:
        raise YamlError("a tag (!) stands there: put the value in quotation marks", line)
    if depth > MAX_DEPTH:
        raise YamlError("it is nested too deeply", line)
    if kind == "ScalarEvent":
        return Text(line, event.value, not event.implicit[0])
    if kind == "SequenceStartEvent":
        items = []
        while type(inner := next(events)).__name__ != "SequenceEndEvent":
            items.append(_node(inner, events, depth + 1))
        return List(line, tuple(items))
    values: dict[str, Node] = {}
    lines: dict[str, int] = {}
    while type(inner := next(events)).__name__ != "MappingEndEvent":
        key = _node(inner, events, depth + 1)
        if not isinstance(key, Text):
            raise YamlError("a list or a map stands where a name is wanted", key.line)
        if key.text in values:
            raise YamlError(f"'{key.text:.60}' is given a second time", key.line)
        lines[key.text] = key.line
        values[key.text] = _node(next(events), events, depth + 1)
    return Map(line, values, lines)


def plain(node: Node) -> Any:
    """A node as dictionaries, lists and texts."""
    if isinstance(node, Map):
        return {name: plain(inner) for name, inner in node.items.items()}
    return [plain(item) for item in node.items] if isinstance(node, List) else node.text
