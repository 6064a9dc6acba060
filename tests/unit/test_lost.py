"""What a user would have lost where one part of a run stands in for another part's fault."""

from __future__ import annotations

import contextlib
import json

import pytest

from psyctl_core import Completion, Persona, PluginError, PsyctlError, UsageError, build_caa
from psyctl_core.testing import FakeBackend, FakePrompter, FakeSource
from psyctl_core.testing.fakes import fake_answer


class Fails(FakeSource):
    """Cannot read on from row 6."""

    def scenarios(self, start):
        for item in super().scenarios(start):
            if item.offset == 6:
                raise OSError("the connection to the Hub broke")
            yield item


class Careless(FakeBackend):
    """Takes every error of the requests for their end."""

    def generate(self, requests):
        requests = iter(requests)
        while True:
            try:
                request = next(requests)
            except Exception:
                return
            yield fake_answer(request)


def test_a_source_that_broke_off_is_not_taken_for_finished_and_goes_on(tmp_path):
    parts = {"prompter": FakePrompter(), "limit_samples": 10}
    with pytest.raises(PluginError, match="the connection to the Hub broke"):
        build_caa("Openness", tmp_path, source=Fails(20), backend=Careless(), **parts)
    (run,) = tmp_path.glob("*.run/run.json")
    assert json.loads(run.read_text())["status"] == "stopped"
    report = build_caa("Openness", tmp_path, source=Fails(6), backend=Careless(), **parts)
    assert report.datasets[0].pairs == 6


TWINS = """
import dataclasses
from psyctl_core import Completion, Component, hookimpl
from psyctl_core.testing import FakeBackend

@dataclasses.dataclass(frozen=True)
class Config:
    pass

def first(config, context):
    return FakeBackend()

def second(config, context):
    return FakeBackend(answer=lambda r: Completion(r.id, f"Second {hash(r.id)}."))

@hookimpl
def psyctl_inference_backends():
    return [
        Component("first", "psyctl_twins:first", Config, "One"),
        Component("second", "psyctl_twins:second", Config, "Two"),
    ]
"""


def test_the_backend_that_was_typed_is_the_one_that_answers_and_is_recorded(psyctl, install, tmp_path):
    install("psyctl-twins", TWINS)
    done = psyctl(
        "dataset.build.caa", "--backend", "second", "--source", "starter", "--prompter", "static",
        "--personality", "Openness", "--limit-samples", "3", "--output", "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (dataset,) = (tmp_path / "out").glob("*.jsonl")
    assert all("Second" in json.loads(line)["positive_text"] for line in dataset.read_text().splitlines())
    (run,) = (tmp_path / "out").glob("*.run/run.json")
    assert '"name": "second"' in run.read_text()


def test_a_config_that_two_backends_share_is_not_guessed_at(install, tmp_path):
    install("psyctl-twins", TWINS)
    import psyctl_twins

    with pytest.raises(UsageError, match=r"backend 'first' \(from psyctl-twins 1.0\) and backend 'second'"):
        build_caa("Openness", tmp_path, backend=psyctl_twins.Config(), source=FakeSource(3), prompter="static")


class ByIterator(FakeBackend):
    """A backend as one writes it who believes that requests come one by one."""

    def generate(self, requests):
        while (request := next(requests, None)) is not None:
            yield fake_answer(request)


def test_a_backend_that_pulls_requests_one_by_one_works_with_the_default_prompter(tmp_path):
    report = build_caa("Openness", tmp_path, backend=ByIterator(), source=FakeSource(3))
    assert report.datasets[0].pairs == 3


def test_a_bad_answer_to_the_prompter_is_not_blamed_on_the_prompter(tmp_path):
    class Odd(FakeBackend):
        def generate(self, requests):
            for request in requests:
                yield Completion(request.id, None)

    with pytest.raises(PluginError, match=r"backend 'test_a_bad_answer.*its text is a NoneType"):
        build_caa("Openness", tmp_path, backend=Odd(), source=FakeSource(3))


def test_a_stop_behind_the_prompters_back_is_still_told(tmp_path):
    class Swallows(FakePrompter):
        def describe(self, trait, ask):
            with contextlib.suppress(Exception):
                ask((), max_tokens=3)
            return Persona(trait, "{character} is calm.")

    class Down(FakeBackend):
        def generate(self, requests):
            raise ConnectionError("nobody answers")
            yield

    with pytest.raises(PluginError, match="nobody answers"):
        build_caa("Openness", tmp_path, backend=Down(), prompter=Swallows(), source=FakeSource(3))


def test_an_error_of_the_callers_own_callback_comes_back_as_it_is(tmp_path):
    def callback(progress):
        if progress.answers == 4:
            raise LookupError("a bug of mine")

    backend = FakeBackend(in_flight=1)
    with pytest.raises(LookupError, match="a bug of mine"):
        build_caa("Openness", tmp_path, backend=backend, source=FakeSource(9), prompter="static", progress=callback)
    assert backend.closes == 1
    (dataset,) = tmp_path.glob("*.jsonl")
    assert dataset.read_text().count("\n") >= 1


NAMED = """
import dataclasses
from psyctl_core import Component, hookimpl
from psyctl_core.testing import FakeBackend
from psyctl_core import option

@dataclasses.dataclass(frozen=True)
class Config:
    name: str = option("llama", help="The model's name.")
    distribution: str = option("normal", help="Which distribution to sample from.")

def make(config, context):
    return FakeBackend()

@hookimpl
def psyctl_inference_backends():
    return [Component("mine", "psyctl_named:make", Config, "Has a field called name")]
"""


def test_a_config_field_called_name_hides_nothing_from_status(psyctl, install, tmp_path):
    install("psyctl-named", NAMED)
    done = psyctl(
        "dataset.build.caa", "--backend", "mine", "--source", "starter", "--prompter", "static",
        "--personality", "Openness", "--limit-samples", "3", "--output", "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    status = json.loads(psyctl("dataset.status", "out", "--json").stdout)[0]
    assert status["problems"] == []
    backend = status["identity"]["backend"]
    assert backend["component"] == {"name": "mine", "distribution": "psyctl-named"}
    assert backend["settings"] == {"name": "llama", "distribution": "normal"}
    assert "mine" in psyctl("dataset.status", "out", "--details").stdout


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": "nowhere"},
        {"prompter": 7},
        {"limit_samples": 0},
        {"personality": " "},
        {"source": "soda", "sink": "x"},
    ],
)
def test_a_model_that_was_handed_over_is_let_go_of_whatever_else_is_wrong(tmp_path, wrong):
    backend = FakeBackend()
    settings = {"personality": "Openness", "source": FakeSource(3), "prompter": FakePrompter(), **wrong}
    with pytest.raises(PsyctlError):
        build_caa(output=tmp_path, backend=backend, **settings)
    assert backend.closes == 1


def test_what_a_backend_raises_when_it_is_closed_does_not_hide_why_the_run_ended(tmp_path):
    class Clings(Careless):
        def close(self):
            raise RuntimeError("cannot let go")

    parts = {"prompter": FakePrompter(), "backend": Clings()}
    with pytest.raises(PluginError, match="the connection to the Hub broke"):
        build_caa("Openness", tmp_path, source=Fails(20), **parts)
    with pytest.raises(PluginError, match=r"backend '.*Clings' .*cannot let go"):
        build_caa("Openness", tmp_path, source=Fails(6), **parts)
    (dataset,) = tmp_path.glob("*.jsonl")
    assert dataset.read_text().count("\n") == 6
