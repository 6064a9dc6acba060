"""Several servers: who is asked, what happens when one dies and comes back, and that all have the same model."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import requests as http
from hypothesis import given
from hypothesis import strategies as st

from psyctl_core.budget import Budget
from psyctl_core.errors import BackendError
from psyctl_core.records import ChatRequest, Message
from psyctl_openrouter import network, outcome
from psyctl_openrouter.flow import Flow, Timing
from psyctl_openrouter.money import Spending
from psyctl_openrouter.outcome import Outcome
from psyctl_openrouter.retrying import RetryPolicy
from psyctl_openrouter.servers import OUT_AFTER, Server

OK = Outcome("answer", "Hello.")
FAILED = Outcome("retry", reason="provider failed")
GONE = Outcome("retry", reason=network.CANNOT_CONNECT, detail="Connection refused")
LOST = Outcome("retry", reason=network.LOST)
LOADING = Outcome("limited", reason=outcome.LOADING)
KEY_REFUSED = Outcome("fatal", reason=outcome.REFUSED, message="Bad key.", hint="Give another.")
REFUSED = Outcome("refused", reason=outcome.REFUSED, message="Refused.", hint="Mend it.")
MOODS = {
    "ok": OK, "gone": GONE, "lost": LOST, "failed": FAILED, "loading": LOADING,
    "fatal": KEY_REFUSED, "limited": Outcome("limited", reason="rate limited", wait=1.0),
}  # fmt: skip
CLOSED_PORT = "http://127.0.0.1:9/v1"


def requests(count):
    return [ChatRequest(f"{number}:x", (Message("user", "x"),)) for number in range(count)]


class Cluster:
    """Scripted servers behind one flow, on a clock that only sleeping and answering moves."""

    def __init__(self, *scripts, workers=4, **policy):
        self.now = 1000.0
        self.sent = Counter()
        self.servers = [
            Server(lambda request, place=place: self.send(place, request), workers, f"http://{'abcdef'[place]}")
            for place in range(len(scripts))
        ]
        self.scripts = list(scripts)
        self.looks = [lambda: None] * len(scripts)
        for place, server in enumerate(self.servers):
            server.look = lambda place=place: self.looks[place]()
        self.flow = Flow(
            self.servers,
            abort=lambda: None,
            policy=RetryPolicy(**{"tell": 1e9, **policy}),
            spending=Spending(),
            name="every server",
            timing=Timing(clock=lambda: self.now, sleep=self.sleep, jitter=lambda: 1.0),
        )

    def sleep(self, seconds):
        self.now += seconds

    def send(self, place, request):
        self.sent[place] += 1
        found = self.scripts[place]
        return found(request) if callable(found) else found

    def run(self, count, *, seconds=0.0):
        """Ask so many; each answer takes so many seconds of the clock."""
        found = []
        for completion in self.flow.run(requests(count)):
            found.append(completion)
            self.now += seconds
        return found


@pytest.fixture
def cluster():
    made = []

    def make(*scripts, **fields):
        made.append(Cluster(*scripts, **fields))
        return made[-1]

    yield make
    for each in made:
        each.flow.close()


def told(caplog):
    return [record.getMessage() for record in caplog.records]


def test_each_server_has_as_many_requests_as_it_may_and_none_has_more(cluster):
    it = cluster(OK, OK, OK, workers=4)
    answers = it.flow.run(requests(300))
    for number, _ in enumerate(answers):
        if number < 200:
            assert [server.in_flight for server in it.servers] == [5, 5, 5]  # four, and one that is ready
    assert sum(it.sent.values()) == 300
    assert all(server.answered for server in it.servers)


def test_the_one_with_the_fewest_in_flight_is_asked_first(cluster):
    it = cluster(OK, OK, workers=8)
    it.servers[0].in_flight = 6  # as where its answers take long
    answers = it.flow.run(requests(4))
    next(answers)
    assert (it.servers[0].asked, it.servers[1].asked) == (0, 4)
    it.servers[0].in_flight = 0
    list(answers)


@pytest.mark.parametrize(
    ("failure", "asked"), [(GONE, 4 + 1), (LOADING, 4 + 1), (KEY_REFUSED, 4 + 1), (LOST, 10), (FAILED, 10)]
)
def test_a_server_that_fails_is_taken_out_and_no_request_is_lost(cluster, caplog, failure, asked):
    it = cluster(OK, failure, OK)
    it.looks[1] = lambda: ""
    answers = it.run(200, seconds=0.05)
    assert {answer.finish_reason for answer in answers} == {"stop"}
    assert len({answer.id for answer in answers}) == 200
    assert it.sent[1] <= asked
    (line,) = told(caplog)
    assert line.startswith(f"http://b is taken out ({failure.reason}")
    assert line.endswith("2 of 3 servers go on. It is tried again.")


def test_without_retries_a_server_that_cannot_be_reached_costs_no_request(cluster):
    it = cluster(OK, GONE, retries=0)
    it.looks[1] = lambda: ""
    assert {answer.finish_reason for answer in it.run(50)} == {"stop"}


def test_while_one_is_out_the_others_have_all_that_they_may(cluster):
    it = cluster(OK, GONE, OK, workers=8)
    it.looks[1] = lambda: ""
    shares = []
    for number, _ in enumerate(it.flow.run(requests(600))):
        if it.servers[1].is_out and number < 500:
            shares.append(sum(it.servers[place].in_flight for place in (0, 2)) / 16)
    assert len(shares) > 400
    assert sum(shares) / len(shares) >= 0.9


def test_one_that_comes_back_is_asked_again_and_both_are_said_once(cluster, caplog):
    caplog.set_level(logging.INFO, "psyctl")
    it = cluster(OK, GONE)
    it.scripts[1] = lambda request: OK if it.now > 1010 else GONE
    it.looks[1] = lambda: None if it.now > 1010 else ""
    answers = it.run(2000, seconds=0.05)
    assert {answer.finish_reason for answer in answers} == {"stop"}
    assert it.sent[1] > 500
    assert told(caplog) == [
        "http://b is taken out (cannot connect: Connection refused): 1 of 2 servers go on. It is tried again.",
        "http://b is back: 2 of 2 servers answer.",
    ]


def test_it_is_tried_again_after_growing_waits(cluster):
    it = cluster(OK, GONE)
    looked = []
    it.looks[1] = lambda: looked.append(it.now) or ""
    it.run(4000, seconds=0.05)  # two hundred seconds
    assert 6 <= len(looked) <= 14
    assert looked[-1] - looked[-2] >= 25


def test_one_that_comes_back_with_another_model_stays_out_and_is_named_once(cluster, caplog):
    it = cluster(OK, GONE)
    it.looks[1] = lambda: "it has another model now than 'm': 'n'."
    it.run(1000, seconds=0.05)
    assert told(caplog)[1:] == ["http://b stays out: it has another model now than 'm': 'n'."]
    assert it.servers[1].is_out


def test_only_when_all_are_dead_does_the_run_end_as_with_one(cluster):
    it = cluster(GONE, GONE, GONE, outage_timeout=60)
    for place in range(3):
        it.looks[place] = lambda: ""
    with pytest.raises(BackendError, match=r"every server failed \d+ times in a row \(last: cannot connect"):
        it.run(50)
    assert it.now - 1000 >= 60


def test_all_that_are_dead_for_a_while_are_waited_for(cluster):
    it = cluster(*[lambda request: GONE if 1010 < it.now < 1040 else OK] * 3, outage_timeout=60)
    for place in range(3):
        it.looks[place] = lambda: "" if 1010 < it.now < 1040 else None
    answers = it.run(2000, seconds=0.05)
    assert {answer.finish_reason for answer in answers} == {"stop"}


def test_the_error_of_the_last_one_ends_the_run(cluster):
    it = cluster(KEY_REFUSED, KEY_REFUSED)
    it.looks = [lambda: ""] * 2
    with pytest.raises(BackendError, match="Bad key"):
        it.run(20)


def test_a_limit_slows_one_server_and_not_the_others(cluster):
    limited = Outcome("limited", reason="rate limited", wait=30.0)
    asked = Counter()

    def script(request):
        asked["b"] += 1
        return limited if asked["b"] == 3 else OK

    it = cluster(OK, script)
    answers = it.run(300)
    assert len(answers) == 300
    assert it.now < 1001  # nobody waited
    assert it.servers[1].paused_until >= 1030
    assert it.servers[0].limit.is_full_size


def test_a_server_that_wants_to_be_left_for_an_hour_is(cluster, caplog):
    it = cluster(OK, Outcome("limited", reason="rate limited", wait=3600.0))
    looked = []
    it.looks[1] = lambda: looked.append(it.now) or ""
    assert len(it.run(500, seconds=0.05)) == 500
    assert "http://b is taken out (rate limited): 1 of 2" in told(caplog)[0]
    assert not looked


def test_what_one_server_refuses_is_asked_of_another(cluster):
    it = cluster(OK, REFUSED)
    it.looks[1] = lambda: ""
    answers = it.run(200)
    assert {answer.finish_reason for answer in answers} == {"stop"}
    assert it.servers[1].is_out
    assert it.sent[1] <= OUT_AFTER + 5


def test_not_even_a_server_with_more_room_is_asked_again_for_what_it_refused(cluster):
    it = cluster(OK, REFUSED)
    it.servers[0].in_flight = 3  # as where it has others to answer
    assert [answer.finish_reason for answer in it.run(1)] == ["stop"]
    assert it.sent == {0: 1, 1: 1}


def test_what_both_refuse_fails_alone(cluster):
    def script(request):
        return REFUSED if request.id in ("7:x", "8:x") else OK

    it = cluster(script, script)
    answers = {answer.id: answer for answer in it.run(100)}
    assert {name for name, answer in answers.items() if answer.finish_reason == "error"} == {"7:x", "8:x"}
    assert sum(it.sent.values()) == 102


def test_one_that_fails_at_once_now_and_then_draws_no_requests_to_itself(cluster):
    turns = Counter()

    def half(request):
        turns["b"] += 1
        return FAILED if turns["b"] % 4 else OK  # three of four

    it = cluster(OK, half)
    answers = it.run(1000, seconds=0.01)
    assert {answer.finish_reason for answer in answers} == {"stop"}
    assert it.sent[1] < 250


@given(st.lists(st.sampled_from(list(MOODS)), min_size=4, max_size=60))
def test_whatever_the_others_do_one_good_server_answers_everything(moods):
    turn = itertools.cycle(moods)
    it = Cluster(OK, lambda request: MOODS[next(turn)], lambda request: MOODS[next(turn)], retries=50)
    try:
        answers = it.run(60, seconds=0.1)
    finally:
        it.flow.close()
    assert sorted(answer.id for answer in answers) == sorted(request.id for request in requests(60))
    assert {answer.finish_reason for answer in answers} == {"stop"}
    assert all(server.in_flight == 0 for server in it.servers)


# Over HTTP.


@pytest.fixture
def three(serve):
    """Three servers with one model."""
    return [serve(models=["a/b"], priced=False) for _ in range(3)]


def urls(servers):
    return ",".join(server.url if hasattr(server, "url") else server for server in servers)


def joined(connect, servers, **fields):
    return connect(None, kind="openai", base_url=urls(servers), **{"max_workers": 4, **fields})


def test_three_servers_share_the_requests(connect, ask, three, caplog):
    caplog.set_level(logging.INFO, "psyctl")
    backend = joined(connect, three)
    assert backend.identity() == {"model": "a/b"}
    backend.start(Budget(None))
    assert len(list(backend.generate(ask(120)))) == 120
    assert sum(server.log.answered.total() for server in three) == 120
    assert all(server.log.answered.total() > 20 for server in three)
    assert max(server.log.most_in_flight for server in three) <= 4
    assert backend.state().answered == {server.url: server.log.answered.total() for server in three}
    backend.close()
    each = [f"{server.url}: {server.log.answered.total()}" for server in three]
    assert told(caplog)[-1] == f"answered by {', '.join(each)}"


def test_one_that_is_dead_at_the_start_is_named_and_left_out(connect, ask, three, caplog):
    backend = joined(connect, [three[0], CLOSED_PORT, three[1]])
    backend.start(Budget(None))
    assert len(list(backend.generate(ask(30)))) == 30
    (line,) = told(caplog)
    assert line.startswith(f"{CLOSED_PORT} is taken out (")
    assert "2 of 3 servers go on" in line


@pytest.mark.parametrize("model", ["", "a/b"])
def test_none_that_can_be_reached_ends_it_before_anything_is_asked(connect, model):
    quick = RetryPolicy(retries=1, first=0.001)
    backend = joined(connect, [CLOSED_PORT, "http://127.0.0.1:10/v1"], model=model, policy=quick)
    with pytest.raises(BackendError, match=r"None of 2 servers can be used: .*cannot connect") as caught:
        backend.start(Budget(None))
    assert "--openai-base-url" in caught.value.hint


def test_servers_with_different_models_are_refused(serve, connect, three):
    other = serve(models=["c/d"], priced=False)
    with pytest.raises(BackendError, match="different models") as caught:
        joined(connect, [three[0], other]).identity()
    assert f"{three[0].url} has 'a/b', {other.url} has 'c/d'" in caught.value.message
    with pytest.raises(BackendError, match=f"{other.url} does not have 'a/b', which {three[0].url} has") as caught:
        joined(connect, [three[0], other], model="a/b").start(Budget(None))
    assert "it lists 'c/d'" in caught.value.message
    assert other.log.requests == 0


def test_one_that_has_more_than_the_named_model_will_do(serve, connect, three, caplog):
    joined(connect, [three[0], serve(models=["x", "a/b"], priced=False)], model="a/b").start(Budget(None))
    assert not told(caplog)


def test_what_cannot_be_seen_is_said(serve, connect, three, caplog):
    joined(connect, three[:2], model="alias").start(Budget(None))
    unlisted = serve(models=["a/b"], priced=False, listing="404")
    joined(connect, [three[0], unlisted], model="a/b").start(Budget(None))
    rooted = [serve(models=["a/b"], priced=False, root=root) for root in ("/m/one", "/m/two")]
    joined(connect, rooted).start(Budget(None))
    assert [line.partition(":")[0] for line in told(caplog)] == [
        "Whether 'alias' is the same model everywhere cannot be seen",
        "Whether 'a/b' is the same model everywhere cannot be seen",
        "'a/b' is loaded from different places",
    ]
    assert unlisted.url in told(caplog)[1]


def test_servers_that_load_their_model_are_waited_for_until_one_has_it(serve, connect, ask):
    servers = [serve(models=["a/b"], priced=False, listing="loading") for _ in range(2)]

    looks = itertools.count()

    def loaded():
        if next(looks) == 2:
            servers[1].script.listing = "standard"

    policy = RetryPolicy(first=0.01, ceiling=0.02)
    backend = joined(connect, servers, policy=policy)
    get = servers[0].get
    servers[0].get = lambda path, key: loaded() or get(path, key)
    backend.start(Budget(None))
    assert len(list(backend.generate(ask(10)))) == 10
    assert servers[0].log.requests == 0


def test_what_one_server_teaches_holds_for_all_and_is_said_once(serve, connect, ask, caplog):
    servers = [serve(models=["a/b"], priced=False, faults=["noseed=1xinf"]) for _ in range(3)]
    backend = joined(connect, servers)
    backend.start(Budget(None))
    assert len(list(backend.generate(ask(60)))) == 60
    assert backend.adaptations() == ("`seed` is left out",)
    assert len(told(caplog)) == 1


def test_each_server_gets_its_own_key_and_no_message_shows_one(serve, connect, ask, tmp_path, caplog):
    keys = ["sk-first-key-000", "sk-second-key-00"]
    servers = [serve(models=["a/b"], priced=False, key=key) for key in keys]
    file = tmp_path / "servers.txt"
    file.write_text(f"# two\n{servers[0].url} {keys[0]}\n\n{servers[1].url}\n")
    backend = connect(None, kind="openai", base_url=f"@{file}", api_key=keys[1], max_workers=2)
    backend.start(Budget(None))
    assert len(list(backend.generate(ask(20)))) == 20
    wrong = connect(None, kind="openai", base_url=f"@{file}", api_key="sk-wrong-key-000", max_workers=2)
    wrong.start(Budget(None))
    assert f"{servers[1].url} is taken out (The server {servers[1].url} refused the API key" in caplog.text
    assert not any(key in caplog.text for key in (*keys, "sk-wrong"))


def test_one_that_comes_back_is_checked_and_asked_again(stand_in, serve, connect, ask, caplog):
    caplog.set_level(logging.INFO, "psyctl")
    good = serve(models=["a/b"], priced=False, latency=0.005)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = stand_in.Script(models=["c/d"], priced=False)
    backend = joined(connect, [good.url, f"http://127.0.0.1:{port}/api/v1"], max_workers=2)
    backend.start(Budget(None))
    with contextlib.ExitStack() as stack:
        other = None
        for number, _ in enumerate(backend.generate(ask(2000))):
            if number == 20:
                other = stack.enter_context(stand_in.running(script, port))
            if "stays out: it has another model now than 'a/b': 'c/d'." in caplog.text:
                script.models = ["a/b"]
            if other and other.log.requests:
                backend.stop()
    assert other.log.answered.total()
    lines = [line.partition(f":{port}/api/v1 ")[2].partition(" ")[2] for line in told(caplog)]
    assert [line[:9] for line in lines if line] == ["taken out", "out: it h", "back: 2 o"]


# Whole commands, against programs of their own that are killed.


class Program:
    """A stand-in server as a program, which can be killed and started again at the same address."""

    def __init__(self, folder, number, latency):
        self.journal = folder / f"server-{number}.log"
        self.latency = latency
        self.port = 0
        self.start()

    def start(self):
        command = [
            sys.executable, str(Path(__file__).with_name("server.py")), "--unpriced", "--model", "a/b", "--port",
            str(self.port), "--latency", str(self.latency), "--journal", str(self.journal),
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().split()[-1]
        self.port = int(self.url.split(":")[2].partition("/")[0])

    def kill(self):
        self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()

    def lines(self, what):
        """What it noted: (request, how many it had then) for each one asked or answered, over all its lives."""
        if not self.journal.exists():
            return []
        found = [line.split() for line in self.journal.read_text(encoding="utf-8").splitlines()]
        return [(name, int(count)) for kind, name, count in found if kind == what]


@pytest.fixture
def programs(tmp_path):
    made = []

    def make(count, latency=0.05):
        made.extend(Program(tmp_path, number, latency) for number in range(count))
        return made[-count:]

    yield make
    for program in made:
        program.kill()


def until(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def typed(tmp_path, base_url, *arguments, **pipes):
    return subprocess.Popen(
        [sys.executable, "-c", "from psyctl_core.cli import main; main()", "dataset.build.caa", "--source", "starter",
         "--prompter", "static", "--personality", "Extroversion", "--output", "out", "--backend", "openai",
         "--openai-base-url", base_url, *arguments],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **pipes,
    )  # fmt: skip


def rows(tmp_path):
    (path,) = (tmp_path / "out").glob("caa_dataset_*.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow
def test_three_programs_of_which_one_dies_and_comes_back(programs, tmp_path):
    workers, pairs = 8, 200
    a, b, c = programs(3, latency=0.1)
    process = typed(tmp_path, urls([a, b, c]), "--openai-max-workers", str(workers), "--limit-samples", str(pairs))
    until(lambda: len(b.lines("answered")) >= 25, process)
    b.kill()
    alive = [len(server.lines("asked")) for server in (a, c)]
    until(lambda: all(len(s.lines("asked")) >= n + 40 for s, n in zip((a, c), alive, strict=True)), process)
    shares = [
        count / workers
        for server, before in zip((a, c), alive, strict=True)
        for _, count in server.lines("asked")[before + workers : before + 40]
    ]
    before = len(b.lines("asked"))
    b.start()
    until(lambda: len(b.lines("asked")) > before, process)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert len(rows(tmp_path)) == pairs
    assert len({row["id"] for row in rows(tmp_path)}) == pairs
    assert errors.count("is taken out (") == errors.count("is back: 3 of 3 servers answer.") == 1
    # In flight at those that are alive while one is dead, as each of them counts at a request's arrival.
    assert sum(shares) / len(shares) >= 0.9
    asked = Counter(name for server in (a, b, c) for name, _ in server.lines("asked"))
    twice = {name for name, count in asked.items() if count > 1}
    assert len(twice) <= workers
    assert max(asked.values()) <= 2
    assert twice <= {name for name, _ in b.lines("asked")[:before]}


@pytest.mark.slow
def test_other_addresses_go_on_with_the_same_run(programs, tmp_path):
    a, b, c = programs(3, latency=0.02)
    options = ("--openai-max-workers", "4", "--limit-samples", "120")
    process = typed(tmp_path, urls([a, b]), *options)
    until(lambda: len(a.lines("answered")) + len(b.lines("answered")) >= 80, process)
    process.kill()
    process.communicate()
    written = rows(tmp_path)
    (tmp_path / "servers.txt").write_text(f"{b.url}\n{c.url}\n", encoding="utf-8")
    _, errors = (process := typed(tmp_path, "@servers.txt", *options)).communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "other settings" not in errors
    assert rows(tmp_path)[: len(written)] == written
    assert len(rows(tmp_path)) == 120
    asked = Counter(name for server in (a, b, c) for name, _ in server.lines("asked"))
    assert sum(count > 1 for count in asked.values()) <= 2 * 5  # what was under way at the kill


def test_the_stand_in_tells_what_it_has(programs):
    (program,) = programs(1)
    assert http.get(f"{program.url}/models", timeout=5).json()["data"][0]["id"] == "a/b"
