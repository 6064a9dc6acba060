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

Measured to first order 40 controls cost nothing more than the gradient. The damage is half the Fisher information's
quadratic form of the neutral text, with a drawn token at every other position.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch

from psyctl_core import build_caa, lent_model, open_dataset
from psyctl_core.local_models import LentModel
from psyctl_core.records import CaaRecord, ChatRequest, Message, prompt_of
from psyctl_openvino import OpenVinoConfig
from psyctl_soda import SodaConfig
from psyctl_static.others import PARAPHRASES
from psyctl_static.prompter import KEYWORDS_AND_DESCRIPTIONS
from psyctl_steering import items
from psyctl_steering.controls import random_directions, shuffled_directions
from psyctl_steering.damage import neutral_texts
from psyctl_steering.figures import bootstrap, effect
from psyctl_steering.measuring import CONTROLS, DAMAGE
from psyctl_steering.passes import Text, common
from psyctl_steering.steering import changed
from psyctl_steering.verdicts import verdict

MODEL = "embedded"
LAYER = "model.layers[18]"
SCENES = 45
"""Scenes that are answered in every form."""

SHIPPED = ("1", "2", "3", "4")
"""What the forms of the shipped descriptions are called here; all four dealt in turn are ``dealt``."""

ROWS = 20
"""Texts computed together."""

States = dict[str, dict[str, torch.Tensor]]
"""By the trait, or ``neutral``, and the scene's id the mean state over the answer's tokens."""


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


def states_of(lent: LentModel, found: Mapping[str, Sequence[CaaRecord]]) -> States:
    """The states of all answers; a scene's answers are computed together."""
    by_scene: dict[str, dict[str, tuple[str, str]]] = {}
    for name, records in found.items():
        for record in records:
            texts = by_scene.setdefault(record.id, {})
            texts[name] = prompt_of(record), record.positive_text
            texts["neutral"] = prompt_of(record), record.neutral_text
    states: States = {}
    for scene, texts in by_scene.items():
        (prompt, *_), answers = zip(*texts.values(), strict=True)
        for name, state in zip(texts, _states(lent, prompt, answers), strict=True):
            states.setdefault(name, {})[scene] = state
    return states


class _Enough(Exception):  # noqa: N818
    """What is wanted has been read."""


def _states(lent: LentModel, prompt: str, answers: Sequence[str]) -> torch.Tensor:
    asked = (Message("user", prompt),)
    bare, *rows = lent.encode([ChatRequest("", asked, prefill=text) for text in ("", *answers)])
    starts = [next((i for i, (a, b) in enumerate(zip(bare, row, strict=False)) if a != b), len(bare)) for row in rows]
    texts = [Text(tuple(row), start, ((0,),) * (len(row) - start)) for row, start in zip(rows, starts, strict=True)]
    kept: list[torch.Tensor] = []

    def keep(states: torch.Tensor) -> torch.Tensor:
        kept.append(states)
        raise _Enough

    try:
        with torch.no_grad():
            _computed(lent, texts, keep)
    except _Enough:
        pass
    before = _shared(texts)
    return torch.stack(
        [kept[0][i, text.start - before : len(text.ids) - before].mean(0) for i, text in enumerate(texts)]
    )


def gradients(lent: LentModel, texts: Sequence[Text]) -> torch.Tensor:
    """By text the gradient of its tokens' mean log-probability, at no steering: shape ``[texts, hidden]``."""
    found = []
    for some in (texts[i : i + ROWS] for i in range(0, len(texts), ROWS)):
        before, width = _shared(some), lent.model.config.hidden_size
        steered = torch.zeros(len(some), max(len(text.ids) for text in some) - before, 1)
        for row, text in enumerate(some):
            steered[row, text.start - before :] = 1
        added = torch.zeros(len(some), 1, width, requires_grad=True)
        states = _computed(lent, some, lambda states, added=added, steered=steered: states.detach() + added * steered)
        total = torch.zeros(())
        for row, text in enumerate(some):
            end, wanted = len(text.ids) - before, torch.tensor(text.wanted)
            logits = lent.model.lm_head(states[row, end - len(wanted) : end])
            total = total + logits.log_softmax(-1).gather(1, wanted).mean()
        total.backward()
        assert added.grad is not None
        found.append(added.grad[:, 0])
    return torch.cat(found)


def _shared(texts: Sequence[Text]) -> int:
    return min(common(texts), min(text.start for text in texts))


