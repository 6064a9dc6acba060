"""Which form of description steers, and what the shipped ones do, beside vectors of no use.

``python tests/benchmarks/personas.py SODA.jsonl FOLDER`` takes rows of SODA and an empty folder, or one that an earlier
run left; answers that are there are not made again. The forms are the shipped descriptions, by their number and all
four dealt in turn, and those in ``persona_candidates.json``.

1. All traits answer the same scenes in one form, and so does the neutral person in the same form.
2. A trait's direction is the mean difference of the states at one block over the answers' tokens. Its effect is taken
   on every other pair of statements, to first order (first_order.py).
3. The form with the highest mean effect over the traits is chosen. It and the first shipped one are told on the other
   statements, which did not choose it, beside random and label-shuffled directions at the same damage.

``--shipped`` measures what is shipped alone, as a user gets it: the first description, four in turn, and both against
the opposite. Here 100 pairs of each trait are told on all statements.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from first_order import Damage, Statements, differences, states_of

from psyctl_core import build_caa, lent_model, open_dataset
from psyctl_core.local_models import LentModel
from psyctl_core.records import CaaRecord
from psyctl_openvino import OpenVinoConfig
from psyctl_soda import SodaConfig
from psyctl_static.others import PARAPHRASES
from psyctl_static.prompter import KEYWORDS_AND_DESCRIPTIONS
from psyctl_steering import items

MODEL = "embedded"
SCENES = 45
"""Scenes that are answered in every form."""

SHIPPED = ("1", "2", "3", "4")
"""What the forms of the shipped descriptions are called here; all four dealt in turn are ``dealt``."""

PAIRS = 100
"""Pairs of each trait, where the shipped descriptions are told alone."""

WAYS: dict[str, dict[str, Any]] = {
    "first": {},
    "four in turn": {"personas": 4},
    "first, opposite": {"contrast": "opposite"},
    "four in turn, opposite": {"personas": 4, "contrast": "opposite"},
}
"""What a user may ask for."""


def forms() -> dict[str, dict[str, list[str]]]:
    """By a form's name the descriptions of each trait and of the neutral person, dealt to the scenes in turn."""
    found: dict[str, dict[str, list[str]]] = {name: {} for name in (*SHIPPED, "dealt")}
    others = json.loads(Path(__file__).with_name("persona_candidates.json").read_text(encoding="utf-8"))
    for who, (_, first) in KEYWORDS_AND_DESCRIPTIONS.items():
        four = [first, *PARAPHRASES[who]]
        for name, text in zip(SHIPPED, four, strict=True):
            found[name][who] = [text]
        found["dealt"][who] = four
        for name, text in others[who].items():
            found.setdefault(name, {})[who] = [text]
    return found


def scenes(soda: Path, file: Path, starts: Sequence[int]) -> Path:
    """A file of rows, their dialogues from each of these turns on: all rows from the first one, then from the next."""
    rows = [json.loads(line) for line in soda.read_text(encoding="utf-8").splitlines()]
    cut = [
        row | {"dialogue": row["dialogue"][start:], "speakers": row["speakers"][start:]}
        for start in starts
        for row in rows
        if len(set(row["speakers"][start:])) > 1
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in cut), encoding="utf-8")
    return file


def answered(form: Mapping[str, list[str]], scenes: Path, folder: Path) -> dict[str, list[CaaRecord]]:
    """By trait the pairs that descriptions of one form make; all traits share the neutral answers."""
    build_caa(
        ",".join(items.TRAITS),
        folder,
        backend=OpenVinoConfig(model=MODEL),
        source=SodaConfig(dataset=str(scenes)),
        prompter="static",
        positive={trait: form[trait] for trait in items.TRAITS},
        neutral=form["neutral"],
        max_scenarios=SCENES,
    )
    return {trait: list(open_dataset(folder, trait=trait)) for trait in items.TRAITS}


def compared(soda: Path, folder: Path, lent: LentModel, traits: Mapping[str, Statements]) -> dict[str, Any]:
    """The effects of all forms on one half of the statements, and those of the best on the other."""
    file, tried, found = scenes(soda, folder / "scenes.jsonl", [0]), {}, {}
    for name, form in forms().items():
        states = states_of(lent, answered(form, file, folder / name))
        found[name] = {trait: differences(states, trait) for trait in traits}
        means = {trait: each.mean(0, keepdim=True) for trait, each in found[name].items()}
        tried[name] = {trait: each.half(0).effects(means[trait])[0] for trait, each in traits.items()}
        print(f"{name}: mean {fmean(tried[name].values()):+.3f}", file=sys.stderr)
    best = max(tried, key=lambda name: fmean(tried[name].values()))
    told = {
        name: {trait: each.half(1).told(found[name][trait]) for trait, each in traits.items()}
        for name in dict.fromkeys([SHIPPED[0], best])
    }
    return {"tried": tried, "best": best, "told": told}


def shipped(soda: Path, folder: Path, lent: LentModel, traits: Mapping[str, Statements]) -> dict[str, Any]:
    """What a user gets from the shipped descriptions, by the way they are asked for."""
    source = SodaConfig(dataset=str(scenes(soda, folder / "all-scenes.jsonl", [0, 2, 4])))
    told: dict[str, Any] = {}
    for name, options in WAYS.items():
        place = folder / f"shipped-{name}"
        backend = OpenVinoConfig(model=MODEL)
        build_caa(
            ",".join(traits), place, backend=backend, source=source, prompter="static", limit_samples=PAIRS, **options
        )
        records = {trait: list(open_dataset(place, trait=trait)) for trait in traits}
        # The neutral answers are the same for all traits, those of opposites are not.
        together = [{trait: each} for trait, each in records.items()] if "contrast" in options else [records]
        told[name] = {
            trait: traits[trait].told(differences(states, trait))
            for some in together
            for states in [states_of(lent, some)]
            for trait in some
        }
        print(name, json.dumps(told[name]), file=sys.stderr)
    return told


def main() -> None:
    """Measure, and print what was found as JSON."""
    typed = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    typed.add_argument("soda", type=Path)
    typed.add_argument("folder", type=Path)
    typed.add_argument("--shipped", action="store_true")
    given = typed.parse_args()
    with lent_model(MODEL, options={"dtype": "float32", "device": "cpu"}) as lent:
        lent.model.requires_grad_(False)
        damage = Damage(lent)
        traits = {trait: Statements(lent, trait, damage) for trait in items.TRAITS}
        measure = shipped if given.shipped else compared
        print(json.dumps(measure(given.soda, given.folder, lent, traits), indent=1))


if __name__ == "__main__":
    main()
