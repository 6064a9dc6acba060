"""The built-ins hold to the plugin contracts, and for every rule a plugin that breaks it fails on that rule."""

from __future__ import annotations

import dataclasses
import importlib
import re
import threading
from itertools import islice

import pytest

from psyctl_core import (
    ChatRequest,
    Completion,
    Context,
    Message,
    Persona,
    Scenario,
    SkippedRow,
    Turn,
    UsageError,
    Verdict,
)
from psyctl_core.components import (
    Checkpoint,
    DatasetExporter,
    DatasetWriter,
    Exported,
    InferenceBackend,
    Inspection,
    OutputSink,
    PersonalityPrompter,
    ScenarioSource,
)
from psyctl_core.testing import (
    BackendContract,
    ExporterContract,
    FakeBackend,
    FakePrompter,
    FakeSource,
    JudgeContract,
    MemorySink,
    PrompterContract,
    RunnerContract,
    SinkContract,
    SourceContract,
)
from psyctl_core.testing.contracts import RULES
from psyctl_core.testing.fakes import fake_answer, fake_scenario
from psyctl_exporters import psyctl_dataset_exporters
from psyctl_jsonl import JsonlConfig
from psyctl_jsonl.sink import JsonlSink
from psyctl_likelihood import LikelihoodConfig
from psyctl_likelihood.judge import LikelihoodJudge
from psyctl_local import LocalConfig
from psyctl_local.runner import LocalRunner
from psyctl_p2 import P2Config
from psyctl_p2.prompter import P2Prompter
from psyctl_rubric import RubricConfig
from psyctl_rubric.judge import RubricJudge
from psyctl_soda import StarterConfig
from psyctl_soda.starter import StarterSource
from psyctl_static import StaticConfig
from psyctl_static.prompter import StaticPrompter


class TestFakeSource(SourceContract):
    def source(self):
        return FakeSource(60, skip=lambda offset: offset % 7 == 3)


class TestStarter(SourceContract):
    def source(self):
        return StarterSource(StarterConfig(), Context())


class TestP2(PrompterContract):
    def prompter(self):
        return P2Prompter(P2Config(), Context())


class TestFakePrompter(PrompterContract):
    def prompter(self):
        return FakePrompter()


class TestStatic(PrompterContract):
    def prompter(self):
        return StaticPrompter(StaticConfig(), Context())


class TestFakeBackend(BackendContract):
    def backend(self):
        return FakeBackend()


class TestFakeBackendInBlocks(BackendContract):
    def backend(self):
        return FakeBackend(block=4)


class TestRubric(JudgeContract):
    def judge(self):
        return RubricJudge(RubricConfig(), Context())


class TestLikelihood(JudgeContract):
    def judge(self):
        return LikelihoodJudge(LikelihoodConfig(), Context())


class TestLocal(RunnerContract):
    def runner(self):
        return LocalRunner(LocalConfig(), Context())


class TestJsonl(SinkContract):
    def sink(self, folder):
        return JsonlSink(JsonlConfig(), Context())


class TestMemory(SinkContract):
    """The sink in memory lives as long as its object."""

    @pytest.fixture(autouse=True)
    def _one(self):
        self.one = MemorySink()

    def sink(self, folder):
        return self.one


WITHOUT_A_MODEL = [component for component in psyctl_dataset_exporters() if component.name != "persona-vectors"]


@pytest.mark.parametrize("component", WITHOUT_A_MODEL, ids=lambda component: component.name)
class TestExporters(ExporterContract):
    """Every exporter that needs no model's chat template."""

    @pytest.fixture(autouse=True)
    def _one(self, component):
        module, _, name = component.factory.partition(":")
        self.made = getattr(importlib.import_module(module), name), component.config

    def exporter(self):
        make, config = self.made
        return make(config(), Context())


# One plugin for each rule, which breaks it.


class BadSource(FakeSource):
    """Changes what a good source yields."""

    def __init__(self, change=lambda item: item, start=lambda start: start):
        super().__init__(30)
        self.change, self.start = change, start

    def scenarios(self, start):
        return (self.change(item) for item in super().scenarios(self.start(start)))


