"""Tasks run at once and come out in the source's order; no file, sink or journal is needed to see it."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from psyctl_core import ChatRequest, Completion, ContrastivePair, Message, SkippedRow
from psyctl_core._caa.contrast import Ask, Rejected
from psyctl_core._engine.eligibility import Lane
from psyctl_core._engine.scheduler import Kept, Outcome, Rounds, Scheduler
from psyctl_core.testing.fakes import fake_scenario


class Answers:
    """Answers what is asked in some order; keeps what was asked and how much was open at the most."""

    def __init__(self, seed: int = 0, in_flight: int = 4) -> None:
        self.order = random.Random(seed)
        self.in_flight = in_flight
        self.asked: list[str] = []
        self.blocks: list[list[str]] = []

    def __call__(self, next_block):
        while (block := next_block()) is not None:
            whole = isinstance(block, Sequence)
            requests, held = iter(block), []
            if whole:
                self.blocks.append([asked.request.id for asked in block])
            while True:
                for asked in requests:
                    self.asked.append(asked.request.id)
                    held.append(asked.request.id)
                    if len(held) >= self.in_flight and not whole:
                        break
                if not held:
                    break
                yield Completion(held.pop(self.order.randrange(len(held))), "Hello.")


def ask(scenario, *names: str) -> list[ChatRequest]:
    return [ChatRequest(f"{scenario.offset}:{name}", (Message("user", "Hi"),)) for name in names]


def contrast(bad: frozenset[tuple[int, str]]):
    """A task that asks for both sides; the given scenarios of the given datasets come to nothing."""

    def task(scenario, id):
        completions = yield Ask(ask(scenario, "neutral", id))
        assert [completion.id for completion in completions] == [
            f"{scenario.offset}:neutral",
            f"{scenario.offset}:{id}",
        ]
        if (scenario.offset, id) in bad:
            return Rejected(scenario, "bad")
        return ContrastivePair(scenario, id, "A", "B")

    return task


def lanes(wanted: int | None, *ids: str, start: int = 0) -> list[Lane]:
    return [Lane(id, start, wanted, 0, lambda scenario: None) for id in ids]


def pairs(outcomes: list[Outcome], id: str) -> list[int]:
    return [o.offset for o in outcomes if isinstance(o.results.get(id), (ContrastivePair, Kept))]


@given(
    seed=st.integers(0, 99),
    in_flight=st.integers(1, 30),
    block=st.sampled_from([None, 1, 3, 50]),
    bad=st.frozensets(st.tuples(st.integers(0, 20), st.sampled_from(["one", "two"]))),
)
def test_each_dataset_gets_the_first_usable_scenarios_whatever_the_order_of_answers(seed, in_flight, block, bad):
    def outcomes(answers: Answers, block: int | None) -> list[Outcome]:
        sizes = None if block is None else (lambda offset: block)
        items = map(fake_scenario, range(40))
        return list(Scheduler(items, lanes(9, "one", "two"), contrast(bad), answers, sizes).outcomes())

    answers = Answers(seed, in_flight)
    got = outcomes(answers, block)
    assert [o.offset for o in got] == sorted(o.offset for o in got)
    for id in ("one", "two"):
        assert pairs(got, id) == [offset for offset in range(40) if (offset, id) not in bad][:9]
    assert len(answers.asked) == len(set(answers.asked))


def test_nothing_is_asked_beyond_what_could_be_accepted():
    answers = Answers(in_flight=1000)
    scheduler = Scheduler(map(fake_scenario, range(99)), lanes(5, "one"), contrast(frozenset({(2, "one")})), answers)
    assert len(list(scheduler.outcomes())) == 6
    assert len(answers.asked) == 12
    assert not scheduler.exhausted


def test_a_task_may_ask_again_and_waits_its_turn():
    def judged(scenario, id):
        yield Ask(ask(scenario, "neutral", id))
        (verdict,) = yield Ask(ask(scenario, f"judge-{id}"))
        again = yield Ask(ask(scenario, "neutral"))  # known already: answered at once
        assert [completion.text for completion in again] == ["Hello."]
        return ContrastivePair(scenario, id, verdict.id, "B")

    for sizes in (None, lambda offset: 4):
        answers = Answers(3)
        got = list(Scheduler(map(fake_scenario, range(9)), lanes(6, "one", "two"), judged, answers, sizes).outcomes())
        assert [o.offset for o in got] == list(range(6))
        assert [o.results["two"].positive for o in got] == [f"{n}:judge-two" for n in range(6)]
        assert len(answers.asked) == len(set(answers.asked)) == 6 * 5


def test_what_is_known_is_not_asked_and_comes_out_in_its_place():
    known = {0: True, 1: False, 2: True}
    lane = Lane("one", 0, 4, 0, lambda scenario: known.get(scenario.offset))
    answers = Answers()
    got = list(Scheduler(map(fake_scenario, range(9)), [lane], contrast(frozenset()), answers).outcomes())
    assert [type(o.results["one"]) for o in got] == [Kept, Rejected, Kept, ContrastivePair, ContrastivePair]
    assert {id.partition(":")[0] for id in answers.asked} == {"3", "4"}


def test_a_block_that_is_known_in_part_is_asked_whole_and_a_known_one_not_at_all():
    known = {0: True, 1: True, 2: True, 3: True, 4: True}
    lane = Lane("one", 0, 8, 0, lambda scenario: known.get(scenario.offset))
    answers = Answers()
    scheduler = Scheduler(map(fake_scenario, range(9)), [lane], contrast(frozenset()), answers, lambda offset: 3)
    got = list(scheduler.outcomes())
    assert pairs(got, "one") == list(range(8))
    assert [{id.partition(":")[0] for id in block} for block in answers.blocks] == [{"3", "4", "5"}, {"6", "7"}]
    assert scheduler.held == 0


def test_a_run_may_go_on_behind_a_row_only_where_nothing_before_it_is_open():
    rows = [
        SkippedRow(0, "no dialogue"),
        fake_scenario(1),
        SkippedRow(2, "no dialogue"),
        *map(fake_scenario, range(3, 9)),
    ]
    flowing = list(Scheduler(iter(rows), lanes(None, "one"), contrast(frozenset()), Answers()).outcomes())
    assert all(outcome.is_boundary for outcome in flowing)
    blocks = Scheduler(iter(rows), lanes(None, "one"), contrast(frozenset()), Answers(), lambda offset: 3)
    got = list(blocks.outcomes())
    assert [o.offset for o in got if o.is_boundary] == [4, 7, 8]
    assert blocks.exhausted
    assert isinstance(got[0].results["one"], SkippedRow)


def test_datasets_that_are_further_on_leave_out_what_they_have():
    both = [*lanes(4, "one"), *lanes(4, "two", start=3)]
    got = list(Scheduler(map(fake_scenario, range(20)), both, contrast(frozenset()), Answers()).outcomes())
    assert (pairs(got, "one"), pairs(got, "two")) == ([0, 1, 2, 3], [3, 4, 5, 6])
    assert all("two" not in o.results for o in got[:3])


class Workers:
    """Several blocks under way at once, as another runner has them; each is answered in its own order.

    As a backend's that computes a block together, every answer names all that was in its block.
    """

    def __init__(self, workers: int, seed: int) -> None:
        self.workers = workers
        self.order = random.Random(seed)
        self.asked: list[str] = []
        self.most = 0

    def __call__(self, next_block):
        under_way: list[list[Completion]] = []
        while True:
            while len(under_way) < self.workers and (block := next_block()) is not None:
                ids = [asked.request.id for asked in block]
                self.asked += ids
                under_way.append([Completion(id, " ".join(ids)) for id in ids])
            self.most = max(self.most, len(under_way))
            if not under_way:
                return
            block = self.order.choice(under_way)
            yield block.pop(0)
            if not block:
                under_way.remove(block)


def written(bad: frozenset[int]):
    """A task without a judge, whose pair tells with what its answers were computed; some come to nothing for one."""

    def task(scenario, id):
        answers = yield Ask(ask(scenario, "neutral", id))
        if scenario.offset in bad and id == "one":
            return Rejected(scenario, "bad")
        return ContrastivePair(scenario, id, answers[1].text, answers[0].text)

    return task


def judged(bad: frozenset[int], judged_bad: frozenset[int], insists: frozenset[int]):
    """A task with a judge, whose verdict on some is bad, and who asks again about others."""

    def task(scenario, id):
        answers = yield Ask(ask(scenario, "neutral", id))
        if scenario.offset in bad:
            return Rejected(scenario, "bad")
        verdict = yield Ask(ask(scenario, f"judge-{id}"), by_judge=True)
        if scenario.offset in insists:
            verdict = yield Ask(ask(scenario, f"again-{id}"), by_judge=True)
        if scenario.offset in judged_bad:
            return Rejected(scenario, "judged bad")
        return ContrastivePair(scenario, id, answers[1].text, verdict[0].text)

    return task


OFFSETS = st.frozensets(st.integers(0, 40), max_size=25)


@given(
    workers=st.integers(2, 8),
    seed=st.integers(0, 999),
    block=st.integers(1, 7),
    wanted=st.one_of(st.none(), st.integers(1, 30)),
    bad=OFFSETS,
    judged_bad=OFFSETS,
    skipped=OFFSETS,
    insists=OFFSETS,
    judge_block=st.sampled_from([None, 2, 5, 50]),
    start=st.integers(0, 12),
)
def test_blocks_are_the_same_ones_however_many_are_under_way(
    workers, seed, block, wanted, bad, judged_bad, skipped, insists, judge_block, start
):
    def outcomes(workers: int) -> tuple[list[Outcome], int]:
        answers, judging = Workers(workers, seed), Workers(workers, seed)
        rows = [SkippedRow(n, "no dialogue") if n in skipped else fake_scenario(n) for n in range(41)]
        both = [*lanes(wanted, "one"), *lanes(wanted, "two", start=start)]
        rounds = None if judge_block is None else Rounds(judging, judge_block, 9)
        task = written(bad) if rounds is None else judged(bad, judged_bad, insists)
        scheduler = Scheduler(iter(rows), both, task, answers, lambda offset: block, rounds)
        got = list(scheduler.outcomes())
        assert sorted(answers.asked) == sorted(set(answers.asked))
        return got, answers.most

    one, most_of_one = outcomes(1)
    several, _ = outcomes(workers)
    assert several == one
    assert most_of_one <= 1


def test_blocks_are_opened_ahead_while_they_are_sure_to_be_whole():
    answers = Workers(4, 0)
    scheduler = Scheduler(map(fake_scenario, range(99)), lanes(20, "one"), contrast(frozenset()), answers, lambda _: 5)
    got = list(scheduler.outcomes())
    assert answers.most == 4
    assert [outcome.offset for outcome in got if outcome.is_boundary] == [4, 9, 14, 19]
    few = Workers(4, 0)
    scheduler = Scheduler(map(fake_scenario, range(99)), lanes(9, "one"), contrast(frozenset()), few, lambda _: 5)
    assert pairs(list(scheduler.outcomes()), "one") == list(range(9))
    assert few.most == 1
