"""How long help takes, as a user waits for it: whole processes, the median of ten."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = (("--help",), ("dataset.build.caa", "--help"), ("plugins.list",))
RUNS = 10


def measure() -> list[dict[str, object]]:
    """Rows of command, median, fastest and slowest, in seconds."""
    psyctl = Path(sys.executable).with_name("psyctl")
    rows: list[dict[str, object]] = []
    for arguments in COMMANDS:
        times = []
        for run in range(RUNS + 1):
            began = time.perf_counter()
            subprocess.run([psyctl, *arguments], stdout=subprocess.DEVNULL, check=True)
            if run:  # the first one warms the file cache
                times.append(time.perf_counter() - began)
        rows.append(
            {
                "command": " ".join(("psyctl", *arguments)),
                "median s": round(statistics.median(times), 3),
                "min s": round(min(times), 3),
                "max s": round(max(times), 3),
            }
        )
    return rows
