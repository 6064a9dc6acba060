"""Compares how likely each answer is under both personas: one that is as likely under the other says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from psyctl_core.components import Context, Identity, PairJudge
from psyctl_core.records import ChatRequest, Completion, ContrastivePair, Verdict
from psyctl_likelihood import LikelihoodConfig

VERSION = 1

GAINS = ("positive_gain", "neutral_gain")
"""Scores in nats a token: how much likelier an answer is under its own persona than under the other."""

NOT_JUDGED = "not judged"
POSITIVE_FITS_BOTH = "positive answer is as likely without the trait"
NEUTRAL_FITS_BOTH = "neutral answer is as likely with the trait"


class LikelihoodJudge(PairJudge):
    """Four questions a pair: either answer after either request."""

    def __init__(self, config: LikelihoodConfig, context: Context) -> None:
        del context
        self._config = config

    def identity(self) -> Identity:
        """The version of what is asked."""
        return {"likelihood": VERSION}

    def requests(self, pair: ContrastivePair, guide: str) -> Sequence[ChatRequest]:
        """Each answer as the continuation of its own request and of the other's."""
        del guide
        if len(pair.asked) != 2:
            return []
        return [
            replace(asked, continuation=answer)
            for answer, requests in ((pair.positive, pair.asked), (pair.neutral, pair.asked[::-1]))
            for asked in requests
        ]

    def verdict(
        self, pair: ContrastivePair, guide: str, completions: Sequence[Completion]
    ) -> Verdict | Sequence[ChatRequest]:
        """Accepted where both answers gain enough."""
        del pair, guide
        told = [_per_token(completion) for completion in completions] or [None] * 4
        return self.decide({name: _difference(*told[at : at + 2]) for name, at in zip(GAINS, (0, 2), strict=True)})

    def decide(self, scores: Mapping[str, float | None]) -> Verdict:
        """The verdict that follows from the gains."""
        positive, neutral = (scores.get(name) for name in GAINS)
        if positive is None or neutral is None:
            return Verdict(NOT_JUDGED, scores)
        if positive <= self._config.least:
            return Verdict(POSITIVE_FITS_BOTH, scores)
        return Verdict(NEUTRAL_FITS_BOTH if neutral <= self._config.least else "", scores)


def _per_token(completion: Completion) -> float | None:
    told = completion.metadata.get("logprob")
    return (
        told / completion.completion_tokens if isinstance(told, (int, float)) and completion.completion_tokens else None
    )


def _difference(own: float | None, other: float | None) -> float | None:
    return None if own is None or other is None else round(own - other, 4)
