"""A trait that is added to a folder, or continued alone, goes on with what is there: nothing is asked for twice."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from psyctl_core import Completion, PluginError
from psyctl_core._engine.status import status
from psyctl_core._plugins.registry import discover
from psyctl_core.testing import FakeBackend, FakeSource
from psyctl_core.testing.fakes import fake_answer

BOTH = "Extroversion, Openness"


def sometimes(request):
    """Some scenarios' neutral answers fail, and some of one trait's."""
    offset, _, who = request.id.partition(":")
    fails = {"neutral": 7, "extroversion": 5, "openness": 4}.get(who)
    if fails and int(offset) % fails == fails - 1:
        return Completion(request.id, "", "error", error="moderation")
    return fake_answer(request)


def backend(**options):
    return FakeBackend(answer=sometimes, **options)


def ids(*results):
    return [request.id for result in results for request in result.backend.asked]


def by_trait(folder):
    """The lines of each trait's only dataset."""
    found = {}
    for path in folder.rglob("caa_dataset_*.jsonl"):
        lines = path.read_text(encoding="utf-8").splitlines()
        trait = json.loads(lines[0])["trait"]
        assert trait not in found
        found[trait] = lines
    return found


def stats(folder):
    return {
        (data := json.loads(path.read_text(encoding="utf-8")))["trait"]: data["statistics"]
        for path in folder.rglob("run.json")
    }


def test_a_trait_more_goes_on_with_both_datasets_and_asks_only_for_what_is_new(run, tmp_path, caplog):
    caplog.set_level("INFO", logger="psyctl")
    whole = run(BOTH, limit_samples=12, output=tmp_path / "whole", backend=backend())
    first = run("Extroversion", limit_samples=12, backend=backend())
    more = run(BOTH, limit_samples=12, backend=backend())
    assert by_trait(tmp_path / "out") == by_trait(tmp_path / "whole")
    assert sorted(ids(first, more)) == sorted(ids(whole))
    assert first.paths[0] in more.paths
    assert {path.name for path in more.paths} == {first.paths[0].name}
    assert {each["requests"] for each in stats(tmp_path / "out").values()} == {len(ids(whole))}
    assert "Openness is added to caa_dataset_" in caplog.text


def test_a_trait_alone_joins_what_is_there_and_each_goes_on_alone(run, tmp_path):
    whole = run(BOTH, limit_samples=12, output=tmp_path / "whole", backend=backend())
    asked = [
        run(traits, limit_samples=limit, backend=backend())
        for traits, limit in [("Openness", 5), ("Extroversion", 12), ("Openness", 12), (BOTH, 12)]
    ]
    assert by_trait(tmp_path / "out") == by_trait(tmp_path / "whole")
    assert sorted(ids(*asked)) == sorted(ids(whole))
    assert ids(asked[-1]) == []
    assert max(each["requests"] for each in stats(tmp_path / "out").values()) == len(ids(whole))


def test_the_status_tells_the_cost_of_the_whole_run_for_each_trait(run, tmp_path):
    def priced(request):
        return dataclasses.replace(fake_answer(request), cost=1.0)

    run("Extroversion", limit_samples=3, backend=FakeBackend(answer=priced))
    run("Openness", limit_samples=3, backend=FakeBackend(answer=priced))
    assert [each.cost for each in status(tmp_path / "out", discover())] == [9.0, 9.0]


def test_the_personas_of_a_run_are_described_once(run, tmp_path):
    first = run("Sarcasm", limit_samples=2, prompter="p2")
    more = run("Sarcasm, Envy", limit_samples=2, prompter="p2")
    alone = run("Pride", limit_samples=2, prompter="p2")
    personas = [sum(id.startswith("persona:") for id in ids(each)) for each in (first, more, alone)]
    assert personas == [4, 2, 2]
    texts = [json.loads(path.read_text())["personas"]["neutral"] for path in (tmp_path / "out").rglob("run.json")]
    assert len(texts) == 3
    assert texts[0] == texts[1] == texts[2]


