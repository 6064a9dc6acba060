"""Datasets to split and to merge, and a stranger's sink: the SQLite one of the documentation."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from psyctl_core.cli.app import make_app
from psyctl_core.testing import FakeSource

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "write-a-sink.md"


@pytest.fixture
def shared_sink(install: Callable[..., None], tmp_path: Path) -> None:
    """Install the sink of the how-to as a distribution of its own."""
    blocks = re.findall(r"^```python-file\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    offer, sink, _ = blocks
    install("psyctl-shared", offer)
    (tmp_path / "site" / "psyctl_shared_sink.py").write_text(sink, encoding="utf-8")


@pytest.fixture
def made(run: Callable[..., Any], tmp_path: Path) -> Callable[..., Path]:
    """Build a dataset of so many pairs in a folder of that name."""

    def build(name: str, pairs: int = 20, *, traits: str = "Extroversion", **options: Any) -> Path:
        output = tmp_path / name
        run(traits, output=output, source=options.pop("source", None) or FakeSource(pairs), **options)
        return output

    return build


@pytest.fixture
def type_in() -> Callable[..., None]:
    """Type a command in this process."""

    def typed(*words: object) -> None:
        make_app()([str(word) for word in words], standalone_mode=False)

    return typed
