"""Three servers at 0.2 s latency, of which one is killed and comes back: requests a second, as a share of what the
living ones can answer."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from throughput import LATENCY, SERVER, SHORT, scenarios

WORKERS = (8, 16) if SHORT else (8, 16, 32)
PHASE = 4.0 if SHORT else 10.0


class Running:
    """A stand-in server as a program."""

    def __init__(self) -> None:
        self.port = "0"
        self.start()

    def start(self) -> None:
        """Begin to serve, the second time at the same address."""
        command = [sys.executable, str(SERVER), "--unpriced", "--model", "a/b", "--latency", str(LATENCY)]
        self.process = subprocess.Popen([*command, "--port", self.port], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]
        self.port = self.url.split(":")[2].partition("/")[0]

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait()

    def answered(self) -> int:
        """How many requests it has answered in this life."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_log", timeout=10) as reply:
            return sum(json.load(reply)["answered"].values())


def rate(servers: list[Running]) -> float:
    """Requests a second that these answer, over one phase."""
    before, began = sum(server.answered() for server in servers), time.perf_counter()
    time.sleep(PHASE)
    return (sum(server.answered() for server in servers) - before) / (time.perf_counter() - began)


def measure() -> list[dict[str, object]]:
    """A row for each number of workers at each server."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scenarios(folder / "scenarios.jsonl", 30_000)
        for workers in WORKERS:
            servers = [Running() for _ in range(3)]
            command = [
                sys.executable, "-c", "from psyctl_core.cli import main; main()", "dataset.build.caa", "--quiet",
                "--dataset", str(folder / "scenarios.jsonl"), "--prompter", "static", "--personality", "Openness",
                "--openai-base-url", ",".join(server.url for server in servers), "--openai-max-workers", str(workers),
                "--output", str(folder / f"out-{workers}"),
            ]  # fmt: skip
            process = subprocess.Popen(command)
            try:
                while servers[0].answered() < 2 * workers:
                    time.sleep(0.1)
                phases = {"all three": rate(servers) / 3}
                servers[1].kill()
                time.sleep(1.0)
                phases["one dead"] = rate([servers[0], servers[2]]) / 2
                servers[1].start()
                while not servers[1].answered():
                    time.sleep(0.1)
                phases["back"] = rate(servers) / 3
            finally:
                process.kill()
                process.wait()
                for server in servers:
                    server.kill()
            room = workers / LATENCY
            rows.append(
                {"workers a server": workers, **{phase: round(found / room, 3) for phase, found in phases.items()}}
            )
    return rows
