"""A scenario's task by itself: what it asks, and what it makes of the answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from psyctl_core import Completion, ContrastivePair, Persona
from psyctl_core._caa.cast import Cast
from psyctl_core._caa.contrast import Rejected, Sampling, contrast
from psyctl_core._caa.traits import Trait
from psyctl_core.testing.fakes import fake_scenario

CONDITIONS = Cast(
    Trait("Openness", "openness"),
    (Persona("Openness", "{character} loves the new."),),
    (Persona("neutral", "{character} is plain."),),
).conditions(3)


def run(*completions: Completion, scenario=None):
    task = contrast(scenario or fake_scenario(3), CONDITIONS, Sampling(40, 0.5, 7))
    requests = next(task).requests
    with pytest.raises(StopIteration) as done:
        task.send([replace(c, id=r.id) for c, r in zip(completions, requests, strict=True)])
    return requests, done.value.value


def test_it_asks_under_each_condition_and_makes_a_pair():
    requests, pair = run(Completion("", "It is."), Completion("", "What an adventure!"))
    assert [request.id for request in requests] == ["3:neutral", "3:openness"]
    assert "Kim is plain." in requests[0].messages[-1].content
    assert "Kim loves the new." in requests[1].messages[-1].content
    assert {(request.max_tokens, request.temperature) for request in requests} == {(40, 0.5)}
    assert pair == ContrastivePair(fake_scenario(3), "Openness", "What an adventure!", "It is.")


@pytest.mark.parametrize(
    ("neutral", "positive", "reason"),
    [
        (Completion("", ""), Completion("", "Yes."), "empty answer"),
        (Completion("", "Yes."), Completion("", "yes!"), "identical answers"),
        (Completion("", "", "error", error="moderation"), Completion("", "Yes."), "moderation"),
        (Completion("", "No."), Completion("", "And so on and", "length"), "answer cut off"),
    ],
)
def test_what_makes_no_pair_is_rejected_with_its_reason(neutral, positive, reason):
    assert run(neutral, positive)[1] == Rejected(fake_scenario(3), reason)


def test_what_the_source_and_the_backend_attached_reaches_the_pair():
    scenario = replace(fake_scenario(3), metadata={"topic": "buses"})
    _, pair = run(Completion("", "It is.", metadata={"provider": "A"}), Completion("", "Oh!"), scenario=scenario)
    assert pair.metadata == {"scenario": {"topic": "buses"}, "neutral": {"provider": "A"}}
