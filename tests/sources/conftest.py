"""What the tests of the scenario sources share: example rows, a Hub on loopback, and sources over files."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from psyctl_core import Context, Scenario, SkippedRow
from psyctl_soda import SodaConfig
from psyctl_soda.source import SodaSource


def _load(name: str) -> ModuleType:
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"psyctl_sources_{name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


hub_module = _load("hub")
rows_module = _load("rows")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that wants an ``example`` with each of them."""
    if "example" in metafunc.fixturenames:
        examples = rows_module.EXAMPLES
        metafunc.parametrize("example", examples, ids=[example.form for example in examples])


@pytest.fixture
def examples() -> list[Any]:
    """All examples."""
    return rows_module.EXAMPLES


@pytest.fixture
def source() -> Callable[..., SodaSource]:
    """A source over a path with these settings."""

    def make(path: object, *, seed: int = 0, **settings: Any) -> SodaSource:
        return SodaSource(SodaConfig(dataset=str(path), **settings), Context(seed=seed))

    return make


@pytest.fixture
def read(source) -> Callable[..., list[Scenario | SkippedRow]]:
    """Everything a source over a path yields from ``start`` on."""

    def items(path: object, start: int = 0, **settings: Any) -> list[Scenario | SkippedRow]:
        return list(source(path, **settings).scenarios(start))

    return items


@pytest.fixture
def jsonl(tmp_path) -> Callable[..., Path]:
    """Writes rows to a JSONL file and returns its path."""

    def write(rows: Iterable[Any], name: str = "rows.jsonl") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture
def loopback() -> ModuleType:
    """The module of the Hub on loopback."""
    return hub_module


@pytest.fixture
def with_hub(tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Type ``psyctl ...``, or run Python code, in a process that takes a loopback Hub for the Hub."""

    def run(hub: Any, *arguments: str, code: str = "", token: str = "", **environment: str):
        main = code or "from psyctl_core.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-W", "error::ResourceWarning", "-c", main, *arguments],
            cwd=tmp_path, env={**hub.environment(tmp_path / "home", token), "COLUMNS": "200", **environment},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    return run
