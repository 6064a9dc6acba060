"""What makes scenes steer: the shipped starter scenes beside SODA's, each changed in one thing at a time.

Every row is a set of scenes that the embedded model answers for one trait and for nobody in particular, with shipped
personas. "effect" is what the mean difference over the answers' tokens at block 18 does to held-out statements of the
trait, at 0.1 nats per token of damage, half the difference of adding and subtracting; "items" is its 95 % interval over
statements. "pairs" is the standard deviation that it has over other pairs of the same kind: of a bootstrap over the
pairs, to first order. Controls are vectors of no use at the same damage; their spread is what an effect must exceed.
"begin alike" is the share of the commonest first three words, of the trait's answers and of the others.

Needs conversations in SODA's shape and statements in the shape of the model-written evals:
`PSYCTL_BENCH_SODA=soda.jsonl PSYCTL_BENCH_STATEMENTS=extraversion.jsonl`. `PSYCTL_BENCH_TRAIT` (Extroversion) is the
trait, `PSYCTL_BENCH_PAIRS` (100) the most pairs of a row, `PSYCTL_BENCH_STARTER` a file instead of the shipped one.
Rows that are named as arguments are measured alone: `python tests/benchmarks/scenes.py starter soda`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from statistics import mean, stdev
from typing import Any

TRAIT = os.environ.get("PSYCTL_BENCH_TRAIT", "Extroversion")
PAIRS = int(os.environ.get("PSYCTL_BENCH_PAIRS", "100"))
SODA = os.environ.get("PSYCTL_BENCH_SODA", "")
STATEMENTS = os.environ.get("PSYCTL_BENCH_STATEMENTS", "")
KEEP = os.environ.get("PSYCTL_BENCH_KEEP", "")
STARTER = os.environ.get("PSYCTL_BENCH_STARTER", "")
LAYER = "model.layers[18]"
DAMAGE = 0.1
CONTROLS = 20
DRAWS = 1000

Row = dict[str, Any]
PLAIN_NAMES = (
    "Anna",
    "Ben",
    "Carla",
    "David",
    "Emma",
    "Frank",
    "Grace",
    "Henry",
    "Iris",
    "James",
    "Kate",
    "Leo",
    "Maria",
)
GREETING = "Hi {}, how are you doing?"


def rows_of(name: str) -> list[Row]:
    """The rows in SODA's shape: the shipped ones, or the others."""
    path = Path(SODA) if name == "soda" else Path(STARTER) if STARTER else files("psyctl_soda") / "starter.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def scenario(row: Row, offset: int, upto: int = 0) -> Any:
    """The scenario as the source reads it, or, with ``upto``, one that quotes so many turns."""
    from psyctl_core.records import Scenario, Turn
    from psyctl_soda.scenario import to_scenario
    from psyctl_soda.shapes.narrated import NarratedReader

    found = to_scenario(NarratedReader()(row), offset)
    if not isinstance(found, Scenario) or not upto:
        return found
    upto = min(upto, len(row["dialogue"]) - 1)
    turns = [Turn(n, t) for n, t in zip(row["speakers"][:upto], row["dialogue"], strict=False) if t]
    return replace(found, id=f"{found.id}-{upto}", dialogue=tuple(turns), character=row["speakers"][upto])


def _first_sentences(count: int) -> Callable[[Row, Row], Row]:
    def change(row: Row, other: Row) -> Row:
        del other
        return row | {"narrative": " ".join(re.split(r"(?<=[.!?])\s+", row["narrative"])[:count])}

    return change


def _opened(words: Callable[[Row, Row], str]) -> Callable[[Row, Row], Row]:
    return lambda row, other: row | {"dialogue": [words(row, other), *row["dialogue"][1:]]}


def _plainly_named(row: Row, other: Row) -> Row:
    del other
    at = len(row["narrative"]) % len(PLAIN_NAMES)
    text = json.dumps(row, ensure_ascii=False)
    for place, name in enumerate(dict.fromkeys(row["speakers"])):
        last = name.split()[-1]
        new = PLAIN_NAMES[(at + 7 * place) % len(PLAIN_NAMES)]
        text = text.replace(name, new).replace(last, new)
    return json.loads(text)


