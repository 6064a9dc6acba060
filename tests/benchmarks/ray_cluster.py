"""A stranger's backend that takes 0.2 s for 16 requests, on a local Ray cluster of four nodes with 1 to 8 workers.

"seconds" are those of the whole command, "answering" those from the first request asked to the last one answered, by
the backend's own log. "requests/s" adds up what each worker answered, by the time from its own first request to the
end: workers that share two cores begin one after the other, which machines of their own do not. "growth" is how many
times more that is than with one worker, "share" that of as many times as there are workers. All datasets must be equal
byte for byte.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from throughput import scenarios

sys.path.append(str(Path(__file__).resolve().parents[1] / "crash"))
import cluster

SHORT = os.environ.get("PSYCTL_BENCH_SHORT") == "1"
PAIRS = 1_000 if SHORT else 4_573
WORKERS = (1, 2, 4, 8)


def build(folder: Path, name: str, site: Path, *options: str) -> tuple[dict[str, float], bytes]:
    """What one run took and how fast it was, and its dataset."""
    log = folder / f"{name}.log"
    command = [
        sys.executable, "-c", "from psyctl_core.cli import main; main()", "dataset.build.caa", "--quiet",
        "--dataset", str(folder / "scenarios.jsonl"), "--prompter", "static", "--personality", "Openness",
        "--backend", "sleepy", "--sleepy-log", str(log), "--limit-samples", str(PAIRS),
        "--output", str(folder / name), *options,
    ]  # fmt: skip
    began = time.perf_counter()
    subprocess.run(command, check=True, env=cluster.environment(site), stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - began
    (dataset,) = (folder / name).rglob("caa_dataset_*.jsonl")
    return {"seconds": seconds, **_log_of(log)}, dataset.read_bytes()


def _log_of(log: Path) -> dict[str, float]:
    """How long the backend's processes answered, and how many requests a second all together."""
    asked: dict[str, float] = {}
    answered: Counter[str] = Counter()
    end = 0.0
    for what, process, *_, seconds in map(str.split, log.read_text(encoding="utf-8").splitlines()):
        if what == "asked":
            asked.setdefault(process, float(seconds))
        elif what == "answered":
            answered[process] += 1
            end = max(end, float(seconds))
    rate = sum(answered[process] / (end - first) for process, first in asked.items())
    return {"answering": end - min(asked.values()), "requests/s": rate}


def measure() -> list[dict[str, object]]:
    """A row without Ray, and one for each number of workers."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scenarios(folder / "scenarios.jsonl", PAIRS + PAIRS // 10)
        site = cluster.installed(folder)
        found, expected = build(folder, "local", site)
        rows.append({"workers": "without Ray", "requests": 2 * PAIRS, **_rounded(found)})
        with cluster.running(4, 2, site) as address:
            one = 0.0
            for workers in WORKERS:
                options = ("--runner", "ray", "--ray-address", address, "--ray-workers", str(workers))
                found, dataset = build(folder, str(workers), site, *options)
                assert dataset == expected, f"{workers} workers made another dataset"
                one = one or found["requests/s"]
                growth = found["requests/s"] / one
                row = {"workers": workers, "requests": 2 * PAIRS, **_rounded(found)}
                rows.append({**row, "growth": round(growth, 2), "share": round(growth / workers, 3)})
                print(rows[-1], flush=True)
    return rows


def _rounded(found: dict[str, float]) -> dict[str, object]:
    return {what: round(value, 1) for what, value in found.items()}
