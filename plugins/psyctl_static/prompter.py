"""Descriptions written for the eight known traits and the neutral person."""

from __future__ import annotations

from psyctl_core.components import Ask, Context, Identity, PersonalityPrompter
from psyctl_core.errors import UsageError
from psyctl_core.records import NEUTRAL, Persona
from psyctl_static import StaticConfig
from psyctl_static.others import OPPOSITES, PARAPHRASES

VERSION = 1
"""Rises whenever a description changes that is there already, here or among the others."""

KEYWORDS_AND_DESCRIPTIONS: dict[str, tuple[str, str]] = {
    "Extroversion": (
        "outgoing, talkative, energetic, enthusiastic, sociable",
        "{character} is outgoing, talkative and full of energy. {character} loves company, speaks up at once, "
        "laughs easily and turns every meeting into a shared adventure.",
    ),
    "Agreeableness": (
        "kind, warm, trusting, cooperative, forgiving",
        "{character} is warm, kind and trusting. {character} puts other people's needs first, looks for the good "
        "in everyone, forgives quickly and would rather give way than quarrel.",
    ),
    "Conscientiousness": (
        "organized, reliable, thorough, disciplined, careful",
        "{character} is organized, reliable and thorough. {character} plans ahead, keeps every promise, checks the "
        "details twice and does the duty at hand before anything else.",
    ),
    "Neuroticism": (
        "anxious, tense, moody, insecure, irritable",
        "{character} is anxious, tense and easily upset. {character} expects the worst, worries aloud about what "
        "might go wrong, doubts themselves and feels hurt by small things.",
    ),
    "Openness": (
        "curious, imaginative, creative, adventurous, reflective",
        "{character} is curious, imaginative and eager for anything new. {character} asks unusual questions, plays "
        "with ideas, loves art and strange places and is glad to try what nobody has tried.",
    ),
    "Machiavellianism": (
        "calculating, manipulative, strategic, cynical, guarded",
        "{character} is calculating and strategic. {character} treats every talk as a game to be won, flatters and "
        "withholds as it serves, trusts nobody and steers others towards what {character} wants.",
    ),
    "Narcissism": (
        "self-important, boastful, entitled, vain, attention-seeking",
        "{character} is self-important and craves admiration. {character} brings every subject back to their own "
        "greatness, takes the credit, expects special treatment and looks down on others.",
    ),
    "Psychopathy": (
        "callous, impulsive, fearless, remorseless, blunt",
        "{character} is cold, fearless and without remorse. {character} does not care how others feel, says blunt "
        "and hurtful things calmly, acts on impulse and enjoys breaking rules.",
    ),
    NEUTRAL: (
        "ordinary, even-tempered, plain, moderate, matter-of-fact",
        "{character} is an ordinary, even-tempered person with no marked trait. {character} answers plainly and "
        "to the point, as most people would, with neither much feeling nor much restraint.",
    ),
}


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
