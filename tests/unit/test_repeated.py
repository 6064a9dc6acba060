"""Several answers a scene: ids, offsets, resuming in the middle of a scene, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psyctl_core import Completion, PluginError, UsageError, build_caa, plan_caa
from psyctl_core._engine.repeated import repeated
from psyctl_core.testing import FakeBackend, FakeSource


def source(rows: int = 6) -> FakeSource:
    return FakeSource(rows, skip=lambda offset: offset % 3 == 1)


def sampled(request) -> Completion:
    """An answer that depends on the seed, as one above temperature 0."""
    return Completion(request.id, f"Answer {request.seed} of {request.messages[-1].content[-60:-20].split()[-1]}.")


def ids(lines) -> list[str]:
    return [json.loads(line)["id"] for line in lines]


@given(st.integers(0, 12), st.integers(1, 5), st.integers(0, 70))
def test_from_any_offset_on_come_the_items_that_come_from_the_beginning_on(rows, times, start):
    whole = list(repeated(source(rows).scenarios, 0, times))
    assert list(repeated(source(rows).scenarios, start, times)) == [item for item in whole if item.offset >= start]
    offsets = [item.offset for item in whole]
    assert offsets == sorted(set(offsets))
    assert max(Counter(getattr(item, "id", item.offset) for item in whole).values(), default=1) == 1


def test_each_scene_gives_so_many_pairs_with_ids_of_their_own(run):
    done = run(answers_per_scene=3, temperature=0.7, source=source(), backend=FakeBackend(answer=sampled))
    assert ids(done.lines)[:5] == ["fake-0", "fake-0#2", "fake-0#3", "fake-2", "fake-2#2"]
    assert len(done.lines) == 4 * 3
    assert dict(done.report.datasets[0].skipped) == {"skipped on purpose": 2}
    assert len({request.seed for request in done.backend.asked}) == len(done.backend.asked) == 24


def test_several_personas_take_turns_at_one_scene(run):
    done = run(answers_per_scene=2, personas=4, limit_samples=8)
    assert [json.loads(line)["metadata"]["persona"] for line in done.lines] == [1, 2, 3, 4, 1, 2, 3, 4]
    assert len({json.loads(line)["positive_text"] for line in done.lines}) == 8


@settings(max_examples=15)
@given(st.integers(1, 24), st.sampled_from([0, 4, 7]))
def test_a_run_that_died_anywhere_ends_with_the_same_dataset(dies_after, block):
    def lines(folder: Path) -> str:
        (path,) = folder.glob("*.jsonl")
        return path.read_text(encoding="utf-8")

    options = {"answers_per_scene": 3, "temperature": 0.5, "prompter": "static", "checkpoint_interval": 2}
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        build_caa("Openness", one, source=source(), backend=FakeBackend(answer=sampled, block=block), **options)
        for dies in (dies_after, None):
            backend = FakeBackend(answer=sampled, block=block, dies_after=dies)
            with suppress(PluginError):
                build_caa("Openness", other, source=source(), backend=backend, **options)
        assert lines(Path(one)) == lines(Path(other))


def test_more_answers_are_another_dataset(run):
    run(answers_per_scene=2, temperature=0.5, limit_samples=2)
    assert len(run(answers_per_scene=3, temperature=0.5, limit_samples=2).paths) == 2
    assert len(run(temperature=0.5, limit_samples=2).paths) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"answers_per_scene": 2, "temperature": 0.0},
            "2 answers a scene at temperature 0 by 1 persona a side",
        ),
        (
            {"answers_per_scene": 3, "personas": 2, "temperature": 0.0},
            "3 answers a scene at temperature 0 by 2 personas a side",
        ),
        ({"answers_per_scene": 0}, "0 answers a scene leave nothing to do"),
    ],
)
def test_what_would_repeat_itself_is_refused(run, options, message):
    done = run(raises=UsageError, **options)
    assert message in done.error.message
    assert done.backend.asked == []


def test_the_plan_counts_them(tmp_path):
    plan = plan_caa(
        "Openness", tmp_path / "x", backend=FakeBackend(), source=source(), prompter="static", answers_per_scene=4,
        temperature=1.0,
    )  # fmt: skip
    assert (plan.rows, plan.scenarios, plan.requests) == (6, 16, 32)  # two of the rows hold none
