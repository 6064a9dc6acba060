"""Extracting a steering vector at every block of the embedded model, beside the model's forward passes alone.

"forward passes" computes the very batches that the extraction computes, with the model's blocks and without its head,
and keeps nothing; "with the head" is the same through the whole model. "extraction" is everything that `extract` does:
writing prompts, token ids, the passes, reading states, differences on the disk, directions and figures. The contenders
run in turn in one process, so that all meet the same disturbances; "x forward" is the median of the ratios within each
round, with the smallest and the largest; "CPU" goes by the processors' time, which others on the machine hardly change.
The last rows show how memory grows: each is a process of its own.

`PSYCTL_BENCH_PAIRS` (40) and `PSYCTL_BENCH_ROUNDS` (3) make it shorter or longer.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

PAIRS = int(os.environ.get("PSYCTL_BENCH_PAIRS", "40"))
ROUNDS = int(os.environ.get("PSYCTL_BENCH_ROUNDS", "3"))
GROWTH = (20, 100, 500)
WORDS = "well I think we could all go there and ask them whether it is any good to wait until the others come"
CONTENDERS = ("forward passes", "with the head", "extraction")


def measure() -> list[dict[str, object]]:
    """Rows of contender, pairs, tokens/s, ratio and memory."""
    rounds = _rounds()
    rows: list[dict[str, object]] = []
    for name in CONTENDERS:
        ratios = [each[name][0] / each["forward passes"][0] for each in rounds]
        by_cpu = [each["forward passes"][1] / each[name][1] for each in rounds]
        rows.append(
            {
                "contender": name,
                "pairs": PAIRS,
                "tokens/s": f"{statistics.median(each[name][0] for each in rounds):.0f}",
                "x forward": f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
                "x forward, CPU": f"{statistics.median(by_cpu):.2f} ({min(by_cpu):.2f} to {max(by_cpu):.2f})",
            }
        )
    for pairs in GROWTH:
        ended = subprocess.run([sys.executable, __file__, str(pairs)], capture_output=True, text=True, check=True)
        rows.append({"contender": "extraction, by itself", "pairs": pairs, "MiB": json.loads(ended.stdout)["MiB"]})
    return rows


def _pairs(number: int) -> list[Any]:
    """Pairs over the shipped scenes, with answers of many lengths."""
    from psyctl_core import Context, ContrastivePair, Scenario
    from psyctl_core._caa.question import to_record
    from psyctl_core._plugins.registry import discover
    from psyctl_core._plugins.selection import Selection, resolve

    source = resolve(discover(), "source", Selection("starter")).make(Context())
    scenes = [each for each in source.scenarios(0) if isinstance(each, Scenario)]
    words = WORDS.split()
    records = []
    for n in range(number):
        loud, quiet = " ".join(words[: 4 + n % 17]), " ".join(words[n % 5 : 9 + n % 11][::-1])
        records.append(to_record(ContrastivePair(scenes[n % len(scenes)], "Extroversion", loud, quiet), n, 0))
    return records


def _rounds() -> list[dict[str, tuple[float, float]]]:
    """Tokens a second and CPU seconds of each contender, round by round."""
    import torch

    from psyctl_core import lent_model
    from psyctl_steering import extract, states

    records, compute = _pairs(PAIRS), states.compute
    batches: list[Any] = []
    tokens = 0

    def noted(model: Any, pairs: Any, layers: Any) -> Any:
        batches.append(pairs)
        return compute(model, pairs, layers)

    def timed(run: Any) -> tuple[float, float]:
        began, cpu = time.perf_counter(), time.process_time()
        run()
        return tokens / (time.perf_counter() - began), time.process_time() - cpu

    def passes(run: Any) -> None:
        with torch.inference_mode():
            for pairs in batches:
                ids, mask = states.padded([row.ids for row in (r for rows in pairs for r in rows)], lent.model.device)
                run(input_ids=ids, attention_mask=mask, use_cache=False)

    with lent_model("embedded", options={"device": "cpu", "dtype": "float32"}) as lent:
        states.compute = noted  # type: ignore[assignment]
        extract(lent, records)  # warm, and to know the batches
        states.compute = compute
        tokens = sum(len(row.ids) for pairs in batches for rows in pairs for row in rows)
        ways = (lambda: passes(lent.model.base_model), lambda: passes(lent.model), lambda: extract(lent, records))
        return [{name: timed(way) for name, way in zip(CONTENDERS, ways, strict=True)} for _ in range(ROUNDS)]


def _memory(pairs: int) -> None:
    """Print how much memory this process took at most to extract from so many pairs."""
    from psyctl_core import lent_model
    from psyctl_steering import extract

    records = _pairs(pairs)
    with lent_model("embedded", options={"device": "cpu", "dtype": "float32"}) as lent:
        extract(lent, records, batch_size=8)
    print(json.dumps({"MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))


if __name__ == "__main__":
    _memory(int(sys.argv[1]))
