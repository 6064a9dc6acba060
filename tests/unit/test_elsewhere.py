"""What a backend keeps for the next process of a run: where, how long, and what is said of it."""

from __future__ import annotations

import json

import pytest

from psyctl_core._engine.status import status
from psyctl_core._plugins.registry import discover
from psyctl_core._store import elsewhere
from psyctl_core.budget import Budget
from psyctl_core.components import UsesRunFolder
from psyctl_core.errors import BackendError, OutputError
from psyctl_core.testing import FakeBackend


class Keeps(FakeBackend):
    """Keeps a file in the run, and says what goes on; fails after so many answers."""

    def __init__(self, *, says="", safe=0, fails_after=None, **options):
        super().__init__(**options)
        self._says = says
        self._safe = safe
        self._fails_after = fails_after
        self.folder = None

    def use(self, folder):
        assert not self.starts, "before it is started"
        self.folder = folder

    def generate(self, requests):
        self.folder.path.mkdir(parents=True, exist_ok=True)
        (self.folder.path / "mine").write_text("kept")
        self.folder.tell(self._says)
        for number, completion in enumerate(super().generate(requests)):
            self.folder.safe(self._safe)
            if number == self._fails_after:
                raise BackendError("It is down.", "Wait.", later=True)
            yield completion


def test_a_backend_that_keeps_nothing_is_lent_no_folder(run):
    assert not isinstance(FakeBackend(), UsesRunFolder)
    assert isinstance(Keeps(), UsesRunFolder)
    assert run(limit_samples=3).report.datasets[0].pairs == 3


@pytest.mark.parametrize(("says", "is_left"), [("", False), ("a batch goes on", True)])
def test_what_it_keeps_goes_with_the_journal_unless_something_goes_on(run, says, is_left):
    done = run(backend=Keeps(says=says), limit_samples=3)
    folder = done.backend.folder.path
    assert folder.parent == done.report.datasets[0].run_folder
    assert folder.name == "backend"
    assert folder.exists() is is_left


def test_what_goes_on_outlives_a_run_that_came_to_nothing_and_is_shown(run, tmp_path, psyctl):
    failed = run(backend=Keeps(says="a batch\nof 3 is under way", fails_after=0), limit_samples=3, raises=BackendError)
    assert (failed.backend.folder.path / "mine").exists()
    (found,) = status(tmp_path / "out", discover())
    assert (found.state, found.elsewhere) == ("resumable", "a batch of 3 is under way")
    assert f"{found.name}: a batch of 3 is under way" in psyctl("dataset.status", "out").stdout
    assert json.loads(psyctl("dataset.status", "out", "--json").stdout)[0]["elsewhere"] == "a batch of 3 is under way"
    assert run(backend=Keeps(fails_after=0), limit_samples=3, raises=BackendError).error  # it said that nothing goes on
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").glob("*.run"))


def test_what_the_next_process_would_find_is_not_counted_as_lost(run, tmp_path):
    seen = []

    class Watched(Keeps):
        def generate(self, requests):
            for completion in super().generate(requests):
                seen.append(int.from_bytes((self.folder.path.parent / "under_way").read_bytes(), "little"))
                yield completion

    run(backend=Watched(in_flight=8, safe=5), limit_samples=10)
    assert max(seen) == 8 - 5
    seen.clear()
    run(backend=Watched(in_flight=8), limit_samples=20)
    assert max(seen) == 8


def test_the_next_process_keeps_to_what_was_found(tmp_path):
    folder = elsewhere.folder_of(tmp_path, "backend")
    elsewhere.tell(folder, "")
    assert elsewhere.told(tmp_path) == []
    elsewhere.tell(folder, "x" * 5000)
    assert elsewhere.told(tmp_path) == ["x" * elsewhere.MAX_TOLD]
    elsewhere.forget(tmp_path)
    assert folder.exists()
    elsewhere.tell(folder, "")
    elsewhere.forget(tmp_path)
    assert not folder.exists()
    folder.write_text("a file in its place")
    with pytest.raises(OutputError, match="Cannot write"):
        elsewhere.tell(folder, "something")


def test_what_was_sent_before_is_set_aside_whatever_the_limit():
    budget = Budget(1.0, spent=0.9)
    assert budget.reserve(0.5) is None
    assert budget.reserve(0.5, is_under_way=True) == 0.5
    assert budget.reserve(0.01) is None
    budget.settle(0.5, 0.02)
    assert budget.spent == pytest.approx(0.92)
    assert budget.reserve(0.05) == 0.05
    assert Budget(1.0).reserve(None, is_under_way=True) == 0.0
