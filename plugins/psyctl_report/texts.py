"""What the texts of the two sides have: words, openings, and the words that tell them apart."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

# Scripts without spaces between words are taken letter by letter.
_WORD = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]|[^\W_]+(?:'[^\W\d_]+)*")


@dataclass(frozen=True, slots=True)
class TellingWord:
    """A word that one side has more often: pairs in which only the positive or only the neutral answer has it.

    Attributes:
        word: The word, in lower case.
        positive: So many pairs have it in the positive answer alone.
        neutral: So many in the neutral answer alone.
    """

    word: str
    positive: int
    neutral: int

    @property
    def weight(self) -> float:
        """How far this is from chance, in standard deviations; above 0 for the positive side (McNemar 1947)."""
        return (self.positive - self.neutral) / math.sqrt(self.positive + self.neutral)


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return _WORD.findall(text.lower().replace("’", "'"))


def openings(texts: Iterable[str], most: int) -> list[tuple[str, int]]:
    """The commonest first three words, with how many texts have them; of those that two or more have."""
    counts = Counter(" ".join(words(text)[:3]) for text in texts)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(opening, count) for opening, count in ordered if count > 1 and opening][:most]


def telling_words(pairs: Iterable[tuple[str, str]], most: int) -> tuple[list[TellingWord], list[TellingWord]]:
    """The words that tell the positive answers from the neutral ones, and the other way round, strongest first.

    Args:
        pairs: Positive and neutral answers.
        most: So many a side at most; a word must be 1.96 standard deviations from chance (95 %), counted alone.
    """
    ours: Counter[str] = Counter()
    theirs: Counter[str] = Counter()
    for positive, neutral in pairs:
        one, other = set(words(positive)), set(words(neutral))
        ours.update(one - other)
        theirs.update(other - one)
    found = [TellingWord(word, ours[word], theirs[word]) for word in {*ours, *theirs}]
    found.sort(key=lambda each: (-abs(each.weight), each.word))
    return (
        [each for each in found if each.weight > 1.96][:most],
        [each for each in found if each.weight < -1.96][:most],
    )


def spread(values: Sequence[float]) -> str:
    """Where values lie, in words: the median, and between what eight of ten are."""
    ordered = sorted(values)
    if not ordered:
        return "none"
    low, high = (ordered[round(share * (len(ordered) - 1))] for share in (0.1, 0.9))
    return f"median {median(ordered):g}, 80 % from {low:g} to {high:g}"
