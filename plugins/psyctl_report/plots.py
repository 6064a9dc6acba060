"""Draws plots as SVG: every mark has a title, and every plot the same in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from psyctl_core.terminal import visible
from psyctl_report.texts import spread

WIDTH, HEIGHT = 360, 150
"""Of a histogram, in the units of its text: 360 fit a telephone."""

LEFT, BOTTOM, TOP = 34, 22, 8
"""Room for the axes' numbers."""


@dataclass(frozen=True, slots=True)
class Series:
    """One of the groups that a histogram compares: its name, the class of its bars, and its values."""

    name: str
    look: str
    values: Sequence[float]


def histogram(title: str, series: Sequence[Series], limits: tuple[float, float] | None = None) -> Markup:
    """How values are spread, as a share of each group, with the groups' bars side by side.

    Args:
        title: What is counted, with its unit.
        series: The groups.
        limits: Where the axis begins and ends; by default the least and the largest value, rounded.
    """
    values = [value for group in series for value in group.values]
    if not values:
        return Markup("")
    low, width, bins = axis(*(limits or (min(values), max(values))))
    counts = [_counted(group.values, low, width, bins) for group in series]
    shares = [[count / max(1, len(group.values)) for count in row] for row, group in zip(counts, series, strict=True)]
    top = max(map(max, shares))
    marks = Markup("").join(
        _bar(group, counts[which][place], shares[which][place] / top, (low + place * width, width), place / bins,
             (WIDTH - LEFT) / bins, which, len(series))
        for place in range(bins)
        for which, group in enumerate(series)
        if counts[which][place]
    )  # fmt: skip
    words = "; ".join(f"{group.name}: {spread(group.values)}" for group in series)
    legend = Markup("").join(
        Markup('<span class="{}"><svg width="10" height="10" aria-hidden="true"><rect width="10" height="10"/></svg>')
        .format(group.look) + Markup("{}</span> ").format(f" {visible(group.name)} ({len(group.values):,})")
        for group in series
    )  # fmt: skip
    return Markup(
        "<figure><figcaption>{title}<br>{legend}</figcaption>"
        '<svg class="plot" viewBox="0 0 {width} {height}" role="img" aria-label="{title}. {words}">'
        "{axes}{marks}</svg><p class=note>{words}</p></figure>"
    ).format(
        title=visible(title), legend=legend, width=WIDTH, height=HEIGHT, words=visible(words),
        axes=_axes(low, low + bins * width, top), marks=marks,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """One of the lines of a plot: its name, the class of its look, and its value at each place."""

    name: str
    look: str
    values: Sequence[float]


def curves(title: str, places: Sequence[float], lines: Sequence[Line]) -> Markup:
    """Values over places, as lines with a mark at each place.

    Args:
        title: What is shown, with its unit.
        places: Where the values are, rising.
        lines: The lines.
    """
    values = [value for line in lines for value in line.values]
    low, high = min(0.0, *values), max(0.0, *values)
    wide = (places[-1] - places[0]) or 1.0
    tall = (high - low) or 1.0
    base = HEIGHT - BOTTOM

    def point(place: float, value: float) -> tuple[float, float]:
        return LEFT + (place - places[0]) / wide * (WIDTH - LEFT - 4), base - (value - low) / tall * (base - TOP)

    marks = Markup("").join(
        Markup('<path class="line {}" d="M{}"/>').format(
            line.look, "L".join("{:.1f} {:.1f}".format(*point(*at)) for at in zip(places, line.values, strict=True))
        )
        + Markup("").join(
            _dot(line, place, value, point(place, value)) for place, value in zip(places, line.values, strict=True)
        )
        for line in lines
    )
    words = "; ".join(
        f"{line.name}: " + ", ".join(f"{v:.3g} at {p:g}" for p, v in zip(places, line.values, strict=True))
        for line in lines
    )
    return Markup(
        "<figure><figcaption>{title}</figcaption>"
        '<svg class="plot" viewBox="0 0 {width} {height}" role="img" aria-label="{title}. {words}">'
        '<path class="axis" d="M{left} {top}V{base}H{width}M{left} {zero:.1f}H{width}"/>'
        '<text x="{left}" y="{below}">{first:g}</text>'
        '<text x="{width}" y="{below}" text-anchor="end">{last:g}</text>'
        '<text x="{beside}" y="{text}" text-anchor="end">{high:.2g}</text>'
        '<text x="{beside}" y="{base}" text-anchor="end">{low:.2g}</text>'
        "{marks}</svg><p class=note>{words}</p></figure>"
    ).format(
        title=visible(title), words=visible(words), width=WIDTH, height=HEIGHT, left=LEFT, top=TOP, base=base,
        zero=point(0, 0)[1], below=base + 15, first=places[0], last=places[-1], beside=LEFT - 4, text=TOP + 8,
        high=high, low=low, marks=marks,
    )  # fmt: skip


def _dot(line: Line, place: float, value: float, at: tuple[float, float]) -> Markup:
    return Markup(
        '<rect class="{look}" x="{x:.1f}" y="{y:.1f}" width="5" height="5"><title>{said}</title></rect>'
    ).format(look=line.look, x=at[0] - 2.5, y=at[1] - 2.5, said=visible(f"{line.name} at {place:g}: {value:.3g}"))


def axis(low: float, high: float) -> tuple[float, float, int]:
    """Where an axis begins, how wide a bin is and how many there are: 1, 2 or 5 times a power of ten, about 15 bins."""
    rough = (high - low) / 15 or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    width = next(step * power for step in (1, 2, 5, 10) if step * power >= rough)
    begin = math.floor(low / width) * width
    return begin, width, max(1, math.ceil((high - begin) / width - 1e-9))


def share_bar(share: float, look: str, title: str) -> Markup:
    """A small bar for a table's cell, as long as the share of its room."""
    return Markup(
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{title}">'
        '<rect class="{look}" width="{width:.1f}" height="10"><title>{title}</title></rect></svg>'
    ).format(title=visible(title), look=look, width=100 * min(1.0, max(0.0, share)))


def _counted(values: Sequence[float], low: float, width: float, bins: int) -> list[int]:
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, max(0, int((value - low) / width)))] += 1
    return counts


