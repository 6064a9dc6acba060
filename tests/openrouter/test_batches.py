"""Asking in batches: the same answers at half the price, taken up at any point, and nothing paid for twice."""

from __future__ import annotations

import logging
from itertools import islice

import pytest

from psyctl_core.budget import Budget
from psyctl_core.components import BackendState, Context, RunFolder, UsesRunFolder
from psyctl_core.errors import BackendError, UsageError
from psyctl_openrouter import OpenAIConfig, OpenRouterConfig, batches
from psyctl_openrouter.backend import OpenAIBackend, OpenRouterBackend
from psyctl_openrouter.batch_apis import PassingError
from psyctl_openrouter.batch_book import Batch, BatchBook

MODEL = "qwen/qwen3-next-80b-a3b-instruct"
MISHAPS = ["", "orphan", "502", "unmade", "busy", "expired"]
KINDS = ["openrouter", "openai"]


class Killed(BaseException):
    """The process ends here."""


class Kept:
    """What a run keeps for a backend, and what it is told."""

    def __init__(self, path) -> None:
        self.safe = 0
        self.told = ""
        self.folder = RunFolder(path, self._note_safe, self._tell)

    def _note_safe(self, requests):
        self.safe = requests

    def _tell(self, text):
        self.told = text


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """A tenth of the requests, and of the number that is worth a batch, as nothing here goes by their number."""
    monkeypatch.setattr(batches, "SMALL", batches.SMALL // 10)


@pytest.fixture
def kept(tmp_path):
    return Kept(tmp_path / "backend")


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def begin(connect, kept):
    """A backend that is started within a run: ``begin(server, kind)``."""

    def start(server, kind, *, budget=None, batch=True, **fields):
        if kind == "openai":
            fields = {"base_url": server.url.replace("/api/v1", "/v1"), "model": MODEL, **fields}
        backend = connect(server, kind=kind, max_workers=8, batch=batch, batch_poll=0.01, **fields)
        assert isinstance(backend, UsesRunFolder)
        backend.use(kept.folder)
        backend.start(budget or Budget(None))
        return backend

    return start


def texts(completions):
    return {each.id: (each.text, each.finish_reason) for each in completions}


def code(caught):
    """What the batch is called that a message asks about."""
    return caught.value.hint.partition("-batch-orphan ")[2][:6]


def taken(completions, got):
    """Take completions one by one, so that those before an error are there."""
    for completion in completions:
        got.append(completion)


def cost(completions):
    return sum(each.cost or 0.0 for each in completions)


def plain(serve, connect, kind, asked, **script):
    """The answers without batches."""
    server = serve(**script)
    fields = {"base_url": server.url.replace("/api/v1", "/v1"), "model": MODEL} if kind == "openai" else {}
    return texts(connect(server, kind=kind, max_workers=8, **fields).generate(asked))


# The same answers.


@pytest.mark.parametrize("mishap", MISHAPS)
def test_the_answers_are_the_same_and_each_is_paid_once(serve, connect, begin, ask, kind, mishap, kept):
    asked = ask(45)
    server = serve(batch_faults=[mishap], batch_looks=3)
    got = list(begin(server, kind).generate(asked))
    assert texts(got) == plain(serve, connect, kind, asked)
    assert len(got) == 45
    assert set(server.log.answered.values()) == {1}
    assert server.log.batches == ([44, 22] if mishap == "expired" else [44])  # one is asked first, to learn from
    assert cost(got) == pytest.approx(server.log.charged if kind == "openrouter" else 0)
    assert (kept.safe, kept.told) == (0, "")


def test_a_batch_costs_half(serve, begin, ask):
    whole, half = (list(begin(serve(), "openrouter", batch=batch).generate(ask(30))) for batch in (False, True))
    (first,) = (each for each in half if each.id == "0:neutral")  # asked by itself, to learn from
    assert cost(half) == pytest.approx((cost(whole) + first.cost) / 2)


def test_an_answer_that_tells_no_cost_is_booked_at_half_the_listed_price(serve, begin, ask):
    server = serve()
    backend = begin(server, "openrouter")
    server.script.priced = False
    got = list(backend.generate(ask(30)))
    prices = server.script.prompt_price, server.script.completion_price
    booked = [each for each in got if each.cost is not None]
    assert len(booked) == 29
    listed = sum(each.prompt_tokens * prices[0] + each.completion_tokens * prices[1] for each in booked)
    assert cost(booked) == pytest.approx(listed / 2)


@pytest.mark.parametrize("fault", ["502=0.2", "502=1", "empty=0.2", "moderation=0.2xinf", "newlimit=1xinf"])
def test_what_fails_in_a_batch_is_asked_by_itself_and_that_is_said_before(serve, connect, begin, ask, kind, fault):
    asked = ask(30)
    server = serve(faults=[fault])
    said = []

    class Noting(logging.Handler):
        def emit(self, record):
            if "at the full price" in record.getMessage():
                said.append((record.getMessage(), server.log.answered.total()))

    handler = Noting()
    logging.getLogger("psyctl").addHandler(handler)
    got = list(begin(server, kind).generate(asked))
    logging.getLogger("psyctl").removeHandler(handler)
    assert texts(got) == plain(serve, connect, kind, asked, faults=[fault])
    assert set(server.log.answered.values()) == {1}
    if kind == "openrouter":
        assert cost(got) == pytest.approx(server.log.charged)
    failed = sum(count for name, count in server.log.faults.items() if name.startswith("in a batch"))
    assert len(said) == bool(failed), "what is learnt from the first one is no fault of the others"
    for line, answered in said:
        assert f"Of 29 requests in a batch {failed} came to nothing (" in line
        assert answered <= 30 - failed, "it is said before anything is asked again"


def test_few_requests_are_not_worth_a_batch(serve, begin, ask, kind):
    server = serve()
    assert len(list(begin(server, kind).generate(ask(19)))) == 19
    assert server.log.batches == []


def test_a_batch_is_as_large_as_allowed_and_the_rest_is_asked_by_itself(serve, begin, ask, kind):
    server = serve()
    got = list(begin(server, kind, batch_size=25).generate(ask(60)))
    assert len({each.id for each in got}) == 60
    assert server.log.batches == [25, 25]
    assert set(server.log.answered.values()) == {1}


def test_many_requests_are_pulled_before_the_first_answer(serve, begin, ask, kind):
    pulled = []
    backend = begin(serve(), kind)
    asked = iter(ask(200))
    answers = backend.generate(pulled.append(request.id) or request for request in asked)
    next(answers)
    assert len(pulled) == 200
    answers.close()


# Taken up.


def dies_at(backend, point):
    """Have the process end when it makes a batch: before, right before it is sent, or right after."""
    api = backend._api
    make = api.make

    def dying(batch, body, about_to):
        if point == "before":
            raise Killed
        if point == "between":
            about_to()
            raise Killed
        make(batch, body, about_to)
        raise Killed

    api.make = dying


@pytest.mark.parametrize("point", ["before", "between", "after"])
def test_a_process_that_ended_while_it_sent_a_batch_has_not_lost_it(serve, begin, ask, kind, point, kept):
    server, asked = serve(batch_looks=2), ask(40)
    backend = begin(server, kind)
    dies_at(backend, point)
    got = []
    with pytest.raises(Killed):
        got.extend(backend.generate(asked))
    backend.close()
    left = [request for request in asked if request.id not in texts(got)]
    rest = list(begin(server, kind).generate(left))
    assert len(texts([*got, *rest])) == 40
    assert set(server.log.answered.values()) == {1}
    assert len(server.log.batches) == 1
    assert kept.told == ""


def test_answers_are_handed_over_from_the_book_even_if_the_server_has_forgotten_them(serve, begin, ask, kind):
    server, asked = serve(), ask(40)
    backend = begin(server, kind)
    answers = backend.generate(asked)
    got = list(islice(answers, 10))
    answers.close()  # the last one that was handed over may or may not have been kept
    backend.close()
    server._batches.clear()
    server._files.clear()
    left = [request for request in asked if request.id not in texts(got[:-1])]
    rest = list(begin(server, kind).generate(left))
    assert len(texts([*got, *rest])) == 40
    assert set(server.log.answered.values()) == {1}


def test_a_batch_that_is_under_way_is_taken_up_without_the_option_too(serve, begin, ask, kind, kept):
    server, asked = serve(batch_looks=10**9), ask(30)
    backend = begin(server, kind)
    got = left_while_it_waits(backend, asked)
    assert len(got) == 1
    assert "a batch of 29 requests is under way at http://" in kept.told
    assert kept.safe == 29
    backend.close()
    for batch in server._batches.values():
        batch["looks"] = 1
    rest = list(begin(server, kind, batch=False).generate(asked[1:]))
    assert len(rest) == 29
    assert server.log.batches == [29]
    assert set(server.log.answered.values()) == {1}


def left_while_it_waits(backend, asked):
    """The answers until a batch is waited for, where the user stops the run."""
    got = []
    sleep = backend._batches._patience._timing.sleep

    def stopping(seconds):
        backend.stop()
        sleep(seconds)

    object.__setattr__(backend._batches._patience._timing, "sleep", stopping)
    got.extend(backend.generate(asked))
    return got


def test_a_stop_leaves_the_batch_and_says_how_to_go_on_and_how_to_cancel(serve, begin, ask, kind, caplog):
    caplog.set_level(logging.INFO, "psyctl")
    server = serve(batch_looks=10**9)
    left_while_it_waits(begin(server, kind), ask(30))
    said = next(r.getMessage() for r in caplog.records if "goes on" in r.getMessage())
    assert said.startswith("The batch batch_1 of 29 requests goes on at http://")
    assert ("/v1/batches/batch_1/cancel" if kind == "openai" else "documents no way to cancel") in said


def test_what_is_waited_for_is_told(serve, begin, ask, kind, monkeypatch):
    server = serve(batch_looks=4)
    backend = begin(server, kind)
    seen = []
    sleep = backend._batches._patience._timing.sleep
    object.__setattr__(
        backend._batches._patience._timing, "sleep", lambda seconds: (seen.append(backend.state()), sleep(seconds))[1]
    )
    list(backend.generate(ask(41)))
    assert [state.waiting.partition(", since ")[0] for state in dict.fromkeys(seen)] == [
        f"a batch, {done} of 40 done" for done in (10, 20, 30)
    ]
    assert backend.state() == BackendState("", 0)


# What cannot be known.


def test_where_nobody_can_tell_whether_a_batch_was_made_the_user_decides(serve, begin, ask, kept):
    server, asked = serve(batch_faults=["orphan"], batch_list=False), ask(30)
    got = []
    with pytest.raises(BackendError) as caught:
        got.extend(begin(server, "openrouter").generate(asked))
    assert "whether it arrived cannot be told: it has no list of batches that tells" in caught.value.message
    assert f"--openrouter-batch-orphan {code(caught)}=resubmit" in caught.value.hint
    assert "may be under way" in kept.told
    with pytest.raises(BackendError, match="cannot be told"):  # and again
        list(begin(server, "openrouter").generate(asked[1:]))
    rest = list(begin(server, "openrouter", batch_orphan=f"{code(caught)}=batch_1").generate(asked[1:]))
    assert len(texts([*got, *rest])) == 30
    assert set(server.log.answered.values()) == {1}


def test_a_user_may_have_it_sent_again(serve, begin, ask, caplog):
    server, asked = serve(batch_faults=["unmade"], batch_list=False), ask(30)
    with pytest.raises(BackendError, match="cannot be told") as caught:
        list(begin(server, "openrouter").generate(asked))
    rest = list(begin(server, "openrouter", batch_orphan=f"{code(caught)}=resubmit").generate(asked[1:]))
    assert len(rest) == 29
    assert server.log.batches == [28]
    assert "A batch of 29 requests is given up, as told." in caplog.messages


def test_what_a_user_says_of_one_batch_does_not_hold_for_the_next(serve, begin, ask):
    server, asked = serve(batch_faults=["unmade", "orphan"], batch_list=False), ask(30)
    with pytest.raises(BackendError, match="cannot be told") as first:
        list(begin(server, "openrouter").generate(asked))
    said = {"batch_orphan": f"{code(first)}=resubmit"}
    got = []
    for _ in range(2):  # typed again as it was
        with pytest.raises(BackendError, match="cannot be told") as second:
            taken(begin(server, "openrouter", **said).generate(asked[1 + len(got) :]), got)
    assert code(second) != code(first)
    said = {"batch_orphan": f"{code(second)}=batch_1"}
    got.extend(begin(server, "openrouter", **said).generate(asked[1 + len(got) :]))
    assert len(texts(got)) == 29
    assert set(server.log.answered.values()) == {1}


def test_a_batch_that_is_gone_is_told_and_sent_again_only_when_told(serve, begin, ask, kind):
    server, asked = serve(batch_faults=["gone"]), ask(30)
    got = []
    for _ in range(2):
        with pytest.raises(BackendError, match="The batch batch_1 of 29 requests is gone") as caught:
            got.extend(begin(server, kind).generate(asked[len(got) :]))
    assert server.log.batches == [29]
    rest = list(begin(server, kind, batch_orphan=f"{code(caught)}=resubmit").generate(asked[1:]))
    assert len(rest) == 29
    assert server.log.batches == [29, 28]


def test_another_ones_batch_is_not_taken_for_ours(serve, begin, ask, kept):
    server, asked = serve(batch_faults=["", "unmade"], batch_list=False), ask(30)
    list(begin(server, "openrouter").generate(ask(40, max_tokens=32)))
    with pytest.raises(BackendError, match="cannot be told") as caught:
        list(begin(server, "openrouter").generate(asked))
    said = {"batch_orphan": f"{code(caught)}=batch_1"}
    with pytest.raises(BackendError, match="cannot be told: the batch batch_1 is another one's") as again:
        list(begin(server, "openrouter", **said).generate(asked[1:]))
    assert code(again) == code(caught)


@pytest.mark.parametrize("failures", [2, 3])
def test_a_server_that_does_not_answer_for_a_while_is_waited_for(serve, begin, ask, kind, failures, kept):
    server, asked = serve(), ask(30)
    backend = begin(server, kind)
    look, left = backend._api.look, [PassingError("HTTP 502", 0.001)] * failures

    def failing(id):
        if left:
            raise left.pop()
        return look(id)

    backend._api.look = failing
    got = []
    if failures == 2:
        got.extend(backend.generate(asked))
    else:
        with pytest.raises(BackendError, match="does not tell how the batch batch_1 is doing") as caught:
            taken(backend.generate(asked), got)
        assert caught.value.later
        assert "under way" in kept.told
        got.extend(begin(server, kind).generate(asked[1:]))
    assert len(texts(got)) == 30
    assert server.log.batches == [29]


@pytest.mark.parametrize(
    ("fault", "words", "kept_answers"),
    [
        ("failed", "The batch batch_1 failed: The provided model is not supported by the Batch API.", 0),
        ("empty", "The batch batch_1 is expired without a single answer.", 0),
        ("cancelled", "The batch batch_1 was cancelled: 14 of 29 requests are kept.", 14),
    ],
)
def test_what_the_user_must_decide_ends_the_run_and_the_next_one_goes_on(
    serve, begin, ask, kind, fault, words, kept_answers
):
    server, asked = serve(batch_faults=[fault]), ask(30)
    got = []
    with pytest.raises(BackendError) as caught:
        taken(begin(server, kind).generate(asked), got)
    assert caught.value.message.startswith(words)
    assert f"leave --{kind}-batch out" in caught.value.hint
    assert len(got) == 1 + kept_answers
    left = [request for request in asked if request.id not in texts(got)]
    rest = list(begin(server, kind).generate(left))
    assert len(texts([*got, *rest])) == 30
    assert set(server.log.answered.values()) == {1}


def test_a_key_without_batches_is_told_another_way_to_half_the_price(serve, begin, ask, kept):
    server = serve(batch_places=[])
    with pytest.raises(BackendError) as caught:
        list(begin(server, "openrouter").generate(ask(30)))
    assert caught.value.message == "OpenRouter takes no batches from this key: Not found."
    assert "--openrouter-service-tier flex" in caught.value.hint
    assert kept.told == ""


@pytest.mark.parametrize("place", ["/api/beta/batches", "/api/v1/batches"])
def test_openrouters_batches_are_found_at_either_address(serve, begin, ask, place):
    server = serve(batch_places=[place], batch_faults=["orphan"])
    assert len(list(begin(server, "openrouter").generate(ask(30)))) == 30
    assert set(server.log.answered.values()) == {1}


def test_a_model_that_takes_batches_under_another_name_is_asked_so(serve, begin, ask):
    server = serve(batch_variant=True)
    assert len(list(begin(server, "openrouter").generate(ask(30)))) == 30
    assert server.log.batches == [29]


def test_a_batch_at_another_address_is_not_forgotten(serve, begin, ask, kind):
    server, asked = serve(batch_looks=10**9), ask(30)
    left_while_it_waits(begin(server, kind), asked)
    with pytest.raises(BackendError, match="another address is asked") as caught:
        list(begin(serve(), kind).generate(asked[1:]))
    assert f"--{kind}-base-url http://127.0.0.1:" in caught.value.hint


# Money.


def test_a_batch_is_cut_to_what_the_budget_allows(serve, begin, ask):
    server, asked = serve(), ask(200)
    limit = 0.002
    budget = Budget(limit)
    got = []
    with pytest.raises(BackendError, match=r"The budget of \$0.002 is reached"):
        taken(begin(server, "openrouter", budget=budget).generate(asked), got)
    assert 20 <= server.log.batches[0] < 199
    assert server.log.charged == pytest.approx(cost(got)) == pytest.approx(budget.spent)
    assert 0.9 * limit < server.log.charged <= limit


def test_what_an_earlier_process_sent_is_set_aside(serve, begin, ask):
    server, asked = serve(batch_looks=10**9), ask(130)
    left_while_it_waits(begin(server, "openrouter"), asked[:100])
    for batch in server._batches.values():
        batch["looks"] = 1
    budget = Budget(0.0001)  # less than what is under way may cost
    backend = begin(server, "openrouter", budget=budget)
    assert budget.reserve(1e-9) is None
    got = list(backend.generate(asked[1:100]))
    assert len(got) == 99
    with pytest.raises(BackendError, match="The budget"):
        list(backend.generate(asked[100:]))
    assert server.log.batches == [99]


def test_half_of_the_price_is_estimated_and_that_it_may_take_a_day(serve, connect, ask, caplog):
    server = serve()
    whole = connect(server).estimate(ask(1)[0], 1000)
    half = connect(server, batch=True).estimate(ask(1)[0], 1000)
    assert half.cost == pytest.approx(whole.cost / 2)
    assert half.price == f"half of {whole.price}, up to 24 h a batch"
    assert "may take up to 24 h" in caplog.text
    assert connect(server, batch=True).estimate(ask(1)[0], 100).cost == pytest.approx(whole.cost / 10)


# Options.


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"batch": True, "service_tier": "flex"}, "A batch has its own price"),
        ({"batch_size": 0}, "A batch of 0 requests cannot be made"),
        ({"batch_size": 50_001}, "A batch of 50,001 requests cannot be made"),
        ({"batch_poll": 0}, "Looking every 0 s makes no sense"),
        ({"batch_orphan": "resubmit"}, "'resubmit' does not say what became of a batch"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, words):
    with pytest.raises(UsageError, match=words):
        OpenRouterBackend(OpenRouterConfig(**fields), Context())


