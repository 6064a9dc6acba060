"""How numbers, money and time are written for people: one way for each, wherever they are shown."""

from __future__ import annotations


def number(value: float) -> str:
    """A whole number with its thousands grouped: ``1,234``."""
    return f"{value:,.0f}"


def counted(count: int, noun: str) -> str:
    """So many things: ``1 pair``, ``1,234 pairs``."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def money(dollars: float) -> str:
    """US dollars: cents from a dollar on, below that as many digits as tell something: ``$1,234.50``, ``$0.0123``."""
    digits = 2 if dollars >= 1 or dollars == 0 else 4 if dollars >= 0.001 else 6
    return f"${dollars:,.{digits}f}"


def duration(seconds: float) -> str:
    """A time in its two largest units: ``4.2 s``, ``3 min 20 s``, ``1 h 05 min``, ``2 d 3 h``."""
    whole = round(seconds)
    if whole < 10:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 24:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h"


def rate(per_second: float, nouns: str = "") -> str:
    """How fast something goes: ``0.52 pairs/s``, or by the minute where it is slower than one in ten seconds."""
    of = f" {nouns}" if nouns else ""
    if per_second < 0.1:
        return f"{60 * per_second:.2g}{of}/min"
    return f"{per_second:.2f}{of}/s" if per_second < 100 else f"{number(per_second)}{of}/s"


def per_cent(part: int, whole: int) -> str:
    """A share in whole per cent, 100 only where nothing is lacking."""
    return f"{100 * part // whole if whole else 100}%"
