"""Fills the page: what data say is escaped, and a policy lets nothing run but the page's own script."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from statistics import median

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from psyctl_core import CheckResult
from psyctl_core.checks import Finding
from psyctl_core.figures import counted
from psyctl_core.terminal import visible
from psyctl_report import making
from psyctl_report.course import course_plots
from psyctl_report.facts import WORST, TraitFacts, told
from psyctl_report.plots import Series, curves, histogram, share_bar

VERDICTS = ("fail", "look", "cannot tell", "ok")
"""In the order in which a reader wants to see them."""

HUNDRED = (0.0, 100.0)
"""Between which a judge's scores are drawn, if all lie there."""


def page_of(traits: Sequence[TraitFacts], notes: Sequence[str] = ()) -> str:
    """The page about one or several datasets; the same facts make the same page.

    Args:
        traits: What is told of each.
        notes: What was left out, a line each.
    """
    style, script = (Markup(_file(name)) for name in ("page.css", "page.js"))  # noqa: S704 - the package's own
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return _template().render(
        traits=traits, notes=notes, style=style, script=script, policy=policy, verdicts=VERDICTS, worst=WORST,
        title=f"{', '.join(facts.trait for facts in traits)}: dataset report",
        making=making, verdict_of=verdict_of, numbered=numbered, compared=compared, checks_of=checks_of,
        length_plot=length_plot, score_plots=score_plots, share_bar=share_bar, interval=interval,
        course_plots=course_plots, told=told, steering_plots=steering_plots, number_of=counted,
    )  # fmt: skip


@functools.cache  # to compile it takes longer than to fill it in
def _template() -> Template:
    environment = Environment(
        autoescape=True, finalize=_seen, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_file("page.html.j2"))


def verdict_of(facts: TraitFacts) -> str:
    """One line: how many pairs, whether there will be more, and what the checks came to."""
    parts = [counted(facts.records, "pair")]
    if not facts.is_finished:
        parts.append(making.status_of(facts.run) if facts.run else "whether it is finished is not known")
    if facts.checkup is None:
        return f"{', '.join(parts)}. There is nothing to check yet."
    for verdict, words in (("fail", "fails"), ("look", "worth a look")):
        names = [result.check.name for result in facts.checkup.results if result.verdict == verdict]
        if names:
            parts.append(f"{words}: {', '.join(names)}")
    fine, all_of = facts.checkup.count("ok"), len(facts.checkup.results)
    untold = facts.checkup.count("cannot tell")
    return f"{'; '.join(parts)}. {fine} of {counted(all_of, 'check')} ok, {untold} cannot tell."


def compared(traits: Sequence[TraitFacts]) -> list[tuple[str, list[str]]]:
    """Rows that set the datasets side by side: a heading, and a cell for each."""
    rows = {
        "pairs": [f"{facts.records:,}" for facts in traits],
        "rejected": [f"{sum(facts.run.get('statistics', {}).get('rejected', {}).values()):,}" for facts in traits],
        "run": [making.status_of(facts.run) for facts in traits],
        "positive answer, median characters": [_median(facts.lengths[0]) for facts in traits],
        "other answer, median characters": [_median(facts.lengths[1]) for facts in traits],
    }
    for name in dict.fromkeys(name for facts in traits for name in facts.scores):
        rows[f"score '{name}', median"] = [_median(facts.scores.get(name, ([], []))[0]) for facts in traits]
    return list(rows.items())


def checks_of(traits: Sequence[TraitFacts]) -> list[tuple[str, list[CheckResult | None]]]:
    """For each check what it found in each dataset."""
    said = [
        {result.check.name: result for result in facts.checkup.results} if facts.checkup else {} for facts in traits
    ]
    names = dict.fromkeys(name for each in said for name in each)
    return [(name, [each.get(name) for each in said]) for name in names]


def numbered(facts: TraitFacts) -> dict[str, int]:
    """The place of each pair that is shown, by its id, for links to it."""
    return {pair.pair.id: pair.number for pair in reversed(facts.pairs)}


def interval(finding: Finding) -> str:
    """Where a check's figure lies, or nothing."""
    return f"95 %: {finding.interval[0]:.2f} to {finding.interval[1]:.2f}" if finding.interval else ""


def length_plot(facts: TraitFacts) -> Markup:
    """How long the answers of both sides are."""
    return histogram(
        "Length of the answers, in characters",
        [Series(facts.trait, "positive", facts.lengths[0]), Series(facts.other, "neutral", facts.lengths[1])],
    )


def score_plots(facts: TraitFacts) -> list[Markup]:
    """How each score is spread, the dataset's pairs beside the rejected ones."""
    plots = []
    for name, (accepted, rejected) in facts.scores.items():
        within = all(0 <= score <= 100 for score in (*accepted, *rejected))
        series = [Series("in the dataset", "positive", accepted), Series("rejected", "neutral", rejected)]
        plots.append(histogram(f"Score '{name}'", series, HUNDRED if within else None))
    return plots


def steering_plots(facts: TraitFacts) -> list[Markup]:
    """What a vector of the dataset does at each dose, on each set of items, and what it costs."""
    found = facts.steering
    if not found:
        return []
    plots = [
        _by_dose(f"Effect on {each['name']}, {each['unit']}", found["doses"], "effect", each["curve"])
        for each in found["sets"]
    ]
    damage = "Damage, nats per token of neutral text"
    return [*plots, _by_dose(damage, found["doses"], "divergence", found["divergence"])]


def _by_dose(title: str, doses: Sequence[float], name: str, values: Sequence[float]) -> Markup:
    told = ", ".join(f"{value:.3g} at {dose:g}" for dose, value in zip(doses, values, strict=True))
    return curves(f"{title}, by dose", "share of the norm", doses, {name: values}, f"{name}: {told}")


def _seen(value: object) -> object:
    """A text with what a browser would obey spelled out, such as marks that turn its direction."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _median(values: Sequence[float]) -> str:
    return f"{median(values):g}" if values else "none"


def _file(name: str) -> str:
    return files("psyctl_report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
