"""What eight traits over all of SODA come to: tokens a request, psyctl's own rate and memory, and bytes on the disk.

Tokens are those of SODA's first rows by the embedded model's tokenizer and chat template, with the shipped descriptions
of the eight known traits. "New" leaves out what a scene's requests begin with alike, and the system turn that all
share: a cache of prefixes computes both once. Answers are the embedded model's own. For psyctl's own rate a backend
answers at once, about scenes that are SODA's, repeated. "PSYCTL_BENCH_SODA" names a file with rows of SODA; without it
they are read from the Hub.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from statistics import mean

from transformers import AutoTokenizer

from psyctl_core import ChatRequest, Completion, Context, InferenceBackend, Scenario, ScenarioSource, build_caa, chat
from psyctl_core.records import NEUTRAL
from psyctl_hf.locate import locate
from psyctl_openvino import OpenVinoConfig
from psyctl_soda import SodaConfig
from psyctl_soda.source import SodaSource

SHORT = os.environ.get("PSYCTL_BENCH_SHORT") == "1"
ROWS = 8 if SHORT else 70
SCENES = 2_000 if SHORT else 20_000
TRAITS = (
    "Extroversion, Agreeableness, Conscientiousness, Neuroticism, Openness, Machiavellianism, Narcissism, Psychopathy"
)


def measure() -> list[dict[str, object]]:
    """Rows of what was measured and its value."""
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, float] = {}
        for name in ("answers", "tokens", "driver", "late"):
            found |= _child(name, folder)
    return [{"what": what, "value": f"{value:,.{0 if value >= 100 else 1}f}"} for what, value in found.items()]


def _child(name: str, folder: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, name, folder], stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(result, flush=True)
    return result


# What follows runs in processes of their own.


class Instant(InferenceBackend):
    """Answers at once, at a real answer's length; with ``late`` the very first one when nothing else can be asked."""

    def __init__(self, *, remembers: bool = False, late: bool = False) -> None:
        self.asked: list[ChatRequest] = []
        self._remembers = remembers
        self._late = late

    def generate(self, requests: Iterator[ChatRequest]) -> Iterator[Completion]:
        """A line of a hundred characters or so, another one for each request."""
        first = [next(requests)] if self._late else []
        self._late = False
        for request in chain(requests, first):
            if self._remembers:
                self.asked.append(request)
            role = request.id.partition(":")[2]
            word = hashlib.sha256(request.id.encode()).hexdigest()
            text = f"I have thought about {word} for days, and I say we {'stay' if role == NEUTRAL else 'go'}."
            if request.choices:  # a judge, who accepts every pair
                asked = request.messages[-1].content
                text = "0" if "we stay." in asked and "How strongly" in asked else "9"
            yield Completion(request.id, text, prompt_tokens=250, completion_tokens=30)


class Repeated(ScenarioSource):
    """The same scenes again and again, each time as others."""

    def __init__(self, scenes: list[Scenario], count: int) -> None:
        self._scenes, self._count = scenes, count

    def scenarios(self, start: int) -> Iterator[Scenario]:
        """Scenes from ``start`` on."""
        for n in range(start, self._count):
            scene = self._scenes[n % len(self._scenes)]
            yield dataclasses.replace(scene, id=f"{n}-{scene.id[-16:]}", offset=n)


def soda() -> SodaConfig:
    """The rows to read: a file's, or the Hub's."""
    return SodaConfig(dataset=os.environ.get("PSYCTL_BENCH_SODA", "allenai/soda"))


def scenes() -> list[Scenario]:
    """The first of SODA's scenes."""
    items = SodaSource(soda(), Context()).scenarios(0)
    return list(islice((item for item in items if isinstance(item, Scenario)), ROWS))


def answers(out: Path) -> dict[str, float]:
    """What the embedded model's answers are like, and how many pairs of two lines they make."""
    backend = OpenVinoConfig(model="embedded")
    report = build_caa(TRAITS, out, backend=backend, source=soda(), prompter="static", max_scenarios=ROWS)
    used = report.usage
    return {
        "tokens read a request, as the backend counts them": used.prompt_tokens / used.requests,
        "tokens written an answer": used.completion_tokens / used.requests,
        "% of scenes accepted": 100 * mean(dataset.pairs for dataset in report.datasets) / ROWS,
    }


def tokens(out: Path) -> dict[str, float]:
    """Tokens that requests read, of the writer and of a judge, and what of them is new."""
    located = locate("embedded")
    tokenizer = AutoTokenizer.from_pretrained(located.repository, gguf_file=located.gguf_file)
    prompts = chat.writer(tokenizer, "the model")
    count, found = len(scenes()), {}
    writer = Instant(remembers=True)
    build_caa(TRAITS, out, backend=writer, source=soda(), prompter="static", judge="rubric", max_scenarios=count)
    for who, asked in (
        ("writer", [request for request in writer.asked if not request.choices]),
        ("judge", [request for request in writer.asked if request.choices]),
    ):
        rows = chat.encode(tokenizer, prompts, asked)
        found |= {
            f"{who}: requests a scene": len(asked) / count,
            f"{who}: tokens read a request": mean(map(len, rows)),
            f"{who}: of these new": new(rows) / len(rows),
        }
    return found


def new(rows: list[list[int]]) -> int:
    """How many tokens a cache of prefixes leaves to compute."""
    seen: set[bytes] = set()
    for row in rows:
        digest = hashlib.sha256()
        for token in row:
            digest.update(token.to_bytes(4, "big"))
            seen.add(digest.digest())
    return len(seen)


def late(out: Path) -> dict[str, float]:
    """What is kept while one answer is late: no more than 10,000 rows are open then."""
    count = 2_000 if SHORT else 12_000
    found = driver(out, count, late=True)
    return {
        f"{what}, the first answer late": found[what] for what in ("psyctl itself: peak MiB", "journal at most: MB")
    }


def driver(out: Path, count: int = SCENES, *, late: bool = False) -> dict[str, float]:
    """What psyctl itself does in a second, and what it leaves on the disk."""
    journals: list[int] = [0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            journals.append(sum(path.stat().st_size for path in out.rglob("journal.sqlite*")))

    watcher = threading.Thread(target=watch)
    watcher.start()
    busy = time.process_time()
    report = build_caa(TRAITS, out, backend=Instant(late=late), source=Repeated(scenes(), count), prompter="static")
    busy = time.process_time() - busy
    done.set()
    watcher.join()
    traits = len(report.datasets)
    datasets = sum(path.stat().st_size for path in out.rglob("caa_dataset_*.jsonl"))
    everything = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return {
        "psyctl itself: answers a second of one core": count * (traits + 1) / busy,
        "psyctl itself: peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "bytes a record": datasets / (count * traits),
        "bytes a record in the run folders": (everything - datasets) / (count * traits),
        "journal at most: MB": max(journals) / 1e6,
    }


if __name__ == "__main__":
    name, folder = sys.argv[1:]
    print(json.dumps({"answers": answers, "tokens": tokens, "driver": driver, "late": late}[name](Path(folder) / name)))
