"""Answers a second over HTTP, whole command, with the stand-in server beside it at 0.2 s latency."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SERVER = Path(__file__).resolve().parents[1] / "openrouter" / "server.py"
LATENCY = 0.2
SHORT = os.environ.get("PSYCTL_BENCH_SHORT") == "1"
ROWS = ((16, 400), (64, 2_000), (128, 6_000)) if SHORT else ((16, 800), (64, 4_000), (128, 10_000))
A_HUNDRED = (128, 100)  # what the memory of the largest row is compared with


def scenarios(path: Path, count: int) -> None:
    """A SODA-shaped file with so many different scenarios."""
    with path.open("w", encoding="utf-8") as file:
        for n in range(count):
            row = {
                "narrative": f"Robin and Kim have waited at stop {n} for a long time, and it begins to rain.",
                "dialogue": [f"Shall we walk to stop {n + 1} together?", "Let us see."],
                "speakers": ["Robin", "Kim"],
            }
            file.write(json.dumps(row) + "\n")


def command(url: str, workers: int, pairs: int, folder: Path) -> tuple[float, float]:
    """Wall seconds and peak memory in MiB of one whole command."""
    arguments = [
        sys.executable, "-c", "from psyctl_core.cli import main; main()", "dataset.build.caa", "--quiet",
        "--dataset", str(folder / "scenarios.jsonl"), "--prompter", "static", "--personality", "Openness",
        "--backend", "openrouter", "--openrouter-base-url", url, "--openrouter-max-workers", str(workers),
        "--limit-samples", str(pairs), "--output", str(folder / f"out-{workers}-{pairs}"),
    ]  # fmt: skip
    began = time.perf_counter()
    process = subprocess.Popen(arguments, env={**os.environ, "OPENROUTER_API_KEY": "sk-or-v1-stand-in"})
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def measure() -> list[dict[str, object]]:
    """Rows of workers, pairs, requests a second, their share of workers / latency, and peak memory."""
    rows: list[dict[str, object]] = []
    start = [sys.executable, str(SERVER), "--port", "0", "--latency", str(LATENCY)]
    with tempfile.TemporaryDirectory() as name, subprocess.Popen(start, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().split()[-1]
        folder = Path(name)
        scenarios(folder / "scenarios.jsonl", 12_000)
        try:
            for workers, pairs in (*ROWS, A_HUNDRED):
                seconds, memory = command(url, workers, pairs, folder)
                rows.append(
                    {
                        "workers": workers,
                        "pairs": pairs,
                        "requests/s": round(2 * pairs / seconds, 1),
                        "share of workers / latency": round(2 * pairs / seconds / (workers / LATENCY), 3),
                        "peak MiB": round(memory),
                    }
                )
        finally:
            server.kill()
    return rows
