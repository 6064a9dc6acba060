"""A stranger's backend that takes 0.2 s for 16 requests, on a local Ray cluster of four nodes with 1 to 8 workers.

"seconds" are those of the whole command, "answering" those from the first request asked to the last one answered, by
the backend's own log. "growth" is how many times faster that is than one worker, "share" that of as many times as there
are workers. All datasets must be equal byte for byte. The nodes and their workers share this machine's cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from throughput import scenarios

sys.path.append(str(Path(__file__).resolve().parents[1] / "crash"))
import cluster

SHORT = os.environ.get("PSYCTL_BENCH_SHORT") == "1"
PAIRS = 1_000 if SHORT else 4_573
WORKERS = (1, 2, 4, 8)


def build(folder: Path, name: str, site: Path, *options: str) -> tuple[float, float, bytes]:
    """Seconds of the whole command and of the answering, and the dataset, of one run."""
    log = folder / f"{name}.log"
    command = [
        sys.executable, "-c", "from psyctl_core.cli import main; main()", "dataset.build.caa", "--quiet",
        "--dataset", str(folder / "scenarios.jsonl"), "--prompter", "static", "--personality", "Openness",
        "--backend", "sleepy", "--sleepy-log", str(log), "--limit-samples", str(PAIRS),
        "--output", str(folder / name), *options,
    ]  # fmt: skip
    began = time.perf_counter()
    subprocess.run(command, check=True, env=cluster.environment(site))
    seconds = time.perf_counter() - began
    lines = [line.split() for line in log.read_text(encoding="utf-8").splitlines()]
    times = [float(words[-1]) for words in lines if words[0] != "started"]
    (dataset,) = (folder / name).rglob("caa_dataset_*.jsonl")
    return seconds, max(times) - min(times), dataset.read_bytes()


def measure() -> list[dict[str, object]]:
    """A row without Ray, and one for each number of workers."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scenarios(folder / "scenarios.jsonl", PAIRS + PAIRS // 10)
        site = cluster.installed(folder)
        seconds, answering, expected = build(folder, "local", site)
        rows.append({"workers": "without Ray", "requests": 2 * PAIRS, **_times(seconds, answering)})
        with cluster.running(4, 2, site) as address:
            for workers in WORKERS:
                options = ("--runner", "ray", "--ray-address", address, "--ray-workers", str(workers))
                seconds, answering, dataset = build(folder, str(workers), site, *options)
                assert dataset == expected, f"{workers} workers made another dataset"
                if workers == 1:
                    one = answering
                growth = {"growth": round(one / answering, 2), "share": round(one / answering / workers, 3)}
                rows.append({"workers": workers, "requests": 2 * PAIRS, **_times(seconds, answering), **growth})
                print(rows[-1], flush=True)
    return rows


def _times(seconds: float, answering: float) -> dict[str, object]:
    return {"seconds": round(seconds, 1), "answering": round(answering, 1), "requests/s": round(2 * PAIRS / answering)}
