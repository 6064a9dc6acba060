"""What the tests of publishing share: a Hub on loopback that takes uploads, and datasets with what a test wants."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import huggingface_hub
import pytest

from psyctl_core import CaaRecord, build_caa
from psyctl_core.testing import FakeBackend, FakePrompter, FakeSource


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"psyctl_hub_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


server_module = _load("server")


@pytest.fixture
def server() -> ModuleType:
    """The module of the Hub on loopback."""
    return server_module


@pytest.fixture
def uploads(monkeypatch) -> Iterator[Any]:
    """A Hub that this process takes for the Hub, with a token that may write."""
    with server_module.Uploads() as hub:
        trust(monkeypatch, hub)
        yield hub


def trust(monkeypatch: pytest.MonkeyPatch, hub: Any) -> None:
    """Have huggingface_hub, which read its settings when it was imported, ask that Hub, and send as of old."""
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # what stores large files since is no HTTP of its own
    monkeypatch.setenv("HF_TOKEN", server_module.WRITER)


@pytest.fixture
def no_token(monkeypatch, tmp_path) -> None:
    """Nobody is logged in."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))


@pytest.fixture
def dataset(tmp_path) -> Callable[..., Path]:
    """Makes a run's folder; then puts in other records, and changes what run.json says."""

    def write(
        traits: str = "Openness",
        *,
        folder: Path = tmp_path / "data",
        pairs: int = 6,
        records: Sequence[CaaRecord] | None = None,
        labels: Mapping[str, str] | None = None,
        **run: Any,
    ) -> Path:
        report = build_caa(
            traits, folder, source=FakeSource(pairs), prompter=FakePrompter(), backend=FakeBackend(), fresh=True
        )
        for made in report.datasets:
            file = made.run_folder / "run.json"
            found = json.loads(file.read_text(encoding="utf-8"))
            if records is not None:
                lines = [json.dumps(record.as_json()) for record in records]
                Path(made.location).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
                found["statistics"]["accepted"] = len(records)
            file.write_text(json.dumps(merged(found, run)), encoding="utf-8")
            if labels:
                text = "".join(f"{json.dumps({'id': id, 'label': label})}\n" for id, label in labels.items())
                (made.run_folder / "labels.jsonl").write_text(text, encoding="utf-8")
        return folder

    return write


def merged(one: Any, other: Any) -> Any:
    """One JSON value with another put over it, object by object."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {**one, **{name: merged(one.get(name), value) for name, value in other.items()}}
    return other


@pytest.fixture
def record() -> Callable[..., CaaRecord]:
    """Makes one record."""

    def make(number: int, **fields: Any) -> CaaRecord:
        first = number % 2 == 0
        values = {
            "question": "[Situation]\nA stop.\n[Question]\nWhat should Kim say?\n1. One.\n2. Other.\n[Answer]",
            "positive": "(1" if first else "(2", "neutral": "(2" if first else "(1", "id": f"id-{number}",
            "trait": "Openness", "character": "Kim", "situation": f"Kim waits at stop {number}.",
            "positive_text": f"Oh wow, look at tree {number}!", "neutral_text": f"The bus is late, line {number}.",
        }  # fmt: skip
        return CaaRecord(**{**values, **fields})

    return make
