"""Local generation with the embedded model, 64 new tokens at most: psyctl's backends beside what a user would write.

Every contender answers the same scenarios in a process of its own, the contenders in turn, so that all meet the same
disturbances. A pair is two answers; "pairs/s" counts from the first import to the last answer, "warm pairs/s" leaves
loading out. "plain" is `generate` in bfloat16, left-padded, 16 prompts at a time, in the order of the scenarios, with
the model loaded from the same file; "plain, stops" also has `stop_strings`. "plain, 64" computes 64 prompts at a time.
"raw OpenVINO" hands all prompts to `ContinuousBatchingPipeline.generate`, with the file that "openvino" computes with:
the model's, rewritten with 8-bit blocks. The two "rounded" contenders read the model's own file, whose 4-bit blocks
OpenVINO rounds; what they answer is another model's. "own share" is the time of the whole build that was not spent in
the engine. "x plain", "x raw" and the like are medians of the ratios within each round, with the smallest and the
largest.

The rows with more pairs show how cost grows. `PSYCTL_BENCH_PAIRS` (64), `PSYCTL_BENCH_ROUNDS` (3) and
`PSYCTL_BENCH_GROWTH` ("plain:256 hf:16,64,256,1024 openvino:16,64,256,1024") make it shorter or longer.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MAX_TOKENS = 64
CONTENDERS = (
    "plain",
    "plain, stops",
    "plain, 64",
    "hf",
    "raw OpenVINO",
    "openvino",
    "raw OpenVINO, rounded",
    "openvino, rounded",
)
OURS = ("hf", "openvino", "openvino, rounded")
BATCH = 16
ROUNDS = int(os.environ.get("PSYCTL_BENCH_ROUNDS", "3"))
PAIRS = int(os.environ.get("PSYCTL_BENCH_PAIRS", "64"))
GROWTH = os.environ.get("PSYCTL_BENCH_GROWTH", "plain:256 hf:16,64,256,1024 openvino:16,64,256,1024")


def measure() -> list[dict[str, object]]:
    """Rows of contender, pairs, rates, memory, answers and ratios."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "scenarios.jsonl"
        _write_scenarios(data)
        rounds = [{name: _child(name, PAIRS, data) for name in CONTENDERS} for _ in range(ROUNDS)]
        rows = [_row(name, rounds) for name in CONTENDERS]
        for part in GROWTH.split():
            name, _, counts = part.partition(":")
            rows += [_row(name, [{name: _child(name, int(count), data)}]) for count in counts.split(",")]
    return rows


def _write_scenarios(path: Path) -> None:
    """Enough scenarios of one kind: the shipped ones, on several days."""
    import psyctl_soda

    shipped = (Path(psyctl_soda.__file__).parent / "starter.jsonl").read_text(encoding="utf-8").splitlines()
    days = (
        "",
        "It is Monday. ",
        "It is a warm Tuesday. ",
        "Wednesday. ",
        "It rains, a Thursday. ",
        "At last, Friday. ",
    )
    with path.open("w", encoding="utf-8") as file:
        for day in days:
            for row in map(json.loads, shipped):
                file.write(json.dumps({**row, "narrative": day + row["narrative"]}) + "\n")


