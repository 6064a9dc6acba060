"""Kills real runs at random moments, and shows that every dataset ends as if nothing had happened.

`make crash-test` runs it long; the suite runs it short. Each series starts an output folder, kills the
command (SIGKILL) after a random time, types it again, and so on until it ends by itself. Then the dataset
must equal the undisturbed run's byte for byte, and the server's log must show that no request it had
answered was asked again, those aside that were under way when the process was killed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
SERVER = HERE.parent / "openrouter" / "server.py"
FAULTS = ("429=0.05", "502=0.05", "close=0.03", "cutoff=0.03", "error200=0.04", "moderation=0.05xinf", "empty=0.04")
WORKERS = 8


@dataclass
class Outcome:
    """What a harness run did."""

    series: int = 0
    kills: int = 0
    asked_again: int = 0
    different: list[str] = field(default_factory=list)
    paid_twice: list[str] = field(default_factory=list)


class StandIn:
    """The stand-in server as a program of its own, which outlives every kill."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, str(SERVER), "--port", "0", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]

    def answered(self) -> dict[str, int]:
        """How often each request was answered, once nothing is under way any more."""
        while True:
            with urllib.request.urlopen(f"{self.url.removesuffix('/api/v1')}/_log", timeout=30) as response:
                log = json.load(response)
            if not log["in_flight"]:
                answered: dict[str, int] = log["answered"]
                return answered
            time.sleep(0.01)

    def reset(self) -> None:
        """Forget what happened."""
        request = urllib.request.Request(f"{self.url.removesuffix('/api/v1')}/_reset", data=b"{}", method="POST")
        urllib.request.urlopen(request, timeout=30).close()

    def stop(self) -> None:
        """End the program."""
        self.process.kill()
        self.process.communicate()


def psyctl(arguments: Sequence[str], output: Path) -> list[str]:
    """The command as it is typed."""
    command = "from psyctl_core.cli import main; main()"
    return [sys.executable, "-c", command, "dataset.build.caa", *arguments, "--output", str(output), "--quiet"]


def dataset(output: Path) -> bytes:
    """All datasets of an output folder, one after the other."""
    return b"".join(path.read_bytes() for path in sorted(output.rglob("caa_dataset_*.jsonl")))


def run_series(
    arguments: Sequence[str],
    output: Path,
    longest: float,
    chance: random.Random,
    kills: int,
    answered: Callable[[], dict[str, int]],
) -> tuple[int, list[int]]:
    """Kill and start again until the command ends by itself, at most so many kills.

    Returns:
        How many kills there were, and for each start how many answered requests it asked again.
    """
    killed, again = 0, []
    before = answered()
    environment = {**os.environ, "OPENROUTER_API_KEY": "sk-or-v1-stand-in", "HF_HUB_OFFLINE": "1"}
    while True:
        process = subprocess.Popen(
            psyctl(arguments, output), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            process.wait(chance.uniform(0.1, longest) if killed < kills else None)
        except subprocess.TimeoutExpired:
            process.kill()
            killed += 1
        _, errors = process.communicate()
        after = answered()
        again.append(sum(count > before[key] for key, count in after.items() if key in before))
        before = after
        if process.returncode == 0:
            return killed, again
        if process.returncode > 0:
            raise RuntimeError(f"exit code {process.returncode}: {errors.decode()}")


def crash_server(
    kills: int, seed: int, pairs: int = 150, traits: str = "Extroversion", latency: float = 0.02
) -> Outcome:
    """Kill runs against the misbehaving server until so many kills are done."""
    faults = [part for fault in FAULTS for part in ("--fault", fault)]
    server = StandIn("--latency", str(latency), "--retry-after", "0.05", *faults)
    arguments = (
        "--source", "starter", "--prompter", "static", "--personality", traits, "--limit-samples", str(pairs),
        "--backend", "openrouter", "--openrouter-base-url", server.url, "--openrouter-max-workers", str(WORKERS),
    )  # fmt: skip
    try:
        return _crash(arguments, kills, seed, most_again=WORKERS, answered=server.answered, reset=server.reset)
    finally:
        server.stop()


def crash_local(kills: int, seed: int, model: str = "embedded", pairs: int = 12) -> Outcome:
    """Kill runs of the real local model until so many kills are done."""
    arguments = (
        "--source", "starter", "--prompter", "static", "--personality", "Extroversion", "--limit-samples", str(pairs),
        "--model", model, "--batch-size", "8", "--max-tokens", "24", "--block-size", "256",
    )  # fmt: skip
    return _crash(arguments, kills, seed, most_again=0, answered=dict, reset=lambda: None)


def _crash(
    arguments: Sequence[str],
    kills: int,
    seed: int,
    *,
    most_again: int,
    answered: Callable[[], dict[str, int]],
    reset: Callable[[], None],
) -> Outcome:
    chance = random.Random(seed)
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        run_series(arguments, Path(folder) / "whole", 0, chance, 0, answered)
        longest = time.monotonic() - began
        expected = dataset(Path(folder) / "whole")
        while outcome.kills < kills:
            reset()
            output = Path(folder) / str(outcome.series)
            killed, again = run_series(arguments, output, longest, chance, kills - outcome.kills, answered)
            outcome.series += 1
            outcome.kills += killed
            outcome.asked_again += sum(again)
            if dataset(output) != expected:
                outcome.different.append(output.name)
            if any(count > most_again for count in again):
                outcome.paid_twice.append(f"series {output.name}: {again}")
    return outcome


def main() -> None:
    """Run long and print the counts; exit 1 where a dataset differs or an answer was asked for twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="kills against the server")
    parser.add_argument("--local-kills", type=int, default=8, help="kills of the embedded model")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    outcomes = {
        "one trait, server": crash_server(options.kills - options.kills // 4, options.seed),
        "two traits, server": crash_server(options.kills // 4, options.seed + 1, 80, "Extroversion, Openness"),
        "embedded model": crash_local(options.local_kills, options.seed),
    }
    for name, o in outcomes.items():
        print(
            f"{name}: {o.kills} kills in {o.series} series, {len(o.different)} datasets differ, "
            f"{o.asked_again} requests under way at a kill were asked again, {len(o.paid_twice)} answers paid twice"
        )
    sys.exit(any(o.different or o.paid_twice for o in outcomes.values()))


if __name__ == "__main__":
    main()
