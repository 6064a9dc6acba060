"""Asks a model for one digit about each answer alone, and accepts a pair by the digits it would give.

That answers are judged one at a time, by a guide with three steps, and that the score is the mean of the digits
weighted by their probability is what agreed best with people: G-Eval (Liu et al. 2023,
https://arxiv.org/abs/2303.16634) for the weighted score; comparing two answers side by side depends on their order
(Zheng et al. 2023, https://arxiv.org/abs/2306.05685).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from psyctl_core.components import Ask, Context, Identity, PairJudge
from psyctl_core.records import ChatRequest, Completion, ContrastivePair, Message, Scenario, Verdict
from psyctl_rubric import RubricConfig
from psyctl_rubric.guides import GUIDES

VERSION = 1
"""Rises whenever the same pair would be asked about differently."""

DIGITS = tuple("0123456789")
"""One digit is one token with every common tokenizer, so its probability can be read off."""

SCALE = 100 / 9
LEAST_MASS = 0.25
"""Share of probability that must lie on digits for them to be a score."""

TOKENS = 8
GUIDE_TOKENS = 200

TRAIT_NOT_SHOWN = "trait not shown"
NEUTRAL_SHOWS = "neutral shows the trait"
TOO_LITTLE = "too little contrast"
OUT_OF_SCENE = "out of scene"
NOT_JUDGED = "not judged"

_TRAIT = (
    "You rate how strongly one line of speech shows a personality trait, with a digit from 0 (not at all) to 9 (very "
    "strongly). Only what the line says and wants counts: its length, politeness and grammar say nothing about the "
    "trait."
)
_FIT = (
    "You rate whether a line could be what a person says next in a scene, with a digit from 0 (impossible) to 9 (quite "
    "natural). 0 to 2 is a line that ignores the scene, tells what happens instead of speaking, speaks as an AI or as "
    "somebody else, or is broken or senseless. A rude or wicked line can be a 9."
)
AGAIN = 'Answer with JSON such as {"score": 4}, with a digit from 0 to 9, and with nothing else: no explanation.'
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"score": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["score"],
        "additionalProperties": False,
    }
)
AGAIN_TOKENS = 24

NAMES = ("positive", "neutral", "positive_fit", "neutral_fit")
"""The scores of a pair, in the order of asking."""

_SCORE = re.compile(r"^\W*(?:(?:score|rating|answer)\W*(?:is\W*)?)?(\d+(?:\.\d+)?)(?![\w%°])", re.IGNORECASE)


class RubricJudge(PairJudge):
    """Four questions a pair: the trait and the fit of either answer."""

    def __init__(self, config: RubricConfig, context: Context) -> None:
        del context
        self._config = config

    def identity(self) -> Identity:
        """The rubric's version."""
        return {"rubric": VERSION}

    def guide(self, trait: str, ask: Ask) -> str:
        """The three steps of the scale: shipped for the known traits, asked for otherwise."""
        if trait in GUIDES:
            high, mid, low = GUIDES[trait]
            return f"9: {high}\n5: {mid}\n0: {low}"
        wanted = (
            f"How does {trait} show in a single line that somebody says to another person? Write three lines of about "
            f"25 words. The first begins with '9:' and says what such a line does where {trait} is very strong. The "
            "second begins with '5:' and is about a middling line. The third begins with '0:' and is about a line that "
            "shows none of it or its opposite."
        )
        system = Message("system", "You write short, exact scoring guides for personality traits in speech.")
        return ask((system, Message("user", wanted)), max_tokens=GUIDE_TOKENS, prefill="9:").strip()

    def requests(self, pair: ContrastivePair, guide: str) -> Sequence[ChatRequest]:
        """The questions about a pair: the rubric first, since all pairs share it, then the scene and the line."""
        rubric = f"{_TRAIT}\n\nThe trait is {pair.trait}.\n{guide if guide[:2] == '9:' else f'9: {guide}'}"
        asked = [
            _request(rubric, pair.scenario, line, f"How strongly does this line show {pair.trait}?")
            for line in (pair.positive, pair.neutral)
        ]
        if self._config.fit:
            asked += [
                _request(_FIT, pair.scenario, line, f"Could {pair.scenario.character} say this line here?")
                for line in (pair.positive, pair.neutral)
            ]
        return asked

    def verdict(
        self, pair: ContrastivePair, guide: str, completions: Sequence[Completion]
    ) -> Verdict | Sequence[ChatRequest]:
        """The verdict by the scores; what has none is asked once more, for JSON."""
        names = NAMES if self._config.fit else NAMES[:2]
        scores = dict(zip(names, map(score, completions), strict=False))
        missing = [name for name in names if scores[name] is None]
        if missing and len(completions) == len(names):
            asked = dict(zip(names, self.requests(pair, guide), strict=True))
            return [_insisting(asked[name]) for name in missing]
        scores |= dict(zip(missing, map(score, completions[len(names) :]), strict=False))
        return self.decide(scores)

    def decide(self, scores: Mapping[str, float | None]) -> Verdict:
        """The verdict that follows from the scores, by the thresholds of the options."""
        return Verdict(self._reason(scores), scores)

    def _reason(self, scores: Mapping[str, float | None]) -> str:
        config = self._config
        positive, neutral = scores.get("positive"), scores.get("neutral")
        fits = [scores.get(name) for name in NAMES[2:]] if config.fit else []
        if positive is None or neutral is None or None in fits:
            return NOT_JUDGED
        if positive < config.positive:
            return TRAIT_NOT_SHOWN
        if neutral >= config.neutral:
            return NEUTRAL_SHOWS
        if positive - neutral < config.difference:
            return TOO_LITTLE
        return OUT_OF_SCENE if any(fit is not None and fit < config.fit for fit in fits) else ""


def score(completion: Completion) -> float | None:
    """A completion's score from 0 to 100, or ``None`` where it holds none.

    The mean of the digits by their probability where the backend tells them and they have a quarter of it at least;
    else the number at the beginning of the text, if it is from 0 to 9.
    """
    known = completion.metadata.get("choices")
    if isinstance(known, Mapping):
        likely = {d: p for d in DIGITS if isinstance(p := known.get(d), (int, float)) and p > 0}
        mass = sum(likely.values())
        if mass >= LEAST_MASS:
            return round(SCALE * sum(int(digit) * p for digit, p in likely.items()) / mass, 2)
    if completion.finish_reason == "error":
        return None
    found = _SCORE.search(completion.text)
    return round(SCALE * float(found[1]), 2) if found and float(found[1]) <= 9 else None


def _request(rubric: str, scenario: Scenario, line: str, question: str) -> ChatRequest:
    heard = [f'{turn.speaker}: "{turn.text}"' for turn in scenario.dialogue]
    scene = "\n".join([*filter(None, [scenario.situation]), *heard])
    user = (
        f'The scene:\n{scene}\n\nThe line:\n{scenario.character}: "{line}"\n\n'
        f"{question} Answer with one digit from 0 to 9."
    )
    messages = (Message("system", rubric), Message("user", user))
    return ChatRequest("", messages, prefill="Score: ", max_tokens=TOKENS, choices=DIGITS)


def _insisting(request: ChatRequest) -> ChatRequest:
    """The same question for JSON: whoever gave no probabilities may give none again."""
    system, user = request.messages
    asked = system, replace(user, content=f"{user.content}\n{AGAIN}")
    return replace(request, messages=asked, prefill="", choices=(), json_schema=SCHEMA, max_tokens=AGAIN_TOKENS)
