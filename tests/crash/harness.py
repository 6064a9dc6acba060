"""Kills real runs at random moments, and shows that every dataset ends as if nothing had happened.

`make crash-test` runs it long; the suite runs it short. Each series starts an output folder, ends the
command after a random time (SIGKILL, or SIGINT or SIGTERM once), types it again, and so on until it ends by
itself. Then the dataset must equal the undisturbed run's byte for byte. The server's log must show that no
request it had answered was asked again, those aside that were under way when the process was killed; and the
run must have booked as many of these as lost, for they were paid for. With batches, what the server charged must be
what the run has booked.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE))

from forks import HTTP, Forks  # noqa: E402 - it lies beside this file

SERVER = HERE.parent / "openrouter" / "server.py"
FAULTS = ("429=0.05", "502=0.05", "close=0.03", "cutoff=0.03", "error200=0.04", "moderation=0.05xinf", "empty=0.04")
BATCH_MISHAPS = ("", "", "orphan", "502", "unmade", "busy", "expired")
"""What may go wrong with a batch; see the stand-in server."""

BATCH_APIS = {
    "openrouter": (
        "--backend", "openrouter", "--openrouter-base-url", "{url}", "--openrouter-max-workers", "{workers}",
    ),
    "openai": (
        "--backend", "openai", "--openai-base-url", "{root}/v1", "--openai-max-workers", "{workers}",
        "--openai-model", "qwen/qwen3-30b-a3b",
    ),
}  # fmt: skip
BATCH_FAULTS = ("429=0.05", "502=0.05", "error200=0.04", "moderation=0.05xinf", "empty=0.04")
"""Those in whose every answer the server tells what it charged."""

WORKERS = 16
P2_SEED = 7
"""With this one the server does not refuse to describe a persona, which would end a run for good."""

RUBRIC = (
    "--judge", "rubric", "--rubric-positive", "10", "--rubric-neutral", "100", "--rubric-difference", "0",
    "--rubric-fit", "20",
)  # fmt: skip
"""The server's digits are random: these let every third pair pass, and reject some for each of the reasons."""

JUDGES = {
    "itself": RUBRIC,
    "another": (
        *RUBRIC, "--judge-backend", "openrouter",
        "--judge-openrouter-base-url", "{url}", "--judge-openrouter-max-workers", "{workers}",
        "--judge-openrouter-model", "qwen/qwen3-30b-a3b",
    ),
}  # fmt: skip
"""Options of a judge that is the writer's model, and of one that is not."""

THREE_TRAITS = "Extroversion, Openness, Neuroticism"

KILL = 9  # SIGKILL, which Windows does not have
STOPS = {KILL: -KILL, signal.SIGINT: 130, signal.SIGTERM: 128 + signal.SIGTERM}
"""How a command is ended, and the exit code it has then."""

DONE = (0, 4)
"""The exit codes of one that ended by itself: with all the pairs wanted, or with what the source gave."""


@dataclass
class Outcome:
    """What a harness run did."""

    series: int = 0
    kills: int = 0
    signals: int = 0
    asked_again: int = 0
    lost: int = 0
    different: list[str] = field(default_factory=list)
    paid_twice: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    decided: int = 0

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost, changed, paid twice or left out of the books."""
        return not (self.different or self.paid_twice or self.forgotten)


class StandIn:
    """The stand-in server as a program of its own, which outlives every kill."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, str(SERVER), "--port", "0", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]

    @property
    def root(self) -> str:
        """Its address without a path."""
        return self.url.removesuffix("/api/v1")

    def told(self, path: str) -> dict[str, Any]:
        """What it tells there."""
        with urllib.request.urlopen(f"{self.root}/{path}", timeout=30) as response:
            data: dict[str, Any] = json.load(response)
        return data

    def answered(self) -> dict[str, int]:
        """How often each request was answered, once nothing is under way any more."""
        while (log := self.told("_log"))["in_flight"]:
            time.sleep(0.01)
        answered: dict[str, int] = log["answered"]
        return answered

    def reset(self, **script: Any) -> None:
        """Forget what happened, and behave otherwise from now on."""
        for path, data in (("_reset", {}), ("_set", script)):
            body = json.dumps(data).encode()
            request = urllib.request.Request(f"{self.root}/{path}", data=body, method="POST")
            urllib.request.urlopen(request, timeout=30).close()

    def stop(self) -> None:
        """End the program."""
        self.process.kill()
        self.process.communicate()


