"""Measures what a vector does: its effect on held-out items at a given damage, beside that of vectors of no use."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from psyctl_core.errors import UsageError
from psyctl_core.figures import counted
from psyctl_core.local_models import LentModel
from psyctl_core.terminal import NOTICE
from psyctl_steering import figures
from psyctl_steering.choices import CONTROLS, DAMAGE, DOSES
from psyctl_steering.controls import random_directions, shuffled_directions
from psyctl_steering.damage import Neutral, repetition
from psyctl_steering.figures import Interval
from psyctl_steering.items import ItemSet, factors, statements
from psyctl_steering.layers import blocks, default_layer
from psyctl_steering.passes import Batch, Passes, Text
from psyctl_steering.steering import check_fits, direction_at
from psyctl_steering.trying import answers
from psyctl_steering.vector import SteeringVector
from psyctl_steering.verdicts import Verdict, verdict

log = logging.getLogger("psyctl")

TRIED = (0.4, 0.5, 0.6)
"""Before which share of the blocks a layer is tried where nobody names any. Each one makes the test stricter."""

ENOUGH_TO_CHOOSE = 60
"""With fewer items none are spent on choosing a layer."""

BEARABLE = 0.5
"""Slopes go by doses that cost no more than so many nats a token: what lies beyond is a broken model."""

SAYS = ("What did you do last weekend?", "What do you think of other people?", "Tell me about your plans.")
"""What is asked to see whether a steered model still writes."""

ROLES = ("You are a person with a very high degree of {}.", "You are a person with a very low degree of {}.")
"""Plain prompting, to compare with: a system message towards the trait and one away from it."""

Stage = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found on one set of items.

    Attributes:
        name: The set's.
        unit: What the figures are in.
        items: How many items it is reported on; those that a layer was chosen by are not among them.
        effect: How much more the trait's items have than their opposites: half the difference of adding the direction
            and subtracting it, at the damage asked for.
        interval: Its 95 % interval over items.
        controls: By their kind (``random``, ``shuffled``) the effects of vectors of no use at the same damage.
        curve: The effect at each dose, against the model as it is.
        slopes: By the item, its slope over the doses that cost at most :data:`BEARABLE`.
        backwards: The share of items whose slope is negative.
        backwards_interval: Its 95 % interval.
        prompting: What the instruction to be such a person does, against the opposite one, halved likewise.
        mass: How much probability lies on the answers that count.
        contributions: What each item adds to the effect.
        verdict: What it comes to.
    """

    name: str
    unit: str
    items: int
    effect: float
    interval: Interval
    controls: Mapping[str, tuple[float, ...]]
    curve: tuple[float, ...]
    slopes: Mapping[str, float]
    backwards: float
    backwards_interval: Interval
    prompting: float
    mass: float | None
    contributions: Mapping[str, float]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a vector does to a model.

    Attributes:
        vector: The vector's facts.
        layer: Where it was added.
        tried: The layers that it was chosen among, with the effects on the half of the items that chose.
        norm: Median norm of the states there.
        dose: What was added, as a share of it, where the damage is as asked for.
        damage: That damage, in nats per token.
        doses: The doses of the curves, shares likewise.
        costs: The damage at each of them.
        perplexity: That of neutral text at each of them.
        repetition: Which share of the runs of three words repeats one, when steered away, unsteered and steered.
        sets: What was found, the set that the verdict goes by first.
        others: For each factor of the questionnaire the effect on its statements.
        pairs: How many pairs the vector was made from.
        seed: What decided whatever was drawn.
        notes: What is to be known of the figures.
    """

    vector: SteeringVector
    layer: str
    tried: Mapping[str, float]
    norm: float
    dose: float
    damage: float
    doses: tuple[float, ...]
    costs: tuple[float, ...]
    perplexity: tuple[float, ...]
    repetition: tuple[float, float, float]
    sets: tuple[Measured, ...]
    others: Mapping[str, float]
    seed: int
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The verdict on the first set."""
        return self.sets[0].verdict


