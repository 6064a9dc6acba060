"""Personality Prompting: keywords for a trait, then a description made from them.

The chain follows P2 (Jiang et al. 2022, "Evaluating and Inducing Personality in Pre-trained Language
Models", https://arxiv.org/abs/2206.07550) as the specification's "P2 Generation" lists it.
"""

from __future__ import annotations

import re

from psyctl_core.components import Ask, Context, Identity, PersonalityPrompter
from psyctl_core.errors import BackendError
from psyctl_core.records import CHARACTER, NEUTRAL, Message, Persona
from psyctl_p2 import P2Config

PROMPTS_VERSION = 1
STAND_IN = "Alex"
"""Names the person while the description is made; the scenario's character takes the name's place."""

MOST_KEYWORDS = 8
KEYWORD_TOKENS = 60
DESCRIPTION_TOKENS = 120


class P2Prompter(PersonalityPrompter):
    """Asks twice per trait: once for keywords, once for a description made from them."""

    def __init__(self, config: P2Config, context: Context) -> None:
        del config, context

    def identity(self) -> Identity:
        """The prompts' version."""
        return {"prompts": PROMPTS_VERSION}

    def describe(self, trait: str, ask: Ask) -> Persona:
        """Have the model find keywords and describe somebody by them.

        Raises:
            BackendError: The model gave no keywords or no description.
        """
        who = (
            "an ordinary, balanced person without any marked trait" if trait == NEUTRAL else f"a person high in {trait}"
        )
        answer = ask(
            (
                Message("system", "You are a psychologist who writes precise personality descriptions."),
                Message(
                    "user",
                    f"List {MOST_KEYWORDS} adjectives that describe {who}. "
                    "Write them on one line, separated by commas, and nothing else.",
                ),
            ),
            max_tokens=KEYWORD_TOKENS,
        )
        keywords = _keywords(answer)
        if not keywords:
            raise _nothing(trait, "keywords")
        text = ask(
            (
                Message("system", "You are a psychologist who writes precise personality descriptions."),
                Message(
                    "user",
                    f"{STAND_IN} is {who}: {', '.join(keywords)}. In two or three sentences, describe how "
                    f"{STAND_IN} thinks, feels and talks with other people. Always write '{STAND_IN}' or "
                    "'they', never 'he' or 'she'. Write the description only.",
                ),
            ),
            max_tokens=DESCRIPTION_TOKENS,
            prefill=f"{STAND_IN} is",
        )
        return Persona(trait, _description(trait, text), keywords)


def _keywords(answer: str) -> tuple[str, ...]:
    """The adjectives in an answer that lists them by commas, lines, bullets or numbers."""
    parts = re.split(r"[,;\n]|\band\b", answer)
    words = [re.sub(r"^[\W\d_]+|[\W_]+$", "", part.strip()) for part in parts]
    words = [word.lower() for word in words if word and len(word.split()) <= 3]
    return tuple(dict.fromkeys(words))[:MOST_KEYWORDS]


def _description(trait: str, text: str) -> str:
    """Whole sentences in which the scenario's character stands where the stand-in stood."""
    text = " ".join(text.split()).strip("\"'“”*")
    ends = [match.end() for match in re.finditer(r"[.!?。！？](?=\s|$)", text)]
    text = text[: ends[-1]] if ends else f"{text}." if text else ""
    if not any(ch.isalnum() for ch in text):
        raise _nothing(trait, "description")
    text = text.replace(CHARACTER, "")
    if not re.match(rf"{STAND_IN}\b", text):
        text = f"{STAND_IN} is {text}" if text[0].islower() else f"About {STAND_IN}: {text}"
    return re.sub(rf"\b{STAND_IN}\b", CHARACTER, text)


def _nothing(trait: str, what: str) -> BackendError:
    return BackendError(
        f"The model gave no {what} for the {trait} persona.",
        "Use a larger or instruction-tuned model, or the shipped descriptions: --prompter static.",
    )
