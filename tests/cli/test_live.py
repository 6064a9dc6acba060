"""What is seen while a run goes on: a line that fits the terminal, plain lines elsewhere, events for programs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import struct
import subprocess
import sys
import time

import pytest

from psyctl_core import schema
from psyctl_core._engine.progress import Progress, in_parts
from psyctl_core.cli import live

PLUGIN = """
import dataclasses, pathlib, time
from psyctl_core import BackendState, Component, hookimpl
from psyctl_core.testing import FakeBackend

@dataclasses.dataclass(frozen=True)
class Config:
    pass

class Backend(FakeBackend):
    waits = ""

    def state(self):
        return BackendState(self.waits, 3)

    def generate(self, requests):
        for number, answer in enumerate(super().generate(requests)):
            if number == 31:
                self.waits = "rate limited"
                pathlib.Path("held").touch()
                while not pathlib.Path("go").exists():
                    time.sleep(0.01)
                self.waits = ""
            yield dataclasses.replace(answer, cost=0.001)

def make(config, context):
    return Backend()

@hookimpl
def psyctl_inference_backends():
    return [Component("held", "psyctl_held:make", Config, "A fake that waits for a file")]
"""
BUILD = (
    "dataset.build.caa", "--source", "starter", "--prompter", "static", "--personality", "Openness,Extroversion",
    "--backend", "held", "--limit-samples", "40", "--output", "out",
)  # fmt: skip
COMMAND = [sys.executable, "-c", "from psyctl_core.cli import main; main()"]
FULL = Progress(
    "generating", 1_234, 40_000, {"identical answers": 12}, answers=4_000, rate=0.52, eta=74_500.0, cost=1.2345
)


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (200, "1,234/40,000 pairs · 0.52/s · 20 h 42 min to go · 12 rejected · $1.23 · generating"),
        (78, "1,234/40,000 pairs · 0.52/s · 20 h 42 min to go · 12 rejected · $1.23"),
        (65, "1,234/40,000 pairs · 0.52/s · 20 h 42 min to go · 12 rejected"),
        (30, "1,234/40,000 pairs · 0.52/s"),
        (12, "1,234/40,000"),
    ],
)
def test_what_matters_most_keeps_its_place(width, line):
    assert live.fitting(in_parts(FULL), width) == line


@pytest.mark.parametrize("width", [80, 120])
def test_there_is_room_for_a_bar(width):
    from rich.console import Console

    line = live._LineInPlace(lambda text: None)
    line.told(dataclasses.replace(FULL, pairs=38_000))
    console = Console(width=width, color_system=None)
    with console.capture() as drawn:
        console.print(line)
    (text,) = drawn.get().splitlines()
    assert len(text) <= width
    assert "━━━━━" in text
    assert text.rstrip().endswith("$1.23" if width == 80 else "generating")


def test_what_is_waited_for_takes_the_place_of_a_time_that_nobody_knows():
    waiting = in_parts(Progress("generating", 5, 40, rate=0.5, eta=70.0, waiting="rate limited", waiting_seconds=200.0))
    assert waiting[2] == "rate limited: waiting for 3 min 20 s"
    assert in_parts(Progress("generating", 5, 40, eta=70.0, silent_seconds=480.0))[1] == "no answer for 8 min 00 s"
    assert in_parts(Progress("loading", 0, 40, phase_seconds=480.0)) == [
        "loading the model or checking the server for 8 min 00 s"
    ]


def test_a_pair_is_one_pair():
    assert in_parts(Progress("generating", 1))[0] == "1 pair"


def on_a_terminal(tmp_path, *typed, columns, term, until=""):
    """What a terminal of that width was sent, line by line without codes, each line once; and the exit code."""
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [*COMMAND, *typed], cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs,
        env={**environment, "TERM": term},
    )  # fmt: skip
    os.close(theirs)
    told = b""
    with contextlib.suppress(OSError):  # the other end was closed
        while part := os.read(ours, 65536):
            told += part
            if until and until in told.decode(errors="ignore"):
                (tmp_path / "go").touch()
    os.close(ours)
    lines = [re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", line).rstrip() for line in re.split(r"[\r\n]+", told.decode())]
    return [line for line in dict.fromkeys(lines) if line], process.wait(timeout=60)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such terminals")
@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 120])
def test_the_line_fits_the_terminal_and_says_what_is_waited_for(install, tmp_path, columns):
    install("psyctl-held", PLUGIN)
    lines, code = on_a_terminal(tmp_path, *BUILD, columns=columns, term="xterm", until="rate limited: waiting")
    assert code == 0
    assert max(map(len, lines)) <= columns
    running = [line for line in lines if "/80 pairs" in line]
    assert running
    assert all("persona" not in line and "getting ready" not in line for line in running), "a stale note"
    assert any("━" in line for line in running)
    assert any("rate limited: waiting for" in line for line in running)
    assert any(line.startswith("The Openness persona: {character} is ") for line in lines)
    assert [line.split() for line in lines if line.startswith("Trait")] == [["Trait", "Pairs", "New", "Rejected"]]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such terminals")
@pytest.mark.slow
def test_a_dumb_terminal_gets_plain_lines(install, tmp_path):
    install("psyctl-held", PLUGIN)
    (tmp_path / "go").touch()
    lines, code = on_a_terminal(tmp_path, *BUILD, columns=80, term="dumb")
    assert code == 0
    assert not [line for line in lines if "━" in line]
    assert "0/80 pairs, 0 rejected, generating" in lines


def test_lines_that_no_terminal_shows_come_now_and_then(capsys):
    moments = iter([0.0, 0.0, 1.0, 2.0, 11.0, 12.0, 1000.0, 1010.0, 1061.0])
    plain = live._PlainLines(clock=lambda: next(moments))
    for pairs, phase in enumerate(["starting", "generating", *["generating"] * 6]):
        plain.told(Progress(phase, pairs))
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        "1 pair", "3 pairs", "5 pairs", "7 pairs",
    ]  # fmt: skip


@pytest.mark.slow
def test_events_hold_to_their_schema_and_end_with_the_summary(install, tmp_path):
    install("psyctl-held", PLUGIN)
    events = []
    with subprocess.Popen(
        [*COMMAND, *BUILD, "--progress", "json"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        for line in process.stderr:
            events.append(json.loads(line))
            if events[-1].get("waiting") == "rate limited":
                (tmp_path / "go").touch()
    assert process.returncode == 0
    assert [schema.problem("progress", event) for event in events] == [""] * len(events)
    kinds = [event["event"] for event in events]
    assert {"phase", "progress", "note", "end"} == set(kinds)
    assert kinds.index("end") == len(kinds) - 1
    phases = [event["phase"] for event in events if event["event"] == "phase"]
    assert [phase for phase in phases if phase != "loading"][:3] == ["describing", "reading", "generating"]
    last = events[-1]["summary"]
    assert [dataset["pairs"] for dataset in last["datasets"]] == [40, 40]
    assert last["usage"]["cost"] == pytest.approx(0.12)
    waited = next(event for event in events if event.get("waiting"))
    assert waited["retries"] == 3
    assert [trait["wanted"] for trait in waited["traits"]] == [40, 40]


@pytest.mark.slow
def test_an_error_is_the_last_event_and_no_text_follows(psyctl, tmp_path):
    done = psyctl(*BUILD[:-6], "--model", "nobody/none", "--output", "out", "--progress", "json")
    last = [json.loads(line) for line in done.stderr.splitlines()][-1]
    assert (last["event"], last["exit_code"]) == ("end", done.returncode)
    assert done.returncode == 1
    assert "cannot be reached" in last["text"]


@pytest.fixture
def going_on(install, tmp_path):
    """A run that waits in the middle, seen from outside; it goes on when ``go`` is there."""
    install("psyctl-held", PLUGIN)
    process = subprocess.Popen(
        [*COMMAND, *BUILD, "--log-file", "mine.log"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    progress = tmp_path / "out" / ".psyctl.progress.json"
    while not ((tmp_path / "held").exists() and "rate limited" in progress.read_text(encoding="utf-8")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_a_second_terminal_sees_a_table_as_of_now_and_locks_nothing(going_on, psyctl, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob(".psyctl.*k")}
    runs = json.loads(psyctl("dataset.status", "out", "--json").stdout)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for run in runs:
        assert run["state"] == f"running (process {going_on.pid} on {os.uname().nodename})"
        assert run["progress"]["waiting"] == "rate limited"
        assert run["cost"] == pytest.approx(0.031), "as of now: no checkpoint was written yet"
        assert run["statistics"]["cost"] is None
        assert run["wanted"] == 40
    assert sum(run["records"] for run in runs) == runs[0]["progress"]["pairs"] > 0
    shown = psyctl("dataset.status", "out").stdout
    assert "rate limited: waiting for" in shown
    assert [line.split()[:2] for line in shown.splitlines()[2:4]] == [
        ["Extroversion", "running"],
        ["Openness", "running"],
    ]
    (tmp_path / "go").touch()
    watched = psyctl("dataset.status", "out", "--watch")
    assert watched.returncode == 0
    assert "100%" in watched.stdout
    assert going_on.wait(timeout=60) == 0
    assert not (tmp_path / "out" / ".psyctl.progress.json").exists()


@pytest.mark.slow
def test_what_happened_stays_in_the_run_folder_and_in_the_log_that_was_named(going_on, tmp_path):
    (tmp_path / "go").touch()
    assert going_on.wait(timeout=60) == 0
    (kept,) = (tmp_path / "out").glob("*/*.run/log.txt")
    told = kept.read_text(encoding="utf-8")
    order = ["Process ", "The Openness persona", "Reading the source", "Generating", "Waiting: rate limited",
             "Waiting is over", "Done: 80/80 pairs."]  # fmt: skip
    assert [told.index(words) for words in order] == sorted(told.index(words) for words in order)
    assert set(told.splitlines()) <= set((tmp_path / "mine.log").read_text(encoding="utf-8").splitlines())


@pytest.mark.slow
def test_a_crash_is_no_problem_and_its_last_cost_is_known(going_on, psyctl, tmp_path):
    going_on.kill()
    going_on.communicate()
    for run in json.loads(psyctl("dataset.status", "out", "--json").stdout):
        assert (run["state"], run["problems"]) == ("resumable", [])
        assert run["cost"] == pytest.approx(0.031)
    (tmp_path / "go").touch()
    done = psyctl(*BUILD)
    assert done.returncode == 0
    assert "Fewer" not in done.stdout
