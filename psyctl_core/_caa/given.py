"""Which personas a run uses: those that the user gives, how many on a side, and what the trait is compared with."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from psyctl_core._caa.traits import Trait, parse_traits
from psyctl_core.errors import UsageError
from psyctl_core.figures import counted
from psyctl_core.files import read_json
from psyctl_core.records import CHARACTER, NEUTRAL, JsonValue
from psyctl_core.terminal import NOTICE

log = logging.getLogger("psyctl")

Contrast = Literal["neutral", "opposite"]
Descriptions: TypeAlias = "str | Sequence[str]"

MAX_PERSONA_CHARACTERS = 4_000
MAX_FILE_BYTES = 1_000_000

POSITIVE = "positive"
FORM = 'Write {"Extroversion": {"positive": "..."}, "neutral": "..."}, or {"positive": "...", "neutral": "..."}.'
_BRACES = re.compile(r"\{+[^{}]*\}+|[{}]")


@dataclass(frozen=True, slots=True)
class PersonaChoice:
    """Who answers on the two sides of a run.

    Attributes:
        positive: Descriptions that are given, by the trait's name; under "" those of the run's only trait.
        neutral: Those of the neutral person.
        contrast: Whether the trait is compared with the neutral person, or with a person of its low pole.
        number: How many personas the prompter describes on each side.
    """

    positive: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    neutral: tuple[str, ...] = ()
    contrast: Contrast = "neutral"
    number: int = 1

    def settled(self, traits: Sequence[Trait]) -> PersonaChoice:
        """The choice with the traits' names as the run spells them, checked.

        Says what is given and not used, and which side the prompter describes although the other is given.

        Raises:
            UsageError: Something makes no sense.
        """
        if self.contrast not in get_args(Contrast):
            raise UsageError(
                f"The contrast '{self.contrast}' is unknown.", f"Give one of: {', '.join(get_args(Contrast))}."
            )
        if self.number < 1:
            raise UsageError(f"{counted(self.number, 'persona')} leave nobody to answer.", "Give --personas 1 or more.")
        if not self.positive and not self.neutral:
            return self
        names = [trait.name for trait in traits]
        choice = replace(self, positive=_named(self.positive, names), neutral=_checked(NEUTRAL, self.neutral))
        _check_sides(choice, names)
        for name in names:
            if name not in choice.positive:
                log.log(NOTICE, "No description of %s is given: the prompter describes that side.", name)
        if not choice.neutral and choice.contrast == "neutral":
            log.log(NOTICE, "No neutral description is given: the prompter describes that side.")
        if choice.number != 1 and choice.is_given(traits):
            log.warning("--personas %d has no effect: both sides are given.", choice.number)
        return choice

    def is_given(self, traits: Sequence[Trait]) -> bool:
        """Whether there is nobody left for the prompter to describe."""
        return bool(self.neutral) and all(trait.name in self.positive for trait in traits)

    def pairs(self, traits: Sequence[Trait]) -> int:
        """How many pairs of personas answer, of the trait that has the fewest."""
        others = len(self.neutral) or self.number
        return min(max(len(self.positive.get(trait.name, ())) or self.number, others) for trait in traits)

    def of(self, trait: str) -> PersonaChoice:
        """The choice as far as it concerns one trait."""
        return replace(self, positive={name: texts for name, texts in self.positive.items() if name == trait})

    def as_json(self) -> dict[str, JsonValue]:
        """What differs from the defaults; part of a run's identity."""
        row: dict[str, JsonValue] = {}
        if self.positive:
            row["positive"] = {name: list(texts) for name, texts in self.positive.items()}
        if self.neutral:
            row["neutral"] = list(self.neutral)
        if self.contrast != "neutral":
            row["contrast"] = self.contrast
        if self.number != 1:
            row["number"] = self.number
        return row


def given(
    positive: Descriptions | Mapping[str, Descriptions] = (),
    neutral: Descriptions = (),
    *,
    contrast: Contrast = "neutral",
    number: int = 1,
) -> PersonaChoice:
    """The choice that a program makes: one description of a side, several, or those of each trait by its name."""
    by_trait = positive if isinstance(positive, Mapping) else {} if positive == () else {"": positive}
    texts = {str(name): _texts(descriptions, str(name) or POSITIVE) for name, descriptions in by_trait.items()}
    return PersonaChoice(texts, _texts(neutral, NEUTRAL), contrast, number)


def read_persona_file(path: Path) -> PersonaChoice:
    """The descriptions in a JSON file; see the page "Personas" for its form.

    Raises:
        UsageError: It cannot be read, or is of another form.
    """
    return personas_in(_json(path), f"persona file '{path}'")


