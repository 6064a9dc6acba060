"""Which request for an answer gives the best pairs: acceptance, confounds, judged contrast, and what their vectors do.

The same scenes and personas (`static`) are asked about in several ways, of the embedded model, with `hf` and with
`openvino`. Read for every way, backend and trait:

- accepted: which share of the scenes gave a pair
- opening: the share of the commonest first three words among the positive and among the neutral answers (goal .15)
- longer: in which share of the pairs the positive answer is the longer one, in characters (goal .60)
- words: the AUC of words and pairs of words, cross-validated, as `dataset.check` has it
- gain: how much likelier, in nats a token, an answer is under its own persona than under the other, positive and
  neutral, as the judge `likelihood` has it; all of them by the *same* request, that of "one line"
- effect: of the mean difference over answer tokens at block 18 of 30: how much likelier shipped statements of the trait
  become than those of the opposite, in nats a token, at a damage of .1, to first order (first_order.py); beside it the
  standard deviation of 20 random and 20 label-shuffled vectors of the same pairs

SODA rows are not in this repository: `PSYCTL_BENCH_SODA` names a file of them (columns narrative, dialogue, speakers).
A row gives up to three scenes: its dialogue from the first, the third and the fifth turn on.

`PSYCTL_BENCH_WORK` keeps the data sets and rows, and what is there already is not measured again; `PSYCTL_BENCH_WAYS`
and `PSYCTL_BENCH_BACKENDS` name some; `PSYCTL_BENCH_SCENES` (200) and `PSYCTL_BENCH_JUDGED` (60 pairs) make it shorter.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from first_order import Damage, Statements, differences, states_of
from personas import scenes

TRAITS = ("Extroversion", "Neuroticism", "Machiavellianism")
BACKENDS = ("openvino", "hf")

SODA = Path(os.environ.get("PSYCTL_BENCH_SODA", "soda.jsonl"))
WORK = Path(os.environ.get("PSYCTL_BENCH_WORK", tempfile.gettempdir() + "/psyctl-contrast"))
SCENES = int(os.environ.get("PSYCTL_BENCH_SCENES", "200"))
JUDGED = int(os.environ.get("PSYCTL_BENCH_JUDGED", "60"))
REPORT = f"report-{SCENES}.json"

LINE = "You write what one person in a scene says next: one short line of speech and nothing else."

ABOUT_FIFTEEN = "You write what one person in a scene says next: one sentence of about fifteen words and nothing else."

IN_FIFTEEN = "{scene}\n\n{who}\n\nWhat does {name} say, in about fifteen words?"


@dataclass(frozen=True)
class Way:
    """How an answer is asked for; `{scene}`, `{who}` and `{name}` are filled in, `{who}` by the persona."""

    system: str = LINE
    user: str = "{scene}\n\n{who}\n\nWhat does {name} say?"
    prefill: str = '{name}: "'
    temperature: float = 0.8
    max_tokens: int = 64
    penalty: float = 1.1
    min_p: float = 0.05


WAYS = {
    "version 1": Way(temperature=0.0),
    "one line": Way(),
    "two sentences": Way(system=LINE.replace("one short line", "two short sentences")),
    "typical": Way(user="{scene}\n\n{who}\n\nWhat does {name} say that only such a person would say?"),
    "you are": Way(
        system="You are {name}. {who}\n\nYou say one short line of speech and nothing else.",
        user="{scene}\n\nWhat do you say?",
    ),
    "length said": Way(system=ABOUT_FIFTEEN, user=IN_FIFTEEN),
    "typical and length said": Way(
        system=ABOUT_FIFTEEN,
        user="{scene}\n\n{who}\n\nWhat does {name} say, in about fifteen words, that only such a person would say?",
    ),
    "persona in system": Way(system="{who}\n\n" + LINE, user="{scene}\n\nWhat does {name} say?"),
    "persona twice": Way(system="{who}\n\n" + LINE),
    "persona first": Way(user="{who}\n\n{scene}\n\nWhat does {name} say?"),
    "no prefill": Way(prefill=""),
    "32 tokens": Way(max_tokens=32),
    "no penalty": Way(penalty=1.0),
    "one line at .7": Way(temperature=0.7),
    "two sentences at .7": Way(system=LINE.replace("one short line", "two short sentences"), temperature=0.7),
    "two sentences at .7 without min-p": Way(
        system=LINE.replace("one short line", "two short sentences"), temperature=0.7, min_p=0.0
    ),
}
"""Each with one thing changed against "one line" but the last three, and "typical and length said", the default. Its
two changes were put together, and the temperature and min-p of the others chosen, after figures of the rest were known
for the same scenes."""


def measure() -> list[dict[str, object]]:
    """A row for each way, backend and trait."""
    names = os.environ.get("PSYCTL_BENCH_WAYS", ",".join(WAYS)).split(",")
    backends = os.environ.get("PSYCTL_BENCH_BACKENDS", ",".join(BACKENDS)).split(",")
    for backend in backends:
        for name in names:
            built(name, backend)
    with ruler() as rule:
        return [row for name in names for backend in backends for row in kept(rule, name, backend)]


def folder_of(name: str, backend: str) -> Path:
    """Where a way's data sets are kept."""
    return WORK / f"{backend}-{name.replace(' ', '-')}"