class BadJudge(RubricJudge):
    """Does as a good judge does but for what is given."""

    def __init__(self, **bent):
        super().__init__(RubricConfig(), Context())
        for name, value in bent.items():
            setattr(self, name, value)


class OneWalk(ScenarioSource):
    """Goes on where it was left."""

    def __init__(self):
        self.walk = FakeSource(30).scenarios(0)

    def scenarios(self, start):
        yield from self.walk


class Odd(ScenarioSource):
    """An identity that no JSON can hold."""

    def identity(self):
        return {"path": {1, 2}}

    def scenarios(self, start):
        yield fake_scenario(start)


class BadPrompter(PersonalityPrompter):
    def __init__(self, describe):
        self.make = describe

    def describe(self, trait, ask):
        return self.make(trait, ask)


def telephone(trait, ask):
    import socket

    with socket.socket() as line:
        line.connect(("127.0.0.1", 9))
    return Persona(trait, "{character} is called.")


class BadBackend(InferenceBackend):
    def __init__(self, generate):
        self.make = generate

    def generate(self, requests):
        return self.make(requests)


def greedy(requests):
    return map(fake_answer, list(requests))


def in_another_thread(requests):
    held = []
    reader = threading.Thread(target=lambda: held.extend(requests))
    reader.start()
    reader.join()
    return map(fake_answer, held)


class Once(FakeBackend):
    """Answers in its first call alone."""

    calls = 0

    def generate(self, requests):
        self.calls += 1
        return super().generate(requests if self.calls == 1 else iter([]))


class BadRunner(LocalRunner):
    """Does as the local one does, but answers as a test has it, and maybe starts too early."""

    def __init__(self, run=None, eager=False):
        self.make, self.eager = run, eager

    def open(self, target):
        if self.eager:
            target.backend.start(None)
        pool = super().open(target)
        if self.make is not None:
            pool.run = lambda next_block: self.make(target.backend.generate, next_block)
        return pool


def twice(generate, next_block):
    while (block := next_block()) is not None:
        for completion in generate(block):
            yield completion
            yield completion


def by_halves(generate, next_block):
    while (block := next_block()) is not None:
        requests = list(block)
        yield from generate(iter(requests[:2]))
        yield from generate(iter(requests[2:]))


def all_first(generate, next_block):
    blocks = []
    while (block := next_block()) is not None:
        blocks.append(list(block))
    for requests in blocks:
        yield from generate(iter(requests))


def read_elsewhere(generate, next_block):
    while (block := next_block()) is not None:
        yield from in_another_thread(block)


def swallowing(generate, next_block):
    try:
        yield from generate(next_block())
    except Exception as error:
        raise RuntimeError("something happened") from error


class Tired(BadRunner):
    """Answers in its first call alone."""

    calls = 0

    def __init__(self):
        super().__init__(self.once)

    def once(self, generate, next_block):
        self.calls += 1
        yield from generate(next_block()) if self.calls == 1 else ()


class BadSink(OutputSink):
    """A sink in a file that a test bends: ``kept`` is what another process would find."""

    def __init__(self, kept, **bent):
        self.kept, self.bent = kept, bent
        if bent.get("touch"):
            (bent["touch"] / "early").touch()

    def open(self, target):
        name = "one" if self.bent.get("mixed") else target.name
        return BadWriter(self.kept.setdefault(name, {}), self.bent)

    def read(self, target):
        records = self.kept.get(target.name, {}).get("records", [])
        return reversed(records) if self.bent.get("backwards") else iter(records)

    def inspect(self, target):
        return Inspection(self.bent.get("count"))

    def location(self, target):
        return "memory"


class BadWriter(DatasetWriter):
    def __init__(self, kept, bent):
        self.kept, self.bent = kept, bent
        self.held = []

    def last_checkpoint(self):
        return self.bent.get("checkpoint", self.kept.get("checkpoint"))

    def record_ids(self, start):
        ids = [record.id for record in self.kept.get("records", [])]
        return iter(ids[0 if self.bent.get("from_the_top") else start :])

    def write(self, record):
        (self.held if self.bent.get("late") else self.kept.setdefault("records", [])).append(record)

    def checkpoint(self, checkpoint):
        if not self.bent.get("first_only") or "checkpoint" not in self.kept:
            self.kept["checkpoint"] = checkpoint

    def close(self):
        self.kept.setdefault("records", []).extend(self.held)