def personas_in(data: Any, where: str) -> PersonaChoice:
    """The descriptions in what a JSON file, or a recipe, holds.

    Args:
        data: JSON values.
        where: What holds them, for messages.

    Raises:
        UsageError: They are of another form.
    """
    if not isinstance(data, dict) or not data:
        raise UsageError(f"The {where} holds no descriptions.", FORM)
    neutral = data.pop(NEUTRAL, ())
    if POSITIVE in data:
        data = {"": data}
    positive: dict[str, Any] = {}
    for name, side in data.items():
        more = sorted({*side} - {POSITIVE}) if isinstance(side, dict) else []
        if not isinstance(side, dict) or POSITIVE not in side or more:
            wrong = f"has {', '.join(map(repr, more))}, which is not read there" if more else f"has no '{POSITIVE}'"
            under = f", under {name!r}," if name else ""
            raise UsageError(f"The {where}{under} {wrong}.", FORM)
        positive[name] = side[POSITIVE]
    return given(positive, neutral)


def described(texts: Sequence[str]) -> tuple[str, ...]:
    """Descriptions as a prompter would have written them: what names nobody is said to be about the character."""
    return tuple(text if CHARACTER in text else f"About {CHARACTER}: {text}" for text in texts)


def _json(path: Path) -> Any:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise UsageError(
                f"The persona file '{path}' has {counted(size, 'byte')}; at most {MAX_FILE_BYTES:,} are read.",
                f"A description has at most {MAX_PERSONA_CHARACTERS:,} characters.",
            )
        return read_json(path, f"The persona file '{path}'")
    except OSError as error:
        raise UsageError(f"The persona file '{path}' cannot be read: {error.strerror}.", "Name a JSON file.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"The persona file '{path}' is not JSON: {error}.", FORM) from error


def _texts(value: object, side: str) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else value
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise UsageError(f"The {side} description is {value!r:.80}, which is no text.", "Give a text, or several.")
    return tuple(texts)


def _named(positive: Mapping[str, tuple[str, ...]], names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The checked descriptions of the run's traits, under the run's names for them. Raises UsageError."""
    if "" in positive and len(names) > 1:
        raise UsageError(
            f"One positive side is given for {counted(len(names), 'trait')} ({', '.join(names)}).",
            "Say whose it is: give the descriptions by trait.",
        )
    found = {name: texts for given_name, texts in positive.items() for name in _traits(given_name, names)}
    unused = [name for name in found if name not in names]
    if unused and len(unused) == len(found):
        raise UsageError(
            f"Descriptions are given of {', '.join(unused)}, but the run is about {', '.join(names)}.",
            "Name the same trait in --personality and in the personas.",
        )
    if unused:
        log.log(
            NOTICE, "The descriptions of %s are not used: the run is about %s.", ", ".join(unused), ", ".join(names)
        )
    return {name: _checked(name, found[name]) for name in names if name in found}


def _traits(name: str, names: Sequence[str]) -> Iterator[str]:
    if name:
        yield from (trait.name for trait in parse_traits(name))
    else:
        yield from names


def _checked(side: str, texts: Sequence[str]) -> tuple[str, ...]:
    """The descriptions on one line each. Raises UsageError."""
    if not texts and side != NEUTRAL:
        raise UsageError(f"The list of descriptions of {side} is empty.", "Write one, or leave the side out.")
    lines = tuple(" ".join("".join(ch if ch.isprintable() else " " for ch in text).split()) for text in texts)
    for line in lines:
        if not any(ch.isalnum() for ch in line.replace(CHARACTER, "")):
            raise UsageError(f"A description of {side} describes nobody: {line!r}.", "Write what the person is like.")
        if len(line) > MAX_PERSONA_CHARACTERS:
            raise UsageError(
                f"A description of {side} has {counted(len(line), 'character')}; "
                f"at most {MAX_PERSONA_CHARACTERS:,} may be.",
                "Shorten it: it is part of every request.",
            )
        odd = [braces for braces in _BRACES.findall(line) if braces != CHARACTER]
        if odd:
            raise UsageError(
                f"A description of {side} has {', '.join(f'{o:.40}' for o in odd[:3])}, which nothing fills in.",
                f"Write {CHARACTER} where the name of who answers shall stand, and no other braces.",
            )
    return lines


def _check_sides(choice: PersonaChoice, names: Sequence[str]) -> None:
    if choice.neutral and choice.contrast == "opposite":
        raise UsageError(
            "A neutral description is given, and --contrast opposite compares with nobody neutral.",
            "Leave one of them out. To compare with an opposite of your own, give it as the neutral side.",
        )
    for name in names:
        sizes = [len(choice.positive.get(name, ())) or choice.number]
        sizes.append(len(choice.neutral) or choice.number)
        if min(sizes) > 1 and sizes[0] != sizes[1]:
            raise UsageError(
                f"{name} has {counted(sizes[0], 'persona')} and its other side {sizes[1]}: "
                "they cannot be dealt in pairs.",
                "Give as many on both sides, or one on one of them; --personas counts those of the prompter.",
            )
