"""What is wrong with a description that a model wrote, as far as its words tell."""

from __future__ import annotations

import re

from psyctl_core.records import NEUTRAL

Stems = tuple[str, str]

WORDS: dict[str, Stems] = {
    "Extroversion": (
        "outgoing talkativ sociab social gregarious energetic enthusias lively outspoken assertive "
        "chatt expressive loud party parties company cheerful",
        "introver shy quiet reserved withdrawn solitary solitude timid aloof silent loner reclus",
    ),
    "Agreeableness": (
        "kind warm trusting cooperat forgiv compassion empath gentle helpful considerate generous polite "
        "caring sympath friendly pleasant patient understanding accommodat supportive",
        "disagreeab rude hostile cruel stubborn quarrel argumentative cold suspicious harsh selfish unkind antagonis "
        "confrontation",
    ),
    "Conscientiousness": (
        "organized organised reliab thorough disciplin careful diligen responsib punctual detail dutiful "
        "meticulous hardworking hard-working dependab plan orderly systematic",
        "unconscientious careless disorgani lazy sloppy unreliab impuls forgetful messy irresponsib negligen "
        "procrastinat",
    ),
    "Neuroticism": (
        "anxi tense moody insecur irritab worr nervous stress fear upset sensitiv vulnerab sad depress panic "
        "overwhelm doubt fret pessimis unstable",
        "calm stable relaxed secure confident resilien composed unworried serene carefree even-tempered",
    ),
    "Openness": (
        "open curio imaginat creativ adventur artist novel new experiment unconventional explor inventive innovat "
        "original philosoph inquisitive broad-minded",
        "closed conventional unimaginat narrow traditional routine rigid conservative incurious dogmatic",
    ),
    "Machiavellianism": (
        "manipulat calculat cunning strateg cynic schem deceit decepti exploit ruthless sly devious power "
        "unscrupulous ambiti self-interest dishonest insincere",
        "honest sincer naive straightforward guileless trusting selfless candid genuine transparent fair",
    ),
    "Narcissism": (
        "self-important boast entitle vain arrogan admir attention grandiose self-cent self-absor self-obsess "
        "superior ego conceit haughty selfish",
        "humble modest selfless self-effacing unassuming empath considerate altruis",
    ),
    "Psychopathy": (
        "callous impuls fearless remorseless cold ruthless cruel unemotional reckless manipulat heartless "
        "unfeeling aggress violent antisocial detached insensitiv merciless",
        "empath compassion caring kind remorse gentle warm considerate tender sympath",
    ),
}
"""How words begin that speak of the trait, its name left out, and of its opposite.

After Goldberg 1992, "The Development of Markers for the Big-Five Factor Structure", and Paulhus and Williams 2002, "The
Dark Triad of Personality".
"""

LOW_POLES = {
    "Introversion": "Extroversion",
    "Disagreeableness": "Agreeableness",
    "Unconscientiousness": "Conscientiousness",
}
"""Traits of their own that are the low pole of a known one."""

NAME_CHARACTERS = 6
"""So much of a known trait's name begins its adjective, too: extroversion and extroverted."""

MIN_WORDS = 4
MIN_CHARACTERS = 20
"""A description under both says next to nothing; languages without spaces have one word and many characters."""

REPEATS = 3
"""So often a sentence stands in what a model writes that has run into a loop."""

_AI = re.compile(
    r"\b(?:as|is|am|i'm) an? (?:AI|artificial intelligence)\b|\blanguage model|\bchatbot|\bAI assistant", re.I
)
_REFUSAL = re.compile(r"\W*(?:I'm|I am) (?:sorry|unable)|\W*I (?:cannot|can't|can not|won't|apologi[sz]e)\b", re.I)
_PROMPT = re.compile(
    r"two (?:or three|short) sentences|description only|adjectives that describe|describe how|"
    r"person (?:high|low) in [^.:]+:",
    re.I,
)
_SENTENCE_END = re.compile(r"[.!?。！？]")
_NEGATED = re.compile(
    r"(?:\b(?:not(?! only)|never|no|nor|without|little|lack\w*|hardly|rarely|seldom|than)\b|n't\b)(?:\W+\w+){0,2}\W+$",
    re.I,
)


def flaw(text: str, trait: str, *, opposite: bool = False) -> str:
    """What is wrong with a description, in words that go on from "the description"; empty where nothing is.

    Args:
        text: What the model wrote.
        trait: The trait, or ``neutral``.
        opposite: Whether somebody with little of it was to be described.
    """
    if _REFUSAL.match(text):
        return "is a refusal"
    for pattern, words in ((_AI, "is about an AI"), (_PROMPT, "repeats the request")):
        if pattern.search(text):
            return words
    if not _SENTENCE_END.search(text):
        return "is cut off in its first sentence"
    sentences = [sentence.strip() for sentence in _SENTENCE_END.split(text)]
    if any(sentence and sentences.count(sentence) >= REPEATS for sentence in sentences):
        return "repeats itself"
    if len(text.split()) < MIN_WORDS and len(text) < MIN_CHARACTERS:
        return "is too short"
    return "" if trait == NEUTRAL else _pole_flaw(text, trait, opposite)


def _pole_flaw(text: str, trait: str, opposite: bool) -> str:
    """Whether a description speaks of the trait rather than of its opposite."""
    known = LOW_POLES.get(trait, trait)
    if opposite and known not in WORDS:
        return ""  # its name may stand in a description of either pole, and no other words are known
    own, other = _counted(text, *WORDS[known]) if known in WORDS else _by_name(text, trait)
    if opposite != (known != trait):
        own, other = other, own
    named, denied = _counted(text, trait.casefold()[:NAME_CHARACTERS], "") if known in WORDS else (0, 0)
    own += named + denied if opposite else named  # "low in extroversion" describes the low pole
    other += 0 if opposite else denied
    if other > own:
        return "speaks of the trait itself" if opposite else "speaks of the trait's opposite"
    return "says nothing of the trait" if known in WORDS and not own else ""


def _counted(text: str, stems: str, opposites: str) -> tuple[int, int]:
    """How often a text speaks of a trait and of its opposite: what is negated counts for the other."""
    counts = [0, 0]
    for side, words in enumerate(filter(None, (stems, opposites))):
        for found in re.finditer(rf"\b(?:{'|'.join(map(re.escape, words.split()))})", text, re.IGNORECASE):
            counts[side ^ bool(_NEGATED.search(text, max(0, found.start() - 40), found.start()))] += 1
    return counts[0], counts[1]


def _by_name(text: str, trait: str) -> tuple[int, int]:
    """The same for any other trait, by its name: ``honest`` and ``dishonest`` or ``not honest`` for Honesty."""
    stem = _stem(trait)
    return _counted(text, stem, " ".join(f"{prefix}{stem}" for prefix in ("un", "in", "im", "ir", "dis", "non-")))


def _stem(trait: str) -> str:
    """What a trait's adjective most likely begins with."""
    word = trait.casefold().split()[-1]
    return re.sub(r"(?:iveness|fulness|ness|ility|ity|ism|ion|ence|ance|y)$", "", word) if len(word) > 5 else word
