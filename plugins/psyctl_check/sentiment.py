"""Whether the answers of one side are the more cheerful ones, by the lexicon of VADER (Hutto & Gilbert 2014)."""

from __future__ import annotations

from collections.abc import Sequence

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from psyctl_check.figures import FEW_TO_COMPARE, higher
from psyctl_check.texts import not_english, too_few
from psyctl_core.checks import CheckedPair, CheckFacts, Finding

AFFECT = {
    "Extroversion": True, "Introversion": False, "Neuroticism": False, "Agreeableness": True,
    "Disagreeableness": False, "Psychopathy": False,
}  # fmt: skip
"""Traits that are a matter of mood in part, and whether who has them sounds the more cheerful."""


def sentiment(pairs: Sequence[CheckedPair], facts: CheckFacts) -> Finding:
    """How often one side has the more cheerful answer; no fault of a trait that is a matter of mood."""
    if few := too_few(pairs, FEW_TO_COMPARE) or not_english(pairs):
        return few
    mood = SentimentIntensityAnalyzer().polarity_scores
    differences = [mood(pair.positive)["compound"] - mood(pair.neutral)["compound"] for pair in pairs]
    share, interval, is_positive = higher(differences)
    side = "positive" if is_positive else "neutral"
    text = f"the {side} answer is the more cheerful one in {share:.2f} of the pairs"
    sign = 1 if is_positive else -1
    rows = sorted(zip(differences, pairs, strict=True), key=lambda row: -sign * row[0])
    worst = [(pair.id, f"{pair.positive} / {pair.neutral}") for difference, pair in rows if sign * difference > 0]
    if AFFECT.get(facts.trait) == is_positive:
        return Finding(share, f"{text}, which is part of {facts.trait}", interval, "ok", worst)
    return Finding(share, text, interval, worst=worst)
