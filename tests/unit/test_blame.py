"""A plugin that breaks its contract in the middle of a run is named, and what it had delivered is safe."""

from __future__ import annotations

import pytest

from psyctl_core import PluginError, UsageError, build_caa
from psyctl_core.testing import FakeBackend, FakePrompter, FakeSource, MemorySink
from psyctl_core.testing.fakes import fake_scenario

BAD = """
import dataclasses
from types import SimpleNamespace
from psyctl_core import Component, Completion, PluginError, Scenario, hookimpl, option
from psyctl_core.testing import FakeBackend, FakeSource

@dataclasses.dataclass(frozen=True)
class BackendConfig:
    fault: str = option("", help="What goes wrong.", identity=False)

@dataclasses.dataclass(frozen=True)
class SourceConfig:
    fault: str = option("", help="What goes wrong.", identity=False)

def backend(config, context):
    return Backend(config.fault)

class Backend(FakeBackend):
    def __init__(self, fault):
        super().__init__(in_flight=1)
        self.fault = fault

    def generate(self, requests):
        for number, answer in enumerate(super().generate(requests)):
            if number == 8:
                if self.fault == "raises":
                    1 / 0
                if self.fault == "another type":
                    answer = answer.text
                if self.fault == "text that is none":
                    answer = dataclasses.replace(answer, text=None)
                if self.fault == "tokens that are none":
                    answer = dataclasses.replace(answer, prompt_tokens=[1, 2])
                if self.fault == "never made":
                    answer = dataclasses.replace(answer, id="7777:neutral")
                if self.fault == "twice":
                    yield answer
                if self.fault == "stops":
                    return
            yield answer

def source(config, context):
    return Source(config.fault)

class Source(FakeSource):
    def __init__(self, fault):
        super().__init__(8)
        self.fault = fault

    def scenarios(self, start):
        for item in super().scenarios(start):
            if item.offset == 4:
                if self.fault == "raises":
                    raise KeyError("row 4")
                if self.fault == "another type":
                    item = dataclasses.asdict(item)
                if self.fault == "against the schema":
                    item = dataclasses.replace(item, character="")
                if self.fault == "turns of its own":
                    item = dataclasses.replace(item, dialogue=(SimpleNamespace(speaker="Robin", text="Well?"),))
            yield item

@hookimpl
def psyctl_inference_backends():
    return [Component("bad", "psyctl_bad:backend", BackendConfig, "Answers badly")]

@hookimpl
def psyctl_scenario_sources():
    return [Component("bad", "psyctl_bad:source", SourceConfig, "Reads badly")]
"""


@pytest.fixture
def bad(install):
    """The module of an installed plugin that does wrong on demand."""
    import importlib

    install("psyctl-bad", BAD, version="2.5")
    return importlib.import_module("psyctl_bad")


def ids(folder) -> list[str]:
    import json

    (path,) = folder.glob("*.jsonl")
    return [json.loads(line)["id"] for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("kind", "fault", "words"),
    [
        ("backend", "raises", "failed: ZeroDivisionError"),
        ("backend", "another type", "a str is not a Completion"),
        ("backend", "text that is none", "its text is a NoneType"),
        ("backend", "tokens that are none", "its prompt_tokens is a list"),
        ("backend", "never made", "'7777:neutral' that is not open: it was never made"),
        ("backend", "twice", "'4:neutral' that is not open: it was never made, or was answered before"),
        ("backend", "stops", "left 1 request unanswered"),
        ("source", "raises", "failed: KeyError: 'row 4'"),
        ("source", "another type", "a dict is not a Scenario"),
        ("source", "against the schema", "character"),
        ("source", "turns of its own", "its dialogue holds a SimpleNamespace"),
    ],
)
def test_it_is_named_with_its_version_and_what_it_delivered_is_safe(bad, tmp_path, kind, fault, words):
    def build(fault: str):
        parts = {
            "backend": bad.BackendConfig(fault) if kind == "backend" else FakeBackend(in_flight=1),
            "source": bad.SourceConfig(fault if kind == "source" else ""),
        }
        return build_caa("Openness", tmp_path / "out", prompter=FakePrompter(), limit_samples=8, **parts)

    with pytest.raises(PluginError) as caught:
        build(fault)
    assert f"{kind} 'bad' (from psyctl-bad 2.5)" in caught.value.message
    assert words in caught.value.message
    before = ids(tmp_path / "out")
    assert before == [f"fake-{n}" for n in range(len(before))]
    assert len(before) >= 3
    assert build("").datasets[0].pairs == 8
    assert ids(tmp_path / "out") == [f"fake-{n}" for n in range(8)]


def test_components_can_be_handed_over_themselves(tmp_path):
    backend, sink = FakeBackend(), MemorySink()
    parts = {"source": FakeSource(5), "prompter": FakePrompter(), "sink": sink}
    report = build_caa("Openness", tmp_path, backend=backend, **parts)
    (dataset,) = sink.datasets.values()
    assert [record.id for record in dataset.records] == [fake_scenario(n).id for n in range(5)]
    assert (report.datasets[0].pairs, backend.starts, backend.closes, dataset.closes) == (5, 1, 1, 1)
    again = FakeBackend()
    assert build_caa("Openness", tmp_path, backend=again, **parts).requests == 0
    both = build_caa("Openness, Extroversion", tmp_path / "both", backend=FakeBackend(), **parts)
    assert [(d.trait, d.pairs) for d in both.datasets] == [("Openness", 5), ("Extroversion", 5)]
    with pytest.raises(UsageError, match="No backend takes a FakeSource"):
        build_caa("Openness", tmp_path, backend=FakeSource(1))
