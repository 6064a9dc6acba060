"""Draws the course of a run: pairs, rejected scenarios, skipped rows, rate, tokens and cost over the time it took."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup

from psyctl_core import Moment
from psyctl_core.figures import counted
from psyctl_report.plots import LOOKS, curves

MARKS = 40
"""So many moments are drawn at most, evenly chosen: each has a mark to point at."""

UNITS = (("hours of generating", 3600.0), ("minutes of generating", 60.0), ("seconds of generating", 1.0))


def course_plots(course: Sequence[Moment]) -> list[Markup]:
    """The plots that there is something to draw in; none of fewer than two moments."""
    moments = thinned(course)
    if len(moments) < 2:
        return []
    unit, length = next((each for each in UNITS if moments[-1].seconds >= 2 * each[1]), UNITS[-1])
    places = [moment.seconds / length for moment in moments]
    plots = [
        curves("Pairs", unit, places, {"pairs": [float(moment.accepted) for moment in moments]}),
        curves("Rejected scenarios, by reason", unit, places, by_reason(moments, lambda moment: moment.rejected)),
        curves("Skipped rows, by reason", unit, places, by_reason(moments, lambda moment: moment.skipped)),
        curves("Pairs a minute", unit, places[1:], {"pairs a minute": rates(moments)}),
        curves("Tokens", unit, places, {
            "read": [float(moment.prompt_tokens) for moment in moments],
            "written": [float(moment.completion_tokens) for moment in moments],
        }),
        curves("Cost, in US dollars", unit, places, {"cost as far as told": [moment.cost or 0.0 for moment in moments]}
               if moments[-1].cost else {}),
    ]  # fmt: skip
    return [plot for plot in plots if plot]


def thinned(course: Sequence[Moment]) -> list[Moment]:
    """At most :data:`MARKS` moments of different times, the first and the last among them."""
    moments = [last for _, (*_, last) in itertools.groupby(course, lambda moment: moment.seconds)]
    if len(moments) <= MARKS:
        return moments
    return [moments[i * (len(moments) - 1) // (MARKS - 1)] for i in range(MARKS)]


def rates(moments: Sequence[Moment]) -> list[float]:
    """Pairs a minute from each moment to the next."""
    return [
        60 * max(0, after.accepted - before.accepted) / (after.seconds - before.seconds)
        for before, after in itertools.pairwise(moments)
    ]


def by_reason(moments: Sequence[Moment], counts: Callable[[Moment], Mapping[str, int]]) -> dict[str, list[float]]:
    """A line for each reason, commonest first; those that no line is left for are together in the last one."""
    reasons = [reason for reason, _ in Counter(counts(moments[-1])).most_common()]
    single = reasons if len(reasons) <= len(LOOKS) else reasons[: len(LOOKS) - 1]
    lines = {reason: [float(counts(moment).get(reason, 0)) for moment in moments] for reason in single}
    if rest := reasons[len(single) :]:
        name = counted(len(rest), "other reason")
        lines[name] = [float(sum(counts(moment).get(reason, 0) for reason in rest)) for moment in moments]
    return lines
