"""``psyctl steering.compare``: datasets or vectors for one model under one protocol, in one table."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, variance
from typing import TYPE_CHECKING, Annotated, Any

import typer

from psyctl_core.errors import UsageError
from psyctl_core.figures import counted
from psyctl_core.terminal import say, say_json, visible
from psyctl_steering import told
from psyctl_steering.choices import CONTROLS, DAMAGE, check_installed
from psyctl_steering.command_measure import MOST, OWN, TYPED_DOSES, doses_typed, item_sets
from psyctl_steering.figures import DRAWS, Interval, deviations

if TYPE_CHECKING:
    from psyctl_core import Checkup
    from psyctl_core.local_models import LentModel
    from psyctl_steering.measuring import Measured, Measurement


@dataclass(frozen=True, slots=True)
class Compared:
    """One of what is compared: its name, what was measured, and what the checks say of its pairs."""

    name: str
    found: Measurement
    checkup: Checkup | None


def steering_compare(
    what: Annotated[list[Path], typer.Argument(help="Datasets, or vectors' files, of one trait.")],
    model: Annotated[str, typer.Option(help="The model: a Hub name, a folder, a GGUF file or 'embedded'.")],
    trait: Annotated[str, typer.Option(help="Which trait's dataset, where there are several.")] = "",
    item: Annotated[
        list[str] | None,
        typer.Option(
            "--items",
            help="statements, ipip, ipip-answers, or statements of your own: a file, or a data set on the Hub with its "
            "file (NAME:FILE) (default: the shipped statements).",
        ),
    ] = None,
    max_items: Annotated[int, typer.Option(help="At most so many statements of a file.", min=2)] = MOST,
    layer: Annotated[list[str] | None, typer.Option(help="Where to steer (default: near 0.6 of the depth).")] = None,
    damage: Annotated[
        float, typer.Option(help="At which damage effects are compared: nats per token of neutral text.")
    ] = DAMAGE,
    controls: Annotated[int, typer.Option(help="Random and label-shuffled vectors, of each so many.")] = CONTROLS,
    device: Annotated[str, typer.Option("--device", "--hf-device", help="auto, cuda, cuda:1, mps or cpu.")] = "auto",
    dtype: Annotated[
        str, typer.Option("--dtype", "--hf-dtype", help="auto, bfloat16, float16 or float32.")
    ] = "float32",
    seed: Annotated[int, typer.Option(help="Of whatever is drawn.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Compare datasets or vectors on the same items, at the same damage, with the checks' figures beside."""
    del debug  # read where errors become text
    if len(what) < 2:
        raise UsageError("There is nothing to compare with.", "Name two datasets or vectors, or more.")
    if "pairs" in (item or ()):
        raise UsageError(
            "Held-out pairs are each dataset's own: on them nothing can be compared.",
            "Leave --items pairs out, or give a file of statements.",
        )
    check_installed()
    from psyctl_core import lent_model

    with lent_model(model, options={"device": device, "dtype": dtype}) as lent:
        rows = [
            _compared(lent, path, trait, item or (), max_items, layer or (), damage, controls, seed) for path in what
        ]
        figures: dict[str, Any] = {"model": lent.name, "rows": [_row_json(each, lent) for each in rows]}
    _check_traits(rows)
    pairs = _differences(rows, seed)
    if as_json:
        say_json({**figures, "differences": [_difference_json(*each) for each in pairs]})
        return
    _show(rows)
    for one, other, difference, interval, noise in pairs:
        say(
            f"{visible(one)} - {visible(other)}: {difference:+.3f} ({interval[0]:+.3f} to {interval[1]:+.3f} over "
            f"items), {difference / noise:+.1f} SD of what two vectors of no use differ by"
        )


def _compared(
    lent: LentModel, path: Path, trait: str, named: Sequence[str], most: int, layers: Sequence[str], damage: float,
    controls: int, seed: int,
) -> Compared:  # fmt: skip
    from psyctl_core import check_dataset
    from psyctl_steering.layers import default_layer
    from psyctl_steering.measuring import measure
    from psyctl_steering.subject import subject

    is_vector = path.suffix == ".safetensors"
    say(f"{path}:", err=True)
    given = (path, None) if is_vector else (None, path)
    with subject(lent, *given, trait=trait, layers=layers, held_out=0) as what:
        at = layers or [default_layer(list(what.vector.directions), lent.model)]
        sets = item_sets(what, named or OWN[:1], most)
        found = measure(
            lent, what.vector, sets[:1], differences=what.differences, layers=at,
            doses=doses_typed(TYPED_DOSES), damage=damage, controls=controls, seed=seed,
            stage=lambda text: say(f"{text} …", err=True),
        )  # fmt: skip
    checkup = None if is_vector else check_dataset(path, trait=what.vector.facts.trait)[0]
    return Compared(str(path), found, checkup)