def words(arguments: Sequence[str], output: Path) -> list[str]:
    """What is typed after ``psyctl``."""
    return ["dataset.build.caa", *arguments, "--output", str(output), "--quiet"]


def psyctl(arguments: Sequence[str], output: Path) -> list[str]:
    """The command as a program that is started."""
    return [sys.executable, "-c", "from psyctl_core.cli import main; main()", *words(arguments, output)]


@contextlib.contextmanager
def forks(*modules: str) -> Iterator[Forks]:
    """Starts psyctl with these modules imported, a key, and nothing of the Hub."""
    found = Forks(modules, {**os.environ, "OPENROUTER_API_KEY": "sk-or-v1-stand-in", "HF_HUB_OFFLINE": "1"})
    try:
        yield found
    finally:
        found.stop()


def dataset(output: Path) -> bytes:
    """All datasets of an output folder, one after the other."""
    return b"".join(path.read_bytes() for path in sorted(output.rglob("caa_dataset_*.jsonl")))


def lost(output: Path) -> int:
    """How many requests a run has booked as lost; several traits of a run share the count."""
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in output.rglob("run.json")]
    return max(int(run["statistics"]["lost_requests"]) for run in runs)


def run_series(
    forked: Forks,
    arguments: Sequence[str],
    output: Path,
    longest: float,
    chance: random.Random,
    stops: list[int],
    answered: Callable[[], dict[str, int]],
    decide: Callable[[str], Sequence[str]] = lambda errors: (),
) -> list[tuple[int | None, int]]:
    """Start the command again and again until it ends by itself, and end it before as long as stops are left.

    Args:
        forked: Starts it.
        arguments: Of the command.
        output: Where it writes.
        longest: After how many seconds it is ended at most.
        chance: Decides after how many.
        stops: With what to end it; those that were used are taken off its end.
        answered: How often the server answered each request.
        decide: What the user adds to the command once where it ended with an error; nothing where it should not have.

    Returns:
        For each start how it was ended (``None`` where by itself), and how many answered requests it asked again.
    """
    done: list[tuple[int | None, int]] = []
    before = answered()
    more: Sequence[str] = ()
    while True:
        file = output.with_name(f"{output.name}-{len(done)}.errors")
        process = forked.start(words([*arguments, *more], output), Path(os.devnull), file)
        stop = None
        if process.wait(chance.uniform(0.1, longest) if stops else None) is None:
            stop = stops.pop()
            process.send_signal(stop)
            process.wait()
        errors = file.read_text(encoding="utf-8")
        after = answered()
        done.append((stop, sum(count > before[key] for key, count in after.items() if key in before)))
        before = after
        if process.returncode in DONE:
            return done
        more = decide(errors) if stop is None else more
        if more and stop is None:
            continue
        if stop is None or process.returncode not in (STOPS[stop], -stop):  # -stop: before there was a handler
            raise RuntimeError(f"exit code {process.returncode}: {errors}")


def crash_server(
    kills: int,
    seed: int,
    pairs: int = 150,
    traits: str = "Extroversion",
    *,
    signals: int = 0,
    prompter: str = "static",
    latency: float = 0.02,
    server_seed: int = 0,
    judge: Sequence[str] = (),
) -> Outcome:
    """End runs against the misbehaving server so many times.

    Its seed decides which requests are refused for good. ``judge`` holds further options, with ``{url}`` and
    ``{workers}`` in them.
    """
    faults = [part for fault in FAULTS for part in ("--fault", fault)]
    server = StandIn("--seed", str(server_seed), "--latency", str(latency), "--retry-after", "0.05", *faults)
    arguments = (
        "--source", "starter", "--prompter", prompter, "--personality", traits, "--limit-samples", str(pairs),
        "--backend", "openrouter", "--openrouter-base-url", server.url, "--openrouter-max-workers", str(WORKERS),
        *(word.format(url=server.url, workers=WORKERS) for word in judge),
    )  # fmt: skip
    try:
        with forks(*HTTP, "impatient") as forked:
            return _crash(forked, arguments, kills, signals, seed, answered=server.answered, reset=server.reset)
    finally:
        server.stop()