def _first_only(row: Row, other: Row) -> Row:
    """The narrative without the sentences that name who answers, who is bystander then."""
    del other
    name = row["speakers"][1].split()[-1]
    kept = [each for each in re.split(r"(?<=[.!?])\s+", row["narrative"]) if name not in each]
    return row | {"narrative": " ".join(kept)}


def _there(row: Row, other: Row) -> Row:
    del other
    return row | {"narrative": f"{row['narrative']} {row['speakers'][1]} is there and looks at {row['speakers'][0]}."}


def _narrative_of(row: Row, other: Row) -> Row:
    """The other's narrative, with this one's speakers in it."""
    text = other["narrative"]
    for old, new in zip(dict.fromkeys(other["speakers"]), dict.fromkeys(row["speakers"]), strict=False):
        text = text.replace(old, new)
    return row | {"narrative": text}


CHANGES: dict[str, tuple[str, Callable[[Row, Row], Row] | None, int]] = {
    "soda": ("soda", None, 0),
    "soda, one sentence": ("soda", _first_sentences(1), 0),
    "soda, no narrative": ("soda", lambda row, other: row | {"narrative": ""}, 0),
    "soda, 3 turns": ("soda", None, 3),
    "soda, 2 turns": ("soda", None, 2),
    "soda, who answers named": ("soda", _there, 0),
    "soda, the starter's openings": ("soda", _opened(lambda row, other: other["dialogue"][0]), 0),
    "soda, the starter's narratives": ("soda", _narrative_of, 0),
    "soda, a greeting": ("soda", _opened(lambda row, other: GREETING.format(row["speakers"][1])), 0),
    "starter": ("starter", None, 0),
    "starter, one sentence": ("starter", _first_sentences(1), 0),
    "starter, no narrative": ("starter", lambda row, other: row | {"narrative": ""}, 0),
    "starter, 3 turns": ("starter", None, 3),
    "starter, 2 turns": ("starter", None, 2),
    "starter, who answers not named": ("starter", _first_only, 0),
    "starter, plain names": ("starter", _plainly_named, 0),
    "starter, SODA's openings": ("starter", _opened(lambda row, other: other["dialogue"][0]), 0),
    "starter, SODA's narratives": ("starter", _narrative_of, 0),
    "starter, a greeting": ("starter", _opened(lambda row, other: GREETING.format(row["speakers"][1])), 0),
}
"""By the name: which rows, what is changed in each (given another of the other kind), how many turns are quoted."""


def scenarios(name: str) -> list[Any]:
    """The scenarios of a row of the table."""
    from psyctl_core.records import Scenario

    kind, change, upto = CHANGES[name]
    rows = rows_of(kind)
    others = rows_of("starter" if kind == "soda" else "soda") if change and SODA else rows
    found = []
    for offset, row in enumerate(rows):
        changed = change(row, others[offset % len(others)]) if change else row
        found.append(scenario(changed, offset, upto))
    return [each for each in found if isinstance(each, Scenario)][:PAIRS]


def pairs(found: Sequence[Any], backend: Any) -> list[Any]:
    """The records that a run would make of these scenarios."""
    from psyctl_core._caa.answers import clean_answer, comparable
    from psyctl_core._caa.prompts import answer_request
    from psyctl_core._caa.question import to_record
    from psyctl_core.components import Context
    from psyctl_core.records import NEUTRAL, ContrastivePair
    from psyctl_static import StaticConfig
    from psyctl_static.prompter import StaticPrompter

    prompter = StaticPrompter(StaticConfig(), Context())
    asked = {}
    for each in found:
        for trait in (NEUTRAL, TRAIT):
            persona = prompter.describe(trait, None)  # type: ignore[arg-type]
            id_ = f"{each.id}:{trait}"
            asked[id_] = answer_request(each, persona, id_, max_tokens=64, temperature=0.0, seed=0)
    answers = kept(asked)
    lacking = [request for id_, request in asked.items() if id_ not in answers]
    for completion in backend.generate(iter(lacking)):
        answers[completion.id] = completion
        keep(asked[completion.id], completion)
    records = []
    for each in found:
        lines = [
            clean_answer(answers[f"{each.id}:{trait}"], each, asked[f"{each.id}:{trait}"].prefill)[0]
            for trait in (TRAIT, NEUTRAL)
        ]
        if all(lines) and comparable(lines[0]) != comparable(lines[1]):
            records.append(to_record(ContrastivePair(each, TRAIT, *lines), len(records), 0))
    return records


