"""A whole night in minutes: a run that everything happens to, while another process looks on, and whether all agree.

A recipe is started against the misbehaving stand-in server. The budget is reached half-way, and raised; the process is
killed; a trait is added; the run is finished. Meanwhile a second process reads the status again and again, and every
start writes its events. In the end each number must be the same wherever it stands: in the datasets, the rejects,
run.json, the events, the status, the summary, the report, and in the server's own books.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from forks import HTTP, Forks  # noqa: E402 - they lie beside this file
from harness import KILL, StandIn  # noqa: E402

FAULTS = (
    "429=0.05",
    "502=0.04",
    "503=0.02",
    "close=0.03",
    "reset=0.02",
    "empty=0.03",
    "slow=0.03",
    "moderation=0.04xinf",
)
WORKERS = 16
MEAN_COST = 3.2e-5
"""US dollars that the stand-in takes for an answer, about."""

TRAITS = ("Extroversion", "Openness", "Neuroticism", "Agreeableness")
WATCHER = """
import json, sys, time
from pathlib import Path
from psyctl_core._engine.status import status
from psyctl_core._plugins.registry import discover
from psyctl_core.errors import PsyctlError
output, log = map(Path, sys.argv[1:])
registry = discover()
with log.open("a") as file:
    while True:
        try:
            seen = [run.as_json() for run in status(output, registry)]
        except PsyctlError:
            seen = []
        file.write(json.dumps(seen) + "\\n")
        file.flush()
        time.sleep(0.2)
"""


@dataclass
class Night:
    """What was found: figures to print, and sentences about numbers that differ."""

    figures: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def same(self, what: str, **values: Any) -> None:
        """All of these are one number."""
        if len({json.dumps(value, sort_keys=True) for value in values.values()}) > 1:
            self.wrong.append(f"{what}: {values}")


def write_rows(path: Path, count: int) -> None:
    """Scenarios: the shipped ones, told again with another beginning until there are enough."""
    shipped = HERE.parents[1] / "plugins" / "psyctl_soda" / "starter.jsonl"
    rows = [json.loads(line) for line in shipped.read_text(encoding="utf-8").splitlines()]
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            row = dict(rows[number % len(rows)])
            row["narrative"] = f"It was day {number // len(rows) + 1}. {row['narrative']}"
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def write_recipe(path: Path, url: str, output: Path, rows: Path, pairs: int, budget: float) -> None:
    """The recipe that the run is started from, with three of the traits."""
    path.write_text(
        f"""format-version: 1
personality: "{", ".join(TRAITS[:3])}"
output: {output}
limit-samples: {pairs}
max-cost: {budget:.6f}
source:
  component: soda
  dataset: {rows}
prompter:
  component: static
backend:
  component: openrouter
  openrouter-base-url: {url}
  openrouter-max-workers: {WORKERS}
  openrouter-patience: 30
""",
        encoding="utf-8",
    )


def environment() -> dict[str, str]:
    """A key, and nothing of the Hub."""
    return {**os.environ, "OPENROUTER_API_KEY": "sk-or-v1-stand-in", "HF_HUB_OFFLINE": "1"}


class Start:
    """One start of the command from the recipe, with its events in a file of its own."""

    def __init__(self, forked: Forks, folder: Path, name: str, *words: str) -> None:
        self.events_file = folder / f"{name}.events"
        self._summary_file = folder / f"{name}.summary"
        self.events_file.touch()
        words = ("dataset.build.caa", "--recipe", str(folder / "night.yaml"), *words, "--progress", "json", "--json")
        self.process = forked.start(words, self._summary_file, self.events_file)

    def ended(self) -> int | None:
        """The exit code, once it has ended."""
        return self.process.wait()

    def killed_at(self, pairs: int) -> None:
        """Kill it once it tells of so many pairs."""
        while self.process.wait(0.02) is None:
            if any(event.get("pairs", 0) >= pairs for event in self.events()):
                self.process.send_signal(KILL)

    def events(self) -> list[dict[str, Any]]:
        """What it told so far; half a line at the end is left out."""
        found = []
        for line in self.events_file.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def summary(self) -> dict[str, Any]:
        """What it printed in the end."""
        told: dict[str, Any] = json.loads(self._summary_file.read_text(encoding="utf-8"))
        return told


class Watcher:
    """A second process that reads the status again and again; each look is a line of its file."""

    def __init__(self, output: Path, file: Path) -> None:
        self._file = file
        file.touch()
        self._process = subprocess.Popen([sys.executable, "-c", WATCHER, str(output), str(file)], env=environment())

    def looks(self) -> list[str]:
        """Its looks so far, without one that it is still writing."""
        return [line for line in self._file.read_text(encoding="utf-8").splitlines(keepends=True) if line[-1] == "\n"]

    def look_again(self) -> None:
        """Wait for a look that began after this call: the second from now, as one may be under way."""
        wanted = len(self.looks()) + 2
        while len(self.looks()) < wanted and self._process.poll() is None:
            time.sleep(0.02)

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def typed(forked: Forks, folder: Path, *words: str) -> str:
    """What a command prints."""
    printed, errors = folder / f"{words[0]}.printed", folder / f"{words[0]}.errors"
    if forked.start(words, printed, errors).wait():
        raise RuntimeError(errors.read_text(encoding="utf-8"))
    return printed.read_text(encoding="utf-8")


def log_of(server: StandIn) -> dict[str, Any]:
    """The server's books, once nothing is under way any more."""
    server.answered()
    with urllib.request.urlopen(f"{server.url.removesuffix('/api/v1')}/_log", timeout=30) as response:
        log: dict[str, Any] = json.load(response)
    return log


