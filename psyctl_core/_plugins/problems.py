"""What is wrong with something that a plugin handed over, and how what is right is stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from psyctl_core import schema
from psyctl_core.checks import CheckVerdict, Finding
from psyctl_core.components import BackendState, Exported
from psyctl_core.markup import cut_at_control, without_thoughts
from psyctl_core.records import (
    CaaRecord,
    ChatRequest,
    Completion,
    FinishReason,
    JsonValue,
    Persona,
    Scenario,
    SkippedRow,
    Turn,
)

FINISH_REASONS = frozenset(get_args(FinishReason))

MAX_CHARACTERS_A_TOKEN = 128
"""Hardly a token of any vocabulary is longer; a text that would need longer ones was not bounded as asked."""

MAX_WAITING = 200
"""Characters of what a backend says that it waits for."""

MAX_TOKENS_TOLD = 1 << 40

MAX_COST = 1_000.0
"""US dollars: no single answer costs more."""


def item_problem(item: object, last_offset: int) -> str:
    """What is wrong with an item that a source yielded, or nothing.

    Args:
        item: What came.
        last_offset: The offset of the item before it; -1 where it is the first.
    """
    if isinstance(item, Scenario):
        dialogue: object = item.dialogue
        if not isinstance(dialogue, tuple):
            return f"its dialogue is a {type(dialogue).__name__}, which could change later; a tuple is wanted"
        if odd := next((turn for turn in dialogue if not isinstance(turn, Turn)), None):
            return f"its dialogue holds a {type(odd).__name__}, which is not a Turn"
        if wrong := schema.problem("scenario", scenario_as_json(item)):
            return wrong
        if item.dialogue and item.dialogue[-1].speaker == item.character:
            return f"'{item.character}' is to answer their own words"
    elif not isinstance(item, SkippedRow):
        return f"a {type(item).__name__} is not a Scenario or SkippedRow"
    if item.offset <= last_offset:
        return f"offset {item.offset} comes after offset {last_offset}; offsets must rise"
    return ""


def completion_problem(completion: object) -> str:
    """What is wrong with something that a backend yielded, or nothing."""
    if not isinstance(completion, Completion):
        return f"a {type(completion).__name__} is not a Completion"
    if not isinstance(completion.text, str):
        return f"its text is a {type(completion.text).__name__} (request {completion.id!r})"
    if completion.finish_reason not in FINISH_REASONS:
        return f"its finish_reason is {completion.finish_reason!r} (request {completion.id!r})"
    if not isinstance(completion.error, str):
        return f"its error is a {type(completion.error).__name__} (request {completion.id!r})"
    for name in ("prompt_tokens", "completion_tokens", "cost"):
        value = getattr(completion, name)
        if value is not None and not isinstance(value, (int, float)):
            return f"its {name} is a {type(value).__name__} (request {completion.id!r})"
    return ""


def persona_problem(persona: object) -> str:
    """What is wrong with something that a prompter returned, or nothing."""
    text = persona.description if isinstance(persona, Persona) else None
    if not isinstance(text, str) or not text.strip():  # who wrote it may not have checked types
        return f"it described nobody: {persona!r} is not a Persona with a description"
    return ""


def record_problem(record: object) -> str:
    """What is wrong with something that a sink read, or nothing."""
    if not isinstance(record, CaaRecord):
        return f"a {type(record).__name__} is not a CaaRecord"
    return schema.problem("caa-record", record.as_json())


def exported_problem(exported: object, folder: Path) -> str:
    """What is wrong with what an exporter returned, or nothing.

    Args:
        exported: What it returned.
        folder: Where it was to write.
    """
    if not isinstance(exported, Exported):
        return f"returned a {type(exported).__name__}, not an Exported"
    if not exported.files:
        return "named no file that it wrote"
    for file in exported.files:
        if not (folder / file).is_file() or not (folder / file).resolve().is_relative_to(folder.resolve()):
            return f"named a file that is not in its folder: {file}"
    texts = (exported.next, *exported.notes)
    return "" if exported.next and all(isinstance(text, str) for text in texts) else "did not say what to run next"


def finding_problem(finding: object) -> str:
    """What is wrong with what a check returned, or ``""``."""
    if not isinstance(finding, Finding):
        return f"a {type(finding).__name__}, not a Finding"
    value: Any = finding.value  # who wrote it may not have checked types
    text: Any = finding.text
    interval: Any = finding.interval
    if not (value is None or is_number(value)):
        return f"its value is {value!r}, not a number"
    if not (interval is None or (isinstance(interval, tuple) and len(interval) == 2 and all(map(is_number, interval)))):
        return f"its interval is {interval!r}, not two numbers"
    if not (isinstance(text, str) and text.strip()):
        return f"its text is {text!r}"
    if finding.verdict not in (None, *get_args(CheckVerdict)):
        return f"its verdict is {finding.verdict!r}"
    rows: Sequence[Any] = finding.worst
    for row in rows:
        if not (isinstance(row, tuple) and len(row) == 2 and all(isinstance(part, str) for part in row)):
            return f"among its worst pairs is {row!r}, not an id and a text"
    return ""


def is_number(value: object) -> bool:
    """Whether it is a number, and a finite one."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def storable(text: str) -> str:
    """The text without what no file can hold: half an emoji becomes a replacement character."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def storable_scenario(scenario: Scenario) -> Scenario:
    """A scenario whose texts can be stored."""
    texts = (scenario.situation, scenario.character, *(part for t in scenario.dialogue for part in (t.speaker, t.text)))
    if all(storable(text) == text for text in texts):
        return scenario
    dialogue = tuple(Turn(storable(turn.speaker), storable(turn.text)) for turn in scenario.dialogue)
    return replace(
        scenario,
        situation=storable(scenario.situation),
        character=storable(scenario.character),
        dialogue=dialogue,
    )


def storable_completion(completion: Completion, request: ChatRequest) -> Completion:
    """A completion that can be stored: no thoughts, no control tokens, no longer than was asked, sane numbers.

    Numbers that cannot be are taken as not told. What is longer than so many tokens can be was cut off.
    """
    text = storable(completion.text)
    most = request.max_tokens * MAX_CHARACTERS_A_TOKEN
    length = len(text) > most
    spoken = cut_at_control(without_thoughts(text[:most]))
    cost = completion.cost if completion.cost is not None and 0 <= completion.cost <= MAX_COST else None
    return replace(
        completion,
        text=spoken,
        finish_reason="length" if length and completion.finish_reason == "stop" else completion.finish_reason,
        prompt_tokens=_count(completion.prompt_tokens),
        completion_tokens=_count(completion.completion_tokens),
        cost=cost,
        error=storable(completion.error),
        unpriced=completion.unpriced or (cost is None and completion.cost is not None),
    )


def _count(tokens: int | None) -> int | None:
    return int(tokens) if tokens is not None and 0 <= tokens <= MAX_TOKENS_TOLD else None


def sane_state(state: BackendState) -> BackendState:
    """What a backend or a pool says of itself, on one line and with whole numbers."""
    workers = None if state.workers is None else int(state.workers)
    waiting = " ".join(str(state.waiting).split())[:MAX_WAITING]
    answered = {str(name)[:MAX_WAITING]: int(count) for name, count in {**state.answered}.items()}
    return BackendState(waiting, int(state.retries), workers, answered)


def scenario_as_json(scenario: Scenario) -> dict[str, JsonValue]:
    """A scenario as its schema describes it."""
    row: dict[str, JsonValue] = {
        "id": scenario.id,
        "offset": scenario.offset,
        "situation": scenario.situation,
        "character": scenario.character,
        "dialogue": [{"speaker": turn.speaker, "text": turn.text} for turn in scenario.dialogue],
    }
    return {**row, "metadata": scenario.metadata} if scenario.metadata else row