def test_a_batch_goes_to_one_server():
    with pytest.raises(UsageError, match="A batch goes to one server"):
        OpenAIBackend(OpenAIConfig(base_url="http://a/v1,http://b/v1", batch=True), Context())


def test_without_a_run_it_is_asked_as_without_batches(serve, connect, ask, caplog):
    server = serve()
    assert len(list(connect(server, batch=True).generate(ask(30)))) == 30
    assert server.log.batches == []
    assert "Batches have no effect here: there is no run to keep them in." in caplog.messages


# The book.


def test_the_book_takes_a_batch_over_once_and_as_a_whole(tmp_path):
    book = BatchBook(tmp_path)
    book.intend(Batch("u", "http://here", "digest", 3, "intended"), [("a", 1.0), ("b", 2.0), ("c", 3.0)])
    book.note("u", state="under_way", id="batch_1", sent=5.0)

    def results():
        yield "a", 200, b"first"
        yield "z", 200, b"of another batch"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        book.take_over("u", results())
    assert [batch.state for batch in book.batches("under_way", "ended")] == ["under_way"]
    assert book.get("a").status is None
    assert book.take_over("u", [("a", 200, b"first"), ("c", 500, b"third"), ("z", 200, b"")]) == 2
    assert [book.get(key) and book.get(key).body for key in "abcz"] == [b"first", None, b"third", None]
    assert book.unclaimed() == 2
    book.failed("c", 0.25)
    assert (book.spent(), book.get("c").uuid) == (0.25, "")
    book.hand_over("a")
    assert book.unclaimed() == 0
    book.forget("a")
    assert book.open_requests() == []
    book.close()