def check_events(night: Night, name: str, events: Sequence[dict[str, Any]]) -> None:
    """Each holds to the schema, and nothing ever becomes less."""
    from psyctl_core import schema

    told: dict[str, float] = {}
    for event in events:
        if wrong := schema.problem("progress", event):
            night.wrong.append(f"an event of {name} is none: {wrong}")
        for what in ("pairs", "cost", "answers", "seconds", "retries"):
            value = event.get(what)
            if value is not None and value < told.get(what, 0):
                night.wrong.append(f"{what} went from {told[what]} to {value} in {name}")
            told[what] = value if value is not None else told.get(what, 0)


def check_watched(night: Night, lines: Sequence[str]) -> None:
    """What the second process saw never went back, and was never out of step."""
    told: dict[str, dict[str, float]] = {}
    states = set()
    for line in lines:
        for run in json.loads(line):
            states.add(run["state"].partition(" ")[0])
            before = told.setdefault(run["trait"], {})
            for what in ("records", "cost"):
                value = run[what]
                if value is not None and value < before.get(what, 0) - 1e-9:
                    night.wrong.append(f"{what} of {run['trait']} went from {before[what]} to {value} in the status")
                before[what] = before.get(what, 0) if value is None else value
            night.wrong += [f"the status says of {run['trait']}: {problem}" for problem in run["problems"]]
    night.figures["looks of the second process"] = len(lines)
    night.figures["states it saw"] = sorted(states)


def lines_of(path: Path) -> list[dict[str, Any]]:
    """A file's lines as JSON."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def report_counts(page: str, row: str) -> list[int]:
    """The numbers in a row of the report's table of traits."""
    cells = re.search(rf"<th[^>]*>{row}</th>(.*?)</tr>", page, re.DOTALL)
    return [int(cell.replace(",", "")) for cell in re.findall(r"<td[^>]*>([\d,]+)</td>", cells[1])] if cells else []


def check_datasets(night: Night, told: str, summary: dict[str, Any], page: str) -> None:
    """Pairs, rejected scenarios and what was used: files, run.json, status, summary and report."""
    status = {run["trait"]: run for run in json.loads(told)}
    in_report = dict(
        zip(
            sorted(status),
            zip(report_counts(page, "pairs"), report_counts(page, "rejected"), strict=True),
            strict=False,
        )
    )
    for dataset in summary["datasets"]:
        trait, run_folder = dataset["trait"], Path(dataset["run_folder"])
        run = json.loads((run_folder / "run.json").read_text(encoding="utf-8"))
        statistics = run["statistics"]
        records = lines_of(Path(dataset["location"]))
        night.same(f"{trait} in records", ids=len({row["id"] for row in records}), records=len(records))
        night.same(
            f"pairs of {trait}", file=len(records), summary=dataset["pairs"], run=statistics["accepted"],
            status=status[trait]["records"], report=in_report.get(trait, (None, None))[0],
        )  # fmt: skip
        night.same(
            f"rejected of {trait}", file=len(lines_of(run_folder / "rejects.jsonl")),
            summary=sum(dataset["rejected"].values()), run=sum(statistics["rejected"].values()),
            status=status[trait]["rejected"], report=in_report.get(trait, (None, None))[1],
        )  # fmt: skip
        night.same(
            f"cost with {trait}", summary=summary["usage"]["cost"], run=statistics["cost"], status=status[trait]["cost"]
        )
        for name, value in summary["usage"].items():
            night.same(f"{name} with {trait}", summary=value, run=statistics[name])
        night.same(f"state of {trait}", run=run["status"], status=status[trait]["state"], wanted="complete")


