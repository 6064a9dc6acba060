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
from psyctl_core.figures import counted

LEAST_WORDS = 5
CONFIDENT = 0.99
"""Short answers are ascribed to odd languages: only what is long enough and sure enough counts."""

Identify = Callable[[str], tuple[str, float]]

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
    model = _identifier()
    spoken = _most_spoken(model, known)

    def foreign(answer: str, scene: str) -> str:
        """The script or the language of an answer, if it is a foreign one."""
        script = script_of(answer)
        if script and script not in scripts | {script_of(scene)}:
            return script
        if spoken and model and len(words(answer)) >= LEAST_WORDS:
            named, confidence = model(answer)
            if confidence >= CONFIDENT and named not in (spoken, model(scene)[0]):
                return named
        return ""

    worst = [
        (pair.id, f"{side}, {found}: {getattr(pair, side)}")
        for pair in pairs
        for side in ("positive", "neutral")
        if (found := foreign(getattr(pair, side), pair.situation))
    ]
    n = 2 * len(pairs)
    text = f"{len(worst)} of {counted(n, 'answer')} are in another language than the {'scenes' if scenes else 'others'}"
    text += "" if spoken else ", told by the script alone"
    return Finding(len(worst) / n, text, wilson(len(worst), n), worst=worst)


def _most_spoken(model: Identify | None, texts: Sequence[str]) -> str:
    """The language of most texts; empty where there is none, or nothing to tell it with."""
    if model is None:
        return ""
    name, count = Counter(model(text)[0] for text in texts).most_common(1)[0]
    return name if count > len(texts) / 2 else ""


def script_of(text: str) -> str:
    """The script of most letters of a text, as Unicode names it, such as ``LATIN``; empty where it has none."""
    counts = Counter(_script(letter) for letter in text if letter.isalpha())
    return counts.most_common(1)[0][0] if counts else ""


@lru_cache(maxsize=65536)
def _script(letter: str) -> str:
    script = unicodedata.name(letter, "UNKNOWN").partition(" ")[0]
    return "CJK" if script in ("HIRAGANA", "KATAKANA") else script


def _identifier() -> Identify | None:
    """What names a text's language, and how sure it is; ``None`` without py3langid."""
    try:
        langid: Any = importlib.import_module("py3langid.langid")
    except ImportError:
        return None
    return _model(langid)


@lru_cache(maxsize=1)  # it takes a third of a second to read
def _model(langid: Any) -> Identify:
    model = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    identify: Identify = lru_cache(maxsize=65536)(model.classify)
    return identify
