"""A trial on a dataset's first pairs: whether its two sides differ at all, before more is spent on them."""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from psyctl_core._caa.contrast import Rejected
from psyctl_core._engine.scheduler import Result
from psyctl_core._engine.scores import apart, scores_of
from psyctl_core.errors import BackendError
from psyctl_core.figures import counted
from psyctl_core.records import ContrastivePair
from psyctl_core.terminal import NOTICE

log = logging.getLogger("psyctl")

LOOKS = {20: 15, 40: 25}
"""Pairs after which it is looked, and how many of them must be told apart; twice, since twenty pairs tell little.

By chance one of ten trials passes; of sides that differ a little, such as a small model's, few fail both times.
"""

LEAST_DIFFERENCE = 10.0
"""Points of 100 by which a judge must find the trait stronger in the positive answers, on average."""

HINT = (
    "Look at the personas above, and try --prompter static, personas of your own with --persona-file, or a larger "
    "model."
)

_WORD = re.compile(r"\w+(?:['’]\w+)?")


def told_apart(pairs: Sequence[tuple[str, str]]) -> float:
    """How many pairs' sides can be told apart by the words of the other pairs; ties count half.

    A naive Bayes classifier without the pair itself: each word speaks for the side on which more of the other pairs
    have it. Of sides that do not differ it tells half of the pairs apart.

    Args:
        pairs: ``(positive, neutral)`` texts.
    """
    words = [tuple(frozenset(_WORD.findall(text.casefold())) for text in pair) for pair in pairs]
    positive, neutral = (Counter(word for pair in words for word in pair[side]) for side in (0, 1))

    def weight(word: str, own: tuple[frozenset[str], ...]) -> float:
        return math.log((positive[word] - (word in own[0]) + 1) / (neutral[word] - (word in own[1]) + 1))

    right = 0.0
    for own in words:
        margin = sum(weight(word, own) for word in own[0] - own[1]) - sum(weight(word, own) for word in own[1] - own[0])
        right += 0.5 if margin == 0 else margin > 0
    return right


class Trial:
    """Looks at a dataset's first pairs once there are enough of them, and says what it found.

    Args:
        trait: The dataset's trait.
        is_strict: Whether a run ends whose sides do not differ.
        is_over: Whether an earlier process has seen some of the pairs.
    """

    def __init__(self, trait: str, *, is_strict: bool, is_over: bool) -> None:
        self._trait = trait
        self._is_strict = is_strict
        self._is_over = is_over
        self._pairs: list[ContrastivePair] = []

    def note(self, result: Result | None) -> None:
        """Take in what became of a scenario; pairs that a judge rejected count, for they were written alike.

        Raises:
            BackendError: The sides do not differ, and the run is strict.
        """
        pair = result.pair if isinstance(result, Rejected) else result
        if self._is_over or not isinstance(pair, ContrastivePair):
            return
        self._pairs.append(pair)
        if len(self._pairs) in LOOKS:
            self._look()

    def _look(self) -> None:
        told, is_enough = self._finding()
        self._is_over = is_enough or len(self._pairs) == max(LOOKS)
        if is_enough:
            log.log(NOTICE, "The first %s of %s: %s.", counted(len(self._pairs), "pair"), self._trait, told)
        elif self._is_over:
            self._warn(
                f"The two sides of {self._trait} hardly differ in the first {counted(len(self._pairs), 'pair')}: "
                f"{told}."
            )

    def _warn(self, message: str) -> None:
        if self._is_strict:
            raise BackendError(message, f"{HINT} What is written so far is kept; without --strict the run goes on.")
        log.warning("%s %s", message, HINT)

    def _finding(self) -> tuple[str, bool]:
        """What was found, by the judge's scores if there are any, and whether the sides differ."""
        scores = [scores_of(pair.metadata) or {} for pair in self._pairs]
        found = [by for each in scores if (by := apart(each)) is not None]
        if found:
            mean = fmean(found)
            return f"the judge finds {mean:.0f} points of 100 between them", mean >= LEAST_DIFFERENCE
        right = told_apart([(pair.positive, pair.neutral) for pair in self._pairs])
        count = len(self._pairs)
        return f"{right:g} of {count} are told apart by their words", right >= LOOKS[count]
