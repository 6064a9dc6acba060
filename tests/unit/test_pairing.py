"""Pairs come out in the scenarios' order, as many as asked for, whatever order answers come in."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from psyctl_core import BackendError, ChatRequest, Completion, PluginError, SkippedRow
from psyctl_core.testing import FakeBackend, FakeSource
from psyctl_core.testing.fakes import fake_answer, fake_scenario


def ids(lines: list[str]) -> list[str]:
    return [json.loads(line)["id"] for line in lines]


def failing(*places: int, role: str = "neutral", also: frozenset[str] = frozenset()):
    """An answer function that fails the role's request at these places, and the requests with these ids."""

    def answer(request: ChatRequest) -> Completion:
        if request.id in {f"{place}:{role}" for place in places} | also:
            return Completion(request.id, "", "error", error="moderation", cost=0.0)
        return fake_answer(request)

    return answer


def test_counts_accepted_pairs_and_replaces_rejected_ones(run):
    result = run(limit_samples=10, backend=FakeBackend(answer=failing(0, 3, 9)))
    assert ids(result.lines) == [f"fake-{n}" for n in (1, 2, 4, 5, 6, 7, 8, 10, 11, 12)]
    assert result.report.datasets[0].rejected == {"moderation": 3}


def test_asks_for_no_more_than_it_needs(run):
    result = run(limit_samples=10, backend=FakeBackend(answer=failing(2), in_flight=64))
    assert len(result.backend.asked) == 22  # eleven scenarios, two answers each


def test_identical_and_empty_answers_are_rejected(run):
    def answer(request: ChatRequest) -> Completion:
        place = int(request.id.split(":")[0])
        text = {0: "Same.", 1: "", 2: " \n", 3: '"'}.get(place)
        return fake_answer(request) if text is None else Completion(request.id, text)

    result = run(limit_samples=3, backend=FakeBackend(answer=answer))
    assert ids(result.lines) == ["fake-4", "fake-5", "fake-6"]
    assert result.report.datasets[0].rejected == {"identical answers": 1, "empty answer": 3}


def test_half_of_the_records_have_the_positive_first(run):
    records = [json.loads(line) for line in run(limit_samples=60).lines]
    assert sum(record["positive"] == "(1" for record in records) == 30


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    in_flight=st.integers(1, 40),
    order=st.integers(),
    block=st.sampled_from([0, 1, 2, 6, 64]),
    bad=st.sets(st.integers(0, 30)),
    worse=st.frozensets(st.integers(0, 14)),
    traits=st.sampled_from(["Extroversion", "Extroversion, Openness", "Openness, Neuroticism, Psychopathy"]),
)
def test_the_dataset_depends_on_the_answers_alone(run, tmp_path_factory, in_flight, order, block, bad, worse, traits):
    def dataset(backend: FakeBackend) -> list[str]:
        return run(traits, limit_samples=12, backend=backend, output=tmp_path_factory.mktemp("out")).lines

    answer = failing(*bad, role="openness", also=frozenset(f"{n}:extroversion" for n in worse))
    expected = dataset(FakeBackend(in_flight=1, answer=answer))
    assert dataset(FakeBackend(in_flight=in_flight, order_seed=order, block=block, answer=answer)) == expected


def test_several_traits_share_neutral_answers(run):
    result = run("Extroversion, Openness", limit_samples=5)
    asked = [request.id for request in result.backend.asked]
    assert len(asked) == len(set(asked)) == 15
    assert [path.parent.name for path in result.paths] == ["extroversion", "openness"]
    neutral = [json.loads(line)["neutral_text"] for line in result.lines]
    assert neutral[:5] == neutral[5:]


def test_a_trait_that_lost_a_pair_gets_the_next_scenario_alone(run):
    result = run("Extroversion, Openness", limit_samples=3, backend=FakeBackend(answer=failing(0, role="openness")))
    assert ids(result.lines) == ["fake-0", "fake-1", "fake-2", "fake-1", "fake-2", "fake-3"]
    assert "3:extroversion" not in {request.id for request in result.backend.asked}


def test_what_an_earlier_scenario_turns_out_to_need_is_asked_after_the_flow_has_ended(run):
    answer = failing(0, role="extroversion", also=frozenset({"11:openness"}))
    result = run("Extroversion, Openness", limit_samples=12, backend=FakeBackend(in_flight=6, answer=answer))
    assert ids(result.lines) == [*(f"fake-{n}" for n in range(1, 13)), *(f"fake-{n}" for n in (*range(11), 12))]
    asked = [request.id for request in result.backend.asked]
    assert asked[-1] == "12:openness"
    assert len(asked) == len(set(asked))


def test_the_source_may_end_before_the_limit(run):
    result = run(limit_samples=10, source=FakeSource(4))
    assert len(result.lines) == 4
    assert result.report.datasets[0].exhausted


def test_skipped_rows_are_counted_by_reason(run):
    result = run(limit_samples=5, source=FakeSource(100, skip=lambda place: place % 2 == 0))
    assert result.report.datasets[0].skipped == {"skipped on purpose": 5}
    assert ids(result.lines)[0] == "fake-1"


def test_gives_up_when_nothing_is_usable(run):
    backend = FakeBackend(answer=lambda request: Completion(request.id, ""))
    result = run(limit_samples=5, backend=backend, raises=BackendError)
    assert "100 scenarios in a row gave no usable pair (empty answer: 100)" in str(result.error)


class Twice(FakeBackend):
    def generate(self, requests):
        for answer in super().generate(requests):
            yield answer
            yield answer


class Stranger(FakeBackend):
    def generate(self, requests):
        list(requests)
        yield Completion("7:nobody", "Hello.")


class Forgetful(FakeBackend):
    def generate(self, requests):
        list(requests)
        return iter(())


class Raising(FakeBackend):
    def generate(self, requests):
        yield from list(super().generate(requests))[:6]
        raise ZeroDivisionError("a bug of the plugin's")


@pytest.mark.parametrize(
    ("backend", "words"),
    [(Twice, "answered before"), (Stranger, "never made"), (Forgetful, "unanswered"), (Raising, "ZeroDivisionError")],
)
def test_a_backend_that_breaks_its_contract_is_named(run, backend, words):
    result = run(limit_samples=5, backend=backend(), raises=PluginError)
    assert f"backend '{backend.__name__}' (from {__name__})" in str(result.error)
    assert words in str(result.error)


def test_what_a_failing_backend_had_delivered_is_written(run):
    result = run(limit_samples=5, backend=Raising(in_flight=1), raises=PluginError)
    assert ids(result.lines) == ["fake-0", "fake-1", "fake-2"]


class Items(FakeSource):
    def __init__(self, *items):
        self._items = items

    def scenarios(self, start):
        return iter(self._items)


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (replace(fake_scenario(1), id=""), "id"),
        (replace(fake_scenario(1), character="  "), "character"),
        (replace(fake_scenario(1), situation="", dialogue=()), "the whole"),
        (replace(fake_scenario(1), character="Robin"), "their own words"),
        (replace(fake_scenario(0), id="again"), "offsets must rise"),
        (SkippedRow(0, "late"), "offsets must rise"),
        ({"situation": "a dict"}, "is not a Scenario"),
        (replace(fake_scenario(1), situation=None), "situation"),
    ],
)
def test_a_source_that_yields_what_the_schema_refuses_is_named(run, item, words):
    result = run(limit_samples=5, source=Items(fake_scenario(0), item), raises=PluginError)
    assert f"source 'Items' (from {__name__}) yielded something unusable" in str(result.error)
    assert words in str(result.error)