def _check_traits(rows: Sequence[Compared]) -> None:
    traits = dict.fromkeys(each.found.vector.facts.trait for each in rows)
    if len(traits) > 1:
        raise UsageError(
            f"These are of several traits: {', '.join(traits)}.", "Compare what is of one, with --trait NAME."
        )


def _differences(rows: Sequence[Compared], seed: int) -> list[tuple[str, str, float, Interval, float]]:
    """Each against the first: the difference, its interval over the items that both have, and its noise."""
    found = []
    for each in rows[1:]:
        one, other = rows[0].found.sets[0], each.found.sets[0]
        both = [one.contributions[label] - other.contributions[label]
                for label in one.contributions if label in other.contributions]  # fmt: skip
        drawn = random.Random(seed)  # noqa: S311
        means = sorted(fmean(drawn.choices(both, k=len(both))) for _ in range(DRAWS))
        interval = means[round(0.025 * (DRAWS - 1))], means[round(0.975 * (DRAWS - 1))]
        found.append((rows[0].name, each.name, one.effect - other.effect, interval, _noise(one, other)))
    return found


def _noise(one: Measured, other: Measured) -> float:
    """The standard deviation of the difference of two vectors of no use: of the wider kind of controls."""
    return math.sqrt(sum(max(map(variance, each.controls.values())) for each in (one, other)))


def _show(rows: Sequence[Compared]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("")
    kinds = list(dict.fromkeys(kind for each in rows for kind in each.found.sets[0].controls))
    for head in ("pairs", "effect", "95 %", *(f"SD from {kind}" for kind in kinds), "backwards"):
        table.add_column(head, justify="right")
    table.add_column("verdict")
    for each in rows:
        first = each.found.sets[0]
        out = [f"{deviations(first.effect, first.controls[k]):+.1f}" if k in first.controls else "-" for k in kinds]
        table.add_row(
            Text(visible(each.name)), str(each.found.vector.facts.pairs), f"{first.effect:+.3f}",
            f"{first.interval[0]:+.3f} {first.interval[1]:+.3f}", *out, f"{first.backwards:.0%}", first.verdict.word,
        )  # fmt: skip
    Console(highlight=False, soft_wrap=True).print(table)
    checks = _checks(rows)
    if checks:
        table = Table(box=None, pad_edge=False)
        table.add_column("check")
        for each in rows:
            table.add_column(Text(visible(each.name)), justify="right")
        for name, cells in checks.items():
            table.add_row(visible(name), *cells)
        Console(highlight=False, soft_wrap=True).print(table)
    measured = rows[0].found.sets[0]
    say(f"On {counted(measured.items, 'item')} of {measured.name}, at {rows[0].found.damage:.2f} nats a token.")


def _checks(rows: Sequence[Compared]) -> dict[str, list[str]]:
    """What the checks say of each, the ones that somebody should look at."""
    names = dict.fromkeys(
        result.check.name for each in rows if each.checkup for result in each.checkup.results
        if result.verdict in ("look", "fail")
    )  # fmt: skip
    return {name: [_cell(each.checkup, name) for each in rows] for name in names}


def _cell(checkup: Checkup | None, name: str) -> str:
    for result in checkup.results if checkup else ():
        if result.check.name == name:
            value = result.finding.value
            return result.verdict if value is None else f"{value:.2f} {result.verdict}"
    return "-"


def _row_json(each: Compared, lent: LentModel) -> dict[str, Any]:
    checks = {result.check.name: {"value": result.finding.value, "verdict": result.verdict}
              for result in (each.checkup.results if each.checkup else ())}  # fmt: skip
    return {"name": each.name, **told.as_json(each.found, lent), "checks": checks}


def _difference_json(one: str, other: str, value: float, interval: Interval, noise: float) -> Mapping[str, Any]:
    return {"of": one, "from": other, "difference": value, "interval": list(interval), "noise": noise}
