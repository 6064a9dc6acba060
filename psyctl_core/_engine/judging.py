"""A pair's way past the judge: what it asks, its verdict, and the scores that stay with the pair."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence

from psyctl_core._caa.contrast import Ask, Judging, Rejected, Task
from psyctl_core._caa.prompts import request_seed
from psyctl_core._plugins.guard import GuardedJudge
from psyctl_core.records import ChatRequest, Completion, ContrastivePair, JsonValue, Verdict

MAX_ROUNDS = 4
"""How often a judge may ask about one pair."""

JUDGE = "judge"
"""Where a judged pair's metadata has the judge's name and its scores."""


def judged_by(judge: GuardedJudge, guides: Mapping[str, str], seed: int) -> Judging:
    """The judge's part of a task.

    Args:
        judge: Who accepts or rejects.
        guides: What it knows of each trait, by the trait's name.
        seed: The run's seed.
    """

    def judging(pair: ContrastivePair) -> Task:
        guide = guides[pair.trait]
        asked = judge.requests(pair, guide)
        completions: list[Completion] = []
        for _ in range(MAX_ROUNDS):
            if requests := [_own(request, pair.scenario.offset, seed) for request in asked]:
                completions += yield Ask(requests, by_judge=True)
            said = judge.verdict(pair, guide, completions)
            if isinstance(said, Verdict):
                return with_verdict(pair, said, judge.origin.name)
            asked = said
        raise judge.origin.misdeed(f"asked {MAX_ROUNDS} times about one pair and gave no verdict")

    return judging


def with_verdict(pair: ContrastivePair, verdict: Verdict, judge: str) -> ContrastivePair | Rejected:
    """What a verdict makes of a pair; the scores stay with it either way."""
    scores: dict[str, JsonValue] = dict(verdict.scores)
    metadata: dict[str, JsonValue] = {**pair.metadata, JUDGE: {"name": judge, "scores": scores}}
    pair = dataclasses.replace(pair, metadata=metadata)
    return Rejected(pair.scenario, verdict.reason, pair) if verdict.reason else pair


def _own(request: ChatRequest, offset: int, seed: int) -> ChatRequest:
    """The request under an id of psyctl's: the same question about a scenario is asked once, whoever asks."""
    wanted = [request.max_tokens, request.choices, request.continuation, request.json_schema]
    asked: Sequence[object] = [[(m.role, m.content) for m in request.messages], request.prefill, wanted]
    digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
    id = f"{offset}:judge:{digest}"
    return dataclasses.replace(request, id=id, seed=request_seed(seed, id))
