"""Reading may begin anywhere: what is yielded, and what is dropped as a repeat, never depends on where it began."""

from __future__ import annotations

import json
import tempfile
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psyctl_core import Context, Scenario, SkippedRow
from psyctl_soda import SodaConfig
from psyctl_soda import source as source_module
from psyctl_soda.repeats import REPEATED, without_repeats
from psyctl_soda.scenario import scenario
from psyctl_soda.source import CORRUPT, SodaSource

SAID = ("Where is the boat?", "Who sold the boat?", "Is it the old boat?")
ROWS = st.lists(st.sampled_from([*SAID, "", None]), min_size=1, max_size=40)


@pytest.fixture
def small_windows(monkeypatch):
    """Windows that a few rows leave behind."""
    monkeypatch.setattr(source_module, "WINDOW", 5)
    monkeypatch.setattr(source_module, "SHUFFLE_ROWS", 7)


def soda_row(said: str) -> dict:
    return {"narrative": "At the quay.", "dialogue": [said, "Yes."], "speakers": ["Ann", "Bo"]}


def everywhere(path: Path, **config) -> list[Scenario | SkippedRow]:
    """All items of a path, after showing that from each place on the same ones come."""
    made = SodaSource(SodaConfig(dataset=str(path), **config), Context(seed=3))
    items = list(made.scenarios(0))
    assert all(one.offset < other.offset for one, other in pairwise(items))
    for start in range(1, (items[-1].offset if items else 0) + 2):
        assert list(made.scenarios(start)) == [item for item in items if item.offset >= start], start
    return items


@settings(max_examples=40)
@given(st.lists(st.sampled_from([*SAID, "", None]), min_size=3, max_size=30), st.booleans())
def test_rows_and_repeats(tmp_path_factory, said, shuffle):
    lines = ["{broken" if text is None else json.dumps(soda_row(text)) for text in [*SAID, *said]]
    lines = [*(json.dumps(soda_row(text)) for text in SAID), "", *lines]
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(source_module, "WINDOW", 5)
        patch.setattr(source_module, "SHUFFLE_ROWS", 7)
        patch.setattr(source_module, "MIN_JUDGED", 1000)
        path = Path(folder) / "rows.jsonl"
        path.write_text("\n".join(lines), encoding="utf-8")
        if 2 * lines.count("{broken") <= len(lines) - 1:
            items = everywhere(path, shuffle=shuffle)
            assert len(items) == len(lines) - 1
            assert sum(isinstance(i, SkippedRow) and i.reason == CORRUPT for i in items) == lines.count("{broken")


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 3) | st.none(), st.sampled_from(SAID)), min_size=1, max_size=25), st.booleans()
)
def test_conversations_of_many_rows(rows, shuffle):
    begun = [
        {"conv_id": 9, "speaker": name, "text": "Is anybody on board of this boat at all?"} for name in ("Ann", "Bo")
    ]
    lines = [json.dumps(row) for row in begun]
    for at, (identifier, said) in enumerate(rows):
        row = {"conv_id": identifier, "speaker": ("Ann", "Bo")[at % 2], "text": said}
        lines.append("[]" if identifier is None and said == SAID[0] else json.dumps(row))
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(source_module, "WINDOW", 5)
        patch.setattr(source_module, "SHUFFLE_ROWS", 7)
        patch.setattr(source_module, "MIN_JUDGED", 1000)
        path = Path(folder) / "rows.jsonl"
        path.write_text("\n".join(lines), encoding="utf-8")
        if 2 * lines.count("[]") <= len(lines):
            everywhere(path, shuffle=shuffle)


def test_row_groups_are_passed_over_unread(tmp_path, small_windows):
    path = tmp_path / "rows.parquet"
    pq.write_table(
        pa.Table.from_pylist([soda_row(f"Is boat {n % 9} here?") for n in range(40)]), path, row_group_size=6
    )
    items = everywhere(path)
    assert sum(isinstance(item, SkippedRow) for item in items) == 0
    assert len({item.id for item in items}) == 40


def test_a_repeat_is_known_within_the_window_and_only_there():
    def item(offset: int, said: str) -> Scenario:
        return scenario(offset, said, "Bo", ())

    said = ["a", "b", "a", "c", "a", "d", "e", "f", "g", "h", "a"]
    kept = list(without_repeats([item(offset, text) for offset, text in enumerate(said)], 5))
    assert [k.reason if isinstance(k, SkippedRow) else k.situation for k in kept] == [
        "a", "b", REPEATED, "c", REPEATED, "d", "e", "f", "g", "h", "a",
    ]  # fmt: skip


def test_memory_for_repeats_is_bounded():
    import tracemalloc

    items = (scenario(offset, f"scene {offset}", "Bo", ()) for offset in range(30_000))
    tracemalloc.start()
    peaks = []
    for item in without_repeats(items, 1000):
        if item.offset in (5_000, 29_999):
            peaks.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.2 + 50_000


def test_shuffling_depends_on_the_seed_and_loses_nothing(jsonl, source):
    path = jsonl(soda_row(f"Is boat {n} here?") for n in range(200))
    plain = list(source(path).scenarios(0))
    one, same, other = (list(source(path, seed=seed, shuffle=True).scenarios(0)) for seed in (1, 1, 2))
    assert one == same
    assert [item.offset for item in one] == [item.offset for item in plain]
    ids = [[item.id for item in items] for items in (plain, one, other)]
    assert sorted(ids[0]) == sorted(ids[1]) == sorted(ids[2])
    assert ids[0] != ids[1] != ids[2] != ids[0]
