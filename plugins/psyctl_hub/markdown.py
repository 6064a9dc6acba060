"""Puts texts of data sets and models into Markdown, where they shall be read and do nothing."""

from __future__ import annotations

import re

from psyctl_core.terminal import visible

# What Markdown obeys anywhere in a line, extensions of the Hub's pages included: tables, formulas, mentions, addresses.
_ANYWHERE = re.compile(r"[\\`*_\[\]<>&|~$@^]|:(?=\S)")
_AT_THE_BEGINNING = re.compile(r"^([#+=-]|\d+(?=[.)](?:\s|$)))")


class Markdown(str):
    """A text that is Markdown already."""

    __slots__ = ()


def inline(value: object) -> Markdown:
    """A text on one line, every mark in it escaped (CommonMark 0.31, section 2.4)."""
    if isinstance(value, Markdown):
        return value
    text = _ANYWHERE.sub(r"\\\g<0>", " ".join(visible(str(value)).split()))
    begun = _AT_THE_BEGINNING.match(text)
    if begun:
        number = begun[0].isdigit()
        text = f"{begun[0]}\\{text[begun.end() :]}" if number else f"\\{text}"
    return Markdown(text)


def quoted(text: str) -> Markdown:
    """A text as a quotation, line for line."""
    lines = [inline(line) for line in text.replace("\r\n", "\n").split("\n") if line.strip()]
    return Markdown("\\\n".join(f"> {line}" for line in lines) if lines else "> ")


def code(text: str, language: str = "") -> Markdown:
    """A text as a block of code, within a fence that is longer than any in it (CommonMark 0.31, section 4.5)."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return Markdown(f"{fence}{language}\n{visible(text)}\n{fence}")
