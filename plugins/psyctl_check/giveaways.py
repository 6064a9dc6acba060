"""Answers that give the game away: the trait's name, the persona's text, refusals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from psyctl_check.figures import FEW, mean_interval, wilson
from psyctl_check.texts import grams, not_english, too_few, untold, words
from psyctl_core.checks import CheckedPair, CheckFacts, Finding
from psyctl_core.records import CHARACTER

SYNONYMS = {
    "Extroversion": "extroversion extraversion extrovert extroverted extraverted outgoing sociable talkative",
    "Agreeableness": "agreeableness agreeable kindhearted cooperative altruistic",
    "Conscientiousness": "conscientiousness conscientious organized organised diligent disciplined",
    "Neuroticism": "neuroticism neurotic anxious insecure moody",
    "Openness": "openness open-minded openminded imaginative inquisitive",
    "Machiavellianism": "machiavellianism machiavellian manipulative manipulate scheming calculating",
    "Narcissism": "narcissism narcissist narcissistic self-important entitled vain",
    "Psychopathy": "psychopathy psychopath psychopathic callous remorseless",
}
"""Words for the known traits that nobody shows the trait by saying."""

_MODEL = r"(?:ai\b|artificial intelligence|(?:large )?language model|chatbot|(?:virtual|ai) assistant)"
_REFUSAL = re.compile(
    rf"\bas an? {_MODEL}|\bi(?:'m| am) (?:just |only )?an? {_MODEL}"
    r"|\bi (?:can(?:'t|not| not)|won't|will not) (?:help|assist) (?:you )?with (?:that|this)\b"
    r"|\bi(?:'m| am) (?:unable|not able) to (?:assist|comply|fulfil|generate|create|engage|roleplay|role-play)\b"
    r"|\bi (?:can(?:'t|not| not)|won't) (?:comply|fulfil|generate|roleplay|role-play|create (?:content|that))\b"
    r"|\bi don't have personal (?:feelings|emotions|opinions|experiences)\b"
    r"|\bmy (?:programming|training data)\b|\bagainst my (?:guidelines|policy)\b",
    re.IGNORECASE,
)
"""What models say and people in a scene hardly ever do."""


def trait_words(pairs: Sequence[CheckedPair], facts: CheckFacts) -> Finding:
    """The difference between the shares of answers that name the trait or what the persona was described with."""
    named = [facts.trait.lower(), *SYNONYMS.get(facts.trait, "").split(), *(word.lower() for word in facts.keywords)]
    phrases = {tuple(words(name)) for name in named if words(name)}
    if not phrases:
        return untold("neither the trait nor the persona is known; name the trait with --trait")
    if few := too_few(pairs, FEW):
        return few

    def naming(text: str, persona: str, character: str) -> str:
        tokens = words(text)
        if not _persona_grams(persona, character).isdisjoint(grams(tokens, 4)):
            return ""  # an echo, which has a check of its own
        found = [" ".join(phrase) for phrase in phrases if phrase in grams(tokens, len(phrase))]
        return min(found, default="")

    ours, theirs = facts.personas
    said = [
        (naming(pair.positive, ours, pair.character), naming(pair.neutral, theirs, pair.character)) for pair in pairs
    ]
    difference, interval = mean_interval([bool(one) - bool(other) for one, other in said])
    shares = [sum(bool(pair[side]) for pair in said) / len(pairs) for side in (0, 1)]
    side = 0 if difference >= 0 else 1
    worst = [
        (pair.id, f"says '{names[side]}': {(pair.positive, pair.neutral)[side]}")
        for pair, names in zip(pairs, said, strict=True)
        if names[side] and not names[1 - side]
    ]
    low, high = interval if difference >= 0 else (-interval[1], -interval[0])
    text = f"{shares[0]:.2f} of the positive and {shares[1]:.2f} of the neutral answers name the trait"
    return Finding(abs(difference), text, (low, high), worst=worst)


def persona_echo(pairs: Sequence[CheckedPair], facts: CheckFacts) -> Finding:
    """The share of runs of four words that stand in the persona of their side, on the side where it is larger."""
    if not any(facts.personas):
        return untold("the personas are not known: the file does not say who was described to the model")
    if few := too_few(pairs, FEW):
        return few
    told, worst = [], []
    for side, persona in zip(("positive", "neutral"), facts.personas, strict=True):
        echoed = every = 0
        for pair in pairs:
            answer = getattr(pair, side)
            spoken = grams(words(answer), 4)
            shared = [gram for gram in spoken if gram in _persona_grams(persona, pair.character)]
            echoed, every = echoed + len(shared), every + len(spoken)
            if shared:
                worst.append((len(shared) / len(spoken), pair.id, f"{side}, '{' '.join(shared[0])}': {answer}"))
        told.append((echoed / every if every else 0.0, side))
    share, side = max(told, key=lambda one: one[0])
    text = f"{share:.3f} of the runs of four words of the {side} answers stand in their persona"
    return Finding(share, text, worst=[row[1:] for row in sorted(worst, key=lambda row: -row[0])])


@lru_cache(maxsize=4096)
def _persona_grams(persona: str, character: str) -> frozenset[tuple[str, ...]]:
    return frozenset(grams(words(persona.replace(CHARACTER, character)), 4))


def is_refusal(text: str) -> bool:
    """Whether somebody refuses, or speaks as a language model."""
    return bool(_REFUSAL.search(text.replace("’", "'")))


def refusals(pairs: Sequence[CheckedPair], facts: CheckFacts) -> Finding:
    """The share of answers that refuse or speak as a language model, on the side with more of them."""
    del facts
    if few := too_few(pairs, FEW) or not_english(pairs):
        return few
    counts = []
    worst = []
    for side in ("positive", "neutral"):
        found = [pair for pair in pairs if is_refusal(getattr(pair, side))]
        counts.append(len(found))
        worst += [(pair.id, f"{side}: {getattr(pair, side)}") for pair in found]
    n, most = len(pairs), max(counts)
    text = f"{counts[0]} of the {n} positive and {counts[1]} of the neutral answers refuse or speak as a language model"
    return Finding(most / n, text, wilson(most, n), worst=worst)
