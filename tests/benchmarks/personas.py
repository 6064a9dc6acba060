"""Which form of description steers: each form's effects on the shipped statements, beside vectors of no use.

``python tests/benchmarks/personas.py SODA.jsonl FOLDER`` takes rows of SODA and an empty folder, or one that an earlier
run left; answers that are there are not made again. The forms are the shipped descriptions, by their number and all
four dealt in turn, and those in ``persona_candidates.json``.

1. All traits answer the same scenes in one form, and so does the neutral person in the same form.
2. A trait's direction is the mean difference of the states at one block over the answers' tokens. Its effect is taken
   on every other pair of statements, to first order: the gradient of the statements' likelihoods times the direction,
   as long as it must be for the damage.
3. The form with the highest mean effect over the traits is chosen. It and the first shipped one are told on the other
   statements, which did not choose it, beside random and label-shuffled directions at the same damage.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from statistics import fmean

from first_order import Damage, Statements, differences, states_of

from psyctl_core import build_caa, lent_model, open_dataset
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


def scenes(soda: Path, folder: Path) -> Path:
    """The first rows of a file, as a file."""
    with soda.open(encoding="utf-8") as rows:
        text = "".join(islice(rows, SCENES))
    file = folder / "scenes.jsonl"
    file.write_text(text, encoding="utf-8")
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
    )
    return {trait: list(open_dataset(folder, trait=trait)) for trait in items.TRAITS}


def main() -> None:
    """Measure all forms, and print what was found as JSON."""
    typed = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    typed.add_argument("soda", type=Path)
    typed.add_argument("folder", type=Path)
    given = typed.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    file, tried, found = scenes(given.soda, given.folder), {}, {}
    with lent_model(MODEL, options={"dtype": "float32", "device": "cpu"}) as lent:
        lent.model.requires_grad_(False)
        damage = Damage(lent)
        traits = {trait: Statements(lent, trait, damage) for trait in items.TRAITS}
        for name, form in forms().items():
            states = states_of(lent, answered(form, file, given.folder / name))
            found[name] = {trait: differences(states, trait) for trait in traits}
            means = {trait: each.mean(0, keepdim=True) for trait, each in found[name].items()}
            tried[name] = {trait: each.half(0).effects(means[trait])[0] for trait, each in traits.items()}
            print(f"{name}: mean {fmean(tried[name].values()):+.3f}", file=sys.stderr)
    best = max(tried, key=lambda name: fmean(tried[name].values()))
    told = {
        name: {trait: each.half(1).told(found[name][trait]) for trait, each in traits.items()}
        for name in dict.fromkeys([SHIPPED[0], best])
    }
    print(json.dumps({"tried": tried, "best": best, "told": told}, indent=1))


if __name__ == "__main__":
    main()
