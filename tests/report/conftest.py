"""What the tests of the report share: datasets with whatever texts a test wants, and the page taken apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from psyctl_core import CaaRecord, build_caa
from psyctl_core.testing import FakeBackend, FakePrompter, FakeSource

HOSTILE = (
    "</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "<svg/onload=alert(1)>", "<!-- ",
    "' autofocus onfocus='alert(1)", "javascript:alert(1)", "{{ 7 * 7 }}{% raw %}", "&lt;b&gt; &#60;i&#62;", "]]>",
    "</style><style>*{display:none}</style>", "</title><base href=//evil>", "%s %d {0} {x}", "\x1b[31m\x07\x00",
    "\u202e\u2066right\u2069", "\ud800 \udfff", "\u2028\x85", "<iframe srcdoc='<p>'>", "a</textarea></select></form>",
)  # fmt: skip


@dataclass
class Page(HTMLParser):
    """A page's elements with their attributes, its text, and what is neither."""

    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: str = ""
    scripts: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data):
        if self.cdata_elem == "script":
            self.scripts.append(data)
        elif self.cdata_elem != "style":
            self.text += f"{data} "

    def handle_comment(self, data):
        self.others.append(data)

    def handle_decl(self, decl):
        self.others.append(decl)

    handle_pi = unknown_decl = handle_comment

    def all_of(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def parsed() -> Callable[[str], Page]:
    """Takes a page apart."""

    def take(html: str) -> Page:
        page = Page()
        page.feed(html)
        page.close()
        page.text = " ".join(page.text.split())
        return page

    return take


@pytest.fixture
def make() -> SimpleNamespace:
    """Makes records, lines of the rejects, and the metadata of judged pairs."""
    return SimpleNamespace(record=record, rejected=rejected, scored=scored)


def record(number: int, **fields: Any) -> CaaRecord:
    """One record, whose positive answer stands first in every other one."""
    first = number % 2 == 0
    question = "[Situation]\nA stop.\n[Question]\nWhat should Kim say?\n1. One.\n2. Other.\n[Answer]"
    values = {
        "question": question, "positive": "(1" if first else "(2", "neutral": "(2" if first else "(1",
        "id": f"id-{number}", "trait": "Openness", "character": "Kim", "situation": f"Kim waits at stop {number}.",
        "positive_text": f"Oh wow, look at tree {number}!", "neutral_text": f"The bus is late, line {number}.",
    }  # fmt: skip
    return CaaRecord(**{**values, **fields})


def scored(positive: float | None, neutral: float | None) -> dict[str, Any]:
    """The metadata of a judged pair."""
    return {"judge": {"name": "rubric", "scores": {"positive": positive, "neutral": neutral}}}


@pytest.fixture
def dataset(tmp_path) -> Callable[..., Path]:
    """Makes a run's files with the records, rejects and labels given, and changes what run.json says."""

    def write(
        records: Sequence[CaaRecord] = (),
        *,
        trait: str = "Openness",
        folder: Path = tmp_path / "data",
        rejects: Sequence[Mapping[str, Any]] = (),
        labels: Mapping[str, str] | None = None,
        **run: Any,
    ) -> Path:
        report = build_caa(
            "Openness", folder, source=FakeSource(1), prompter=FakePrompter(), backend=FakeBackend(), limit_samples=1,
            fresh=True,
        )  # fmt: skip
        lines = [json.dumps(each.as_json()) for each in records]
        Path(report.datasets[0].location).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        beside = report.datasets[0].run_folder
        found = json.loads((beside / "run.json").read_text(encoding="utf-8"))
        found["trait"] = trait
        found["statistics"]["accepted"] = len(records)
        for name, value in run.items():
            found[name] = {**found.get(name, {}), **value} if isinstance(value, dict) else value
        (beside / "run.json").write_text(json.dumps(found), encoding="utf-8")
        if rejects:
            text = "".join(f"{json.dumps({'place': 0, **each})}\n" for each in rejects)
            (beside / "rejects.jsonl").write_text(text, encoding="utf-8")
        if labels:
            text = "".join(f"{json.dumps({'id': id, 'label': label})}\n" for id, label in labels.items())
            (beside / "labels.jsonl").write_text(text, encoding="utf-8")
        return folder

    return write


def rejected(number: int, **fields: Any) -> dict[str, Any]:
    """One line of the rejects, with a pair."""
    values = {
        "id": f"no-{number}", "reason": "the sides do not differ", "trait": "Openness", "character": "Kim",
        "situation": "A scene.", "positive_text": "Yes.", "neutral_text": "No.", "metadata": {},
    }  # fmt: skip
    return {**values, **fields}


@pytest.fixture
def hostile_texts() -> tuple[str, ...]:
    """Texts that a page must not obey."""
    return HOSTILE


@pytest.fixture
def hostile(dataset, make):
    """A dataset in which everything that can be a text is hostile."""
    bad = " ".join(HOSTILE)
    records = [
        make.record(
            n, id=f"{n} {bad}", trait=bad, character=bad, situation=bad, positive_text=f"{bad} oh", neutral_text=bad,
            metadata={"judge": {"name": bad, "scores": {bad: 10.0 + n, "positive": 80 + n, "neutral": 3}}},
        )
        for n in range(12)
    ]  # fmt: skip
    return dataset(
        records,
        trait=bad,
        rejects=[make.rejected(1, reason=bad, id=bad, character=bad, positive_text=bad, metadata=make.scored(9, 1))],
        labels={records[0].id: "right"},
        status="stopped",
        settings={"source": {"component": bad, "settings": {bad: bad}}, bad: bad},
        personas={bad: {"trait": bad, "description": bad, "keywords": [bad]}},
        identity={"personas": {"contrast": bad}},
        guides={bad: bad},
        statistics={"rejected": {bad: 3}, "skipped": {bad: 4}},
        versions={bad: bad},
    )