def _computed(lent: LentModel, texts: Sequence[Text], change: Any) -> torch.Tensor:
    """The decoder's last states of what comes after the texts' common beginning, padded on the right."""
    before = _shared(texts)
    length = max(len(text.ids) for text in texts) - before
    ids = torch.zeros(len(texts), length, dtype=torch.long)
    mask = torch.ones(len(texts), before + length, dtype=torch.long)
    for row, text in enumerate(texts):
        ids[row, : len(text.ids) - before] = torch.tensor(text.ids[before:])
        mask[row, len(text.ids) :] = 0
    cache = None
    if before:
        with torch.no_grad():
            cache = lent.model.model(torch.tensor([texts[0].ids[:before]]), use_cache=True).past_key_values
        cache.batch_repeat_interleave(len(texts))
    with changed(lent.model, {LAYER: change}):
        places = torch.arange(before, before + length).expand(len(texts), -1)
        output = lent.model.model(
            ids, attention_mask=mask, position_ids=places, past_key_values=cache, use_cache=cache is not None
        )
    return output.last_hidden_state


class Damage:
    """How long a direction is that does the wanted damage, to second order."""

    def __init__(self, lent: LentModel) -> None:
        draw, texts = torch.Generator().manual_seed(0), []
        for text in neutral_texts(lent):
            with torch.no_grad():
                likely = lent.model(torch.tensor([text.ids]), use_cache=False).logits[0].softmax(-1)
            for place, token in enumerate(torch.multinomial(likely, 1, generator=draw)[:, 0].tolist()):
                texts.append(Text(text.ids[: place + 1], 0, ((token,),)))
        self._scores = gradients(lent, texts[::2])

    def length(self, units: torch.Tensor) -> torch.Tensor:
        """The lengths of directions of length 1, shape ``[directions, 1]``."""
        return (DAMAGE / ((units @ self._scores.T) ** 2).mean(1, keepdim=True).div(2)).sqrt()


def differences(states: States, trait: str) -> torch.Tensor:
    """A trait's states minus the neutral ones, shape ``[scenes, hidden]``."""
    return torch.stack([state - states["neutral"][scene] for scene, state in states[trait].items()])


class Trait:
    """A trait's statements, and the effects of directions on them."""

    def __init__(self, lent: LentModel, trait: str, damage: Damage) -> None:
        (items_of,) = items.shipped(trait)
        self._damage = damage
        self.signs = items_of.signs
        self._slopes = gradients(lent, [text for group in items_of.write(lent, "") for text in group])
        self.halves = tuple([i for i in range(len(self.signs)) if i // 2 % 2 == half] for half in (0, 1))

    def values(self, directions: torch.Tensor, half: int) -> list[list[float]]:
        """What each direction does to each statement of a half, adding it less subtracting it, halved."""
        units = directions / directions.norm(dim=1, keepdim=True)
        found = units * self._damage.length(units) @ self._slopes[self.halves[half]].T
        return [list(map(float, row)) for row in found]

    def effects(self, directions: torch.Tensor, half: int) -> list[float]:
        """The effects of directions on a half of the statements."""
        signs = [self.signs[i] for i in self.halves[half]]
        return [effect(row, signs) for row in self.values(directions, half)]

    def told(self, found: torch.Tensor) -> dict[str, Any]:
        """The effect of a form's differences on the statements that did not choose it, beside its controls."""
        mean = found.mean(0, keepdim=True)
        (values,), signs = self.values(mean, 1), [self.signs[i] for i in self.halves[1]]
        controls = {
            "random": self.effects(random_directions(CONTROLS, mean.shape[1], 0), 1),
            "label-shuffled": self.effects(shuffled_directions(CONTROLS, found, 0), 1),
        }
        value, interval = effect(values, signs), bootstrap(values, signs, 0)
        return {
            "pairs": len(found),
            "effect": value,
            "interval": interval,
            "controls": {kind: (fmean(each), stdev(each)) for kind, each in controls.items()},
            "verdict": verdict(value, interval, len(values), controls).word,
        }


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
        traits = {trait: Trait(lent, trait, damage) for trait in items.TRAITS}
        for name, form in forms().items():
            states = states_of(lent, answered(form, file, given.folder / name))
            found[name] = {trait: differences(states, trait) for trait in traits}
            means = {trait: each.mean(0, keepdim=True) for trait, each in found[name].items()}
            tried[name] = {trait: each.effects(means[trait], 0)[0] for trait, each in traits.items()}
            print(f"{name}: mean {fmean(tried[name].values()):+.3f}", file=sys.stderr)
    best = max(tried, key=lambda name: fmean(tried[name].values()))
    told = {
        name: {trait: each.told(found[name][trait]) for trait, each in traits.items()}
        for name in dict.fromkeys([SHIPPED[0], best])
    }
    print(json.dumps({"tried": tried, "best": best, "told": told}, indent=1))


if __name__ == "__main__":
    main()
