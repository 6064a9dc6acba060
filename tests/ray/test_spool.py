"""What a spool keeps outlives the worker and the driver, and is given once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psyctl_core import ChatRequest, Completion, Message, OutputError
from psyctl_ray.spool import Spool, SpoolFile, is_marked


def request(number: int, id: str = "") -> ChatRequest:
    return ChatRequest(id or f"{number}:neutral", (Message("user", f"Say {number}."),), stop=("\n",))


def answer(number: int, **more) -> Completion:
    return Completion(f"{number}:neutral", f"{number} – said.", metadata={"choices": {"1": 0.5}}, **more)


def test_a_later_driver_finds_what_was_answered_and_gives_it_once(tmp_path):
    file = SpoolFile(tmp_path)
    file.begin([request(1), request(2), request(3)])
    file.keep(answer(1))
    file.keep(answer(3, finish_reason="error", error="moderation"))
    spool = Spool(tmp_path)
    spool.look()
    assert [spool.has(request(number)) for number in (1, 2, 3)] == [True, False, False]
    (found,) = spool.taken([request(1, "another id"), request(2)])
    assert (found.id, found.text, found.metadata) == ("another id", "1 – said.", {"choices": {"1": 0.5}})
    assert not list(spool.taken([request(1)]))
    file.keep(answer(2))  # a worker that outlived its driver
    spool.look()
    assert spool.has(request(2))


def test_a_living_workers_file_is_not_read_before_it_is_dead(tmp_path):
    spool, file = Spool(tmp_path), SpoolFile(tmp_path)
    spool.is_written_by(file.name)
    file.begin([request(1), request(2)])
    file.keep(answer(1))
    spool.look()
    assert not spool.has(request(1))
    file.begin([request(2)])  # what was before is safe by now
    file.keep(answer(2))
    spool.was_left(file.name)
    spool.look()
    assert (spool.has(request(1)), spool.has(request(2))) == (False, True)


@given(cut=st.integers(0, 400))
def test_a_line_that_a_kill_cut_off_is_no_answer(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("spool")
    file = SpoolFile(folder)
    file.begin([request(1), request(2)])
    file.keep(answer(1))
    file.keep(answer(2))
    path = folder / file.name
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    spool = Spool(folder)
    spool.look()
    lines = whole[:cut].count(b"\n")
    assert [spool.has(request(number)) for number in (1, 2)] == [lines > 0, lines > 1]


def test_a_mark_tells_the_drivers_folder_and_all_is_gone_in_the_end(tmp_path):
    spool = Spool(tmp_path / "spool")
    assert is_marked(spool.folder, spool.mark)
    assert not is_marked(spool.folder, "another driver's")
    assert not is_marked(tmp_path / "nowhere", spool.mark)
    file = SpoolFile(spool.folder)
    file.begin([request(1)])
    spool.clear()
    assert not spool.folder.exists()
    nothing = SpoolFile(None)
    nothing.begin([request(1)])
    nothing.keep(answer(1))
    assert nothing.name == ""


def test_a_spool_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"The spool .* cannot be made") as caught:
        Spool(tmp_path / "file" / "spool")
    assert "--ray-spool" in caught.value.hint
