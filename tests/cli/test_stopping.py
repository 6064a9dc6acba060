"""Real signals, a real second process, and real file system faults, on the command as it is typed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals to send")
PLUGIN = """
import dataclasses, os, pathlib, time
from psyctl_core import Component, hookimpl, option
from psyctl_core.testing import FakeBackend

@dataclasses.dataclass(frozen=True)
class Config:
    block: int = option(0, help="Block.", identity=False)
    hold: int = option(10**9, help="Wait for the file 'go' after so many answers.", identity=False)

class Backend(FakeBackend):
    def __init__(self, config):
        super().__init__(block=config.block, in_flight=4)
        self._hold = config.hold

    def generate(self, requests):
        for answer in super().generate(requests):
            self._hold -= 1
            if self._hold == 0:
                pathlib.Path("held").touch()
                while not pathlib.Path("go").exists():
                    time.sleep(0.01)
            yield answer

def make(config, context):
    return Backend(config)

@hookimpl
def psyctl_inference_backends():
    return [Component("slow", "psyctl_slow:make", Config, "A fake that waits")]
"""
BUILD = (
    "dataset.build.caa", "--source", "starter", "--prompter", "static", "--personality", "Openness",
    "--backend", "slow", "--limit-samples", "40", "--output", "out",
)  # fmt: skip


@pytest.fixture
def slow(install):
    install("psyctl-slow", PLUGIN)


@pytest.fixture
def held(slow, tmp_path):
    """Start a run that waits in the middle; ended with the test."""
    started = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "from psyctl_core.cli import main; main()", *BUILD, *arguments]
        process = subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        while not (tmp_path / "held").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def dataset(tmp_path) -> list[str]:
    return next((tmp_path / "out").glob("*.jsonl")).read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("block", ["0", "20"])
def test_a_signal_saves_and_says_how_to_go_on(psyctl, held, tmp_path, number, code, block):
    process = held("--slow-hold", "31", "--slow-block", block)
    process.send_signal(number)
    (tmp_path / "go").touch()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "Run the same command again to go on from there." in errors
    assert "Traceback" not in errors
    before = dataset(tmp_path)
    assert len(before) >= 10
    assert psyctl(*BUILD).returncode == 0
    assert dataset(tmp_path)[: len(before)] == before
    assert len(dataset(tmp_path)) == 40


def test_answers_under_way_are_waited_for_and_kept(held, tmp_path):
    process = held("--slow-hold", "31")
    process.send_signal(signal.SIGINT)
    (tmp_path / "go").touch()
    _, errors = process.communicate(timeout=60)
    assert "waiting for the answers under way" in errors
    run = json.loads(next((tmp_path / "out").glob("*.run/run.json")).read_text())
    assert run["statistics"]["requests"] > 31
    assert run["status"] == "stopped"


def test_a_second_signal_stops_at_once_and_loses_nothing(psyctl, held, tmp_path):
    process = held("--slow-hold", "31")
    process.send_signal(signal.SIGINT)
    while "Stopping" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert psyctl(*BUILD).returncode == 0
    assert len(dataset(tmp_path)) == 40
    run = json.loads(next((tmp_path / "out").glob("*.run/run.json")).read_text())
    assert run["statistics"]["requests"] == 80 + 2 * sum(run["statistics"]["rejected"].values())


def test_a_second_process_is_refused_by_name_and_a_stale_lock_is_no_obstacle(psyctl, held, tmp_path):
    process = held("--slow-hold", "31")
    done = psyctl(*BUILD)
    assert done.returncode == 75
    assert f"process {process.pid}" in done.stderr
    status = psyctl("dataset.status", "out")
    assert f"running (process {process.pid}" in status.stdout
    process.kill()
    process.communicate()
    assert (tmp_path / "out" / ".psyctl.pid").exists()
    assert psyctl(*BUILD).returncode == 0
    assert len(dataset(tmp_path)) == 40


def test_status_tells_how_far_and_what_is_wrong(psyctl, held, tmp_path):
    held("--slow-hold", "31").kill()
    path = next((tmp_path / "out").glob("*.jsonl"))
    path.write_bytes(path.read_bytes()[:-10])
    run = json.loads(psyctl("dataset.status", "out", "--json").stdout)[0]
    assert run["state"] == "resumable"
    assert run["trait"] == "Openness"
    assert any("half a line" in problem for problem in run["problems"])
    assert psyctl(*BUILD).returncode == 0
    run = json.loads(psyctl("dataset.status", "out", "--json").stdout)[0]
    assert (run["state"], run["records"], run["problems"]) == ("complete", 40, [])
    assert "complete" in psyctl("dataset.status", "out").stdout
    assert psyctl("dataset.status", "nowhere").returncode == 2


def test_a_folder_that_vanishes_is_told(held, tmp_path):
    process = held("--slow-hold", "31")
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "go").touch()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Error: Cannot write" in errors or "Error: The journal" in errors
    assert "Traceback" not in errors


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 256 KiB, full after a few pairs."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a tmpfs is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_saves_up_to_there_and_goes_on_once_there_is_room(psyctl, slow, tmp_path, small_disk):
    command = (*BUILD, "--output", "disk/out")
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 120_000)
    done = psyctl(*command)
    assert done.returncode == 1
    assert "No space left" in done.stderr or "full" in done.stderr
    assert "Traceback" not in done.stderr
    before = next((small_disk / "out").glob("*.jsonl"), None)
    kept = before.read_text(encoding="utf-8").splitlines()[:-1] if before else []
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    filler.unlink()
    assert psyctl(*command).returncode == 0
    whole = psyctl(*BUILD)
    assert whole.returncode == 0
    after = next((small_disk / "out").glob("*.jsonl")).read_text(encoding="utf-8").splitlines()
    assert after[: len(kept)] == kept
    assert after == dataset(tmp_path)


def test_a_read_only_folder_is_told_before_anything_is_asked(psyctl, slow, tmp_path, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = psyctl(*BUILD, "--output", "disk/out")
    assert done.returncode == 1
    assert "Cannot write to the output folder" in done.stderr
    assert list(small_disk.iterdir()) == []