def kept(asked: dict[str, Any]) -> dict[str, Any]:
    """The answers that an earlier run has, where a file keeps them."""
    from psyctl_core.records import Completion

    if not KEEP or not Path(KEEP).exists():
        return {}
    lines = map(json.loads, Path(KEEP).read_text(encoding="utf-8").splitlines())
    known = {digest: (text, reason) for digest, text, reason in lines}
    return {id_: Completion(id_, *known[_digest(each)]) for id_, each in asked.items() if _digest(each) in known}


def keep(request: Any, completion: Any) -> None:
    """Keep an answer for later runs, by what was asked."""
    if KEEP:
        with Path(KEEP).open("a", encoding="utf-8") as file:
            file.write(json.dumps([_digest(request), completion.text, completion.finish_reason]) + "\n")


def _digest(request: Any) -> str:
    asked = [*(message.content for message in request.messages), request.prefill]
    return hashlib.sha256("\x1f".join(asked).encode()).hexdigest()[:32]


class Bench:
    """The embedded model with the statements prepared, and what it would take to move them."""

    def __init__(self, lent: Any) -> None:
        from psyctl_steering import items
        from psyctl_steering.damage import Neutral
        from psyctl_steering.passes import Passes

        found = items.some_of(items.read_statements(STATEMENTS), 200)
        self.lent, self.set = lent, items.statements(found, "statements")
        self.passes = Passes(lent.model, LAYER, lent.tokenizer.pad_token_id or 0)
        (self.texts,) = self.set.write(lent, "")
        self.batches = self.passes.prepared([self.texts])
        self.neutral = Neutral(lent, self.passes)
        self._gradient: Any = None

    def differences(self, records: Sequence[Any]) -> tuple[Any, float]:
        """Each pair's positive minus neutral state, shape ``[pairs, hidden]``, and the states' median norm."""
        from psyctl_steering.states import read

        with _as_far_as_needed(self.lent.model), read(self.lent, records, [LAYER]) as found:
            return found.at(LAYER), found.norms[LAYER]

    def effects(self, units: Any, guess: float) -> tuple[list[list[float]], list[float]]:
        """Each direction's odd effect on every item, and the length at which that is."""
        import torch

        lengths = self.neutral.doses(units, DAMAGE, guess)
        at = units * torch.tensor(lengths)[:, None]
        both = self.set.value(self.passes.logprobs(self.batches, self.texts, torch.cat([at, -at])))
        half = (both[: len(units)] - both[len(units) :]) / 2
        return half.tolist(), lengths

    def gradient(self) -> Any:
        """How the effect changes with the direction, at none: shape ``[hidden]``."""
        import torch

        from psyctl_steering.states import padded
        from psyctl_steering.steering import changed

        if self._gradient is not None:
            return self._gradient
        self.lent.model.requires_grad_(False)
        direction = torch.zeros(self.lent.model.config.hidden_size, requires_grad=True)
        sides = Counter(self.set.signs)
        for begin in range(0, len(self.texts), 8):
            some = self.texts[begin : begin + 8]
            ids, mask = padded([text.ids for text in some], self.lent.model.device)
            steered = torch.zeros(*ids.shape, 1)
            for row, text in enumerate(some):
                steered[row, text.start : len(text.ids)] = 1
            with changed(self.lent.model, {LAYER: lambda states, at=steered: states + at * direction}):
                logits = self.lent.model(input_ids=ids, attention_mask=mask, use_cache=False).logits.log_softmax(-1)
            total = torch.zeros(())
            for row, (text, sign) in enumerate(zip(some, self.set.signs[begin : begin + 8], strict=True)):
                wanted = torch.tensor(text.wanted)
                at = logits[row, len(text.ids) - len(wanted) : len(text.ids)]
                total = total + sign * at.gather(-1, wanted).mean() / sides[sign]
            total.backward()
        self._gradient = direction.grad
        return self._gradient


