"""How well a classifier tells the sides apart that has never seen the pair: logistic regression, five folds."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from psyctl_check.figures import auc_interval, wilson
from psyctl_check.texts import FUNCTION_WORDS, commonest_opening, not_english, opening_of, too_few, untold, words
from psyctl_core.checks import CheckedPair, CheckFacts, CheckVerdict, Finding
from psyctl_core.figures import counted

if TYPE_CHECKING:
    from psyctl_check.learning import Seen

if importlib.util.find_spec("sklearn") is None:  # told now, imported only where there are enough pairs: it takes long
    raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")

FEW = 30
"""The least number of pairs that a classifier is trained on."""

FEW_TO_TELL_A_SWAP = 90
"""Trained on fewer, the classifier has more honest pairs far on the wrong side than swaps would be."""

SHARED_OPENING = 0.15
"""From this share on an opening is named by the check ``openings``."""

MOST_OPENINGS = 4

HARDLY_TOLD = 0.4
"""With more pairs than this on the wrong side of the line, sides may be swapped or hardly differ: no reason to fail."""

NOT_TOLD = 0.45
"""With more than this, margins say nothing about a single pair."""


def bag_of_words(pairs: Sequence[CheckedPair], facts: CheckFacts) -> Finding:
    """The area under the curve by words and pairs of words, and those that it goes by.

    Weights are relative to the answer's sum of them, so that length does not leak in.
    """
    del facts
    pairs = _distinct(pairs)
    if few := too_few(pairs, FEW) or _wordless(pairs):
        return few
    from psyctl_check import learning

    counts, names = learning.counts(tuple(_texts(pairs)))
    seen = learning.scored(counts, learning.of_words, names)
    text = f"words tell the sides apart with an AUC of {seen.auc:.2f}; it goes by {_named(seen.telling)}"
    return Finding(seen.auc, text, auc_interval(seen.auc, len(pairs)), worst=_plainest(pairs, seen))


def function_words(pairs: Sequence[CheckedPair], facts: CheckFacts) -> Finding:
    """The area under the curve by how often each function word is used, relative to the answer's length."""
    del facts
    pairs = _distinct(pairs)
    if few := too_few(pairs, FEW) or not_english(pairs):
        return few
    from psyctl_check import learning

    place = {word: number for number, word in enumerate(FUNCTION_WORDS)}
    shares = np.zeros((2 * len(pairs), len(place)))
    for row, text in enumerate(_texts(pairs)):
        spoken = words(text)
        for word in spoken:
            if word in place:
                shares[row, place[word]] += 1 / len(spoken)
    seen = learning.scored(shares, learning.of_shares, list(FUNCTION_WORDS))
    text = f"function words tell the sides apart with an AUC of {seen.auc:.2f}; it goes by {_named(seen.telling)}"
    return Finding(seen.auc, text, auc_interval(seen.auc, len(pairs)), worst=_plainest(pairs, seen))


def wrong_side(pairs: Sequence[CheckedPair], facts: CheckFacts) -> Finding:
    """The share of pairs that read as much the wrong way round as the typical pair reads the right way.

    A classifier of differences, positive minus neutral, is asked about pairs that it has not seen. Where sides
    overlap, many an honest pair lies a little on the wrong side of the line; a swap lies as far behind it as a good
    pair lies before it, which is half of the pairs by the median.
    """
    del facts
    pairs = _distinct(pairs)
    if few := too_few(pairs, FEW_TO_TELL_A_SWAP) or _wordless(pairs):
        return few
    from psyctl_check import learning

    margins = learning.margins(learning.counts(tuple(_texts(pairs)))[0])
    behind, typical = float(np.mean(margins < 0)), float(np.median(margins))
    if behind > NOT_TOLD or typical <= 0:
        return untold(f"words hardly tell the sides apart ({1 - behind:.2f} of the pairs), so they cannot tell a swap")
    wrong = [i for i in np.argsort(margins, kind="stable") if margins[i] < -typical]
    worst = [(pairs[i].id, f"positive: {pairs[i].positive} / neutral: {pairs[i].neutral}") for i in wrong]
    text = f"{len(wrong)} of {counted(len(pairs), 'pair')} read as if their answers were swapped"
    verdict: CheckVerdict | None = None
    if behind > HARDLY_TOLD:
        text += ", or the trait hardly shows"
        verdict = "look"
    return Finding(len(wrong) / len(pairs), text, wilson(len(wrong), len(pairs)), verdict, worst)


def _distinct(pairs: Sequence[CheckedPair]) -> Sequence[CheckedPair]:
    """Of pairs that are the same the first: one in training would give away the other."""
    return list({(pair.positive, pair.neutral): pair for pair in reversed(pairs)}.values())[::-1]


def _texts(pairs: Sequence[CheckedPair]) -> list[str]:
    """What the classifiers read: all positive answers, then all neutral ones.

    An opening that many answers of a side share is cut off: it has a check of its own, and would hide all else.
    """
    return [
        text
        for side in ([pair.positive for pair in pairs], [pair.neutral for pair in pairs])
        for text in _without_opening(side)
    ]


def _without_opening(texts: list[str]) -> list[str]:
    for _ in range(MOST_OPENINGS):  # behind one there may be another
        opening, count = commonest_opening(texts)
        if not opening or count <= SHARED_OPENING * len(texts):
            break
        texts = [" ".join(words(text)[3:]) if opening_of(text) == opening else text for text in texts]
    return texts


def _wordless(pairs: Sequence[CheckedPair]) -> Finding | None:
    return None if any(map(words, _texts(pairs))) else untold("the answers hold no words")


def _named(telling: tuple[list[str], list[str]]) -> str:
    return " against ".join(", ".join(f"'{name}'" for name in names) for names in telling)


def _plainest(pairs: Sequence[CheckedPair], seen: Seen) -> list[tuple[str, str]]:
    """The pairs that are told apart most plainly."""
    positive, neutral = seen.scores
    ranked = sorted(range(len(pairs)), key=lambda i: neutral[i] - positive[i])
    return [(pairs[i].id, f"{pairs[i].positive} / {pairs[i].neutral}") for i in ranked]
