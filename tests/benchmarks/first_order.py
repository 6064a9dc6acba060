"""Effects of mean differences to first order in the dose, which is what the benchmarks of pairs go by.

A direction is the mean difference of the states at one block over the answers' tokens. Its effect on statements is the
gradient of their likelihoods times the direction, as long as it must be for the damage; so 40 controls cost nothing
more than the gradient. The damage is half the Fisher information's quadratic form of the neutral text, with a drawn
token at every other position. What that leaves out is told in ``docs/explanation/steering.md``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import torch

from psyctl_core.local_models import LentModel
from psyctl_core.records import CaaRecord, ChatRequest, Message, prompt_of
from psyctl_steering import items
from psyctl_steering.controls import random_directions, shuffled_directions
from psyctl_steering.damage import neutral_texts
from psyctl_steering.figures import bootstrap, effect
from psyctl_steering.measuring import CONTROLS, DAMAGE
from psyctl_steering.passes import Text, common
from psyctl_steering.steering import changed
from psyctl_steering.verdicts import verdict

LAYER = "model.layers[18]"

ROWS = 20
"""Texts computed together."""

States = dict[str, dict[str, torch.Tensor]]
"""By the trait, or ``neutral``, and the scene's id the mean state over the answer's tokens."""


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


class Statements:
    """A trait's shipped statements, or some of them, and the effects of directions on them."""

    def __init__(self, lent: LentModel, trait: str, damage: Damage) -> None:
        (items_of,) = items.shipped(trait)
        self._damage = damage
        self._signs = items_of.signs
        self._slopes = gradients(lent, [text for group in items_of.write(lent, "") for text in group])
        self._places = list(range(len(self._signs)))

    def half(self, number: int) -> Statements:
        """Every other pair of statements: the first half with 0, the second with 1."""
        other = copy.copy(self)
        other._places = [place for place in self._places if place // 2 % 2 == number]
        return other

    def values(self, directions: torch.Tensor) -> list[list[float]]:
        """What each direction does to each statement, adding it less subtracting it, halved."""
        units = directions / directions.norm(dim=1, keepdim=True)
        found = units * self._damage.length(units) @ self._slopes[self._places].T
        return [list(map(float, row)) for row in found]

    def effects(self, directions: torch.Tensor) -> list[float]:
        """The effects of directions."""
        return [effect(row, self._kept_signs()) for row in self.values(directions)]

    def told(self, found: torch.Tensor) -> dict[str, Any]:
        """The effect of pairs' differences, shape ``[pairs, hidden]``, beside its controls."""
        mean = found.mean(0, keepdim=True)
        (values,), signs = self.values(mean), self._kept_signs()
        controls = {
            "random": self.effects(random_directions(CONTROLS, mean.shape[1], 0)),
            "label-shuffled": self.effects(shuffled_directions(CONTROLS, found, 0)),
        }
        value, interval = effect(values, signs), bootstrap(values, signs, 0)
        return {
            "pairs": len(found),
            "effect": value,
            "interval": interval,
            "controls": {kind: (fmean(each), stdev(each)) for kind, each in controls.items()},
            "verdict": verdict(value, interval, len(values), controls).word,
        }

    def _kept_signs(self) -> list[int]:
        return [self._signs[place] for place in self._places]
