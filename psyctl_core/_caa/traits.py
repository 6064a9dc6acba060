"""Which traits a run is about: Big Five, Dark Triad, their other spellings, and whatever else is typed."""

from __future__ import annotations

import difflib
import logging
import re
import unicodedata
from dataclasses import dataclass

from psyctl_core.errors import UsageError
from psyctl_core.records import NEUTRAL

log = logging.getLogger("psyctl")

BIG_FIVE = ("Extroversion", "Agreeableness", "Conscientiousness", "Neuroticism", "Openness")
DARK_TRIAD = ("Machiavellianism", "Narcissism", "Psychopathy")
KNOWN = BIG_FIVE + DARK_TRIAD

SYNONYMS = {
    "extraversion": "Extroversion",
    "extroverted": "Extroversion",
    "extraverted": "Extroversion",
    "agreeable": "Agreeableness",
    "conscientious": "Conscientiousness",
    "neurotic": "Neuroticism",
    "openness to experience": "Openness",
    "open-mindedness": "Openness",
    "machiavellian": "Machiavellianism",
    "narcissistic": "Narcissism",
    "psychopathic": "Psychopathy",
}
"""Other names of the known traits, in lower case."""

OPPOSITES = ("Introversion", "Disagreeableness", "Unconscientiousness")
"""Traits of their own that look like a typing error of a known one, and are not."""

_FOLDED = {known.lower(): known for known in KNOWN + OPPOSITES} | SYNONYMS

MAX_LENGTH = 80


@dataclass(frozen=True, slots=True)
class Trait:
    """A trait: its name as prompts and records use it, and its folder's name."""

    name: str
    slug: str


def parse_traits(personality: str) -> tuple[Trait, ...]:
    """Read a comma-separated list of traits.

    Known synonyms are folded into one spelling; anything else is a trait of its own, with a warning
    where it looks like a known one mistyped.

    Raises:
        UsageError: Nothing is named, a name cannot be used, or two are the same trait.
    """
    names = [" ".join(unicodedata.normalize("NFC", part).split()) for part in personality.split(",")]
    names = [name for name in names if name]
    if not names:
        raise UsageError("The personality is empty.", f"Name at least one trait, such as one of: {', '.join(KNOWN)}.")
    traits: dict[str, tuple[str, Trait]] = {}
    for name in names:
        trait = _trait(name)
        if trait.slug in traits:
            first = traits[trait.slug][0]
            same = f"'{name}' twice" if name == first else f"'{first}' and '{name}', which are the same trait"
            raise UsageError(f"The personality names {same}.", "Name each trait once.")
        traits[trait.slug] = (name, trait)
    return tuple(trait for _, trait in traits.values())


def known_name(name: str) -> str:
    """A trait's name as psyctl spells it, where it is a known one; otherwise as it is."""
    return _FOLDED.get(name.lower(), name)


def _trait(name: str) -> Trait:
    if name.lower() not in _FOLDED:
        near = difflib.get_close_matches(name.lower(), _FOLDED, n=1, cutoff=0.8)
        if near:
            log.warning("'%s' is taken as a trait of its own; did you mean '%s'?", name, _FOLDED[near[0]])
    name = known_name(name)
    slug = slug_of(name)
    if not slug or len(name) > MAX_LENGTH or not name.isprintable() or slug == NEUTRAL:
        raise UsageError(
            f"{name[:MAX_LENGTH]!r} cannot be a trait's name.",
            f"Use words of at most {MAX_LENGTH} characters in all; '{NEUTRAL}' is what every trait is compared with.",
        )
    return Trait(name, slug)


def slug_of(name: str) -> str:
    """A trait's name as a file or a folder may be called; empty where it has no letter or digit."""
    return re.sub(r"[^\w]+", "-", name.lower()).strip("-_")