def scenes_file() -> Path:
    """The scenes as a file of SODA rows."""
    path = WORK / "scenes.jsonl"
    return path if path.exists() else scenes(SODA, path, [0, 2, 4])


def request_of(way: Way) -> Callable[..., Any]:
    """What stands in for psyctl's own `answer_request`."""
    from psyctl_core._caa.prompts import STOP, request_seed
    from psyctl_core.records import CHARACTER, ChatRequest, Message

    def answer_request(
        scenario: Any, persona: Any, request_id: str, *, max_tokens: int, temperature: float, seed: int
    ) -> ChatRequest:
        name = scenario.character
        heard = [f'{turn.speaker}: "{turn.text}"' for turn in scenario.dialogue]
        scene = "\n\n".join([*filter(None, [scenario.situation]), *heard])
        who = persona.description.replace(CHARACTER, name)

        def filled(text: str) -> str:
            return text.replace("{name}", name).replace("{who}", who).replace("{scene}", scene)

        return ChatRequest(
            id=request_id,
            messages=(Message("system", filled(way.system)), Message("user", filled(way.user))),
            prefill=filled(way.prefill),
            stop=STOP,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=request_seed(seed, request_id),
        )

    return answer_request


def built(name: str, backend: str) -> Path:
    """Build a way's data sets, or go on with them."""
    from psyctl_core import build_caa
    from psyctl_core._caa import contrast
    from psyctl_hf import HfConfig
    from psyctl_openvino import OpenVinoConfig
    from psyctl_soda import SodaConfig

    way, folder = WAYS[name], folder_of(name, backend)
    if not (folder / REPORT).exists():
        config = {"hf": HfConfig, "openvino": OpenVinoConfig}[backend]
        with mock.patch.object(contrast, "answer_request", request_of(way)):
            report = build_caa(
                ", ".join(TRAITS),
                folder,
                backend=config(model="embedded", repetition_penalty=way.penalty, min_p=way.min_p),
                source=SodaConfig(dataset=str(scenes_file())),
                prompter="static",
                temperature=way.temperature,
                max_tokens=way.max_tokens,
                max_scenarios=SCENES,
            )
        (folder / REPORT).write_text(json.dumps(report.as_json(), default=str), encoding="utf-8")
        print(f"built {backend}, {name}: {report.requests} answers in {report.seconds:.0f} s", flush=True)
    return folder


def kept(rule: Ruler, name: str, backend: str) -> list[dict[str, object]]:
    """A way's rows, one a trait, measured once."""
    folder = folder_of(name, backend)
    path = folder / f"rows-{SCENES}.json"
    if not path.exists():
        told = rule.read(folder)
        rows = [
            {"way": name, "backend": backend, "trait": trait} | figures(name, backend, trait) | told[trait]
            for trait in TRAITS
        ]
        path.write_text(json.dumps(rows), encoding="utf-8")
        print(*rows, sep="\n", flush=True)
    return json.loads(path.read_text(encoding="utf-8"))


