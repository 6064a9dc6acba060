"""What makes scenes steer: the shipped starter scenes beside SODA's, each changed in one thing at a time.

Every row is a set of scenes that the embedded model answers for one trait and for nobody in particular, with shipped
personas and the default request. "effect" is what the mean difference over the answers' tokens at block 18 does to the
shipped statements of the trait, to first order (first_order.py); "95 %" is its interval over statements. "other pairs"
is the standard deviation that it has over a bootstrap of the pairs; those of random and label-shuffled vectors stand
beside it. "begin alike" is the share of the commonest first three words, of the trait's answers and of the others.

Needs conversations in SODA's shape: `PSYCTL_BENCH_SODA=soda.jsonl`. `PSYCTL_BENCH_TRAIT` (Extroversion) is the trait,
`PSYCTL_BENCH_PAIRS` (100) the most pairs of a row, `PSYCTL_BENCH_STARTER` a file instead of the shipped one,
`PSYCTL_BENCH_KEEP` a file that keeps answers for later runs.
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
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from first_order import Damage, Statements, differences, states_of

TRAIT = os.environ.get("PSYCTL_BENCH_TRAIT", "Extroversion")
PAIRS = int(os.environ.get("PSYCTL_BENCH_PAIRS", "100"))
SODA = os.environ.get("PSYCTL_BENCH_SODA", "")
KEEP = os.environ.get("PSYCTL_BENCH_KEEP", "")
STARTER = os.environ.get("PSYCTL_BENCH_STARTER", "")
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
    from psyctl_core._caa.contrast import Sampling
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
            asked[id_] = answer_request(each, persona, id_, **asdict(Sampling()))
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
    asked = [*(message.content for message in request.messages), request.prefill, str(request.temperature)]
    return hashlib.sha256("\x1f".join(asked).encode()).hexdigest()[:32]


def measured(name: str, records: Sequence[Any], lent: Any, statements: Statements) -> Row:
    """A row of the table."""
    import torch

    states = states_of(lent, {TRAIT: records})
    found = differences(states, TRAIT)
    told = statements.told(found)
    drawn = torch.randint(len(found), (DRAWS, len(found)), generator=torch.Generator().manual_seed(0))
    first = [[_beginning(each.positive_text), _beginning(each.neutral_text)] for each in records]
    alike = [Counter(side).most_common(1)[0] for side in zip(*first, strict=True)]
    longer = mean((len(r.positive_text) > len(r.neutral_text)) + (len(r.positive_text) == len(r.neutral_text)) / 2
                  for r in records)  # fmt: skip
    return {
        "scenes": name, "n": len(records), "effect": f"{told['effect']:+.3f}",
        "95 %": "{:.3f} to {:.3f}".format(*told["interval"]),
        "other pairs": f"{stdev(statements.effects(found[drawn].mean(1))):.3f}",
        **{f"{kind} SD": f"{spread:.3f}" for kind, (_, spread) in told["controls"].items()},
        "verdict": told["verdict"], "longer": f"{longer:.2f}",
        "begin alike": " / ".join(f"{count / len(records):.2f} {words}" for words, count in alike),
    }  # fmt: skip


def _beginning(text: str) -> str:
    return " ".join(re.findall(r"[\w']+", text.lower())[:3])


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
        lent.model.requires_grad_(False)
        statements = Statements(lent, TRAIT, Damage(lent))
        for name in names:
            yield measured(name, pairs(scenarios(name), backend), lent, statements)
    backend.close()


def measure() -> list[Row]:
    """All rows; none where the conversations are not at hand."""
    if not SODA:
        return [{"scenes": "not measured: PSYCTL_BENCH_SODA names no file"}]
    return list(table(list(CHANGES)))


if __name__ == "__main__":
    for row in table(sys.argv[1:] or list(CHANGES)):
        print(json.dumps(row, ensure_ascii=False), flush=True)