def _child(name: str, pairs: int, data: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, name, str(pairs), str(data)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(name, pairs, {key: round(value, 3) for key, value in result.items()}, flush=True)
    return result


def _row(name: str, rounds: list[dict[str, dict[str, Any]]]) -> dict[str, object]:
    results = [found[name] for found in rounds]

    def middle(key: str) -> float:
        return statistics.median(result[key] for result in results)

    row: dict[str, object] = {
        "contender": name,
        "pairs": round(middle("pairs")),
        "pairs/s": _spread([r["pairs"] / r["seconds"] for r in results]),
        "warm pairs/s": _spread([r["pairs"] / (r["seconds"] - r["loading"]) for r in results]),
        "tokens/s": round(statistics.median(r["tokens"] / (r["seconds"] - r["loading"]) for r in results), 1),
        "first pair s": round(middle("first"), 1),
        "peak MiB": round(middle("peak")),
        "accepted %": round(100 * middle("accepted"), 1),
        "median characters": round(middle("characters")),
        "own share %": round(100 * middle("own"), 2) if name in OURS else "",
    }
    rounded = ", rounded" if "rounded" in name else ""
    bases = {"x plain": "plain", "x plain, stops": "plain, stops", "x plain, 64": "plain, 64", "x hf": "hf"}
    for column, base in {**bases, "x raw": f"raw OpenVINO{rounded}"}.items():
        if base in rounds[0] and name in OURS and base != name:
            row[column] = _spread([_rate(found[name]) / _rate(found[base]) for found in rounds])
    return row


def _rate(result: dict[str, Any]) -> float:
    return float(result["pairs"] / result["seconds"])


def _spread(values: list[float]) -> str:
    middle = f"{statistics.median(values):.2f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.2f}-{max(values):.2f})"


# What follows runs in the contenders' own processes.

BEGAN = time.perf_counter()


def _psyctl(name: str, pairs: int, data: Path) -> dict[str, float]:
    """The whole job through the Python API, as the command line runs it."""
    from psyctl_core import build_caa
    from psyctl_soda import SodaConfig

    if name == "hf":
        from psyctl_hf import HfConfig
        from psyctl_hf.backend import HfBackend as Backend

        config = HfConfig(model="embedded")
    else:
        from psyctl_openvino import OpenVinoConfig
        from psyctl_openvino.backend import OpenVinoBackend as Backend

        config: Any = OpenVinoConfig(model="embedded", rounded="rounded" in name)
    clock = {"loading": 0.0, "engine": 0.0, "first": 0.0}
    start, generate = Backend.start, Backend.generate

    def timed_start(self: Any, budget: Any) -> None:
        start(self, budget)
        clock["loading"] = time.perf_counter() - BEGAN

    def timed_generate(self: Any, requests: Any) -> Iterator[Any]:
        asking = 0.0

        def asked() -> Iterator[Any]:  # the time that making requests takes is not the engine's
            nonlocal asking
            began = time.perf_counter()
            for request in requests:
                asking += time.perf_counter() - began
                yield request
                began = time.perf_counter()
            asking += time.perf_counter() - began

        began = time.perf_counter()
        for completion in generate(self, asked()):
            clock["engine"] += time.perf_counter() - began
            yield completion
            began = time.perf_counter()
        clock["engine"] += time.perf_counter() - began - asking

    def progress(progress: Any) -> None:
        if progress.pairs and not clock["first"]:
            clock["first"] = time.perf_counter() - BEGAN

    Backend.start, Backend.generate = timed_start, timed_generate  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        report = build_caa(
            "Extroversion", folder, backend=config, source=SodaConfig(dataset=str(data)),
            prompter="static", limit_samples=pairs, max_tokens=MAX_TOKENS, progress=progress,
        )  # fmt: skip
        seconds = time.perf_counter() - BEGAN
        text = Path(report.datasets[0].location).read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    lengths = [len(line[key]) for line in lines for key in ("positive_text", "neutral_text")]
    answered = report.requests / 2
    return {
        "pairs": answered,
        "seconds": seconds,
        "loading": clock["loading"],
        "first": clock["first"],
        "tokens": report.usage.completion_tokens or 0,
        "accepted": len(lines) / answered,
        "characters": statistics.median(lengths),
        "own": max(0.0, report.generating_seconds - clock["engine"]) / report.generating_seconds,
    }


def _asked(pairs: int, data: Path) -> list[tuple[Any, Any]]:
    """The same scenarios' requests, as the pipeline makes them, each with its scenario."""
    from psyctl_core._caa.prompts import answer_request
    from psyctl_core.components import Context
    from psyctl_core.records import NEUTRAL, Scenario
    from psyctl_soda import SodaConfig
    from psyctl_soda.source import SodaSource
    from psyctl_static import StaticConfig
    from psyctl_static.prompter import StaticPrompter

    prompter = StaticPrompter(StaticConfig(), Context())
    personas = [prompter.describe(trait, None) for trait in (NEUTRAL, "Extroversion")]  # type: ignore[arg-type]
    scenarios = (
        s for s in SodaSource(SodaConfig(dataset=str(data)), Context()).scenarios(0) if isinstance(s, Scenario)
    )
    return [
        (scenario, answer_request(
            scenario, persona, f"{scenario.offset}:{persona.trait}", max_tokens=MAX_TOKENS, temperature=0.0, seed=0
        ))
        for _, scenario in zip(range(pairs), scenarios, strict=False)
        for persona in personas
    ]  # fmt: skip


def _judged(asked: list[tuple[Any, Any]], texts: list[str], tokens: int) -> dict[str, float]:
    """What a pipeline would accept of these answers, in the requests' order."""
    from psyctl_core._caa.answers import clean_answer, comparable
    from psyctl_core.records import Completion

    lines = []
    for (scenario, request), text in zip(asked, texts, strict=True):
        reason = "stop" if any(stop in text for stop in request.stop) else "length"
        lines.append(clean_answer(Completion(request.id, text, reason), scenario, request.prefill)[0])
    pairs = [
        (one, two)
        for one, two in zip(lines[::2], lines[1::2], strict=True)
        if one and two and comparable(one) != comparable(two)
    ]
    return {
        "pairs": len(asked) / 2,
        "tokens": tokens,
        "accepted": 2 * len(pairs) / len(asked),
        "characters": statistics.median(len(line) for pair in pairs for line in pair),
        "own": 0.0,
    }


def _plain(name: str, pairs: int, data: Path) -> dict[str, float]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    from psyctl_core.local_models import embedded_file

    logging.set_verbosity_error()
    file = embedded_file()
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.bfloat16)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    loading = time.perf_counter() - BEGAN
    asked = _asked(pairs, data)
    options: dict[str, Any] = {}
    if name == "plain, stops":
        options = {"stop_strings": list(asked[0][1].stop), "tokenizer": tokenizer}
    texts: list[str] = []
    first = 0.0
    tokens = 0
    batch = 64 if name == "plain, 64" else BATCH
    for at in range(0, len(asked), batch):
        prompts = [
            tokenizer.apply_chat_template(
                [dataclasses.asdict(m) for m in request.messages], tokenize=False, add_generation_prompt=True
            )
            + request.prefill
            for _, request in asked[at : at + batch]
        ]
        inputs = tokenizer(prompts, add_special_tokens=False, padding=True, return_tensors="pt")
        output = model.generate(
            **inputs, max_new_tokens=MAX_TOKENS, do_sample=False, repetition_penalty=1.1,
            pad_token_id=tokenizer.pad_token_id, **options,
        )  # fmt: skip
        new = output[:, inputs["input_ids"].shape[1] :]
        tokens += int((new != tokenizer.pad_token_id).sum())
        texts += tokenizer.batch_decode(new, skip_special_tokens=True)
        first = first or time.perf_counter() - BEGAN
    seconds = time.perf_counter() - BEGAN
    return {"seconds": seconds, "loading": loading, "first": first, **_judged(asked, texts, tokens)}


