"""Words, runs of words, and what is English."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

from psyctl_core.checks import CheckedPair, Finding

# Scripts without spaces between words are taken letter by letter.
_WORD = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]|[^\W_]+(?:'[^\W\d_]+)*")

FUNCTION_WORDS = (
    "a", "about", "all", "an", "and", "any", "are", "as", "at", "be", "but", "by", "can", "could", "do", "for", "from",
    "had", "have", "he", "her", "how", "i", "i'll", "i'm", "i've", "if", "in", "is", "it", "it's", "just", "let's",
    "me", "my", "no", "not", "of", "on", "or", "our", "she", "so", "some", "that", "the", "them", "then", "there",
    "they", "this", "to", "up", "was", "we", "what", "when", "will", "with", "would", "you", "your",
)  # fmt: skip
"""Words that hold a sentence together and say little by themselves."""

ENGLISH = 0.15
"""English has two or three times this share of function words; its neighbours, by chance, a third of it."""


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return _WORD.findall(text.lower().replace("’", "'"))


def grams(tokens: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """All runs of so many words."""
    return [tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)]


def opening_of(text: str) -> str:
    """The first three words."""
    return " ".join(words(text)[:3])


def commonest_opening(texts: Collection[str]) -> tuple[str, int]:
    """The commonest first three words, the first in order where several are, and how many texts have them."""
    counts = Counter(map(opening_of, texts))
    return min(counts.items(), key=lambda item: (-item[1], item[0]))


def is_english(pairs: Sequence[CheckedPair]) -> bool:
    """Whether the answers are English on the whole."""
    known = frozenset(FUNCTION_WORDS)
    spoken = [word for pair in pairs for text in (pair.positive, pair.neutral) for word in words(text)]
    return sum(word in known for word in spoken) >= ENGLISH * len(spoken)


def untold(why: str) -> Finding:
    """What a check says that cannot tell."""
    return Finding(None, why)


def too_few(pairs: Sequence[CheckedPair], least: int) -> Finding | None:
    """What a check says of fewer pairs than it needs."""
    return untold(f"too few pairs: {len(pairs)}, and it takes {least}") if len(pairs) < least else None


def not_english(pairs: Sequence[CheckedPair]) -> Finding | None:
    """What a check says that knows English only."""
    return None if is_english(pairs) else untold("the answers are not English, and this check knows no other language")
