"""Personality Prompting: keywords for a trait, then a description made from them.

The chain follows P2 (Jiang et al. 2022, "Evaluating and Inducing Personality in Pre-trained Language
Models", https://arxiv.org/abs/2206.07550) as the specification's "P2 Generation" lists it.
"""

from __future__ import annotations

import logging
import re

from psyctl_core.components import Ask, Context, Identity, PersonalityPrompter
from psyctl_core.errors import BackendError
from psyctl_core.records import CHARACTER, NEUTRAL, Message, Persona
from psyctl_p2 import P2Config
from psyctl_p2.checks import flaw

log = logging.getLogger("psyctl")

PROMPTS_VERSION = 1
CHECKS_VERSION = 1
"""Rises whenever another description would be asked for again."""

STAND_IN = "Alex"
"""Names the person while the description is made; the scenario's character takes the name's place."""

MOST_KEYWORDS = 8
KEYWORD_TOKENS = 60
DESCRIPTION_TOKENS = 120

SYSTEM = Message("system", "You are a psychologist who writes precise personality descriptions.")
RULES = f"Always write '{STAND_IN}' or 'they', never 'he' or 'she'. Write the description only."

SUBJECTS = (
    f"{STAND_IN} thinks, feels and talks with other people",
    f"{STAND_IN} behaves in a group, and what others notice first",
    f"{STAND_IN} spends a day, and what {STAND_IN} enjoys and avoids",
    f"{STAND_IN} reacts to praise, to trouble and to strangers",
    f"{STAND_IN} makes plans, and what {STAND_IN} says about them",
    f"{STAND_IN} treats friends, and what {STAND_IN} wants from them",
)
"""What the first, second, ... description of one person is to say."""


class P2Prompter(PersonalityPrompter):
    """Asks twice per persona, for keywords and for a description made from them; twice more where that is wrong."""

    descriptions = len(SUBJECTS)

    def __init__(self, config: P2Config, context: Context) -> None:
        del config, context

    def identity(self) -> Identity:
        """The versions of the prompts and of the checks."""
        return {"prompts": PROMPTS_VERSION, "checks": CHECKS_VERSION}

    def describe(self, trait: str, ask: Ask) -> Persona:
        """Have the model find keywords and describe somebody by them.

        Raises:
            BackendError: The model gave no keywords or no description.
        """
        return self.describe_other(trait, ask, opposite=False, number=1)

    def describe_other(self, trait: str, ask: Ask, *, opposite: bool, number: int) -> Persona:
        """The same about somebody low in the trait, or in other words.

        Raises:
            BackendError: The model gave no keywords or no description.
        """
        persona, wrong = _attempt(trait, ask, opposite, SUBJECTS[number - 1], again=False)
        if wrong:
            log.info("About %s the model gave %s: asking once more.", trait, wrong)
            second, still = _attempt(trait, ask, opposite, SUBJECTS[number - 1], again=True)
            if persona is None or (second and not still):  # of two that are wrong the first, asked for at more length
                persona, wrong = second, still
        if persona is None:
            raise BackendError(
                f"The model gave {wrong} for the {trait} persona.",
                "Use a larger or instruction-tuned model, or the shipped descriptions: --prompter static.",
            )
        if wrong:
            log.warning(
                "The model seems too small to describe %s%s: it gave %s ('%.60s...'). Use --prompter static, "
                "your own words with --persona-file, or a larger model.",
                "the opposite of " if opposite else "", trait, wrong, persona.description,
            )  # fmt: skip
        return persona


def _attempt(trait: str, ask: Ask, opposite: bool, subject: str, *, again: bool) -> tuple[Persona | None, str]:
    """One description, and what is wrong with it; asked in other words where ``again``, for other answers."""
    who = f"a person {'low' if opposite else 'high'} in {trait}"
    if trait == NEUTRAL:
        who = "an ordinary, balanced person without any marked trait"
    listed = f"List {MOST_KEYWORDS} adjectives that describe {who}. Write them on one line, separated by commas, and "
    listed += "nothing else."
    if again:
        listed = f"Which words fit {who}? Name {MOST_KEYWORDS} adjectives with commas between them."
    keywords = _keywords(ask((SYSTEM, Message("user", listed)), max_tokens=KEYWORD_TOKENS))
    if not keywords:
        return None, "no keywords"
    told = f"{STAND_IN} is {who}: {', '.join(keywords)}. In two or three sentences, describe how {subject}. {RULES}"
    if again:
        told = f"Write two short sentences about {STAND_IN}, {who}: {', '.join(keywords)}. Say how {subject}. {RULES}"
    text = ask((SYSTEM, Message("user", told)), max_tokens=DESCRIPTION_TOKENS, prefill=f"{STAND_IN} is")
    description = _description(text)
    if not description:
        return None, "no description"
    wrong = flaw(text, trait, opposite=opposite)
    return Persona(trait, description, keywords), wrong and f"a description that {wrong}"


def _keywords(answer: str) -> tuple[str, ...]:
    """The adjectives in an answer that lists them by commas, lines, bullets or numbers."""
    parts = re.split(r"[,;\n]|\band\b", answer)
    words = [re.sub(r"^[\W\d_]+|[\W_]+$", "", part.strip()) for part in parts]
    words = [word.lower() for word in words if word and len(word.split()) <= 3]
    return tuple(dict.fromkeys(words))[:MOST_KEYWORDS]


def _description(text: str) -> str:
    """Whole sentences in which the scenario's character stands where the stand-in stood; empty where there are none."""
    text = " ".join(text.split()).strip("\"'“”*")
    ends = [match.end() for match in re.finditer(r"[.!?。！？](?=\s|$)", text)]
    text = text[: ends[-1]] if ends else f"{text}." if text else ""
    if not any(ch.isalnum() for ch in text):
        return ""
    text = text.replace(CHARACTER, "")
    if not re.match(rf"{STAND_IN}\b", text):
        text = f"{STAND_IN} is {text}" if text[0].islower() else f"About {STAND_IN}: {text}"
    return re.sub(rf"\b{STAND_IN}\b", CHARACTER, text)
