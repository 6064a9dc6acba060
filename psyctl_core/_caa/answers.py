"""Turns what a model returned into one clean line of speech, or says why it is none."""

from __future__ import annotations

import re
import unicodedata

from psyctl_core.records import Completion, Scenario

EMPTY = "empty answer"
CUT_OFF = "answer cut off"
PARROTED = "answer repeats the other speaker"
OUT_OF_CHARACTER = "answer out of character"
IDENTICAL = "identical answers"

QUOTES = '"“”„«»「」'
_LEAD = re.compile(
    r"""^(?:
        \(?\d{1,2}[.):](?:\s+|$)  # numbering
      | [-*•–—]\s+               # a bullet
      | \*[^*\n]{1,80}\*\s*      # *a stage direction*
      | \([^()\n]{1,80}\)\s*     # (a stage direction)
    )""",
    re.VERBOSE,
)
_SENTENCE_END = re.compile(r"""[.!?…。！？]["'”’)]*(?=\s|$)|[。！？]""")
_NOT_A_WORD = re.compile(r"[\W_]+")
_AI_TALK = re.compile(r"\bas an? (?:AI|artificial intelligence)\b|\blanguage model\b", re.IGNORECASE)


def clean_answer(completion: Completion, scenario: Scenario, prefill: str) -> tuple[str, str]:
    """Reduce a completion to the one line its character says.

    Args:
        completion: What came back, with or without the prefill repeated.
        scenario: What was asked about.
        prefill: How the answer was begun for the model.

    Returns:
        ``(line, "")``, or ``("", reason)`` where there is no usable line.
    """
    if completion.finish_reason == "error":
        return "", completion.error or "failed call"
    text = unicodedata.normalize("NFC", completion.text).strip()
    text = text.removeprefix(prefill.strip()).strip()
    line, whole = _first_line(text)
    line = _without_quotes(_without_lead(line, scenario.character))
    if not line.isprintable():
        line = "".join(ch if ch.isprintable() else " " for ch in line)
    line = " ".join(line.split())
    if completion.finish_reason == "length" and whole:
        line = _whole_sentences(line)
        if not line:
            return "", CUT_OFF
    if not comparable(line):
        return "", EMPTY
    if _AI_TALK.search(line):
        return "", OUT_OF_CHARACTER
    if comparable(line) in [comparable(turn.text) for turn in scenario.dialogue]:
        return "", PARROTED
    return line, ""


def comparable(line: str) -> str:
    """A line reduced to what makes two lines different: letters and digits, case folded."""
    return _NOT_A_WORD.sub("", line.casefold())


def _first_line(text: str) -> tuple[str, bool]:
    """The first line of speech, and whether the text ends with it (so that a cut would be in it)."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].endswith(":"):
        lines = lines[1:]
    return (lines[0] if lines else ""), len(lines) == 1


def _without_lead(line: str, character: str) -> str:
    name = re.compile(rf"^[*_]*{re.escape(character)}[*_]*\s*:[*_]*\s*", re.IGNORECASE)
    while True:
        shorter = name.sub("", _LEAD.sub("", line, count=1), count=1)
        if shorter == line:
            return line
        line = shorter


def _without_quotes(line: str) -> str:
    if line[:1] in QUOTES:
        line = line.lstrip(QUOTES)
        end = len(line.rstrip(QUOTES)) if line[-1:] in QUOTES else _first_quote(line)
        return line[:end]
    if sum(line.count(quote) for quote in QUOTES) % 2:
        return line.rstrip(QUOTES) if line[-1:] in QUOTES else line[: _first_quote(line)]
    return line


def _first_quote(line: str) -> int:
    return min([at for quote in QUOTES if (at := line.find(quote)) >= 0], default=len(line))


def _whole_sentences(line: str) -> str:
    ends = [match.end() for match in _SENTENCE_END.finditer(line)]
    return line[: ends[-1]] if ends else ""
