"""The one way to ask: the journal first, each answer kept and booked once, and no error in the wrong frame."""

from __future__ import annotations

import threading

import pytest

from psyctl_core import BackendError, Budget, ChatRequest, Completion, Message, PluginError, SourceError, Usage
from psyctl_core._engine.answering import Answerer
from psyctl_core._engine.blocks import Asked
from psyctl_core._engine.progress import Meter
from psyctl_core._engine.stopping import Stop
from psyctl_core._plugins.blame import Origin
from psyctl_core._plugins.guard import GuardedBackend, GuardedPool
from psyctl_core._store.journal import Journal
from psyctl_core.testing import FakeBackend
from psyctl_local.runner import LocalPool


class Setup:
    """An answerer over a fake backend and a real journal, without scenarios or datasets."""

    def __init__(self, folder, backend: FakeBackend, limit: float | None = None, stop: Stop | None = None) -> None:
        self.backend = backend
        self.journal = Journal(folder, {"name": "fake"}, Usage())
        self.usage = self.journal.usage()
        self.seen = []
        meter = Meter([], None, self.usage, self.seen.append)
        guarded = GuardedBackend(backend, Origin("backend", "fake", "psyctl-fake", "1.0"))
        self.budget = Budget(limit, spent=self.usage.likely_cost())
        stop = stop or Stop()
        guarded.is_stopping = lambda: stop.requested
        pool = GuardedPool(LocalPool(guarded), Origin("runner", "local", "psyctl", "1.0"), is_free=backend.is_free)
        self.answerer = Answerer(pool, folder, self.journal, self.usage, self.budget, meter, stop)

    def texts(self, *blocks) -> list[str]:
        return self.collect([], *blocks)

    def collect(self, got: list[str], *blocks, then=lambda: None) -> list[str]:
        left = iter(blocks)
        for completion in self.answerer.answers(lambda: next(left, None)):
            got.append(completion.id)
            then()
        return got


@pytest.fixture
def setup(tmp_path):
    return lambda backend=None, **options: Setup(tmp_path, backend or FakeBackend(), **options)


def asked(*numbers: int) -> list[Asked]:
    return [Asked(ChatRequest(f"{n}:neutral", (Message("user", f"Hi {n}"),)), n) for n in numbers]


def test_an_answer_is_kept_and_booked_and_not_asked_again(setup):
    first = setup()
    assert sorted(first.texts(iter(asked(0, 1, 2)))) == ["0:neutral", "1:neutral", "2:neutral"]
    assert first.usage.requests == 3
    again = setup()
    assert again.texts(iter(asked(1, 2, 3)))[0] in ("1:neutral", "3:neutral")
    assert [request.id for request in again.backend.asked] == ["3:neutral"]
    assert again.usage.requests == 4


def test_a_block_is_taken_from_the_journal_as_a_whole_or_asked_as_a_whole(setup):
    setup().texts(asked(0, 1))
    again = setup()
    assert sorted(again.texts(asked(0, 1), asked(1, 2))) == ["0:neutral", "1:neutral", "1:neutral", "2:neutral"]
    assert [request.id for request in again.backend.asked] == ["1:neutral", "2:neutral"]


def test_the_backend_is_started_once_and_its_start_is_shown(setup):
    it = setup()
    it.answerer.ask(asked(7)[0].request)
    it.texts(iter(asked(8)))
    assert it.backend.starts == 1
    assert it.seen[0].phase == "loading"


@pytest.mark.parametrize("error", [SourceError("no more rows"), ZeroDivisionError("a bug")])
def test_what_fails_while_a_request_is_made_is_raised_when_the_backend_has_finished(setup, error):
    finished = []

    class Watching(FakeBackend):
        def generate(self, requests):
            yield from super().generate(requests)
            finished.append(True)

    def requests():
        yield from asked(0, 1)
        raise error

    it = setup(Watching(in_flight=1))
    got = []
    with pytest.raises(type(error), match=str(error)):
        it.collect(got, requests())
    assert got == ["0:neutral", "1:neutral"]
    assert finished == [True]


def test_the_first_cause_is_told_where_the_backend_stumbles_over_the_end(setup):
    class Stumbles(FakeBackend):
        def generate(self, requests):
            yield from super().generate(requests)
            raise RuntimeError("I wanted more")

    def requests():
        yield from asked(0)
        raise SourceError("no more rows")

    it = setup(Stumbles())
    with pytest.raises(SourceError, match="no more rows"):
        it.texts(requests())
    with pytest.raises(PluginError, match="I wanted more"):
        setup(Stumbles()).texts(iter(asked(1)))


def priced(request: ChatRequest) -> Completion:
    return Completion(request.id, "Hello.", cost=0.25)


def test_a_backend_that_knows_no_budget_is_stopped_before_it_is_crossed(setup):
    it = setup(FakeBackend(answer=priced, in_flight=8), limit=1.1)
    got = []
    with pytest.raises(BackendError, match=r"budget of \$1.1 is reached: \$1.00 spent"):
        it.collect(got, iter(asked(*range(20))))
    assert len(got) == len(it.backend.asked) == 4
    with pytest.raises(BackendError, match="is reached"):
        setup(FakeBackend(answer=priced), limit=1.0).texts(iter(asked(30)))


def test_a_backend_that_costs_nothing_is_not_held_up_by_a_budget(setup):
    it = setup(FakeBackend(in_flight=8), limit=0.01)
    assert len(it.texts(iter(asked(*range(20))))) == 20
    assert it.backend.most_in_flight == 8


def test_after_a_signal_what_is_under_way_is_waited_for_and_nothing_else_is_asked(setup):
    stop = Stop()
    it = setup(FakeBackend(in_flight=4), stop=stop)
    got = []
    with pytest.raises(KeyboardInterrupt):
        it.collect(got, iter(asked(*range(20))), then=lambda: len(got) == 3 and stop.handle(2, None))
    assert len(got) == len(it.backend.asked) < 10


def test_a_failed_answer_to_a_prompter_is_asked_again_by_the_next_process(setup):
    failing = setup(FakeBackend(answer=lambda request: Completion(request.id, "", "error", error="moderation")))
    assert failing.answerer.ask(asked(0)[0].request).error == "moderation"
    assert setup().answerer.ask(asked(0)[0].request).finish_reason == "stop"


def test_no_thread_tells_what_is_older_than_what_was_told():
    told, computed, go = [], threading.Event(), threading.Event()
    usage = Usage()
    meter = Meter([], None, usage, lambda progress: told.append(progress.answers))
    now = meter.now

    def held_up():
        found = now()
        if threading.current_thread() is first:
            computed.set()
            go.wait(10)
        return found

    meter.now = held_up
    first, second = threading.Thread(target=meter.tell), threading.Thread(target=meter.tell)
    first.start()
    computed.wait(10)
    usage.requests += 1
    second.start()
    second.join(0.05)
    go.set()
    for thread in (first, second):
        thread.join()
    assert told == [0, 1]
