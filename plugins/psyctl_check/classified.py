"""How well a classifier tells the sides apart that has never seen the pair: logistic regression, five folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from psyctl_check.figures import auc_interval, wilson
from psyctl_check.texts import FUNCTION_WORDS, grams, not_english, too_few, untold, words
from psyctl_core.checks import CheckedPair, CheckFacts, Finding

FOLDS = 5
FEW = 30
"""The least number of pairs that a classifier is trained on."""

SEPARABLE = 0.65
"""Below this area under the curve the classifier's margins say nothing about a single pair."""

TOLD = 4
"""How many of a side's words are named."""


def bag_of_words(pairs: Sequence[CheckedPair], facts: CheckFacts) -> Finding:
    """The area under the curve by words and pairs of words, and those that it goes by."""
    del facts
    if few := too_few(pairs, FEW) or _wordless(pairs):
        return few
    seen = _by_words(tuple(pairs))
    text = f"words tell the sides apart with an AUC of {seen.auc:.2f}; it goes by {_named(seen.telling)}"
    return Finding(seen.auc, text, auc_interval(seen.auc, len(pairs)), worst=_plainest(pairs, seen))


def function_words(pairs: Sequence[CheckedPair], facts: CheckFacts) -> Finding:
    """The area under the curve by how often each function word is used, relative to the answer's length."""
    del facts
    if few := too_few(pairs, FEW) or not_english(pairs):
        return few
    place = {word: number for number, word in enumerate(FUNCTION_WORDS)}
    shares = np.zeros((2 * len(pairs), len(place)))
    for row, text in enumerate(_texts(pairs)):
        spoken = words(text)
        for word in spoken:
            if word in place:
                shares[row, place[word]] += 1 / len(spoken)
    seen = _scored(shares, lambda: make_pipeline(StandardScaler(), _regression(0.1)), list(FUNCTION_WORDS))
    text = f"function words tell the sides apart with an AUC of {seen.auc:.2f}; it goes by {_named(seen.telling)}"
    return Finding(seen.auc, text, auc_interval(seen.auc, len(pairs)), worst=_plainest(pairs, seen))


def wrong_side(pairs: Sequence[CheckedPair], facts: CheckFacts) -> Finding:
    """The share of pairs whose positive answer scores as neutral and whose neutral one scores as positive.

    Both must: where the sides overlap, one of two honest answers is often on the wrong side of the line.
    """
    del facts
    if few := too_few(pairs, FEW) or _wordless(pairs):
        return few
    seen = _by_words(tuple(pairs))
    if seen.auc < SEPARABLE:
        return Finding(None, f"words hardly tell the sides apart (AUC {seen.auc:.2f}), so they cannot tell a swap")
    positive, neutral = seen.scores
    wrong = sorted((positive[i] - neutral[i], i) for i in range(len(pairs)) if positive[i] < 0 < neutral[i])
    worst = [(pairs[i].id, f"positive: {pairs[i].positive} / neutral: {pairs[i].neutral}") for _, i in wrong]
    text = f"{len(wrong)} of {len(pairs)} pairs read as if their answers were swapped"
    return Finding(len(wrong) / len(pairs), text, wilson(len(wrong), len(pairs)), worst=worst)


@dataclass(frozen=True)
class _Seen:
    """What a classifier made of pairs: scores out of fold of both sides, the AUC, and the features that tell most."""

    scores: tuple[list[float], list[float]]
    auc: float
    telling: tuple[list[str], list[str]]


@lru_cache(maxsize=1)  # two checks ask for the same
def _by_words(pairs: tuple[CheckedPair, ...]) -> _Seen:
    vectorizer = CountVectorizer(analyzer=_words_and_pairs)
    counts = vectorizer.fit_transform(_texts(pairs))
    names = list(vectorizer.get_feature_names_out())
    return _scored(counts, lambda: make_pipeline(TfidfTransformer(), _regression(1.0)), names)


def _scored(features: Any, model: Any, names: list[str]) -> _Seen:
    """Scores of every answer by a model that was trained without its pair."""
    n = features.shape[0] // 2
    sides, folds = np.repeat([1, 0], n), np.tile(np.arange(n) % FOLDS, 2)
    scores = np.zeros(2 * n)
    for fold in range(FOLDS):
        trained = model().fit(features[folds != fold], sides[folds != fold])
        scores[folds == fold] = trained.decision_function(features[folds == fold])
    weights = model().fit(features, sides)[-1].coef_[0]
    ranked = np.argsort(weights, kind="stable")
    telling = ([names[i] for i in ranked[::-1][:TOLD]], [names[i] for i in ranked[:TOLD]])
    return _Seen((scores[:n].tolist(), scores[n:].tolist()), float(roc_auc_score(sides, scores)), telling)


def _regression(c: float) -> LogisticRegression:
    return LogisticRegression(C=c, solver="liblinear", random_state=0)


def _texts(pairs: Sequence[CheckedPair]) -> list[str]:
    return [pair.positive for pair in pairs] + [pair.neutral for pair in pairs]


def _wordless(pairs: Sequence[CheckedPair]) -> Finding | None:
    return None if any(map(words, _texts(pairs))) else untold("the answers hold no words")


def _words_and_pairs(text: str) -> list[str]:
    spoken = words(text)
    return spoken + [" ".join(two) for two in grams(spoken, 2)]


def _named(telling: tuple[list[str], list[str]]) -> str:
    return " against ".join(", ".join(f"'{name}'" for name in names) for names in telling)


def _plainest(pairs: Sequence[CheckedPair], seen: _Seen) -> list[tuple[str, str]]:
    """The pairs that are told apart most plainly."""
    positive, neutral = seen.scores
    ranked = sorted(range(len(pairs)), key=lambda i: neutral[i] - positive[i])
    return [(pairs[i].id, f"{pairs[i].positive} / {pairs[i].neutral}") for i in ranked]