@dataclass(slots=True)
class _At:
    """A model steered at one layer, with the items prepared for it."""

    lent: LentModel
    layer: str
    norm: float
    unit: torch.Tensor
    passes: Passes
    neutral: Neutral
    prepared: dict[str, tuple[list[Batch], list[Text]]] = field(default_factory=dict)

    def found(self, items: ItemSet, directions: torch.Tensor, key: str = "") -> list[torch.Tensor]:
        """The texts' log-probabilities under directions of full length."""
        key = key or items.name
        if key not in self.prepared:
            groups = items.write(self.lent, "")
            self.prepared[key] = self.passes.prepared(groups), [text for group in groups for text in group]
        return self.passes.logprobs(*self.prepared[key], directions)

    def values(self, items: ItemSet, directions: torch.Tensor, key: str = "") -> torch.Tensor:
        return items.value(self.found(items, directions, key))

    def odd(self, items: ItemSet, directions: torch.Tensor, key: str = "") -> torch.Tensor:
        """Half the difference of adding and subtracting: shape ``[directions, items]``."""
        both = self.values(items, torch.cat([directions, -directions]), key)
        return (both[: len(directions)] - both[len(directions) :]) / 2


def measure(
    lent: LentModel,
    vector: SteeringVector,
    sets: Sequence[ItemSet],
    *,
    differences: Callable[[str], torch.Tensor] | None = None,
    layers: Sequence[str] = (),
    doses: Sequence[float] = DOSES,
    damage: float = DAMAGE,
    controls: int = CONTROLS,
    seed: int = 0,
    stage: Stage = log.info,
) -> Measurement:
    """Measure what a vector does to a model.

    The direction is added from the end of the prompt's own words on, as CAA does (Rimsky et al. 2024,
    arXiv:2312.06681), so that the prompt is computed once for all doses and vectors.

    Args:
        lent: The model.
        vector: The vector; it should not have been extracted from the items.
        sets: The items, those that the verdict goes by first.
        differences: For a layer, each pair's positive minus neutral state, shape ``[pairs, hidden]``, for the controls
            with shuffled labels; without it there are only random ones.
        layers: Names and patterns of the layers to choose among; by default some at mid depth where there are items
            enough to choose by, and one otherwise.
        doses: Shares of the median norm at which the curve is measured; 0 is added.
        damage: At which damage effects are compared, in nats per token of neutral text.
        controls: How many vectors of each kind an effect is compared with.
        seed: Decides whatever is drawn.
        stage: Told what is under way.

    Raises:
        UsageError: The vector does not fit, or an option makes no sense.
        BackendError: The model computes something that is no number.
    """
    _check(sets, doses, damage, controls)
    doses = tuple(sorted({0.0, *doses}))
    candidates = _candidates(lent, vector, layers, sets[0])
    notes = [] if differences is not None else ["Without the data set there are no controls with shuffled labels."]
    at, dose, tried, sets = _chosen(lent, vector, candidates, sets, damage, seed, stage)
    stage(f"Steering at {at.layer}, {dose / at.norm:.2f} of the states' median norm for the damage asked for")
    directions = torch.tensor(doses)[:, None] * at.norm * at.unit
    costs, perplexity = at.neutral.costs(directions)
    (reached,) = at.neutral.both_ways(at.unit * dose)
    notes += _missed(reached, damage)
    stage(f"Matching the damage of {counted(controls * (1 + (differences is not None)), 'control')}")
    against = _controls(at, controls, differences, seed, damage, dose)
    near = _near(doses, costs)
    repeated = _repetition(lent, vector, at, dose, stage)
    state, trait = (len(candidates), max(repeated) - repeated[1]), vector.facts.trait
    found = tuple(
        _measured(at, each, directions, doses, dose, against, seed, near, state, trait, stage) for each in sets
    )
    stage("Measuring other traits")
    others = {name: _effect_on(at, statements(each, name), dose) for name, each in factors().items()}
    return Measurement(
        vector, at.layer, tried, at.norm, dose / at.norm, reached, doses, tuple(costs), tuple(perplexity), repeated,
        found, others, seed, tuple(notes),
    )  # fmt: skip