class BadExporter(DatasetExporter):
    """Writes what is given, and what a test makes of it."""

    def __init__(self, write=lambda pairs, held_out: "text", named=("one.txt",), reads="text"):
        self.write, self.named, self.reads = write, named, reads

    def export(self, pairs, held_out, target):
        (target.folder / "one.txt").write_text(self.write(pairs, held_out), encoding="utf-8")
        return Exported(self.named, "read it")


numbers = iter(range(10**9))


def contract(base, **made):
    """A contract over what is given."""
    return type("Contract", (base,), {name: staticmethod(make) for name, make in made.items()})()


def source(make):
    return contract(SourceContract, source=make)


def backend(make, **settings):
    made = contract(BackendContract, backend=lambda: BadBackend(make))
    for name, value in settings.items():
        setattr(made, name, value)
    return made


def judge(**bent):
    return contract(JudgeContract, judge=lambda: BadJudge(**bent))


def sink(**bent):
    kept = {}
    return contract(SinkContract, sink=lambda folder: BadSink(kept, **bent))


def runner(*bent, **more):
    return contract(RunnerContract, runner=lambda: BadRunner(*bent, **more))


def exporter(**bent):
    return contract(ExporterContract, exporter=lambda: BadExporter(**bent))


BAD = {
    "identity-json": (source(Odd), "test_the_identity_is_json"),
    "source-items": (
        source(
            lambda: BadSource(
                lambda item: dataclasses.replace(
                    item,
                    dialogue=(Turn("Kim", "I say.")),
                )
            )
        ),
        "test_every_item_is_usable",
    ),
    "source-offsets": (
        source(lambda: BadSource(lambda item: dataclasses.replace(item, offset=5))),
        "test_offsets_rise",
    ),
    "source-ids": (source(lambda: BadSource(lambda item: dataclasses.replace(item, id="x"))), "test_ids_are_unique"),
    "source-repeatable": (
        source(lambda: BadSource(lambda item: dataclasses.replace(item, id=f"x{next(numbers)}"))),
        "test_the_same_config_yields_the_same",
    ),
    "source-resume": (source(lambda: BadSource(start=lambda start: 0)), "test_reading_can_begin_anywhere"),
    "source-leave": (source(OneWalk), "test_it_can_be_left_and_read_again"),
    "prompter-persona": (
        contract(PrompterContract, prompter=lambda: BadPrompter(lambda trait, ask: Persona(trait, " "))),
        "test_it_describes_every_trait",
    ),
    "prompter-asks": (
        contract(PrompterContract, prompter=lambda: BadPrompter(telephone)),
        "test_it_asks_through_ask_alone",
    ),
    "prompter-repeatable": (
        contract(
            PrompterContract, prompter=lambda: BadPrompter(lambda trait, ask: Persona(trait, f"No. {next(numbers)}"))
        ),
        "test_the_same_answers_make_the_same_persona",
    ),
    "backend-completions": (
        backend(lambda requests: (Completion(request.id, "", "error") for request in requests)),
        "test_every_request_is_answered_once",
    ),
    "backend-once": (
        backend(lambda requests: (fake_answer(request) for request in requests for _ in range(2))),
        "test_every_request_is_answered_once",
    ),
    "backend-room": (backend(greedy, most_ahead=20), "test_requests_are_pulled_as_room_appears"),
    "backend-thread": (backend(in_another_thread), "test_requests_are_pulled_from_the_thread_that_iterates"),
    "backend-leave": (contract(BackendContract, backend=Once), "test_it_can_be_left_and_closed"),
    "judge-asks": (
        judge(requests=lambda pair, guide: [ChatRequest(str(next(numbers)), ())]),
        "test_it_asks_about_a_pair",
    ),
    "judge-verdict": (
        judge(verdict=lambda pair, guide, completions: [ChatRequest("", (Message("user", "?"),))]),
        "test_it_comes_to_a_verdict",
    ),
    "judge-decides": (
        judge(decide=lambda scores: Verdict("too good", scores), verdict=lambda *_: Verdict("", {"positive": 1.0})),
        "test_it_decides_by_scores_as_by_answers",
    ),
    "runner-still": (runner(eager=True), "test_requests_that_flow_are_answered_once"),
    "runner-once": (runner(twice), "test_requests_that_flow_are_answered_once"),
    "runner-whole": (runner(by_halves), "test_a_block_stays_whole"),
    "runner-asks": (runner(all_first), "test_it_asks_again_after_each_answer"),
    "runner-thread": (runner(read_elsewhere), "test_requests_that_flow_are_answered_once"),
    "runner-errors": (runner(swallowing), "test_an_error_comes_out_as_it_was"),
    "runner-leave": (contract(RunnerContract, runner=Tired), "test_it_can_be_left_and_called_again"),
    "sink-untouched": (None, "test_it_touches_nothing_before_open"),
    "sink-new": (sink(checkpoint=Checkpoint(1, 1, 1)), "test_a_new_dataset_is_empty"),
    "sink-kept": (sink(late=True), "test_records_outlive_the_process"),
    "sink-order": (sink(from_the_top=True), "test_records_outlive_the_process"),
    "sink-checkpoint": (sink(first_only=True), "test_the_last_checkpoint_comes_back"),
    "sink-several": (sink(mixed=True), "test_several_datasets_keep_apart"),
    "sink-reads": (sink(backwards=True), "test_records_are_read_as_they_were_written"),
    "sink-resumes": (sink(from_the_top=True), "test_a_stopped_run_goes_on_without_a_gap_or_a_double"),
    "sink-inspect": (sink(count=7), "test_inspecting_changes_nothing"),
    "exporter-files": (exporter(named=()), "test_it_names_what_it_writes"),
    "exporter-next": (exporter(reads=" "), "test_it_says_what_to_do"),
    "exporter-repeatable": (
        exporter(write=lambda pairs, held_out: str(next(numbers))),
        "test_the_same_records_give_the_same_files",
    ),
    "exporter-apart": (
        exporter(write=lambda pairs, held_out: "".join(pair.situation for pair in [*pairs, *held_out])),
        "test_what_is_held_out_is_apart",
    ),
}


