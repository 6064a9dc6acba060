"""Watches what becomes of scenarios, and ends a run that would only go on wasting time or money."""

from __future__ import annotations

from collections import Counter, deque

from psyctl_core._caa.contrast import Rejected
from psyctl_core._engine.scheduler import Outcome, Result
from psyctl_core._engine.scores import scores_of, spread
from psyctl_core.errors import BackendError
from psyctl_core.records import ContrastivePair

MAX_REJECTED = 100
"""Scenarios in a row without a pair after which going on would only waste time or money."""

MAX_UNSCORED = 20
"""Pairs in a row that a judge could not score after which it is no judge."""

WINDOW = 500
"""Judged pairs by which it is seen how many are accepted."""

LEAST_ACCEPTED = 0.10
"""Share of them below which the run ends: each pair would cost more than ten."""

HINT = "Try another model, more --max-tokens, or --prompter static; what is written so far is kept."


class Acceptance:
    """Keeps count of what scenarios came to in this process."""

    def __init__(self) -> None:
        self._rejected: Counter[str] = Counter()
        self._unscored = 0
        self._judged: deque[tuple[bool, dict[str, float | None]]] = deque(maxlen=WINDOW)

    def note(self, outcome: Outcome) -> None:
        """Take in what became of a row.

        Raises:
            BackendError: It is no use going on.
        """
        for result in outcome.results.values():
            if isinstance(result, ContrastivePair) or (isinstance(result, Rejected) and result.reason):
                self._note_judged(result)
                self._note_rejected(result)

    def _note_rejected(self, result: ContrastivePair | Rejected) -> None:
        if not isinstance(result, Rejected):
            self._rejected.clear()
            return
        self._rejected[result.reason] += 1
        if self._rejected.total() >= MAX_REJECTED:
            reasons = ", ".join(f"{reason}: {n}" for reason, n in self._rejected.most_common())
            found = f" The judge's scores: {spread([s for _, s in self._judged])}." if self._judged else ""
            raise BackendError(f"{MAX_REJECTED} scenarios in a row gave no usable pair ({reasons}).{found}", HINT)

    def _note_judged(self, result: Result) -> None:
        pair = result.pair if isinstance(result, Rejected) else result
        scores = scores_of(pair.metadata) if isinstance(pair, ContrastivePair) else None
        if scores is None:
            return
        self._unscored = self._unscored + 1 if None in scores.values() else 0
        if self._unscored >= MAX_UNSCORED:
            raise BackendError(
                f"The judge could not score {MAX_UNSCORED} pairs in a row: its answers hold no score.",
                "Choose another model for it with --judge-backend and --judge-model; what is written so far is kept.",
            )
        self._judged.append((not isinstance(result, Rejected), scores))
        accepted = sum(was_accepted for was_accepted, _ in self._judged)
        if len(self._judged) == WINDOW and accepted < LEAST_ACCEPTED * WINDOW:
            raise BackendError(
                f"The judge accepted {accepted} of the last {WINDOW} pairs. Its scores: "
                f"{spread([s for _, s in self._judged])}.",
                "Look at the personas (`psyctl dataset.show`), try a larger writer, another judge, or other "
                "thresholds; what is written so far is kept.",
            )
