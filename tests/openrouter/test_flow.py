"""The flow without a network: retries, waiting, the breaker, the budget, and stopping; on a clock of its own."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import defaultdict

import pytest

from psyctl_core.budget import Budget
from psyctl_core.components import BackendState
from psyctl_core.errors import BackendError, SourceError
from psyctl_core.records import ChatRequest, Message
from psyctl_openrouter.flow import Flow, Timing
from psyctl_openrouter.money import Prices, Spending
from psyctl_openrouter.outcome import Outcome
from psyctl_openrouter.retrying import ConcurrencyLimit, FailureStreak, RetryPolicy, backoff
from psyctl_openrouter.servers import Server

OK = Outcome("answer", "Hello.", prompt_tokens=10, completion_tokens=5, cost=0.001)
FAILED = Outcome("retry", cost=0.0, reason="provider failed")
LIMITED = Outcome("limited", cost=0.0, reason="rate limited")
EMPTY = Outcome("empty", prompt_tokens=10, completion_tokens=0, cost=0.0005, reason="empty answer")
REFUSED = Outcome("refused", cost=0.0, reason="request refused", message="Refused.", hint="Mend it.")
REQUEST_ERROR = Outcome("request_error", cost=0.0, reason="moderation")
FATAL = Outcome("fatal", cost=0.0, reason="request refused", message="Bad key.", hint="Give another.")


def waiting(seconds, outcome=LIMITED):
    return Outcome(outcome.kind, cost=outcome.cost, reason=outcome.reason, wait=seconds)


def requests(count):
    return [ChatRequest(str(number), (Message("user", "x" * 100),)) for number in range(count)]


def collect(answers, completions):
    """Keep what comes until something is raised."""
    for completion in completions:
        answers.append(completion)


class World:
    """A scripted server and a clock that only sleeping moves."""

    def __init__(self, script=None, *, workers=1, spending=None, **policy):
        self.now = 1000.0
        self.sent = []
        self.script = script or (lambda name, tries: OK)
        self.tries = defaultdict(itertools.count)
        self.spending = spending or Spending()
        self.lock = threading.Lock()
        self.in_flight = self.most = 0
        self.aborted = threading.Event()
        self.servers = [Server(self.send, workers)]
        self.states = set()
        self.flow = Flow(
            self.servers,
            abort=self.aborted.set,
            policy=RetryPolicy(**{"tell": 0.0, **policy}),
            spending=self.spending,
            name="OpenRouter",
            timing=Timing(clock=lambda: self.now, sleep=self.sleep, jitter=lambda: 1.0),
        )

    def sleep(self, seconds):
        assert 0 <= seconds <= 1.0
        self.now += seconds
        self.states.add(self.flow.state())

    def send(self, request):
        with self.lock:
            self.sent.append((request.id, self.now))
            self.in_flight += 1
            self.most = max(self.most, self.in_flight)
            tries = next(self.tries[request.id])
        try:
            outcome = self.script(request.id, tries)
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome
        finally:
            with self.lock:
                self.in_flight -= 1

    def times(self, name):
        return [at for sent, at in self.sent if sent == name]


@pytest.fixture
def world():
    made = []

    def make(*args, **kwargs):
        made.append(World(*args, **kwargs))
        return made[-1]

    yield make
    for each in made:
        each.flow.close()


def test_every_request_is_answered_once(world):
    it = world(workers=4)
    answers = list(it.flow.run(requests(100)))
    assert sorted(int(a.id) for a in answers) == list(range(100))
    assert len(it.sent) == 100
    assert {(a.text, a.finish_reason, a.cost) for a in answers} == {("Hello.", "stop", 0.001)}


def test_nothing_asked_gives_nothing(world):
    assert list(world().flow.run([])) == []


def test_requests_are_pulled_as_room_appears_by_the_thread_that_iterates(world):
    pulled = []

    def source():
        for request in requests(1000):
            pulled.append(threading.get_ident())
            yield request

    it = world(workers=4)
    answers = it.flow.run(source())
    for _ in range(10):
        next(answers)
    assert len(pulled) <= 10 + 4 + 1 + 1
    assert set(pulled) == {threading.get_ident()}
    answers.close()


def test_a_late_answer_does_not_hold_the_others_up(world):
    release = threading.Event()

    def script(name, tries):
        if name == "0":
            assert release.wait(10)
        return OK

    it = world(script, workers=2)
    answers = it.flow.run(requests(30))
    first = [next(answers).id for _ in range(29)]
    assert "0" not in first
    release.set()
    assert [a.id for a in answers] == ["0"]


def test_backoff_doubles_with_full_jitter_up_to_a_ceiling():
    policy = RetryPolicy(first=0.5, ceiling=30.0)
    assert [backoff(tries, policy, 1.0) for tries in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert backoff(3, policy, 0.0) == 0.0
    assert backoff(10_000, policy, 0.5) == 15.0


def test_failures_are_tried_again_after_growing_waits(world):
    it = world(lambda name, tries: FAILED if tries < 3 else OK)
    (answer,) = it.flow.run(requests(1))
    assert answer.text == "Hello."
    waits = [b - a for a, b in itertools.pairwise(it.times("0"))]
    assert waits == pytest.approx([0.5, 1.0, 2.0])


def test_others_go_on_while_one_waits_for_another_try(world):
    it = world(lambda name, tries: FAILED if (name, tries) == ("0", 0) else OK)
    assert [a.id for a in it.flow.run(requests(3))] == ["1", "2", "0"]


def test_one_that_always_fails_fails_alone_with_a_stable_reason(world):
    it = world(lambda name, tries: FAILED if name == "3" else OK, retries=2)
    answers = {a.id: a for a in it.flow.run(requests(40))}
    assert len(answers) == 40
    assert answers["3"].finish_reason == "error"
    assert answers["3"].error == "no answer after retries: provider failed"
    assert answers["3"].text == ""
    assert answers["3"].cost == 0.0
    assert len(it.times("3")) == 3


def test_the_last_request_can_fail_alone_too(world):
    it = world(lambda name, tries: FAILED if name == "9" else OK, retries=2)
    answers = {a.id: a.finish_reason for a in it.flow.run(requests(10))}
    assert answers["9"] == "error"


def test_a_single_request_that_always_fails_fails(world):
    (answer,) = world(lambda name, tries: FAILED, retries=2).flow.run(requests(1))
    assert answer.error == "no answer after retries: provider failed"


def test_no_retries_means_one_try(world):
    it = world(lambda name, tries: FAILED if name == "0" else OK, retries=0)
    answers = {a.id: a.finish_reason for a in it.flow.run(requests(3))}
    assert answers["0"] == "error"
    assert len(it.times("0")) <= 2  # a second one shows that the others are answered


def test_an_empty_answer_is_tried_a_few_times_and_its_cost_is_kept(world):
    it = world(lambda name, tries: EMPTY if tries < 2 else OK)
    (answer,) = it.flow.run(requests(1))
    assert answer.text == "Hello."
    assert answer.cost == pytest.approx(0.002)
    assert (answer.prompt_tokens, answer.completion_tokens) == (30, 5)
    it = world(lambda name, tries: EMPTY)
    (answer,) = it.flow.run(requests(1))
    assert (answer.finish_reason, answer.error) == ("error", "empty answer")
    assert answer.cost == pytest.approx(0.0015)
    assert len(it.sent) == 3


def test_what_was_told_is_booked_beside_a_try_whose_cost_is_unknown(world):
    lost = Outcome("retry", cost=None, reason="connection lost")
    (answer,) = world(lambda name, tries: lost if tries == 0 else OK).flow.run(requests(1))
    assert (answer.cost, answer.unpriced) == (OK.cost, True)
    (answer,) = world(lambda name, tries: OK).flow.run(requests(1))
    assert (answer.cost, answer.unpriced) == (OK.cost, False)


def test_what_is_wrong_with_one_request_fails_it_at_once(world):
    it = world(lambda name, tries: REQUEST_ERROR if name == "1" else OK)
    answers = {a.id: a for a in it.flow.run(requests(3))}
    assert answers["1"].error == "moderation"
    assert len(it.sent) == 3


def test_a_wait_that_is_asked_for_is_kept_by_all(world):
    it = world(lambda name, tries: waiting(12.0) if (name, tries) == ("2", 0) else OK, workers=1)
    assert len(list(it.flow.run(requests(6)))) == 6
    refused = it.times("2")[0]
    later = [at for _, at in it.sent if at > refused]
    assert min(later) >= refused + 12
    assert it.times("2")[1] >= refused + 12
    assert len(later) == 4


def test_a_wait_beyond_reason_stops_the_run(world):
    it = world(lambda name, tries: waiting(7200.0) if name == "2" else OK)
    answers = []
    with pytest.raises(BackendError, match="asks to wait 120 minutes") as caught:
        collect(answers, it.flow.run(requests(6)))
    assert "run the same command again" in caught.value.hint
    assert it.now < 1060


def test_what_is_waited_for_is_told_while_it_lasts(world):
    it = world(lambda name, tries: waiting(12.0) if (name, tries) == ("2", 0) else OK)
    list(it.flow.run(requests(6)))
    assert BackendState("rate limited", 1) in it.states
    assert it.flow.state() == BackendState("", 1)


def test_waiting_is_visible_but_not_chatty(world, caplog):
    caplog.set_level(logging.INFO, "psyctl")
    it = world(lambda name, tries: waiting(12.0) if (name, tries) == ("2", 0) else OK, tell=5.0)
    list(it.flow.run(requests(6)))
    notes = [r.getMessage() for r in caplog.records]
    assert notes[0] == "rate limited: waiting 12 s, 1 of 1 worker"
    assert len(notes) <= 4


def test_rate_limits_lower_the_number_in_flight_and_it_recovers():
    room = ConcurrencyLimit(16)
    for _ in range(16):  # all that were in flight together count once
        room.lower(sent_at=0.0, now=1.0)
    assert room.size == 11
    assert not room.is_full_size
    for moment in range(2, 30):
        room.lower(sent_at=moment, now=moment)
    assert room.size == 1
    answers = 0
    while not room.is_full_size:
        room.widen()
        answers += 1
    assert room.size == 16
    assert 16 * 15 / 2 * 0.8 < answers < 16 * 16 / 2 * 1.3


def test_a_server_with_room_for_few_gets_few_at_a_time(world):
    limit, refusals = 4, []
    it = world(workers=16, first=0.001, ceiling=0.002)

    def script(name, tries):
        time.sleep(0.002)
        if it.in_flight > limit:
            refusals.append(name)
            return LIMITED
        return OK

    it.script = script
    it.flow._timing = Timing()
    answers = list(it.flow.run(requests(300)))
    assert [a for a in answers if a.finish_reason == "error"] == []
    assert len(answers) == 300
    assert len(refusals) < 300


def test_an_outage_stops_the_run_before_it_costs_scenarios(world):
    it = world(lambda name, tries: OK if int(name) < 50 else FAILED, workers=8, retries=2, outage_timeout=60)
    answers = []
    with pytest.raises(BackendError) as caught:
        collect(answers, it.flow.run(requests(1000)))
    assert "failed" in caught.value.message
    assert "times in a row (last: provider failed)" in caught.value.message
    assert "run the same command again" in caught.value.hint
    assert it.now - 1000 >= 60
    assert it.now - 1000 < 200
    assert len(it.sent) < 300


@pytest.mark.parametrize("workers", [1, 2, 8, 64])
def test_nothing_fails_alone_in_an_outage(world, workers):
    answers = []
    it = world(lambda name, tries: OK if int(name) < 50 else FAILED, workers=workers, retries=1)
    with pytest.raises(BackendError, match="in a row"):
        collect(answers, it.flow.run(requests(1000)))
    assert {a.finish_reason for a in answers} == {"stop"}
    assert len(answers) == 50


def test_a_short_outage_is_waited_out(world):
    it = world(workers=8, retries=2, outage_timeout=60)
    it.script = lambda name, tries: FAILED if 1010 < it.now < 1040 or (it.now == 1000 and int(name) > 20) else OK
    answers = list(it.flow.run(requests(200)))
    assert len(answers) == 200
    assert {a.finish_reason for a in answers} == {"stop"}


def test_limits_get_more_patience_than_failures():
    policy = RetryPolicy(outage_timeout=60, min_failures=20, retries=1)
    streak = FailureStreak()
    for _ in range(30):
        streak.add(0.0, "rate limited", limited=True)
    assert not streak.is_outage(599.0, policy)
    assert streak.is_outage(600.0, policy)
    streak.end()
    for _ in range(20):
        streak.add(0.0, "timed out", limited=False)
    assert not streak.is_outage(59.0, policy)
    assert streak.is_outage(60.0, policy)


def test_nothing_but_limits_stops_the_run_in_the_end(world):
    it = world(lambda name, tries: waiting(30.0), workers=4)
    with pytest.raises(BackendError, match=r"in a row \(last: rate limited\)"):
        list(it.flow.run(requests(100)))
    assert it.now - 1000 >= 600


def test_a_fatal_answer_ends_the_run_after_what_had_arrived(world):
    it = world(lambda name, tries: FATAL if name == "5" else OK)
    answers = []
    with pytest.raises(BackendError, match="Bad key") as caught:
        collect(answers, it.flow.run(requests(100)))
    assert [a.id for a in answers] == ["0", "1", "2", "3", "4"]
    assert caught.value.hint == "Give another."
    assert len(it.sent) <= 7


def test_what_is_in_flight_at_a_fatal_answer_is_still_yielded(world):
    arrived = threading.Event()

    def script(name, tries):
        if name == "0":
            return FATAL
        assert arrived.wait(10)
        return OK

    it = world(script, workers=4)
    threading.Timer(0.05, arrived.set).start()
    answers = []
    with pytest.raises(BackendError, match="Bad key"):
        collect(answers, it.flow.run(requests(100)))
    assert answers
    assert len(answers) == len(it.sent) - 1


def test_a_stop_does_not_wait_for_ever_for_what_is_in_flight(world):
    begun, hang = threading.Event(), threading.Event()

    def script(name, tries):
        if name == "1":
            begun.set()
            hang.wait(10)
            return OK
        assert begun.wait(10)
        return FATAL

    it = world(script, workers=2, grace=0.0)
    with pytest.raises(BackendError, match="Bad key"):
        list(it.flow.run(requests(10)))
    assert it.aborted.is_set()
    hang.set()


def test_refused_requests_before_any_answer_end_the_run(world):
    it = world(lambda name, tries: REFUSED, workers=1)
    with pytest.raises(BackendError, match=r"Refused\."):
        list(it.flow.run(requests(100)))
    assert len(it.sent) == 2
    with pytest.raises(BackendError, match=r"Refused\."):
        list(world(lambda name, tries: REFUSED).flow.run(requests(1)))


@pytest.mark.parametrize("odd", ["0", "7", "9"])
def test_a_refused_request_among_answered_ones_fails_alone(world, odd):
    it = world(lambda name, tries: REFUSED if name == odd else OK)
    answers = {a.id: a for a in it.flow.run(requests(10))}
    assert len(answers) == 10
    assert answers[odd].error == "request refused"


USELESS = Outcome("retry", cost=0.0, reason="a web page, not the API", message="A page.", hint="Try /v1.")
THOUGHT = Outcome("empty", cost=0.0, reason="empty answer: all", message="It thinks.", hint="Use --x-reasoning.")


def of_scenarios(count):
    ids = [f"{number}:{role}" for number in range(count) for role in ("neutral", "positive")]
    return [ChatRequest(name, (Message("user", "x"),)) for name in ids]


def test_what_waiting_does_not_mend_stops_in_seconds(world):
    for workers in (1, 16):
        it = world(lambda name, tries: USELESS, workers=workers)
        with pytest.raises(BackendError, match=r"A page\.") as caught:
            list(it.flow.run(requests(1000)))
        assert caught.value.hint == "Try /v1."
        assert 3 <= it.now - 1000 < 10
    it = world(lambda name, tries: USELESS)  # a single request, as for a persona
    with pytest.raises(BackendError, match=r"A page\."):
        list(it.flow.run(requests(1)))
    assert it.now - 1000 < 10


def test_a_gateway_with_a_hiccup_is_waited_for(world):
    it = world(workers=4)
    it.script = lambda name, tries: USELESS if it.now < 1002 else OK
    assert {a.finish_reason for a in it.flow.run(requests(50))} == {"stop"}


def test_a_web_page_after_answers_is_an_outage_like_others(world):
    it = world(lambda name, tries: OK if int(name) < 5 else USELESS, outage_timeout=60)
    with pytest.raises(BackendError, match=r"in a row \(last: a web page, not the API\)"):
        list(it.flow.run(requests(100)))
    assert it.now - 1000 >= 60


def test_a_server_that_says_why_it_fails_is_quoted(world):
    said = Outcome("retry", cost=0.0, reason="provider failed", detail="out of memory")
    with pytest.raises(BackendError, match=r"last: provider failed: out of memory\)"):
        list(world(lambda name, tries: said).flow.run(requests(100)))


def test_a_model_that_loads_for_minutes_is_waited_for(world, caplog):
    caplog.set_level(logging.INFO, "psyctl")
    loading = Outcome("limited", cost=0.0, reason="the model is loading")
    for count in (1, 40):
        it = world(workers=4)
        it.script = lambda name, tries, it=it: loading if it.now < 1500 else OK
        assert {a.finish_reason for a in it.flow.run(requests(count))} == {"stop"}
    assert "the model is loading" in caplog.text
    with pytest.raises(BackendError, match="the model is loading"):
        list(world(lambda name, tries: loading).flow.run(requests(5)))


@pytest.mark.parametrize("bad", [REFUSED, THOUGHT, EMPTY])
@pytest.mark.parametrize("workers", [1, 8])
def test_the_first_scenario_is_not_everybody(world, bad, workers):
    it = world(lambda name, tries: bad if name.startswith("0:") else OK, workers=workers)
    answers = {a.id: a for a in it.flow.run(of_scenarios(6))}
    assert len(answers) == 12
    assert {name for name, a in answers.items() if a.finish_reason == "error"} == {"0:neutral", "0:positive"}


def test_refusals_that_arrive_before_slow_answers_wait_for_them(world):
    def script(name, tries):
        if int(name.split(":")[0]) < 3:
            return REFUSED
        time.sleep(0.05)
        return OK

    answers = list(world(script, workers=16).flow.run(of_scenarios(8)))
    assert len(answers) == 16
    assert sum(a.finish_reason == "error" for a in answers) == 6


@pytest.mark.parametrize("bad", [REFUSED, THOUGHT])
def test_the_second_scenario_without_any_answer_decides(world, bad):
    it = world(lambda name, tries: bad)
    with pytest.raises(BackendError, match=bad.message):
        list(it.flow.run(of_scenarios(500)))
    assert len(it.sent) <= 36


def test_the_only_scenario_of_a_run_fails_alone_and_the_next_ones_decide(world):
    it = world(lambda name, tries: REFUSED)
    first = list(it.flow.run(of_scenarios(1)))
    assert {a.error for a in first} == {"request refused"}
    with pytest.raises(BackendError, match=r"Refused\."):
        list(it.flow.run(of_scenarios(2)[2:]))


def test_twenty_scenarios_refused_in_a_row_end_a_run_that_had_answers(world):
    it = world(lambda name, tries: OK if int(name.split(":")[0]) < 3 else REFUSED)
    answers = []
    with pytest.raises(BackendError, match=r"Refused\."):
        collect(answers, it.flow.run(of_scenarios(500)))
    assert sum(a.finish_reason == "stop" for a in answers) == 6
    assert len(it.sent) <= 6 + 2 * 20


def test_the_words_of_a_request_that_failed_alone_are_told_once(world, caplog):
    list(world(lambda name, tries: REFUSED if int(name) % 4 == 3 else OK).flow.run(requests(40)))
    assert [r.getMessage() for r in caplog.records] == ["One request failed (request refused). Refused."]


def test_draining_ends_a_wait_at_once(world):
    it = world(lambda name, tries: waiting(600.0))
    sleep, it.sleep = it.sleep, None
    naps = []

    def nap(seconds):
        naps.append(seconds)
        if len(naps) == 3:
            it.flow.drain()  # as a signal handler does
        sleep(seconds)

    it.flow._timing = Timing(clock=lambda: it.now, sleep=nap, jitter=lambda: 1.0)
    assert list(it.flow.run(requests(5))) == []
    assert len(naps) == 3
    assert list(it.flow.run(requests(5))) == []


def test_the_budget_stops_before_it_is_crossed_and_uses_what_fits(world):
    spending = Spending(Budget(0.0105, "--openrouter-max-cost"))
    spending.prices = Prices(0.0, 0.002 / 64)  # the worst is twice what an answer costs
    it = world(workers=8, spending=spending)
    answers = []
    with pytest.raises(BackendError, match=r"budget of \$0.0105 is reached") as caught:
        collect(answers, it.flow.run(requests(100)))
    assert len(answers) == 9
    assert len(it.sent) == 9
    assert sum(a.cost for a in answers) <= 0.0105
    assert "Raise --openrouter-max-cost" in caught.value.hint


def test_an_unpriced_model_stays_within_the_budget(world):
    it = world(workers=8, spending=Spending(Budget(0.0105, "--openrouter-max-cost")))
    answers = []
    with pytest.raises(BackendError, match="budget"):
        collect(answers, it.flow.run(requests(100)))
    assert len(answers) == 10


def test_closing_ends_it_at_once_and_sends_nothing_more(world):
    hang = threading.Event()
    it = world(workers=8)

    def script(name, tries):
        if int(name) >= 5:
            it.aborted.wait(10)
        return OK

    it.script = script
    answers = it.flow.run(requests(100))
    for _ in range(5):
        next(answers)
    began = time.monotonic()
    answers.close()
    it.flow.close()
    assert time.monotonic() - began < 1.0
    assert it.aborted.is_set()
    assert len(it.sent) <= 5 + 8 + 2
    assert not [t for t in threading.enumerate() if t.name.startswith("psyctl-")]
    hang.set()


def test_the_flow_goes_on_after_a_run_was_left_unfinished(world):
    it = world(workers=4)
    left = it.flow.run(requests(100))
    next(left)
    assert len(list(it.flow.run(requests(20)))) == 20
    assert list(it.flow.run(requests(0))) == []
    with pytest.raises(RuntimeError, match="ended"):
        next(left)


def test_a_run_that_begins_in_a_pause_waits_and_asks(world):
    it = world(lambda name, tries: waiting(5.0) if (name, tries) == ("1", 0) else OK, workers=2)
    first = it.flow.run(requests(2))
    assert [next(first).id, next(first).id] == ["0", "1"]
    it.servers[0].paused_until = it.now + 7.5  # as where another request was limited while the last one was answered
    first.close()
    began = it.now
    assert [answer.id for answer in it.flow.run(requests(4)[2:])] == ["2", "3"]
    assert it.now - began >= 7.5


def test_ctrl_c_yields_what_had_arrived(world):
    it = world(workers=4)
    done = threading.Event()

    def source():
        yield from requests(4)
        done.wait(0.2)  # lets the four answers arrive
        raise KeyboardInterrupt

    answers = []
    with pytest.raises(KeyboardInterrupt):
        collect(answers, it.flow.run(source()))
    assert sorted(a.id for a in answers) == ["0", "1", "2", "3"]


def test_a_failing_source_is_told_after_what_is_in_flight(world):
    def source():
        yield from requests(3)
        raise SourceError("The rows ended early.")

    it = world(workers=8)
    answers = []
    with pytest.raises(SourceError, match="ended early"):
        collect(answers, it.flow.run(source()))
    assert sorted(a.id for a in answers) == sorted(name for name, _ in it.sent)


def test_a_fault_in_a_worker_is_raised_where_the_answers_are_wanted(world):
    it = world(lambda name, tries: ZeroDivisionError("oops") if name == "3" else OK)
    answers = []
    with pytest.raises(ZeroDivisionError, match="oops"):
        collect(answers, it.flow.run(requests(10)))
    assert [a.id for a in answers] == ["0", "1", "2"]


def test_answers_do_not_pile_up_in_memory(world):
    it = world(workers=4)
    for _ in it.flow.run(requests(500)):
        run = it.flow._current
        assert len(run.open) <= 2 * 4 + 8
        assert run.results.qsize() <= 8