def measured(name: str, records: Sequence[Any], bench: Bench) -> Row:
    """A row of the table."""
    import torch
    from torch.nn.functional import normalize

    from psyctl_steering import directions, figures
    from psyctl_steering.controls import shuffled_directions

    differences, norm = bench.differences(records)
    coherence = directions.coherence(lambda: iter([differences]))
    unit = normalize(differences.mean(0), dim=0)[None]
    values, (length,) = bench.effects(unit, 0.2 * norm)
    effect = figures.effect(values[0], bench.set.signs)
    low, high = figures.bootstrap(values[0], bench.set.signs, 0)
    shuffled = shuffled_directions(CONTROLS * 10, differences, 0) @ bench.gradient() * length
    drawn = torch.randint(len(differences), (DRAWS, len(differences)), generator=torch.Generator().manual_seed(0))
    slopes = normalize(differences[drawn].mean(1)) @ bench.gradient()
    spread = float(slopes.std()) * length
    first = [[_beginning(each.positive_text), _beginning(each.neutral_text)] for each in records]
    alike = [Counter(side).most_common(1)[0] for side in zip(*first, strict=True)]
    longer = mean((len(r.positive_text) > len(r.neutral_text)) + (len(r.positive_text) == len(r.neutral_text)) / 2
                  for r in records)  # fmt: skip
    return {
        "scenes": name, "n": len(records), "effect": f"{effect:.3f}", "items": f"{low:.3f} to {high:.3f}",
        "pairs": f"{spread:.3f}", "first order": f"{float(unit[0] @ bench.gradient()) * length:.3f}",
        "coherence": f"{coherence:.2f}", "longer": f"{longer:.2f}",
        "shuffled": f"{float(shuffled.std()):.3f}",
        "begin alike": " / ".join(f"{count / len(records):.2f} {words}" for words, count in alike),
    }  # fmt: skip


@contextmanager
def _as_far_as_needed(model: Any) -> Iterator[None]:
    """The model without the blocks behind the one that is read."""
    every = model.model.layers
    model.model.layers = every[: int(re.findall(r"\d+", LAYER)[0]) + 1]
    try:
        yield
    finally:
        model.model.layers = every


def random_controls(bench: Bench) -> Row:
    """The row of vectors that know nothing."""
    from psyctl_steering import figures
    from psyctl_steering.controls import random_directions

    width = bench.lent.model.config.hidden_size
    values, _ = bench.effects(random_directions(CONTROLS, width, 0), 8.0)
    found = [figures.effect(each, bench.set.signs) for each in values]
    return {"scenes": "random vectors", "n": CONTROLS, "effect": _spread(found)}


def _beginning(text: str) -> str:
    return " ".join(re.findall(r"[\w']+", text.lower())[:3])


def _spread(found: Sequence[float]) -> str:
    return f"mean {mean(found):.3f}, SD {stdev(found):.3f}, {min(found):.3f} to {max(found):.3f}"


def table(names: Sequence[str]) -> Iterator[Row]:
    """Row after row."""
    from psyctl_core import lent_model
    from psyctl_core.budget import Budget
    from psyctl_core.components import Context
    from psyctl_openvino import OpenVinoConfig
    from psyctl_openvino.backend import OpenVinoBackend

    backend = OpenVinoBackend(OpenVinoConfig(model="embedded"), Context())
    backend.start(Budget(None))
    with lent_model("embedded", options={"device": "cpu", "dtype": "float32"}) as lent:
        bench = Bench(lent)
        for name in names:
            if name == "random vectors":
                yield random_controls(bench)
            else:
                yield measured(name, pairs(scenarios(name), backend), bench)
    backend.close()


def measure() -> list[Row]:
    """All rows; none where the conversations or the statements are not at hand."""
    if not SODA or not STATEMENTS:
        return [{"scenes": "not measured: PSYCTL_BENCH_SODA and PSYCTL_BENCH_STATEMENTS name no files"}]
    return list(table(["random vectors", *CHANGES]))


if __name__ == "__main__":
    for row in table(sys.argv[1:] or ["random vectors", *CHANGES]):
        print(json.dumps(row, ensure_ascii=False), flush=True)