def test_a_stopped_traits_answers_outlive_a_trait_that_is_finished_alone(run, tmp_path):
    whole = run(BOTH, limit_samples=20, output=tmp_path / "whole", backend=backend())
    stopped = run(BOTH, limit_samples=20, backend=backend(dies_after=31), raises=PluginError)
    alone = run("Openness", limit_samples=20, backend=backend())
    rest = run(BOTH, limit_samples=20, backend=backend())
    assert by_trait(tmp_path / "out") == by_trait(tmp_path / "whole")
    answered = [id for each in (stopped, alone, rest) for id in each.backend.answered]
    assert sorted(answered) == sorted(ids(whole))
    assert not list((tmp_path / "out").rglob("journal.sqlite*"))


@pytest.fixture
def whole(run, tmp_path):
    """A run that nothing befalls, once for all examples."""
    three = "Extroversion, Openness, Neuroticism"
    return run(three, limit_samples=15, output=tmp_path / "whole", backend=backend())


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    calls=st.lists(
        st.tuples(
            st.lists(st.sampled_from(["Extroversion", "Openness", "Neuroticism"]), min_size=1, max_size=3, unique=True),
            st.integers(1, 15),
            st.one_of(st.none(), st.integers(0, 30)),
        ),
        max_size=5,
    ),
    block=st.sampled_from([0, 4]),
    interval=st.sampled_from([1, 3, 100]),
)
def test_in_whatever_order_traits_are_added_and_stopped_it_ends_the_same(
    run, whole, tmp_path_factory, calls, block, interval
):
    three = ["Extroversion", "Openness", "Neuroticism"]
    output = tmp_path_factory.mktemp("parts")
    answered: list[str] = []
    limits = sorted(limit for _, limit, _ in calls)  # with a lower one after a higher one answers may be given up
    for (traits, _, dies), limit in zip([*calls, (three, 15, None)], [*limits, 15], strict=True):
        asked = backend(dies_after=dies, block=block)
        try:
            run(", ".join(traits), limit_samples=limit, output=output, backend=asked, checkpoint_interval=interval)
        except PluginError:
            assert dies is not None
        answered += asked.answered
    assert by_trait(output) == by_trait(whole.paths[0].parents[1])
    assert {path.name for path in output.rglob("caa_dataset_*.jsonl")} == {
        next(output.rglob("caa_dataset_*.jsonl")).name
    }
    if not block:
        assert sorted(answered) == sorted(set(answered)) == sorted(set(ids(whole)))
        assert max(each["requests"] for each in stats(output).values()) == len(answered)


def test_fresh_begins_another_run_and_uses_nothing_of_the_old_one(run):
    first = run("Extroversion", limit_samples=3)
    again = run("Extroversion", limit_samples=3, fresh=True)
    assert sorted(ids(again)) == sorted(ids(first))


def test_a_trait_of_other_settings_joins_nothing(run, caplog):
    caplog.set_level("INFO", logger="psyctl")
    run("Extroversion", limit_samples=3)
    other = run("Openness", limit_samples=3, seed=1)
    assert len({path.name for path in other.paths}) == 2
    assert len(ids(other)) == 6
    assert "is added to" not in caplog.text


def test_a_trait_that_comes_to_nothing_leaves_nothing(run, tmp_path):
    run("Extroversion", limit_samples=3)
    run(BOTH, limit_samples=3, backend=FakeBackend(dies_after=0), raises=PluginError)
    assert not (tmp_path / "out" / "openness").exists()
    assert stats(tmp_path / "out").keys() == {"Extroversion"}


def test_a_run_json_from_before_goes_on_whatever_traits_it_was_made_with(run, tmp_path):
    run(BOTH, limit_samples=3)
    for path in (tmp_path / "out").rglob("run.json"):
        data = json.loads(path.read_text())
        data["identity"]["traits"] = ["Extroversion", "Openness"]
        path.write_text(json.dumps(data))
    assert ids(run("Openness", limit_samples=3)) == []


def test_a_source_that_ended_is_read_for_the_new_trait(run, tmp_path):
    run("Extroversion", source=FakeSource(6))
    more = run(BOTH, source=FakeSource(6))
    assert sorted(ids(more)) == sorted(f"{offset}:openness" for offset in range(6))
    assert {trait: len(lines) for trait, lines in by_trait(tmp_path / "out").items()} == {
        "Extroversion": 6, "Openness": 6,
    }  # fmt: skip
