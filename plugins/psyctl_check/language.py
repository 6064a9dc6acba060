"""Answers in another language than the scenes: by their script always, and by py3langid where that is installed."""

from __future__ import annotations

import importlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from psyctl_check.figures import FEW, wilson
from psyctl_check.texts import too_few, words
from psyctl_core.checks import CheckedPair, CheckFacts, Finding

LEAST_WORDS = 5
CONFIDENT = 0.99
"""Short answers are ascribed to odd languages: only what is long enough and sure enough counts."""

SAMPLE = 200
"""How many scenes tell which language is spoken."""


def language(pairs: Sequence[CheckedPair], facts: CheckFacts) -> Finding:
    """The share of answers whose script, or whose language, is not that of the scenes, or else of most answers."""
    del facts
    if few := too_few(pairs, FEW):
        return few
    scenes = [pair.situation for pair in pairs if pair.situation][:SAMPLE]
    known = scenes or [text for pair in pairs[:SAMPLE] for text in (pair.positive, pair.neutral)]
    scripts = {script for script, count in Counter(map(script_of, known)).items() if count >= 0.1 * len(known)}
    named = _identifier()
    spoken = Counter(map(named, known)).most_common(1)[0][0] if named else ""
    worst = []
    for pair in pairs:
        own = {*scripts, script_of(pair.situation), ""}
        for side in ("positive", "neutral"):
            answer = getattr(pair, side)
            found = script_of(answer)
            if found in own:
                found = named(answer) if named and spoken else ""
                found = "" if found in (spoken, "") or named is None or found == named(pair.situation) else found
            if found:
                worst.append((pair.id, f"{side}, {found}: {answer}"))
    n = 2 * len(pairs)
    text = f"{len(worst)} of {n} answers are in another language than the {'scenes' if scenes else 'others'}"
    text += "" if named else ", told by the script alone"
    return Finding(len(worst) / n, text, wilson(len(worst), n), worst=worst)


def script_of(text: str) -> str:
    """The script of most letters of a text, as Unicode names it, such as ``LATIN``; empty where it has none."""
    counts = Counter(_script(letter) for letter in text if letter.isalpha())
    return counts.most_common(1)[0][0] if counts else ""


@lru_cache(maxsize=65536)
def _script(letter: str) -> str:
    script = unicodedata.name(letter, "UNKNOWN").partition(" ")[0]
    return "CJK" if script in ("HIRAGANA", "KATAKANA") else script


def _identifier() -> Callable[[str], str] | None:
    """What names a text's language, or nothing where it is not sure; ``None`` without py3langid."""
    try:
        langid: Any = importlib.import_module("py3langid.langid")
    except ImportError:
        return None
    model = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)

    @lru_cache(maxsize=65536)
    def named(text: str) -> str:
        if len(words(text)) < LEAST_WORDS:
            return ""
        found, confidence = model.classify(text)
        return str(found) if confidence >= CONFIDENT else ""

    return named