def test_every_rule_has_a_plugin_that_breaks_it():
    assert set(BAD) == set(RULES)


@pytest.mark.parametrize("name", BAD)
def test_a_plugin_that_breaks_a_rule_fails_on_it(name, tmp_path, monkeypatch):
    made, method = BAD[name]
    made = made or sink(touch=tmp_path)
    test = getattr(made, method)
    wanted = {"tmp_path": tmp_path, "monkeypatch": monkeypatch}
    arguments = {key: value for key, value in wanted.items() if key in test.__func__.__annotations__}
    with pytest.raises(AssertionError, match=re.escape(RULES[name])) as caught:
        test(**arguments)
    assert f"docs/reference/plugin-contract.md#{name}" in str(caught.value)


def test_the_page_explains_every_rule(request):
    page = (request.config.rootpath / "docs" / "reference" / "plugin-contract.md").read_text(encoding="utf-8")
    assert [line.removeprefix("### ") for line in page.splitlines() if line.startswith("### ")] == list(RULES)
    assert all(" ".join(rule.split()) in " ".join(page.split()) for rule in RULES.values())


def test_islice_of_a_source_of_skipped_rows_is_fine():
    made = source(lambda: FakeSource(9, skip=lambda offset: True))
    assert all(isinstance(item, SkippedRow) for item in islice(made.source().scenarios(0), 9))
    made.test_every_item_is_usable()
    assert not [item for item in made.source().scenarios(0) if isinstance(item, Scenario)]


def test_what_a_prompter_says_of_others_is_looked_at_too():
    class Mute(BadPrompter):
        descriptions = 1

        def describe_other(self, trait, ask, *, opposite, number):
            if trait == "Openness":
                raise UsageError("there is no opposite of it")
            return Persona(trait, " ")

    made = contract(PrompterContract, prompter=lambda: Mute(lambda trait, ask: Persona(trait, "{character} is kind.")))
    type(made).traits = ("Openness", "Extroversion", "neutral")
    made.test_it_describes_every_trait()
    with pytest.raises(AssertionError, match="prompter-persona"):
        made.test_others_that_it_describes_are_personas_too()