def crash_batches(kills: int, seed: int, api: str, pairs: int = 150, *, is_listed: bool = True) -> Outcome:
    """Kill runs that ask in batches, of which each meets another mishap; compare them with a run without batches.

    Args:
        kills: How many.
        seed: Decides when, and which mishaps.
        api: Of :data:`BATCH_APIS`.
        pairs: In each run.
        is_listed: Whether the server lists its batches; if not, the user looks for those that may have been made.
    """
    chance = random.Random(seed)
    server = StandIn(*(part for fault in BATCH_FAULTS for part in ("--fault", fault)), "--retry-after", "0.05")
    one_by_one = (
        "--source", "starter", "--prompter", "static", "--personality", "Extroversion", "--limit-samples", str(pairs),
        *(word.format(url=server.url, root=server.root, workers=WORKERS) for word in BATCH_APIS[api]),
    )  # fmt: skip
    options = {"batch-size": "90", "batch-poll": "0.1"}
    batched = (
        *one_by_one,
        f"--{api}-batch",
        *(part for name in options for part in (f"--{api}-{name}", options[name])),
    )
    stops = [KILL] * kills
    outcome = Outcome()
    try:
        with tempfile.TemporaryDirectory() as folder, forks(*HTTP, "impatient") as forked:
            run_series(forked, one_by_one, Path(folder) / "whole", 0, chance, [], server.answered)
            expected = dataset(Path(folder) / "whole")
            server.reset(batch_looks=8)
            began = time.monotonic()
            run_series(forked, batched, Path(folder) / "undisturbed", 0, chance, [], server.answered)
            longest = time.monotonic() - began
            while stops or not outcome.series:
                output = Path(folder) / str(outcome.series)
                mishaps = [chance.choice(BATCH_MISHAPS) for _ in range(50)]
                server.reset(batch_faults=mishaps, batch_looks=8, batch_list=is_listed)
                before = set(server.told("_batches"))

                def decide(errors: str, output: Path = output, before: set[str] = before) -> Sequence[str]:
                    """Look into the account for the batch of which nobody knows whether it was made."""
                    if "cannot be told" not in errors:
                        return ()
                    outcome.decided += 1
                    lost = [id for id in server.told("_batches") if id not in before | _known_batches(output)]
                    code = errors.partition("-batch-orphan ")[2][:6]
                    return (f"--{api}-batch-orphan", f"{code}={lost[0] if lost else 'resubmit'}")

                done = run_series(forked, batched, output, longest, chance, stops, server.answered, decide)
                _judge(outcome, output, expected, done, server.told("_log")["charged"], has_prices=api == "openrouter")
    finally:
        server.stop()
    return outcome


def _judge(
    outcome: Outcome, output: Path, expected: bytes, done: Sequence[tuple[int | None, int]], charged: float,
    *, has_prices: bool,
) -> None:  # fmt: skip
    name = f"series {outcome.series}"
    outcome.series += 1
    outcome.kills += sum(stop == KILL for stop, _ in done)
    again = sum(count for _, count in done)
    outcome.asked_again += again
    outcome.lost += lost(output)
    if dataset(output) != expected:
        outcome.different.append(name)
    if again > lost(output):
        outcome.paid_twice.append(f"{name}: {again} asked again, {lost(output)} booked as lost: {done}")
    booked = cost(output)
    if has_prices and (booked > charged + 1e-9 or (not lost(output) and booked < charged - 1e-9)):
        outcome.forgotten.append(f"{name}: ${charged} charged, ${booked} booked")


def _known_batches(output: Path) -> set[str]:
    """The ids of the batches that a run has in its book."""
    known: set[str] = set()
    for path in output.rglob("batches.sqlite"):
        with contextlib.closing(sqlite3.connect(path)) as book:
            known |= {id for (id,) in book.execute("SELECT id FROM batches")}
    return known


