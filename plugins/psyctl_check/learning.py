"""The classifiers and what they are given: scikit-learn, which takes long to import and few pairs can do without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.sparse import vstack
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from psyctl_check.texts import grams, words

FOLDS = 5

TOLD = 4
"""How many of a side's words are named."""


@dataclass(frozen=True)
class Seen:
    """What a classifier made of pairs: scores out of fold of both sides, the AUC, and the features that tell most."""

    scores: tuple[list[float], list[float]]
    auc: float
    telling: tuple[list[str], list[str]]


@lru_cache(maxsize=1)  # two checks ask for the same
def counts(texts: tuple[str, ...]) -> tuple[Any, list[str]]:
    """How often each answer holds each word and pair of words, and those words."""
    vectorizer = CountVectorizer(analyzer=_words_and_pairs)
    found = vectorizer.fit_transform(texts)
    return found, list(vectorizer.get_feature_names_out())


def of_words() -> Any:
    """A classifier by counts of words."""
    return make_pipeline(TfidfTransformer(norm="l1"), _regression(10.0))


def of_shares() -> Any:
    """A classifier by shares of function words."""
    return make_pipeline(StandardScaler(), _regression(0.1))


def scored(features: Any, model: Callable[[], Any], names: list[str]) -> Seen:
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
    return Seen((scores[:n].tolist(), scores[n:].tolist()), float(roc_auc_score(sides, scores)), telling)


def margins(counts: Any) -> Any:
    """How far on the right side each pair's difference lies, by a model that was trained without it."""
    n = counts.shape[0] // 2
    weighted = TfidfTransformer().fit_transform(counts)
    differences, folds, margins = weighted[:n] - weighted[n:], np.arange(n) % FOLDS, np.zeros(n)
    for fold in range(FOLDS):
        known = differences[folds != fold]
        both_ways = vstack([known, -known])
        ways = np.repeat([1, 0], known.shape[0])
        model = LogisticRegression(solver="liblinear", fit_intercept=False, random_state=0).fit(both_ways, ways)
        margins[folds == fold] = model.decision_function(differences[folds == fold])
    return margins


def _regression(c: float) -> LogisticRegression:
    return LogisticRegression(C=c, solver="liblinear", random_state=0)


def _words_and_pairs(text: str) -> list[str]:
    spoken = words(text)
    return spoken + [" ".join(two) for two in grams(spoken, 2)]