def _missed(reached: float, damage: float) -> list[str]:
    if abs(reached / damage - 1) <= 0.2:
        return []
    return [f"No dose was found that costs {damage:g} nats a token: {reached:.3f} is the nearest."]


def _check(sets: Sequence[ItemSet], doses: Sequence[float], damage: float, controls: int) -> None:
    if not sets or not all(map(len, sets)):
        raise UsageError(
            "There are no items to measure with.",
            "Give --items FILE with statements of the trait, or --dataset with pairs to hold out.",
        )
    if not doses or not all(abs(dose) < 100 for dose in doses) or not any(doses):
        raise UsageError("The doses must be numbers, one of them other than 0.", "Give --doses=-0.2,-0.1,0.1,0.2")
    if not 0 < damage < 10:
        raise UsageError(f"A damage of {damage:g} nats a token cannot be aimed at.", "Give --damage 0.1, or near it.")
    if controls < 2:
        raise UsageError(f"{counted(controls, 'control')} cannot show a spread.", "Give --controls 20 or more.")
    if controls < CONTROLS:
        log.log(
            NOTICE,
            "With %s of each kind the noise is known roughly only; 20 is the default.",
            counted(controls, "control"),
        )


def _candidates(lent: LentModel, vector: SteeringVector, layers: Sequence[str], first: ItemSet) -> list[str]:
    if layers:
        return check_fits(lent.model, vector, layers)
    check_fits(lent.model, vector)
    middle = [name for name in middle_layers(lent.model) if name in vector.directions]
    if len(first) < ENOUGH_TO_CHOOSE or len(middle) < 2:
        return [default_layer(list(vector.directions), lent.model)]
    return middle


def middle_layers(model: Any) -> list[str]:
    """The blocks that are tried where nobody names any."""
    every = blocks(model)
    return list(dict.fromkeys(every[min(len(every) - 1, round(share * len(every)))] for share in TRIED))


def _chosen(
    lent: LentModel,
    vector: SteeringVector,
    candidates: Sequence[str],
    sets: Sequence[ItemSet],
    damage: float,
    seed: int,
    stage: Stage,
) -> tuple[_At, float, dict[str, float], Sequence[ItemSet]]:
    """Where to steer and how far, what each layer did on the items that chose, and the items that are left."""
    if len(candidates) == 1:
        return *_ready(lent, vector, candidates[0], damage), {}, sets
    choosing, rest = zip(*(_halves(each, seed) for each in sets), strict=True)
    tried: dict[str, float] = {}
    best: tuple[_At, float] | None = None  # of the others nothing is held
    for layer in candidates:
        stage(f"Trying {layer}")
        at, dose = _ready(lent, vector, layer, damage)
        tried[layer] = figures.effect(at.odd(choosing[0], at.unit * dose, "choosing")[0].tolist(), choosing[0].signs)
        if best is None or abs(tried[layer]) > abs(tried[best[0].layer]):
            best = at, dose
    assert best is not None
    return *best, tried, rest


def _halves(items: ItemSet, seed: int) -> tuple[ItemSet, ItemSet]:
    """Two halves with as many of each side."""
    numbers = list(range(len(items)))
    random.Random(seed).shuffle(numbers)  # noqa: S311
    numbers.sort(key=lambda number: items.signs[number])
    return items.some(sorted(numbers[0::2])), items.some(sorted(numbers[1::2]))


def _ready(lent: LentModel, vector: SteeringVector, layer: str, damage: float) -> tuple[_At, float]:
    """The model with a layer to steer at, and the length at which the vector does the damage."""
    passes = Passes(lent.model, layer, lent.tokenizer.pad_token_id or 0)
    unit, norm = direction_at(vector, layer)[None], vector.layers[layer].norm
    at = _At(lent, layer, norm, unit, passes, Neutral(lent, passes))
    (dose,) = at.neutral.doses(unit, damage, 0.2 * norm)
    return at, dose


