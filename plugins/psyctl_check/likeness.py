"""Answers that are like others: openings, near-duplicates, and the two sides of a pair."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from psyctl_check.figures import FEW, Z, wilson
from psyctl_check.giveaways import is_refusal
from psyctl_check.texts import commonest_opening, grams, opening_of, too_few, untold, words
from psyctl_core.checks import CheckedPair, CheckFacts, Finding
from psyctl_core.figures import counted

NEAR = 0.7
"""From this Jaccard similarity of runs of three words on, two answers are nearly the same."""

Grams = frozenset[tuple[str, ...]]


def openings(pairs: Sequence[CheckedPair], facts: CheckFacts) -> Finding:
    """The share of the commonest first three words, on the side where it is larger.

    Of answers that are the same one counts, and refusals do not: they have checks of their own.
    """
    del facts
    told = []
    for side in ("positive", "neutral"):
        texts = {text for text in (getattr(pair, side) for pair in pairs) if not is_refusal(text)}
        if len(texts) < FEW:
            return too_few(pairs, FEW) or untold(f"too few {side} answers that are not the same: {len(texts)}")
        opening, count = commonest_opening(texts)
        told.append((count / len(texts), wilson(count, len(texts)), side, opening))
    share, interval, side, opening = max(told, key=lambda one: one[0])
    text = " and ".join(f"{share:.2f} of the {side} answers begin with '{begin}'" for share, _, side, begin in told)
    alike = [pair for pair in pairs if opening_of(getattr(pair, side)) == opening]
    worst = [(pair.id, f"{side}: {getattr(pair, side)}") for pair in alike]
    return Finding(share, text, interval, worst=worst)


def near_duplicates(pairs: Sequence[CheckedPair], facts: CheckFacts) -> Finding:
    """The share of answers that have a near-duplicate on their own side."""
    del facts
    if few := too_few(pairs, FEW):
        return few
    worst: list[tuple[str, str]] = []
    for side in ("positive", "neutral"):
        texts = [getattr(pair, side) for pair in pairs]
        texts = ["" if is_refusal(text) else text for text in texts]  # which has a check of its own
        for here, there in sorted(twins(texts).items()):
            worst.append((pairs[here].id, f"{side}, like {pairs[there].id}: {texts[here]}"))
    n = 2 * len(pairs)
    return Finding(
        len(worst) / n, f"{len(worst)} of {counted(n, 'answer')} are nearly the same as another", wilson(len(worst), n),
        worst=worst,
    )  # fmt: skip


def twins(texts: Sequence[str]) -> dict[int, int]:
    """For each text that has a near-duplicate the number of one: exact, by prefix filtering (Bayardo et al. 2007).

    Two sets that are as alike as :data:`NEAR` share one of their rarest members, so only those are looked up.
    """
    same: dict[Grams, list[int]] = defaultdict(list)
    for number, text in enumerate(texts):
        tokens = words(text)
        same[frozenset(grams(tokens, min(3, len(tokens) or 1)))].append(number)
    same.pop(frozenset(), None)  # nothing but signs
    found = {
        number: group[0 if number != group[0] else 1] for group in same.values() if len(group) > 1 for number in group
    }
    for one, other in _alike(list(same)):
        for here, there in ((one, other), (other, one)):
            for number in same[here]:
                found.setdefault(number, same[there][0])
    return found


def _alike(sets: list[Grams]) -> Iterator[tuple[Grams, Grams]]:
    """Pairs of different sets that are alike; of sets that have one already, not every pair."""
    count = Counter(gram for each in sets for gram in each)
    index: dict[tuple[str, ...], list[Grams]] = defaultdict(list)
    paired: set[Grams] = set()
    for each in sorted(sets, key=lambda grams: (len(grams), sorted(grams))):
        rarest = sorted(each, key=lambda gram: (count[gram], gram))[: len(each) - math.ceil(NEAR * len(each)) + 1]
        seen: set[Grams] = set()
        for gram in rarest:
            for other in index[gram]:
                if other in seen or (each in paired and other in paired) or len(other) < NEAR * len(each):
                    continue
                seen.add(other)
                if jaccard(each, other) >= NEAR:
                    paired |= {each, other}
                    yield each, other
            index[gram].append(each)


def sides_alike(pairs: Sequence[CheckedPair], facts: CheckFacts) -> Finding:
    """The median share of words that the two answers of a pair have in common."""
    del facts
    if few := too_few(pairs, FEW):
        return few
    shared = [jaccard(frozenset(words(pair.positive)), frozenset(words(pair.neutral))) for pair in pairs]
    ranked, n = sorted(shared), len(pairs)
    half = Z * math.sqrt(n) / 2
    interval = (ranked[max(0, math.floor(n / 2 - half))], ranked[min(n - 1, math.ceil(n / 2 + half))])
    median = (ranked[(n - 1) // 2] + ranked[n // 2]) / 2
    most = sorted(range(n), key=lambda i: -shared[i])
    worst = [(pairs[i].id, f"{shared[i]:.2f}: {pairs[i].positive} / {pairs[i].neutral}") for i in most]
    return Finding(median, f"half of the pairs share {median:.2f} of their words or more", interval, worst=worst)


def jaccard(one: frozenset[object] | Grams, other: frozenset[object] | Grams) -> float:
    """The share of members that two sets have in common."""
    both = len(one & other)
    every = len(one) + len(other) - both
    return both / every if every else 1.0
