"""Blocks take about half a minute by the speed seen, and a resumed run cuts the same ones."""

from __future__ import annotations

import pytest

from psyctl_core import Usage
from psyctl_core._engine.blocks import FIRST_REQUESTS, Blocks
from psyctl_core._store.journal import Journal


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path, {}, Usage())


def test_a_backend_that_cannot_tell_its_speed_begins_small_and_grows_with_what_is_seen(journal):
    speed = [None]
    blocks = Blocks(256, 2, journal, lambda: speed[0])
    assert blocks.scenarios(0) == FIRST_REQUESTS // 2
    speed[0] = 4.0  # requests a second: half a minute are 120
    assert blocks.scenarios(8) == 32  # four times the last one at most
    assert blocks.scenarios(40) == 60
    speed[0] = 50.0
    assert blocks.scenarios(100) == 128  # never more than the backend takes
    speed[0] = 0.2
    assert blocks.scenarios(228) == 3
    speed[0] = 0.001
    assert blocks.scenarios(231) == 1


def test_what_is_expected_decides_the_first_block(journal):
    assert Blocks(256, 2, journal, lambda: 4.0).scenarios(0) == 30


def test_a_resumed_run_cuts_the_same_blocks_whatever_its_speed(journal, tmp_path):
    blocks = Blocks(256, 2, journal, lambda: 4.0)
    cut = [blocks.scenarios(offset) for offset in (0, 30, 90)]
    again = Blocks(256, 2, Journal(tmp_path, {}, Usage()), lambda: 0.5)
    assert [again.scenarios(offset) for offset in (0, 30, 90)] == cut
    assert again.scenarios(150) == 7


def test_a_size_that_is_given_holds_for_all(journal):
    blocks = Blocks(256, 3, journal, lambda: 0.1, fixed=48)
    assert [blocks.scenarios(offset) for offset in (0, 16, 32)] == [16, 16, 16]