def _controls(
    at: _At, count: int, differences: Callable[[str], torch.Tensor] | None, seed: int, damage: float, guess: float
) -> dict[str, torch.Tensor]:
    """By their kind, directions of no use at the length of the wanted damage."""
    found = {"random": random_directions(count, at.unit.shape[1], seed)}
    if differences is not None:
        found["label-shuffled"] = shuffled_directions(count, differences(at.layer), seed)
    every = torch.cat(list(found.values()))
    lengths = torch.tensor(at.neutral.doses(every, damage, guess))[:, None]
    return dict(zip(found, torch.split(every * lengths, count), strict=True))


def _measured(
    at: _At,
    items: ItemSet,
    directions: torch.Tensor,
    doses: Sequence[float],
    dose: float,
    against: Mapping[str, torch.Tensor],
    seed: int,
    near: Sequence[int],
    state: tuple[int, float],
    trait: str,
    stage: Stage,
) -> Measured:
    stage(
        f"Measuring {counted(len(items), 'item')} of {items.name}, with "
        f"{counted(sum(map(len, against.values())), 'control')}"
    )
    signs = items.signs
    probabilities = at.found(items, directions)
    curve = items.value(probabilities)
    base = curve[doses.index(0.0)]
    odd = at.odd(items, at.unit * dose)[0].tolist()
    controls = {
        kind: tuple(figures.effect(row, signs) for row in at.odd(items, each).tolist())
        for kind, each in against.items()
    }
    parts = [figures.contributions(row, signs) for row in (curve - base)[list(near)].tolist()]
    slopes = [figures.slope([doses[i] for i in near], column) for column in zip(*parts, strict=True)]
    backwards = sum(each < 0 for each in slopes)
    effect, interval = figures.effect(odd, signs), figures.bootstrap(odd, signs, seed)
    tried, repeated = state
    return Measured(
        name=items.name,
        unit=items.unit,
        items=len(items),
        effect=effect,
        interval=interval,
        controls=controls,
        curve=tuple(figures.effect(row, signs) for row in (curve - base).tolist()),
        slopes=dict(zip(items.labels, slopes, strict=True)),
        backwards=backwards / len(items),
        backwards_interval=figures.wilson(backwards, len(items)),
        prompting=_prompting(at, items, trait),
        mass=items.mass([each[doses.index(0.0)][None] for each in probabilities]) if items.mass else None,
        contributions=dict(zip(items.labels, figures.contributions(odd, signs), strict=True)),
        verdict=verdict(effect, interval, len(items), controls, tried=tried, repeated=repeated),
    )


def _near(doses: Sequence[float], costs: Sequence[float]) -> list[int]:
    """Which doses slopes go by: 0, and on either side those that cost at most :data:`BEARABLE`, one at least."""
    kept = [i for i, cost in enumerate(costs) if cost <= BEARABLE]
    for side in (1, -1):
        these = [i for i, dose in enumerate(doses) if side * dose > 0]
        if these and not set(these) & set(kept):
            kept.append(min(these, key=lambda i: abs(doses[i])))
    return sorted(kept)


def _prompting(at: _At, items: ItemSet, trait: str) -> float:
    nothing = torch.zeros_like(at.unit)
    sides = []
    for role in ROLES:
        groups = items.write(at.lent, role.format(trait))
        texts = [text for group in groups for text in group]
        sides.append(items.value(at.passes.logprobs(at.passes.prepared(groups), texts, nothing))[0])
    return figures.effect(((sides[0] - sides[1]) / 2).tolist(), items.signs)


def _effect_on(at: _At, items: ItemSet, dose: float) -> float:
    return figures.effect(at.odd(items, at.unit * dose, f"other {items.name}")[0].tolist(), items.signs)


def _repetition(
    lent: LentModel, vector: SteeringVector, at: _At, dose: float, stage: Stage
) -> tuple[float, float, float]:
    stage("Looking whether the steered model repeats itself")
    share = dose / at.norm
    said = [answers(lent, vector, says, (-share, 0.0, share), layers=[at.layer], max_tokens=40) for says in SAYS]
    away, unsteered, towards = (repetition([each[i].text for each in said]) for i in range(3))
    return away, unsteered, towards
