"""Contracts that a plugin's tests inherit: one class per kind, each test a rule that psyctl relies on.

    from psyctl_core.testing import SourceContract

    class TestMySource(SourceContract):
        def source(self):
            return MySource(MyConfig(path="tests/rows.csv"), Context())

pytest collects the inherited tests. A failure names the rule and where it is explained: the page
``docs/reference/plugin-contract.md`` has a section for each name in :data:`RULES`.
"""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count, islice, pairwise
from pathlib import Path
from typing import Any

from psyctl_core._caa.prompts import answer_request
from psyctl_core._engine.judging import MAX_ROUNDS
from psyctl_core._plugins.problems import completion_problem, item_problem
from psyctl_core.api import build_caa
from psyctl_core.budget import Budget
from psyctl_core.components import (
    Checkpoint,
    DatasetExporter,
    DatasetWriter,
    DescribesOthers,
    Exported,
    ExportTarget,
    Identity,
    InferenceBackend,
    OutputSink,
    PairJudge,
    PersonalityPrompter,
    Runner,
    RunnerTarget,
    ScenarioSource,
    SinkTarget,
    WorkerPool,
)
from psyctl_core.errors import BackendError, PsyctlError, UsageError
from psyctl_core.records import (
    CHARACTER,
    NEUTRAL,
    CaaRecord,
    ChatRequest,
    Completion,
    ContrastivePair,
    Message,
    Persona,
    Scenario,
    Verdict,
)
from psyctl_core.testing.fakes import (
    FakeBackend,
    FakePrompter,
    FakeSource,
    TogetherBackend,
    TogetherMaker,
    fake_scenario,
)

PAGE = "docs/reference/plugin-contract.md"

RULES = {
    "identity-json": "identity() returns JSON values, the same ones for the same config.",
    "source-items": "A source yields scenarios that hold to their schema, and skipped rows with a reason.",
    "source-offsets": "Offsets rise from one item to the next.",
    "source-ids": "No two scenarios have the same id.",
    "source-repeatable": "Two sources with the same config yield the same items.",
    "source-resume": "scenarios(start) yields exactly the items whose offset is start or later.",
    "source-leave": "A source can be left in the middle and read again.",
    "prompter-persona": "describe() returns a Persona for the trait, with a description.",
    "prompter-asks": "A prompter asks through `ask` alone, and opens no connection of its own.",
    "prompter-repeatable": "The same answers make the same persona.",
    "backend-completions": "A completion has a text and a known finish reason; a failed one has an error.",
    "backend-once": "Every request is answered once, under its own id, and nothing else is.",
    "backend-room": "Requests are pulled as room appears, not all at once.",
    "backend-thread": "Requests are pulled from the thread that iterates.",
    "backend-leave": "generate() can be left in the middle, called again, and leaves no thread behind after close().",
    "judge-asks": "requests() asks the same for the same pair and guide.",
    "judge-verdict": "A judge comes to a Verdict within four rounds, whatever is answered, and the same for the same.",
    "judge-decides": "decide() makes of a verdict's scores the same verdict, or gives None.",
    "runner-still": "open() starts nothing.",
    "runner-once": "Every request is answered once, in any order.",
    "runner-whole": "With backends that have blocks, each block is one backend's, in one call of generate().",
    "runner-asks": "next_block is asked again after each answer, and may have given None while others were under way.",
    "runner-thread": "next_block is called, and its requests are pulled, from the thread that iterates.",
    "runner-errors": "What a backend raises comes out of run() as an error of the same class that says the same.",
    "runner-leave": "run() can be left in the middle and called again, and close() leaves no thread behind.",
    "sink-untouched": "A sink touches nothing before open().",
    "sink-new": "A new dataset has no checkpoint and no records.",
    "sink-kept": "A record is safe when write() returns, whatever then happens to the process.",
    "sink-order": "record_ids(start) gives the ids in the order of writing, from the record numbered start on.",
    "sink-checkpoint": "last_checkpoint() is the last one as it was given, and no later record changes it.",
    "sink-several": "Several datasets can be open at the same time, and keep apart.",
    "sink-reads": "read() yields the records as they were written, in order, and changes nothing.",
    "sink-resumes": "A run that was stopped anywhere goes on in the same dataset, without a gap or a double.",
    "sink-inspect": "inspect() counts the records, or says that it cannot tell, and changes nothing.",
    "exporter-files": "export() writes within its folder, and names every file that it wrote.",
    "exporter-next": "An exporter says what the tool reads, and what to run there next.",
    "exporter-repeatable": "The same records give the same files.",
    "exporter-apart": "What is held out shares no file with the rest.",
}
"""Every rule of the contracts, by the name of its section on the page."""


