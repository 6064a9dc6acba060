"""A measurement as JSON, as a terminal shows it, and as a file beside a dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psyctl_core.files import write_atomically, writing
from psyctl_core.terminal import say, visible
from psyctl_steering.figures import deviations

if TYPE_CHECKING:
    from rich.table import Table

    from psyctl_core.local_models import LentModel
    from psyctl_steering.measuring import Measured, Measurement

NAME = "steering.json"
"""The file in a dataset's run folder that ``dataset.report`` shows."""


def as_json(found: Measurement, lent: LentModel) -> dict[str, Any]:
    """The measurement as ``steering.v1.schema.json`` describes it."""
    facts = found.vector.facts
    away, unsteered, towards = found.repetition
    return {
        "format_version": 1,
        "model": {"name": lent.name, "fingerprint": lent.fingerprint, "dtype": str(lent.model.dtype).split(".")[-1]},
        "vector": {
            "trait": facts.trait,
            "model": facts.model,
            "fingerprint": facts.fingerprint,
            "method": facts.method,
            "position": facts.position,
            "pairs": facts.pairs,
            "dataset": facts.dataset,
        },
        "layer": found.layer,
        "tried": dict(found.tried),
        "norm": found.norm,
        "dose": found.dose,
        "damage": found.damage,
        "doses": list(found.doses),
        "divergence": list(found.costs),
        "perplexity": list(found.perplexity),
        "repetition": {"away": away, "unsteered": unsteered, "towards": towards},
        "seed": found.seed,
        "notes": list(found.notes),
        "verdict": {"word": found.verdict.word, "why": found.verdict.why, "by": found.sets[0].name},
        "sets": [_set_json(each) for each in found.sets],
        "others": dict(found.others),
    }


def _set_json(each: Measured) -> dict[str, Any]:
    return {
        "name": each.name,
        "unit": each.unit,
        "items": each.items,
        "effect": each.effect,
        "interval": list(each.interval),
        "controls": {
            kind: {"effects": list(effects), "deviations": deviations(each.effect, effects)}
            for kind, effects in each.controls.items()
        },
        "curve": list(each.curve),
        "slopes": dict(each.slopes),
        "backwards": {"share": each.backwards, "interval": list(each.backwards_interval)},
        "prompting": each.prompting,
        "mass": each.mass,
        "contributions": dict(each.contributions),
        "verdict": {"word": each.verdict.word, "why": each.verdict.why},
    }


def write(found: dict[str, Any], file: Path) -> None:
    """Write a measurement's JSON in one step.

    Raises:
        OutputError: The file cannot be written.
    """
    file = file.expanduser()
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(found, ensure_ascii=False, indent=1) + "\n")


def show(found: Measurement, name: str) -> None:
    """Print what was found: a table of the sets, the curves, and the verdict last."""
    facts = found.vector.facts
    say(
        f"{visible(facts.trait)}, {visible(name)}: at {found.layer}, {found.dose:.2f} of the states' median norm, "
        f"which costs {found.damage:.3f} nats a token"
    )
    if found.tried:
        chosen = ", ".join(f"{layer} {value:+.3f}" for layer, value in found.tried.items())
        say(f"Layer chosen on one half of the items, reported on the other: {chosen}")
    _print(_sets(found))
    _print(_curves(found))
    _, unsteered, towards = found.repetition
    others = ", ".join(f"{trait} {value:+.3f}" for trait, value in found.others.items())
    say(f"Questionnaire's factors, as statements: {others}")
    say(f"Repeated runs of three words: {unsteered:.0%} unsteered, {towards:.0%} steered")
    for each in found.sets:
        if each.mass is not None and each.mass < 0.5:
            say(f"{each.name}: only {each.mass:.0%} of the probability lies on the answers, so they say little.")
    for note in found.notes:
        say(note)
    say(f"{found.verdict.word}: by {found.sets[0].name}, {found.verdict.why}")


def _sets(found: Measurement) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("items")
    kinds = list(found.sets[0].controls)
    for head in ("", "effect", "95 %", *(f"SD from {kind}" for kind in kinds), "backwards", "95 %", "prompting"):
        table.add_column(head, justify="right")
    table.add_column("verdict")
    for each in found.sets:
        low, high = each.interval
        table.add_row(
            Text(visible(each.name)),
            str(each.items),
            f"{each.effect:+.3f}",
            f"{low:+.3f} {high:+.3f}",
            *(f"{deviations(each.effect, each.controls[kind]):+.1f}" for kind in kinds),
            f"{each.backwards:.0%}",
            f"{each.backwards_interval[0]:.0%} {each.backwards_interval[1]:.0%}",
            f"{each.prompting:+.3f}",
            each.verdict.word,
        )
    return table


def _curves(found: Measurement) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("dose")
    for dose in found.doses:
        table.add_column(f"{dose:+g}" if dose else "0", justify="right")
    for each in found.sets:
        table.add_row(Text(visible(each.name)), *(f"{value:+.2f}" for value in each.curve))
    table.add_row("nats a token", *(f"{value:.2f}" for value in found.costs))
    table.add_row("perplexity", *(f"{value:.3g}" for value in found.perplexity))
    return table


def _print(table: Table) -> None:
    from rich.console import Console

    Console(highlight=False, soft_wrap=True).print(table)
