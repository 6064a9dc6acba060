"""Scenarios from SODA-shaped rows: how many a second on one core, and what streaming a million rows takes."""

from __future__ import annotations

import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
STARTER = HERE.parents[1] / "plugins" / "psyctl_soda" / "starter.jsonl"
RUNS = 3
LOCAL_ROWS = 100_000
STREAMED_ROWS = 1_000_000
ROW_GROUP = 50_000

LOCAL = """
import json, os, sys, time
from psyctl_core import Context
from psyctl_soda import SodaConfig
from psyctl_soda.source import SodaSource

os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
source = SodaSource(SodaConfig(dataset=sys.argv[1], **json.loads(sys.argv[2])), Context())
source.identity()
began = time.perf_counter()
count = sum(1 for _ in source.scenarios(int(sys.argv[3])))
print(count / (time.perf_counter() - began))
"""

STREAMED = """
import sys, time
from psyctl_core import Context
from psyctl_soda import SodaConfig
from psyctl_soda.source import SodaSource

def told():
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print(int(status["VmHWM"].split()[0]) // 1024, round(time.perf_counter() - began, 1), flush=True)
    sys.stdin.readline()

began = time.perf_counter()
items = SodaSource(SodaConfig(dataset="allenai/soda"), Context()).scenarios(0)
next(items)
told()
for number, _ in enumerate(items, 2):
    if number % 250_000 == 0:
        told()
"""


def measure() -> list[dict[str, object]]:
    """Rows of what was measured and its value."""
    with tempfile.TemporaryDirectory() as folder:
        return [*_local(Path(folder)), *_streamed(Path(folder))]


def write_parquet(path: Path, rows: int, row_group: int) -> None:
    """Write SODA-shaped rows: the starter's over and over, each scene made unique by a number."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    starter = [json.loads(line) for line in STARTER.read_text(encoding="utf-8").splitlines()]
    block = [starter[number % len(starter)] for number in range(row_group)]
    table = pa.table({name: [row[name] for row in block] for name in ("narrative", "dialogue", "speakers", "mood")})
    with pq.ParquetWriter(path, table.schema, use_dictionary=False) as writer:
        for first in range(0, rows, row_group):
            numbers = pa.array([f" ({number})" for number in range(first, first + row_group)])
            scenes = pc.binary_join_element_wise(table["narrative"], numbers, "")
            writer.write_table(table.set_column(0, "narrative", scenes), row_group_size=row_group)


def _local(folder: Path) -> list[dict[str, object]]:
    path = folder / "local.parquet"
    write_parquet(path, LOCAL_ROWS, ROW_GROUP)
    cases: list[tuple[str, dict[str, Any], int]] = [
        ("local Parquet, all rows", {}, 0),
        ("local Parquet, shuffled", {"shuffle": True}, 0),
    ]
    rows: list[dict[str, object]] = []
    for what, settings, start in cases:
        command = [sys.executable, "-c", LOCAL, str(path), json.dumps(settings), str(start)]
        rates = [float(subprocess.check_output(command, text=True)) for _ in range(RUNS)]
        rows.append({"what": f"{what}: scenarios a second", "value": f"{statistics.median(rates):,.0f}"})
    began = time.perf_counter()
    command = [sys.executable, "-c", LOCAL, str(path), "{}", str(LOCAL_ROWS - 1000)]
    subprocess.check_output(command)
    rows.append(
        {"what": "the last 1,000 of 100,000, imports included: s", "value": round(time.perf_counter() - began, 1)}
    )
    return rows


def _streamed(folder: Path) -> list[dict[str, object]]:
    hub_module = _hub_module()
    path = folder / "streamed.parquet"
    write_parquet(path, STREAMED_ROWS, ROW_GROUP)
    size = path.stat().st_size
    repository = hub_module.Repository("allenai/soda", {"train.parquet": path})
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    marks: list[tuple[int, float, int]] = []
    with hub_module.Hub([repository]) as hub:
        environment = hub.environment(folder / "home")
        with subprocess.Popen([sys.executable, "-c", STREAMED], env=environment, **pipes) as process:
            while line := process.stdout.readline():
                memory, seconds = line.split()
                marks.append((int(memory), float(seconds), hub.served["allenai/soda/train.parquet"]))
                process.stdin.write("\n")
                process.stdin.flush()
    first, last = marks[0], marks[-1]
    memories = ", ".join(str(memory) for memory, _, _ in marks)
    return [
        {
            "what": f"{STREAMED_ROWS:,} rows streamed from a Hub on loopback: MB of the file",
            "value": round(size / 1e6, 1),
        },
        {"what": "served before the first scenario: MB", "value": round(first[2] / 1e6, 2)},
        {"what": "the first scenario, imports aside: s", "value": first[1]},
        {"what": "served for all of them: MB", "value": round(last[2] / 1e6, 1)},
        {"what": "scenarios a second, streamed", "value": f"{STREAMED_ROWS / last[1]:,.0f}"},
        {"what": "most memory after 1, 250,000, ... 1,000,000 rows: MiB", "value": memories},
    ]


def _hub_module() -> Any:
    path = HERE.parent / "sources" / "hub.py"
    spec = importlib.util.spec_from_file_location("psyctl_sources_hub", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