def figures(name: str, backend: str, trait: str) -> dict[str, object]:
    """What the texts tell."""
    from psyctl_check.classified import bag_of_words
    from psyctl_check.texts import commonest_opening
    from psyctl_core import open_dataset
    from psyctl_core.checks import CheckedPair, CheckFacts

    folder = folder_of(name, backend)
    pairs = [
        CheckedPair(record.id, record.positive_text, record.neutral_text) for record in open_dataset(folder, trait)
    ]
    report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    (told,) = [each for each in report["datasets"] if each["trait"] == trait]
    n = len(pairs)
    shares = [commonest_opening([getattr(pair, side) for pair in pairs]) for side in ("positive", "neutral")]
    lengths = [(len(pair.positive), len(pair.neutral)) for pair in pairs]
    words = bag_of_words(pairs, CheckFacts(trait)).value
    return {
        "n": n,
        "accepted": round(n / (n + sum(told["rejected"].values())), 3),
        "opening +": round(shares[0][1] / n, 2),
        "opening 0": round(shares[1][1] / n, 2),
        "which": " / ".join(f"'{opening}'" for opening, _ in shares),
        "longer": round(statistics.fmean((one > other) + (one == other) / 2 for one, other in lengths), 2),
        "characters +": round(statistics.median(one for one, _ in lengths)),
        "characters 0": round(statistics.median(other for _, other in lengths)),
        "words": None if words is None else round(words, 2),
    }


class Ruler:
    """The model that judges and is steered, with what is computed once."""

    def __init__(self, lent: Any, backend: Any) -> None:
        lent.model.requires_grad_(False)
        damage = Damage(lent)
        self._lent = lent
        self._backend = backend
        self._statements = {trait: Statements(lent, trait, damage) for trait in TRAITS}

    def read(self, folder: Path) -> dict[str, dict[str, object]]:
        """Judged contrast and effect of a way's data sets, by the trait."""
        from psyctl_core import open_dataset

        records = {trait: list(open_dataset(folder, trait)) for trait in TRAITS}
        states = states_of(self._lent, records)
        return {
            trait: self._effect(differences(states, trait), trait)
            | (self._gains(records[trait], folder, trait) if JUDGED else {})
            for trait in TRAITS
        }

    def _effect(self, found: Any, trait: str) -> dict[str, object]:
        told = self._statements[trait].told(found)
        low, high = told["interval"]
        return {
            "effect": round(told["effect"], 3),
            "95 %": f"{low:.3f} to {high:.3f}",
            **{f"{kind} SD": round(spread, 3) for kind, (_, spread) in told["controls"].items()},
            "verdict": told["verdict"],
        }

    def _gains(self, records: Sequence[Any], folder: Path, trait: str) -> dict[str, object]:
        """The mean gains of some pairs, spread evenly, and how many have both above 0."""
        from psyctl_core import Context, open_dataset
        from psyctl_core.records import ContrastivePair, Persona, Scenario
        from psyctl_likelihood import LikelihoodConfig
        from psyctl_likelihood.judge import LikelihoodJudge

        told = open_dataset(folder, trait).run["personas"]
        asked = request_of(WAYS["one line"])
        judge = LikelihoodJudge(LikelihoodConfig(), Context())
        most = min(JUDGED, len(records))
        scores = []
        for record in [records[i * len(records) // most] for i in range(most)]:
            scenario = Scenario(record.id, 0, record.situation, record.character)
            requests = tuple(
                asked(scenario, Persona(trait, told[side]["description"]), side, max_tokens=1, temperature=0.0, seed=0)
                for side in ("positive", "neutral")
            )
            pair = ContrastivePair(scenario, trait, record.positive_text, record.neutral_text, {}, requests)
            questions = [replace(each, id=str(number)) for number, each in enumerate(judge.requests(pair, ""))]
            found = {completion.id: completion for completion in self._backend.generate(questions)}
            scores.append(judge.verdict(pair, "", [found[each.id] for each in questions]).scores)
        return {
            "judged": most,
            "gain +": round(statistics.fmean(each["positive_gain"] for each in scores), 3),
            "gain 0": round(statistics.fmean(each["neutral_gain"] for each in scores), 3),
            "both gain": round(statistics.fmean(min(each.values()) > 0 for each in scores), 2),
        }


@contextmanager
def ruler() -> Iterator[Ruler]:
    """The embedded model in float32, to judge and to steer."""
    from psyctl_core import Context
    from psyctl_core._plugins.registry import discover
    from psyctl_core._plugins.selection import Selection, config_of, resolve

    registry = discover()
    config = config_of(registry.get("backend", "hf"), {"model": "embedded", "dtype": "float32", "device": "cpu"})
    backend = resolve(registry, "backend", Selection("hf", config)).make(Context())
    try:
        yield Ruler(backend.lend(), backend)
    finally:
        backend.close()