def check_books(night: Night, log: dict[str, Any], usage: dict[str, Any]) -> None:
    """What the run counted against what the server did."""
    answered, again = len(log["answered"]), sum(log["answered"].values()) - len(log["answered"])
    night.figures |= {
        "answered by the server": answered, "answered again": again, "faults": log["faults"],
        "charged by the server": round(log["charged"], 6), "of it for nothing": round(log["lost"], 6),
        "booked": round(usage["cost"], 6), "requests": usage["requests"], "failed": usage["failed_requests"],
        "unpriced": usage["unpriced_requests"], "lost": usage["lost_requests"],
    }  # fmt: skip
    night.same("answers", server=answered, run=usage["requests"] - usage["failed_requests"])
    if again > usage["lost_requests"]:
        night.wrong.append(f"{again} answers were paid for twice, {usage['lost_requests']} are booked as lost")
    if usage["cost"] > log["charged"] + 1e-9:
        night.wrong.append(f"booked {usage['cost']}, charged {log['charged']}")
    untold = log["lost"] + again * 4 * MEAN_COST
    if usage["cost"] < log["charged"] - untold - 1e-9:
        night.wrong.append(f"booked {usage['cost']}, charged {log['charged']}, of which at most {untold} was not told")


def sleepless(pairs: int, folder: Path) -> Night:
    """Live through it all."""
    night = Night()
    output, rows = folder / "out", folder / "rows.jsonl"
    write_rows(rows, pairs + pairs // 2 + 40)
    faults = [part for fault in FAULTS for part in ("--fault", fault)]
    server = StandIn("--latency", "0.02", "--retry-after", "0.05", "--slow-seconds", "0.3", *faults)
    forked = Forks((*HTTP, "impatient", "psyctl_report.command"), environment())
    watcher = Watcher(output, folder / "watched")
    starts: dict[str, Start] = {}
    try:
        budget = pairs * 4 * 0.5 * MEAN_COST
        write_recipe(folder / "night.yaml", server.url, output, rows, pairs, budget)
        starts["first"] = Start(forked, folder, "first")
        night.same("code of the first start", wanted=75, code=starts["first"].ended())
        watcher.look_again()
        if (charged := log_of(server)["charged"]) > budget:
            night.wrong.append(f"the budget was {budget}, and {charged} was charged")
        starts["raised"] = Start(forked, folder, "raised", "--max-cost", "100")
        starts["raised"].killed_at(pairs * 9 // 4)
        night.same("code of the killed start", wanted=-9, code=starts["raised"].ended())
        starts["last"] = Start(forked, folder, "last", "--max-cost", "100", "--personality", ", ".join(TRAITS))
        night.same("code of the last start", wanted=0, code=starts["last"].ended())
        watcher.look_again()
        summary = starts["last"].summary()
        for name, start in starts.items():
            check_events(night, name, start.events())
        check_end(night, starts["last"].events(), summary)
        check_watched(night, watcher.looks())
        status = typed(forked, folder, "dataset.status", str(output), "--json")
        typed(forked, folder, "dataset.report", str(output), "--html", str(folder / "report.html"))
        check_datasets(night, status, summary, (folder / "report.html").read_text(encoding="utf-8"))
        check_books(night, log_of(server), summary["usage"])
        night.figures["pairs"] = {dataset["trait"]: dataset["pairs"] for dataset in summary["datasets"]}
        night.figures["rejected"] = {d["trait"]: sum(d["rejected"].values()) for d in summary["datasets"]}
        return night
    finally:
        watcher.stop()
        for start in starts.values():
            start.process.send_signal(KILL)
        forked.stop()
        server.stop()


def check_end(night: Night, events: Sequence[dict[str, Any]], summary: dict[str, Any]) -> None:
    """The last events against the summary."""
    last = [event for event in events if "pairs" in event][-1]
    night.same("summary", printed=summary, event=events[-1].get("summary"))
    night.same("pairs", event=last["pairs"], summary=sum(dataset["pairs"] for dataset in summary["datasets"]))
    night.same("cost", event=last["cost"], summary=summary["usage"]["cost"])
    night.same("answers of the last start", event=last["answers"], summary=summary["requests"])
    rejected: dict[str, int] = {}
    for dataset in summary["datasets"]:
        for reason, count in dataset["rejected"].items():
            rejected[reason] = rejected.get(reason, 0) + count
    night.same("rejected", event=last["rejected"], summary=rejected)


def main() -> None:
    """Live through a night of 400 pairs of each trait, print what was counted, and exit 1 where numbers differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--keep", type=Path, help="a folder for what the night leaves (default: none of it is kept)")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        place = options.keep or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        night = sleepless(options.pairs, place)
    for name, value in night.figures.items():
        print(f"{name}: {value}")
    print(f"{time.monotonic() - began:.0f} s; {len(night.wrong)} disagreements")
    for wrong in night.wrong[:50]:
        print(f"  {wrong}")
    sys.exit(bool(night.wrong))


if __name__ == "__main__":
    main()