def _rule(name: str, holds: object, found: object) -> None:
    """Fail with the rule's text, what was found, and where it is explained."""
    if not holds:
        raise AssertionError(f"{RULES[name]}\nFound: {found}\nSee {PAGE}#{name}")


def _check_identity(one: Identity, other: Identity) -> None:
    try:
        text = json.dumps(one, sort_keys=True)
    except (TypeError, ValueError) as error:
        _rule("identity-json", False, error)
    _rule("identity-json", text == json.dumps(other, sort_keys=True), f"{one} and then {other}")


def _watched(requests: Iterable[ChatRequest], threads: set[int]) -> Iterator[ChatRequest]:
    """The requests, with each thread that pulls one noted."""
    for request in requests:
        threads.add(threading.get_ident())
        yield request


def _check_threads_end(rule: str, before: set[threading.Thread]) -> None:
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        _rule(rule, not thread.is_alive() or thread.daemon, f"the thread {thread.name} goes on")


class SourceContract:
    """What psyctl relies on in a source.

    Attributes:
        rows: How many items are looked at, at most.
    """

    rows = 200

    def source(self) -> ScenarioSource:
        """A new source, with the same config each time. To be written by who inherits."""
        raise NotImplementedError

    def _items(self, start: int = 0) -> list[Any]:
        return list(islice(self.source().scenarios(start), self.rows))

    def test_the_identity_is_json(self) -> None:
        """Rule identity-json."""
        _check_identity(self.source().identity(), self.source().identity())

    def test_every_item_is_usable(self) -> None:
        """Rule source-items."""
        found = self._items()
        _rule("source-items", found, "nothing at all")
        for item in found:
            wrong = item_problem(item, -1)
            _rule("source-items", not wrong, f"{item!r}: {wrong}")
            reason = getattr(item, "reason", "none is needed")
            _rule("source-items", isinstance(reason, str) and reason, f"{item!r} has no reason")

    def test_offsets_rise(self) -> None:
        """Rule source-offsets."""
        offsets = [item.offset for item in self._items()]
        _rule("source-offsets", all(a < b for a, b in pairwise(offsets)), offsets)

    def test_ids_are_unique(self) -> None:
        """Rule source-ids."""
        ids = Counter(item.id for item in self._items() if isinstance(item, Scenario))
        _rule("source-ids", len(ids) == ids.total(), ids.most_common(3))

    def test_the_same_config_yields_the_same(self) -> None:
        """Rule source-repeatable."""
        one, other = self._items(), self._items()
        differing = next(((a, b) for a, b in zip(one, other, strict=False) if a != b), (len(one), len(other)))
        _rule("source-repeatable", one == other, differing)

    def test_reading_can_begin_anywhere(self) -> None:
        """Rule source-resume."""
        found = self._items()
        offsets = [item.offset for item in found]
        last = offsets[-1] if offsets else 0
        for start in {*offsets[:: max(1, len(offsets) // 8)], *(offset + 1 for offset in offsets[:3]), last}:
            wanted = [item for item in found if item.offset >= start]
            got = list(islice(self.source().scenarios(start), len(wanted)))
            _rule("source-resume", got == wanted, f"from {start}: {got[:2]} where {wanted[:2]} is due")

    def test_it_can_be_left_and_read_again(self) -> None:
        """Rule source-leave."""
        source = self.source()
        walk = source.scenarios(0)
        first = list(islice(walk, 2))
        getattr(walk, "close", lambda: None)()
        again = list(islice(source.scenarios(0), 2))
        _rule("source-leave", first == again, f"{again} where {first} is due")


class PrompterContract:
    """What psyctl relies on in a prompter.

    Attributes:
        traits: Those described in the tests, the neutral person among them.
    """

    traits: Sequence[str] = ("Extroversion", NEUTRAL)

    def prompter(self) -> PersonalityPrompter:
        """A new prompter, with the same config each time. To be written by who inherits."""
        raise NotImplementedError

    def answer(self, messages: tuple[Message, ...]) -> str:
        """What the model is taken to answer; for a prompter that wants some form of answer."""
        del messages
        return "lively, warm, talkative, curious, quick, open"

    def _ask(self, messages: tuple[Message, ...], *, max_tokens: int, prefill: str = "") -> str:
        del max_tokens, prefill
        _rule("prompter-asks", all(isinstance(message, Message) for message in messages), messages)
        return self.answer(messages)

    def test_the_identity_is_json(self) -> None:
        """Rule identity-json."""
        _check_identity(self.prompter().identity(), self.prompter().identity())

    def test_it_describes_every_trait(self) -> None:
        """Rule prompter-persona."""
        for trait in self.traits:
            persona = self.prompter().describe(trait, self._ask)
            _rule("prompter-persona", isinstance(persona, Persona), repr(persona))
            _rule("prompter-persona", persona.trait == trait, f"'{persona.trait}' where '{trait}' was asked for")
            _rule("prompter-persona", persona.description.replace(CHARACTER, "").strip(), repr(persona))

    def test_others_that_it_describes_are_personas_too(self) -> None:
        """Rule prompter-persona, for a prompter with ``describe_other``; what it has not is a UsageError."""
        prompter: object = self.prompter()
        if not isinstance(prompter, DescribesOthers):
            return
        for trait in self.traits:
            for opposite, number in ((False, prompter.descriptions), (True, 1)):
                if trait == NEUTRAL if opposite else number == 1:
                    continue  # there is no opposite of nobody, and the first is what describe() gives
                with suppress(UsageError):
                    persona = prompter.describe_other(trait, self._ask, opposite=opposite, number=number)
                    _rule("prompter-persona", isinstance(persona, Persona), repr(persona))
                    _rule("prompter-persona", persona.description.replace(CHARACTER, "").strip(), repr(persona))

    def test_it_asks_through_ask_alone(self, monkeypatch: Any) -> None:
        """Rule prompter-asks."""

        def refused(*where: Any) -> None:
            _rule("prompter-asks", False, f"a connection to {where[-1]}")

        monkeypatch.setattr(socket.socket, "connect", refused)
        for trait in self.traits:
            self.prompter().describe(trait, self._ask)

    def test_the_same_answers_make_the_same_persona(self) -> None:
        """Rule prompter-repeatable."""
        for trait in self.traits:
            one, other = (self.prompter().describe(trait, self._ask) for _ in range(2))
            _rule("prompter-repeatable", one == other, f"{one} and then {other}")


class BackendContract:
    """What psyctl relies on in a backend. Point one that costs money at a stand-in.

    Attributes:
        requests: How many requests are asked where each must be answered.
        most_ahead: How many requests may be pulled before the first answer.
    """

    requests = 12
    most_ahead = 1_000

    def backend(self) -> InferenceBackend:
        """A new backend, with the same config each time. To be written by who inherits."""
        raise NotImplementedError

    def request(self, number: int) -> ChatRequest:
        """A request; each number makes another."""
        persona = Persona(NEUTRAL, f"{CHARACTER} is an ordinary person.")
        scenario = fake_scenario(number)
        return answer_request(scenario, persona, f"{number}:neutral", max_tokens=16, temperature=0.0, seed=0)

    def _started(self) -> InferenceBackend:
        backend = self.backend()
        backend.start(Budget(None))
        return backend

    def test_the_identity_is_json(self) -> None:
        """Rule identity-json."""
        one, other = self.backend(), self.backend()
        _check_identity(one.identity(), other.identity())
        one.close()
        other.close()

    def test_every_request_is_answered_once(self) -> None:
        """Rules backend-once and backend-completions."""
        asked = [self.request(number) for number in range(self.requests)]
        backend = self._started()
        got = list(backend.generate(iter(asked)))
        backend.close()
        for completion in got:
            wrong = completion_problem(completion)
            if not wrong and completion.finish_reason == "error" and not completion.error:
                wrong = f"request {completion.id!r} failed without an error"
            _rule("backend-completions", not wrong, wrong)
        answered = Counter(completion.id for completion in got)
        due = Counter(request.id for request in asked)
        _rule("backend-once", answered == due, f"too many: {answered - due}, missing: {due - answered}")

    def test_requests_are_pulled_as_room_appears(self) -> None:
        """Rule backend-room."""
        backend = self._started()
        if not backend.block:  # a backend with blocks is handed one at a time
            pulled: list[int] = []
            answers = backend.generate(self._endless(pulled))
            next(answers)
            ahead = len(pulled)
            getattr(answers, "close", lambda: None)()
            _rule("backend-room", ahead <= self.most_ahead, f"{ahead} requests pulled before the first answer")
        backend.close()

    def _endless(self, pulled: list[int]) -> Iterator[ChatRequest]:
        for number in count():
            if number > self.most_ahead:
                return
            pulled.append(number)
            yield self.request(number)

    def test_requests_are_pulled_from_the_thread_that_iterates(self) -> None:
        """Rule backend-thread."""
        threads: set[int] = set()

        backend = self._started()
        list(backend.generate(_watched(map(self.request, range(self.requests)), threads)))
        backend.close()
        _rule("backend-thread", threads == {threading.get_ident()}, f"{len(threads)} threads pulled")

    def test_it_can_be_left_and_closed(self) -> None:
        """Rule backend-leave."""
        before = set(threading.enumerate())
        backend = self._started()
        answers = backend.generate(iter([self.request(number) for number in range(self.requests)]))
        next(answers)
        getattr(answers, "close", lambda: None)()
        again = [completion.id for completion in backend.generate(iter([self.request(self.requests)]))]
        _rule("backend-leave", again == [self.request(self.requests).id], f"{again} when called again")
        backend.close()
        _check_threads_end("backend-leave", before)


class JudgeContract:
    """What every judge must do.

    Override :meth:`judge`, and :meth:`answer` where it wants other answers than a digit.
    """

    def judge(self) -> PairJudge:
        """A new judge, with the same config each time."""
        raise NotImplementedError("say which judge to test: def judge(self): return MyJudge(config, context)")

    def answer(self, request: ChatRequest) -> Completion:
        """What a model is taken to answer."""
        return Completion(request.id, "7")

    def _judged(self, answer: Callable[[ChatRequest], Completion]) -> Verdict | None:
        judge, pair = self.judge(), sample_pair()
        asked: Sequence[ChatRequest] = judge.requests(pair, "A guide.")
        completions: list[Completion] = []
        for _ in range(MAX_ROUNDS):
            completions += map(answer, asked)
            said = judge.verdict(pair, "A guide.", completions)
            if isinstance(said, Verdict):
                return said
            asked = said
        return None

    def test_the_identity_is_json(self) -> None:
        """identity-json."""
        _check_identity(self.judge().identity(), self.judge().identity())

    def test_it_asks_about_a_pair(self) -> None:
        """judge-asks."""
        first, second = (list(self.judge().requests(sample_pair(), "A guide.")) for _ in range(2))
        _rule("judge-asks", all(isinstance(request, ChatRequest) for request in first), first)
        _rule("judge-asks", first == second, second)

    def test_it_comes_to_a_verdict(self) -> None:
        """judge-verdict."""

        def failed(request: ChatRequest) -> Completion:
            return Completion(request.id, "", "error", error="moderation")

        def silent(request: ChatRequest) -> Completion:
            return Completion(request.id, "")

        for answer in (self.answer, failed, silent):
            first, second = self._judged(answer), self._judged(answer)
            _rule("judge-verdict", first is not None and first == second, (first, second))

    def test_it_decides_by_scores_as_by_answers(self) -> None:
        """judge-decides."""
        verdict = self._judged(self.answer)
        assert verdict is not None
        again = self.judge().decide(verdict.scores)
        _rule("judge-decides", again in (verdict, None), again)


class RunnerContract:
    """What psyctl relies on in a runner. It is tried with fakes that can be made in any process."""

    def runner(self) -> Runner:
        """A new runner, with the same config each time. To be written by who inherits."""
        raise NotImplementedError

    @contextmanager
    def _pool(self, folder: Path, block: int = 0, dies_after: int | None = None) -> Iterator[WorkerPool]:
        backend = TogetherBackend(block=block, dies_after=dies_after)
        pool = self.runner().open(RunnerTarget("backend 'together'", backend, TogetherMaker(block, dies_after)))
        try:
            _rule("runner-still", not backend.starts, "the backend is started")
            pool.start(Budget(None), folder)
            yield pool
        finally:
            pool.close()

    def _request(self, number: int) -> ChatRequest:
        return ChatRequest(f"{number}", (Message("user", f"Say {number}."),))

    def _blocks(self, *sizes: int) -> list[list[ChatRequest]]:
        numbers = count()
        return [[self._request(next(numbers)) for _ in range(size)] for size in sizes]

    def test_requests_that_flow_are_answered_once(self, tmp_path: Path) -> None:
        """Rules runner-still, runner-once and runner-thread."""
        threads: set[int] = set()
        flows = iter(self._blocks(300, 7))

        def next_block() -> Iterator[ChatRequest] | None:
            threads.add(threading.get_ident())
            requests = next(flows, None)
            return None if requests is None else _watched(requests, threads)

        with self._pool(tmp_path) as pool:
            answered = Counter(completion.id for completion in pool.run(next_block))
        due = Counter(str(number) for number in range(307))
        _rule("runner-once", answered == due, f"too many: {answered - due}, missing: {due - answered}")
        _rule("runner-thread", threads == {threading.get_ident()}, f"{len(threads)} threads")

    def test_a_block_stays_whole(self, tmp_path: Path) -> None:
        """Rule runner-whole."""
        blocks = self._blocks(4, 9, 1, 4, 4)
        left = map(iter, blocks)
        with self._pool(tmp_path, block=9) as pool:
            got = {completion.id: completion.text for completion in pool.run(lambda: next(left, None))}
        due = {request.id: " ".join(each.id for each in block) for block in blocks for request in block}
        _rule("runner-whole", got == due, f"{got} where {due} is due")

    def test_it_asks_again_after_each_answer(self, tmp_path: Path) -> None:
        """Rule runner-asks."""
        for block in (0, 3):
            waiting, answered = deque(self._blocks(3)), set[str]()
            rest = deque(self._blocks(3, 3, 3)[1:])

            def next_block(waiting: deque[list[ChatRequest]] = waiting) -> Iterator[ChatRequest] | None:
                return iter(waiting.popleft()) if waiting else None

            with self._pool(tmp_path, block=block) as pool:
                for completion in pool.run(next_block):
                    answered.add(completion.id)
                    if rest and len(answered) % 3 == 0:
                        waiting.append(rest.popleft())
            _rule("runner-asks", len(answered) == 9, f"{len(answered)} of 9 answered")

    def test_an_error_comes_out_as_it_was(self, tmp_path: Path) -> None:
        """Rule runner-errors."""
        left = map(iter, self._blocks(40))
        with self._pool(tmp_path, dies_after=5) as pool:
            try:
                list(pool.run(lambda: next(left, None)))
            except Exception as error:
                says = isinstance(error, BackendError) and "The fake is told to fail." in error.message
                _rule("runner-errors", says and str(error).endswith("Tell it otherwise."), repr(error))
            else:
                _rule("runner-errors", False, "no error")

    def test_it_can_be_left_and_called_again(self, tmp_path: Path) -> None:
        """Rule runner-leave."""
        before = set(threading.enumerate())
        with self._pool(tmp_path) as pool:
            first = iter([iter(self._blocks(40)[0])])
            answers = pool.run(lambda: next(first, None))
            next(answers)
            getattr(answers, "close", lambda: None)()
            second = iter([iter([self._request(99)])])
            again = [completion.id for completion in pool.run(lambda: next(second, None))]
            _rule("runner-leave", again == ["99"], f"{again} when called again")
        _check_threads_end("runner-leave", before)


class SinkContract:
    """What psyctl relies on in a sink."""

    def sink(self, folder: Path) -> OutputSink:
        """A new, unopened sink, with the same config each time. To be written by who inherits.

        Args:
            folder: An empty folder of the test's own, for a sink whose place is not the target's folder.
        """
        raise NotImplementedError

    def _open(self, folder: Path) -> DatasetWriter:
        return self.sink(folder).open(_target(folder))

    def test_the_identity_is_json(self, tmp_path: Path) -> None:
        """Rule identity-json."""
        _check_identity(self.sink(tmp_path).identity(), self.sink(tmp_path).identity())

    def test_it_touches_nothing_before_open(self, tmp_path: Path) -> None:
        """Rule sink-untouched."""
        self.sink(tmp_path).identity()
        left = sorted(path.name for path in tmp_path.iterdir())
        _rule("sink-untouched", not left, left)

    def test_a_new_dataset_is_empty(self, tmp_path: Path) -> None:
        """Rule sink-new."""
        sink = self.sink(tmp_path)
        writer = sink.open(_target(tmp_path))
        found, ids = writer.last_checkpoint(), list(writer.record_ids(0))
        writer.close()
        _rule("sink-new", found is None, found)
        _rule("sink-new", not ids, ids)
        _rule("sink-new", sink.location(_target(tmp_path)), "location() gives nothing")

    def test_records_outlive_the_process(self, tmp_path: Path) -> None:
        """Rules sink-kept and sink-order."""
        killed = self._open(tmp_path)
        for number in range(3):
            killed.write(sample_record(number))
        writer = self._open(tmp_path)  # the first one is never closed, as after a kill
        ids = list(writer.record_ids(0))
        _rule("sink-kept", ids == _ids(3), f"{ids} where {_ids(3)} were written")
        writer.write(sample_record(3))
        writer.close()
        writer = self._open(tmp_path)
        ids = list(writer.record_ids(0))
        _rule("sink-kept", ids == _ids(4), f"{ids} after a fourth, where {_ids(4)} were written")
        later = list(writer.record_ids(2))
        writer.close()
        killed.close()
        _rule("sink-order", later == _ids(4)[2:], f"{later} from 2 on")

    def test_the_last_checkpoint_comes_back(self, tmp_path: Path) -> None:
        """Rule sink-checkpoint."""
        killed = self._open(tmp_path)
        killed.write(sample_record(0))
        killed.checkpoint(Checkpoint(1, 1, 1))
        killed.write(sample_record(1))
        last = Checkpoint(2, 7, 2, {"cut off": 1}, {"no dialogue": 4}, exhausted=False)
        killed.checkpoint(last)
        killed.write(sample_record(2))
        writer = self._open(tmp_path)
        found, ids = writer.last_checkpoint(), list(writer.record_ids(last.accepted))
        writer.close()
        killed.close()
        _rule("sink-checkpoint", found == last, f"{found} where {last} was kept")
        _rule("sink-checkpoint", ids == _ids(3)[2:], f"records after it: {ids}")

    def test_several_datasets_keep_apart(self, tmp_path: Path) -> None:
        """Rule sink-several."""
        sink = self.sink(tmp_path)
        one, other = _target(tmp_path), replace(_target(tmp_path), name="caa_dataset_20250107_143023")
        writers = [sink.open(one), sink.open(other)]
        for number in range(4):
            writers[number % 2].write(sample_record(number))
        for writer in writers:
            writer.close()
        found = [[record.id for record in sink.read(target)] for target in (one, other)]
        _rule("sink-several", found == [_ids(4)[::2], _ids(4)[1::2]], found)

    def test_records_are_read_as_they_were_written(self, tmp_path: Path) -> None:
        """Rule sink-reads."""
        writer = self._open(tmp_path)
        written = [sample_record(0), sample_record(1), replace(sample_record(2), metadata={"judge": {"fit": 7.5}})]
        for record in written:
            writer.write(record)
        during = list(self.sink(tmp_path).read(_target(tmp_path)))
        writer.close()
        before = _files(tmp_path)
        after = list(self.sink(tmp_path).read(_target(tmp_path)))
        _rule("sink-reads", during == written, f"{during} while it is open, where {written} were written")
        _rule("sink-reads", after == written, f"{after} where {written} were written")
        _rule("sink-reads", before == _files(tmp_path), "files changed")

    def test_a_stopped_run_goes_on_without_a_gap_or_a_double(self, tmp_path: Path) -> None:
        """Rule sink-resumes: after a backend that dies, and after a scenario that the schema refuses."""
        output, place = tmp_path / "out", tmp_path / "place"
        place.mkdir()

        def spoiled(offset: int) -> Scenario:
            return replace(fake_scenario(offset), character="" if offset == 5 else "Kim")

        stops: list[tuple[FakeSource, FakeBackend]] = [
            (FakeSource(8), FakeBackend(dies_after=7, in_flight=1)),
            (FakeSource(8, make=spoiled), FakeBackend()),
            (FakeSource(8), FakeBackend()),
        ]
        report, why = None, None
        for source, backend in stops:
            try:
                report = build_caa(
                    "Openness", output, source=source, prompter=FakePrompter(), backend=backend,
                    sink=self.sink(place), checkpoint_interval=2,
                )  # fmt: skip
            except PsyctlError as error:  # the first two times
                why = error
        _rule("sink-resumes", report, why)
        assert report is not None
        dataset = report.datasets[0]
        target = SinkTarget(output, dataset.run_folder.stem, dataset.trait)
        ids = [record.id for record in self.sink(place).read(target)]
        wanted = [fake_scenario(offset).id for offset in range(8)]
        _rule("sink-resumes", ids == wanted, f"{ids} where {wanted} are due")

    def test_inspecting_changes_nothing(self, tmp_path: Path) -> None:
        """Rule sink-inspect."""
        writer = self._open(tmp_path)
        for number in range(3):
            writer.write(sample_record(number))
        writer.close()
        before = _files(tmp_path)
        inspection = self.sink(tmp_path).inspect(_target(tmp_path))
        _rule("sink-inspect", inspection.records in (None, 3), f"{inspection.records} where 3 were written")
        _rule("sink-inspect", not inspection.problems, inspection.problems)
        _rule("sink-inspect", before == _files(tmp_path), "files changed")


class ExporterContract:
    """What psyctl relies on in an exporter."""

    def exporter(self) -> DatasetExporter:
        """A new exporter, with the same config each time. To be written by who inherits."""
        raise NotImplementedError

    def _export(self, folder: Path, held_out: int = 2) -> Exported:
        folder.mkdir()
        pairs, kept_back = [sample_record(n) for n in range(4)], [sample_record(n) for n in range(4, 4 + held_out)]
        return self.exporter().export(pairs, kept_back, ExportTarget(folder, "openness", "Openness", Path("export")))

    def test_it_names_what_it_writes(self, tmp_path: Path) -> None:
        """Rule exporter-files."""
        for held_out in (0, 2):
            folder = tmp_path / str(held_out)
            exported = self._export(folder, held_out)
            written = {path.relative_to(folder) for path in _files(folder)}
            named = set(map(Path, exported.files))
            _rule("exporter-files", named == written and written, f"{named} named, {written} written")
        others = sorted(path.name for path in tmp_path.iterdir())
        _rule("exporter-files", others == ["0", "2"], f"{others} beside it")

    def test_it_says_what_to_do(self, tmp_path: Path) -> None:
        """Rule exporter-next."""
        exported = self._export(tmp_path / "one")
        _rule("exporter-next", exported.next.strip() and self.exporter().reads.strip(), exported)

    def test_the_same_records_give_the_same_files(self, tmp_path: Path) -> None:
        """Rule exporter-repeatable."""
        found = []
        for name in ("one", "other"):
            self._export(tmp_path / name)
            found.append({path.relative_to(tmp_path / name): data for path, data in _files(tmp_path / name).items()})
        differing = [
            str(name) for name in found[0].keys() | found[1].keys() if found[0].get(name) != found[1].get(name)
        ]
        _rule("exporter-repeatable", not differing, f"other bytes in {differing}")

    def test_what_is_held_out_is_apart(self, tmp_path: Path) -> None:
        """Rule exporter-apart; in files that hold text as it is."""
        self._export(tmp_path / "one")
        for path, data in _files(tmp_path / "one").items():
            stops = {number for number in range(6) if f"stop {number}.".encode() in data}
            _rule("exporter-apart", not (stops & {0, 1, 2, 3} and stops & {4, 5}), f"{path.name} holds both")


def _files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def sample_pair() -> ContrastivePair:
    """A pair to judge."""
    return ContrastivePair(fake_scenario(3), "Extroversion", "Come along, all of you!", "It is the right bus.")


def sample_record(number: int) -> CaaRecord:
    """A record that holds to the schema, with letters of several scripts; each number makes another."""
    situation = f"Kim waits at stop {number}. 비가 온다 🌧."
    lines = ("“Come along!”", "I shall wait.")
    positive = number % 2
    shown = (lines[positive], lines[1 - positive])
    question = f"[Situation]\n{situation}\n[Question]\nWhat should Kim say?\n1. {shown[0]}\n2. {shown[1]}\n[Answer]"
    first, second = ("(1", "(2") if not positive else ("(2", "(1")
    return CaaRecord(question, first, second, f"sample-{number}", "Openness", "Kim", situation, *lines)  # type: ignore[arg-type]


def _ids(records: int) -> list[str]:
    return [sample_record(number).id for number in range(records)]


def _target(folder: Path) -> SinkTarget:
    return SinkTarget(folder, "caa_dataset_20250107_143022", "Openness")