def _raw_openvino(name: str, pairs: int, data: Path) -> dict[str, float]:
    import openvino_genai

    from psyctl_core.local_models import embedded_file
    from psyctl_openvino.exact import exact

    file = embedded_file() if "rounded" in name else exact(embedded_file())
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.cache_size = 2
    scheduler.max_num_seqs = 64
    scheduler.max_num_batched_tokens = 512
    scheduler.enable_prefix_caching = True
    pipeline = openvino_genai.ContinuousBatchingPipeline(str(file), scheduler, "CPU")
    tokenizer = pipeline.get_tokenizer()
    loading = time.perf_counter() - BEGAN
    asked = _asked(pairs, data)
    config = openvino_genai.GenerationConfig()
    config.eos_token_id = tokenizer.get_eos_token_id()
    config.max_new_tokens = MAX_TOKENS
    config.repetition_penalty = 1.1
    config.stop_strings = set(asked[0][1].stop)
    config.include_stop_str_in_output = True
    prompts = [
        tokenizer.encode(
            tokenizer.apply_chat_template([dataclasses.asdict(m) for m in r.messages], add_generation_prompt=True)
            + r.prefill,
            add_special_tokens=False,
        ).input_ids
        for _, r in asked
    ]
    results = pipeline.generate(prompts, [config] * len(prompts))
    texts = [tokenizer.decode(result.m_generation_ids[0], skip_special_tokens=True) for result in results]
    seconds = time.perf_counter() - BEGAN
    tokens = sum(len(result.m_generation_ids[0]) for result in results)
    return {"seconds": seconds, "loading": loading, "first": seconds, **_judged(asked, texts, tokens)}


RUNS: dict[str, Callable[[str, int, Path], dict[str, float]]] = {
    "plain": _plain,
    "plain, stops": _plain,
    "hf": _psyctl,
    "plain, 64": _plain,
    "raw OpenVINO": _raw_openvino,
    "openvino": _psyctl,
    "raw OpenVINO, rounded": _raw_openvino,
    "openvino, rounded": _psyctl,
}

if __name__ == "__main__":
    found = RUNS[sys.argv[1]](sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
    found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))
