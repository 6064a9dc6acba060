"""Draws plots as SVG: every mark has a title, and every plot the same in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from psyctl_core.terminal import visible
from psyctl_report.texts import spread

WIDTH, HEIGHT = 360, 150
"""Of a histogram, in the units of its text: 360 fit a telephone."""

LEFT, RIGHT, BOTTOM, TOP = 46, 4, 22, 8
"""Room for the axes' numbers, and for half a mark at the end of a line."""


@dataclass(frozen=True, slots=True)
class Series:
    """One of the groups that a histogram compares: its name, the class of its bars, and its values."""

    name: str
    look: str
    values: Sequence[float]


LOOKS = ("positive", "neutral", "third", "fourth", "fifth")
"""The classes of a curve's lines, which differ in colour and in their dashes."""


def curves(
    title: str, unit: str, places: Sequence[float], lines: Mapping[str, Sequence[float]], words: str = ""
) -> Markup:
    """How values rise and fall, a line for each, with a mark and its title at every place.

    Args:
        title: What is counted, with its unit.
        unit: What the places count: the horizontal axis.
        places: Where the values were taken, ascending.
        lines: By its name each line's values, one a place; so many as there are :data:`LOOKS` at most.
        words: What it shows, for who does not see it; by default where each line begins and ends.
    """
    if len(places) < 2 or not lines:
        return Markup("")
    first, last = places[0], places[-1]
    bottom = min(0.0, *(min(values) for values in lines.values()))
    top = max(0.0, *(max(values) for values in lines.values())) or 1.0
    across, tall = (WIDTH - LEFT - RIGHT) / ((last - first) or 1.0), (HEIGHT - BOTTOM - TOP) / (top - bottom)
    marks, legend = Markup(""), Markup("")
    for look, (name, values) in zip(LOOKS, lines.items(), strict=False):
        points = [
            (LEFT + (place - first) * across, HEIGHT - BOTTOM - tall * (value - bottom))
            for place, value in zip(places, values, strict=True)
        ]
        told = [f"{name}, at {place:,.3g} {unit}: {figure(value)}" for place, value in zip(places, values, strict=True)]
        marks += _line(look, points, told)
        if len(lines) == 1 and (words or name.casefold() == title.casefold()):
            continue  # the title has told
        legend += Markup(
            '<span class="{look}"><svg width="24" height="10" aria-hidden="true"><path class="line" d="M0 5H24"/></svg>'
            "{name}</span> "
        ).format(look=look, name=f" {visible(name)}")
    ends = "; ".join(
        f"{name}: {figure(values[0])} at the beginning, {figure(values[-1])} at the end"
        for name, values in lines.items()
    )
    drawn = _axes(first, last, short(top), unit, short(bottom))
    if bottom:
        drawn += Markup('<path class="axis" d="M{} {:.1f}H{}"/>').format(LEFT, HEIGHT - BOTTOM + tall * bottom, WIDTH)
    return _figure(title, legend, words or f"{ends}, after {last:,.3g} {unit}", drawn + marks)


def figure(value: float) -> str:
    """A number for people: whole from 100 on, else with three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def short(value: float) -> str:
    """A number for an axis, with K, M and so on for thousands, millions and more."""
    power = 0
    while abs(value) >= 1000 and power < len("KMGT"):
        value, power = value / 1000, power + 1
    return f"{value:.3g}{' KMGT'[power].strip()}"


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
    return _figure(title, legend, words, _axes(low, low + bins * width, f"{top:.0%}") + marks)


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


def _figure(title: str, legend: Markup, words: str, drawn: Markup) -> Markup:
    return Markup(
        "<figure><figcaption>{title}<br>{legend}</figcaption>"
        '<svg class="plot" viewBox="0 0 {width} {height}" role="img" aria-label="{title}. {words}">'
        "{drawn}</svg><p class=note>{words}</p></figure>"
    ).format(title=visible(title), legend=legend, width=WIDTH, height=HEIGHT, words=visible(words), drawn=drawn)


def _line(look: str, points: Sequence[tuple[float, float]], told: Sequence[str]) -> Markup:
    way = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    marks = Markup("").join(
        Markup('<circle cx="{:.1f}" cy="{:.1f}" r="3"><title>{}</title></circle>').format(x, y, visible(said))
        for (x, y), said in zip(points, told, strict=True)
    )
    return Markup('<g class="{}"><path class="line" d="M{}"/>{}</g>').format(look, way, marks)


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


def _axes(low: float, high: float, top: str, unit: str = "", bottom: str = "0") -> Markup:
    base, middle = HEIGHT - BOTTOM, (low + high) / 2
    return Markup(
        '<path class="axis" d="M{left} {top}V{base}H{width}"/>'
        '<text x="{left}" y="{below}">{low:.3g}</text>'
        '<text x="{centre}" y="{below}" text-anchor="middle">{middle:.3g}{unit}</text>'
        '<text x="{width}" y="{below}" text-anchor="end">{high:.3g}</text>'
        '<text x="{beside}" y="{text}" text-anchor="end">{most}</text>'
        '<text x="{beside}" y="{base}" text-anchor="end">{least}</text>'
    ).format(
        left=LEFT, top=TOP, base=base, width=WIDTH, below=base + 15, centre=(LEFT + WIDTH) / 2, beside=LEFT - 4,
        text=TOP + 8, low=low, middle=middle, high=high, most=top, least=bottom, unit=f" {unit}" if unit else "",
    )  # fmt: skip
