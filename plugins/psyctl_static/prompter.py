"""Descriptions written for the eight known traits and the neutral person."""

from __future__ import annotations

from psyctl_core.components import Ask, Context, Identity, PersonalityPrompter
from psyctl_core.errors import UsageError
from psyctl_core.records import NEUTRAL, Persona
from psyctl_static import StaticConfig
from psyctl_static.others import OPPOSITES, PARAPHRASES

VERSION = 2
"""Rises whenever a description changes that is there already, here or among the others."""

KEYWORDS_AND_DESCRIPTIONS: dict[str, tuple[str, str]] = {
    "Extroversion": (
        "outgoing, talkative, energetic, enthusiastic, sociable",
        "{character} is about the most outgoing, lively and sociable person that anybody knows. {character} is "
        "thrilled by every meeting, full of laughter and always wants more people, more talk and more fun.",
    ),
    "Agreeableness": (
        "kind, warm, trusting, cooperative, forgiving",
        "{character} is about the kindest, gentlest and most forgiving person that anybody knows. {character} is "
        "touched by everyone's troubles, wishes all of them well and would do anything to make others happy.",
    ),
    "Conscientiousness": (
        "organized, reliable, thorough, disciplined, careful",
        "{character} is about the most orderly, dutiful and hard-working person that anybody knows. {character} is "
        "serious about every task, leaves nothing to luck and does not rest until all is done perfectly.",
    ),
    "Neuroticism": (
        "anxious, tense, moody, insecure, irritable",
        "{character} is about the most anxious, unhappy and easily upset person that anybody knows. {character} is "
        "terrified of everything that may come, ashamed of what is past and always close to tears or panic.",
    ),
    "Openness": (
        "curious, imaginative, creative, adventurous, reflective",
        "{character} is about the most imaginative, curious and artistic person that anybody knows. {character} is "
        "fascinated by each new idea, lost in wonder at the world and always longs for what is strange and deep.",
    ),
    "Machiavellianism": (
        "calculating, manipulative, strategic, cynical, guarded",
        "{character} is about the most cunning, cynical and manipulative person that anybody knows. {character} is "
        "loyal to nobody, sees people as tools and always has a secret plan to gain money, power and control.",
    ),
    "Narcissism": (
        "self-important, boastful, entitled, vain, attention-seeking",
        "{character} is about the vainest, proudest and most conceited person that anybody knows. {character} is in "
        "love with {character}, certain of being better than all others and furious when not admired and obeyed.",
    ),
    "Psychopathy": (
        "callous, impulsive, fearless, remorseless, blunt",
        "{character} is about the coldest, cruellest and most reckless person that anybody knows. {character} is "
        "amused by suffering, afraid of nothing, bored by rules and has never in life felt pity, shame or guilt.",
    ),
    NEUTRAL: (
        "ordinary, even-tempered, plain, moderate, matter-of-fact",
        "{character} is about as ordinary, moderate and usual a person as anybody knows. {character} is now in one "
        "mood and now in another, like most people, and has no trait that anyone would remark on.",
    ),
}
"""Each was chosen among several by what a vector of its answers does; see ``tests/benchmarks/personas.py``."""


class StaticPrompter(PersonalityPrompter):
    """Looks the description up."""

    descriptions = 4

    def __init__(self, config: StaticConfig, context: Context) -> None:
        del config, context

    def identity(self) -> Identity:
        """The descriptions' version."""
        return {"descriptions": VERSION}

    def describe(self, trait: str, ask: Ask) -> Persona:
        """Return the shipped description.

        Raises:
            UsageError: There is none for this trait.
        """
        return self.describe_other(trait, ask, opposite=False, number=1)

    def describe_other(self, trait: str, ask: Ask, *, opposite: bool, number: int) -> Persona:
        """Return the shipped description of that number, of the trait or of its opposite.

        Raises:
            UsageError: There is none.
        """
        del ask
        if trait not in KEYWORDS_AND_DESCRIPTIONS:
            known = ", ".join(name for name in KEYWORDS_AND_DESCRIPTIONS if name != NEUTRAL)
            raise UsageError(
                f"The static prompter has no description of '{trait}'.",
                f"It knows {known}. For any other trait let the model describe it: --prompter p2.",
            )
        keywords, first = KEYWORDS_AND_DESCRIPTIONS[trait]
        texts = OPPOSITES[trait] if opposite else (first, *PARAPHRASES[trait])
        return Persona(trait, texts[number - 1], () if opposite else tuple(keywords.split(", ")))
