"""What psyctl itself costs: pairs a second with a backend that answers at once, and memory as scenarios grow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

PAIRS = 20_000
SCENARIOS = (10_000, 100_000, 1_000_000)
SHORT = os.environ.get("PSYCTL_BENCH_SHORT") == "1"

CHILD = """
import json, resource, sys
from psyctl_core import Completion, build_caa
from psyctl_core.components import InferenceBackend
from psyctl_core.testing import FakeSource

class Instant(InferenceBackend):
    "Answers at once; with accept_every=N all scenarios but every Nth get two equal answers."
    def __init__(self, accept_every):
        self.n = accept_every
    def generate(self, requests):
        for r in requests:
            place, _, role = r.id.partition(":")
            kept = int(place) % self.n == 0
            yield Completion(r.id, f"Answer {role if kept else ''} {place}.", prompt_tokens=1, completion_tokens=1)

scenarios, every, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
source, backend = FakeSource(scenarios), Instant(every)
report = build_caa("Openness", out, source=source, backend=backend, prompter="static")
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([report.datasets[0].pairs, report.generating_seconds, memory]))
"""


def run(scenarios: int, accept_every: int) -> tuple[int, float, float]:
    """Pairs, seconds of generating, and peak memory in MiB of one whole run in its own process."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-c", CHILD, str(scenarios), str(accept_every), out]
        pairs, seconds, kib = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return pairs, seconds, kib / 1024


def measure() -> list[dict[str, object]]:
    """Rows of what was run, pairs, pairs a second, scenarios a second, and peak memory."""
    rows = []
    for scenarios, every in [(PAIRS, 1), *((n, 50) for n in SCENARIOS[: 2 if SHORT else None])]:
        pairs, seconds, memory = run(scenarios, every)
        rows.append(
            {
                "scenarios": scenarios,
                "pairs": pairs,
                "pairs/s": round(pairs / seconds),
                "scenarios/s": round(scenarios / seconds),
                "peak MiB": round(memory),
            }
        )
    return rows