def _bar(
    group: Series, count: int, height: float, bin: tuple[float, float], at: float, room: float, which: int, of: int
) -> Markup:
    tall = height * (HEIGHT - BOTTOM - TOP)
    wide = room * 0.9 / of
    said = f"{visible(group.name)}, {bin[0]:g} to {bin[0] + bin[1]:g}: {count:,}"
    return Markup(
        '<rect class="{look}" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}">'
        "<title>{said}</title></rect>"
    ).format(
        look=group.look, x=LEFT + at * (WIDTH - LEFT) + which * wide, y=HEIGHT - BOTTOM - tall, wide=wide, tall=tall,
        said=said,
    )  # fmt: skip


def _axes(low: float, high: float, top: float) -> Markup:
    base, middle = HEIGHT - BOTTOM, (low + high) / 2
    return Markup(
        '<path class="axis" d="M{left} {top}V{base}H{width}"/>'
        '<text x="{left}" y="{below}">{low:g}</text>'
        '<text x="{centre}" y="{below}" text-anchor="middle">{middle:g}</text>'
        '<text x="{width}" y="{below}" text-anchor="end">{high:g}</text>'
        '<text x="{beside}" y="{text}" text-anchor="end">{share:.0%}</text>'
        '<text x="{beside}" y="{base}" text-anchor="end">0</text>'
    ).format(
        left=LEFT, top=TOP, base=base, width=WIDTH, below=base + 15, centre=(LEFT + WIDTH) / 2, beside=LEFT - 4,
        text=TOP + 8, low=low, middle=middle, high=high, share=top,
    )  # fmt: skip