def cost(output: Path) -> float:
    """US dollars that a run has booked."""
    run = json.loads(next(output.rglob("run.json")).read_text(encoding="utf-8"))
    return float(run["statistics"]["cost"] or 0.0)


def crash_local(kills: int, seed: int, model: str = "embedded", pairs: int = 12) -> Outcome:
    """Kill runs of the real local model until so many kills are done."""
    arguments = (
        "--source", "starter", "--prompter", "static", "--personality", "Extroversion", "--limit-samples", str(pairs),
        "--model", model, "--batch-size", "8", "--max-tokens", "24", "--block-size", "256",
    )  # fmt: skip
    with forks("psyctl_hf.backend", "psyctl_hf.generation", "transformers.models.llama.modeling_llama") as forked:
        return _crash(forked, arguments, kills, 0, seed, answered=dict, reset=lambda: None)


def crash_ray(kills: int, seed: int, pairs: int = 60, nodes: int = 3) -> Outcome:
    """Kill workers and the driver of runs on a Ray cluster, with a stranger's backend that logs what it was asked.

    Each node takes several seconds to start; there is room for three workers in any case.
    """
    import cluster

    chance = random.Random(seed)
    victims = [chance.choice(("worker", "worker", "driver")) for _ in range(kills)]
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        site = cluster.installed(folder)
        arguments = (
            "--source", "starter", "--prompter", "static", "--personality", THREE_TRAITS, "--limit-samples", str(pairs),
            "--backend", "sleepy", "--sleepy-seconds", "0.1", "--sleepy-together", "4", "--sleepy-log",
        )  # fmt: skip
        environment = cluster.environment(site)
        subprocess.run(psyctl([*arguments, str(folder / "log")], folder / "whole"), env=environment, check=True)
        expected = dataset(folder / "whole")
        with cluster.running(nodes, -(-3 // nodes), site) as address:
            while victims:
                series = f"series {outcome.series}"
                log, output = folder / f"{series}.log", folder / series
                more = [str(log), "--runner", "ray", "--ray-address", address, "--ray-workers", "3"]
                more += ["--ray-spool", str(folder / f"{series} spool")]
                outcome.kills += _ray_series([*arguments, *more], output, log, environment, chance, victims)
                outcome.series += 1
                again = asked_again(log.read_text(encoding="utf-8").splitlines())
                outcome.asked_again += again
                if again:
                    outcome.paid_twice.append(f"{series}: {again} answered requests were asked again")
                if dataset(output) != expected:
                    outcome.different.append(series)
    return outcome


def _ray_series(
    arguments: Sequence[str],
    output: Path,
    log: Path,
    environment: Mapping[str, str],
    chance: random.Random,
    victims: list[str],
) -> int:
    """Run a command to its end, and meanwhile kill what is next in ``victims``, which is taken off; gives how many."""
    kills = 0
    while True:
        process = subprocess.Popen(
            psyctl(arguments, output), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        killed = False
        while process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0.2, 3.0) if victims and not killed else None)
            if process.poll() is None and (pid := process.pid if victims[-1] == "driver" else _a_worker(log, chance)):
                killed = victims.pop() == "driver"
                os.kill(pid, KILL)
                kills += 1
        _, errors = process.communicate()
        if process.returncode in DONE:
            return kills
        if not killed and b"3 Ray workers died" not in errors:  # as it says where three kills hit the same block
            raise RuntimeError(f"exit code {process.returncode}: {errors.decode()}")


def _a_worker(log: Path, chance: random.Random) -> int | None:
    """A process of the backend that is alive, if there is one."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    pids = {int(words[1]) for line in lines if (words := line.split())[0] == "started"}
    alive = [pid for pid in sorted(pids) if _is_rays(Path(f"/proc/{pid}/cmdline"))]
    return chance.choice(alive) if alive else None


def _is_rays(command: Path) -> bool:
    """Whether a process lives, and is one of Ray's workers: numbers are used again."""
    try:
        return command.read_bytes().startswith(b"ray::")
    except OSError:
        return False


def asked_again(lines: Sequence[str]) -> int:
    """How many lines of the backend's log ask what an earlier line says was answered."""
    answered: set[str] = set()
    again = 0
    for words in map(str.split, lines):
        if words[0] == "answered":
            answered.add(words[2])
        again += words[0] == "asked" and words[2] in answered
    return again


def _crash(
    forked: Forks,
    arguments: Sequence[str],
    kills: int,
    signals: int,
    seed: int,
    *,
    answered: Callable[[], dict[str, int]],
    reset: Callable[[], None],
) -> Outcome:
    chance = random.Random(seed)
    stops = [KILL] * kills + [chance.choice((signal.SIGINT, signal.SIGTERM)) for _ in range(signals)]
    chance.shuffle(stops)
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        run_series(forked, arguments, Path(folder) / "whole", 0, chance, [], answered)
        longest = time.monotonic() - began
        expected = dataset(Path(folder) / "whole")
        while stops:
            reset()
            name = f"series {outcome.series}"
            output = Path(folder) / str(outcome.series)
            done = run_series(forked, arguments, output, longest, chance, stops, answered)
            outcome.series += 1
            outcome.kills += sum(stop == KILL for stop, _ in done)
            outcome.signals += sum(stop in (signal.SIGINT, signal.SIGTERM) for stop, _ in done)
            again = [count for _, count in done]
            outcome.asked_again += sum(again)
            outcome.lost += lost(output)
            if dataset(output) != expected:
                outcome.different.append(name)
            # What was under way at a kill may be asked again in any later start, nothing else ever.
            killed = accumulate((stop == KILL for stop, _ in done), initial=0)
            if any(asked > WORKERS * kills for asked, kills in zip(accumulate(again), killed, strict=False)):
                outcome.paid_twice.append(f"{name}: {done}")
            if sum(again) > lost(output):
                outcome.forgotten.append(f"{name}: {sum(again)} asked again, {lost(output)} booked as lost")
    return outcome


def main() -> None:
    """Run long and print the counts; exit 1 where a dataset differs or an answer was asked for twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="kills against the server")
    parser.add_argument("--signals", type=int, default=100, help="Ctrl-C and SIGTERM against the server")
    parser.add_argument("--batch-kills", type=int, default=40, help="kills of runs in batches, for each kind of server")
    parser.add_argument("--local-kills", type=int, default=8, help="kills of the embedded model")
    parser.add_argument("--ray-kills", type=int, default=60, help="kills of workers and driver on a Ray cluster")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kills, signals, seed = options.kills, options.signals, options.seed
    hard = {"pairs": 60, "traits": THREE_TRAITS, "prompter": "p2", "server_seed": P2_SEED}
    outcomes = {
        "one trait, server": crash_server(kills - kills // 2, seed),
        "three traits, p2, server": crash_server(kills // 2, seed + 1, signals=signals // 2, **hard),
        "three traits, p2, server, no kills": crash_server(0, seed + 2, signals=signals - signals // 2, **hard),
        "judged by itself, server": crash_server(kills // 3, seed + 3, pairs=30, judge=JUDGES["itself"]),
        "judged by another, server": crash_server(kills // 3, seed + 4, pairs=30, judge=JUDGES["another"]),
        "batches, OpenRouter": crash_batches(options.batch_kills, seed + 5, "openrouter"),
        "batches, OpenRouter without a list": crash_batches(
            options.batch_kills, seed + 6, "openrouter", is_listed=False
        ),
        "batches, OpenAI": crash_batches(options.batch_kills, seed + 7, "openai"),
        "embedded model": crash_local(options.local_kills, seed),
        "three traits, Ray": crash_ray(options.ray_kills, seed),
    }
    for name, o in outcomes.items():
        print(
            f"{name}: {o.kills} kills, {o.signals} signals in {o.series} series, {len(o.different)} datasets differ, "
            f"{o.asked_again} requests under way at a kill were asked again ({o.lost} booked as lost), "
            f"{len(o.paid_twice)} answers paid twice, {len(o.forgotten)} series with spending left out of the books"
        )
        for problem in (*o.different, *o.paid_twice, *o.forgotten):
            print(f"  {problem}")
    sys.exit(not all(outcome.is_good for outcome in outcomes.values()))


if __name__ == "__main__":
    main()
