"""The personas of a run: given, or described once by the prompter, through the same answerer as everything else."""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from psyctl_core._caa.cast import Cast
from psyctl_core._caa.contrast import Sampling
from psyctl_core._caa.given import POSITIVE, PersonaChoice, described
from psyctl_core._caa.prompts import request_seed
from psyctl_core._engine.answering import Answerer
from psyctl_core._engine.dataset import Dataset
from psyctl_core._plugins.blame import Origin
from psyctl_core._plugins.guard import GuardedJudge, GuardedPrompter
from psyctl_core.components import Ask
from psyctl_core.errors import BackendError
from psyctl_core.records import NEUTRAL, ChatRequest, Message, Persona
from psyctl_core.terminal import NOTICE

log = logging.getLogger("psyctl")

T = TypeVar("T")

MAX_TEMPERATURE = 0.1
"""Of what is asked to describe somebody: that stands for all pairs, not to be left to chance. Some servers refuse 0."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One persona that a run needs.

    Attributes:
        role: Its name in run.json: the side of the pair, with a number from the second on.
        trait: Whom the prompter is asked for: somebody with the trait, or ``neutral``.
        opposite: Whether it is the trait's low pole.
        number: Which of the side's personas, from 1.
        given: The description, where it need not be asked for.
    """

    role: str
    trait: str
    opposite: bool
    number: int
    given: str

    @property
    def label(self) -> str:
        """What it is called in front of a person."""
        of = "opposite of " if self.opposite else ""
        return f"{of}{self.trait}{f' {self.number}' if self.number > 1 else ''}"


def wanted_personas(choice: PersonaChoice, trait: str, *, opposite: bool = False) -> list[Wanted]:
    """The personas of one side.

    Args:
        choice: What was asked for.
        trait: The trait, or ``neutral``.
        opposite: Whether its low pole is meant, which nobody gives.
    """
    texts = choice.neutral if trait == NEUTRAL else choice.positive.get(trait, ())
    given = () if opposite else described(texts)
    side = NEUTRAL if opposite or trait == NEUTRAL else POSITIVE
    return [
        Wanted(side if number == 1 else f"{side} {number}", trait, opposite, number, given[number - 1] if given else "")
        for number in range(1, (len(given) or choice.number) + 1)
    ]


def stored_personas(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The personas in a run.json as people read them: who each is, and the description."""
    other = run.get("identity", {}).get("personas", {}).get("contrast", NEUTRAL)
    for role, persona in run.get("personas", {}).items():
        side, _, number = role.partition(" ")
        yield f"{run['trait'] if side == POSITIVE else other} {number}".strip(), persona["description"]


def describe_all(
    datasets: Sequence[Dataset], choice: PersonaChoice, prompter: GuardedPrompter, asking: Asking
) -> dict[str, Cast]:
    """Who answers, by the trait's slug; each new persona is saved before the next is asked for.

    Args:
        datasets: The run's datasets; what they have described already is kept.
        choice: What was asked for.
        prompter: Who describes.
        asking: What it asks through.

    Raises:
        PsyctlError: Somebody cannot be described.
    """

    def side(wanted: Sequence[Wanted], owners: Sequence[Dataset]) -> tuple[Persona, ...]:
        return tuple(one(each, owners) for each in wanted)

    def one(wanted: Wanted, owners: Sequence[Dataset]) -> Persona:
        persona = owners[0].run.personas.get(wanted.role)
        if persona is None and wanted.given:
            persona = Persona(wanted.trait, wanted.given)
        elif persona is None:
            log.info("Describing the %s persona with %s", wanted.label, prompter.origin)
            describe = functools.partial(prompter.describe, opposite=wanted.opposite, number=wanted.number)
            persona = asking.told(functools.partial(describe, wanted.trait))
        log.log(NOTICE, "The %s persona: %s", wanted.label, persona.description)
        for owner in owners:
            if owner.run.personas.get(wanted.role) != persona:
                owner.run.personas[wanted.role] = persona
                owner.save()
        return persona

    shared = side(wanted_personas(choice, NEUTRAL), datasets) if choice.contrast == "neutral" else ()
    casts = {}
    for dataset in datasets:
        trait = dataset.trait
        neutral = shared or side(wanted_personas(choice, trait.name, opposite=True), [dataset])
        positive = side(wanted_personas(choice, trait.name), [dataset])
        casts[trait.slug] = cast = Cast(trait, positive, neutral, choice.contrast)
        _warn_of_twins(cast)
    return casts


def _warn_of_twins(cast: Cast) -> None:
    """Say so where two personas of a trait are one: dealing them varies nothing, or the sides do not differ."""
    texts = [persona.description for persona in (*cast.positive, *cast.neutral)]
    if twin := next((text for text in texts if texts.count(text) > 1), ""):
        log.warning("Two personas of %s are the same text: %.60s...", cast.trait.name, twin)


def describe_guides(datasets: Sequence[Dataset], judge: GuardedJudge, asking: Asking) -> dict[str, str]:
    """What the judge must know of each trait, by the trait's name; each new guide is saved before the next.

    Raises:
        PsyctlError: There is none to be had.
    """
    for dataset in datasets:
        trait = dataset.trait.name
        if trait not in dataset.run.guides:
            dataset.run.guides[trait] = asking.told(functools.partial(judge.guide, trait))
            dataset.save()
    return {dataset.trait.name: dataset.run.guides[dataset.trait.name] for dataset in datasets}


class Asking:
    """What a prompter asks through: one request after the other.

    What ends the run is raised again behind the prompter's back, should it have swallowed it.
    """

    def __init__(self, answerer: Answerer, backend: Origin, sampling: Sampling, what: str) -> None:
        self._what = what
        self._answerer = answerer
        self._backend = backend
        self._sampling = sampling
        self._numbers = itertools.count(1)
        self._fatal: BaseException | None = None

    def told(self, wanted: Callable[[Ask], T]) -> T:
        """What a component makes of what it asks. Raises PsyctlError."""
        ask: Ask = self._ask
        try:
            told = wanted(ask)
        except Exception as error:
            if self._fatal is None:
                self._answerer.forget_personas()
            raise self._fatal or error from None
        if self._fatal is not None:
            raise self._fatal
        return told

    def _ask(self, messages: tuple[Message, ...], *, max_tokens: int, prefill: str = "") -> str:
        request = ChatRequest(
            id=f"persona:{next(self._numbers)}",
            messages=messages,
            prefill=prefill,
            max_tokens=max_tokens,
            temperature=min(self._sampling.temperature, MAX_TEMPERATURE),
            seed=request_seed(self._sampling.seed, "\n".join(message.content for message in messages)),
        )
        try:
            answer = self._answerer.ask(request)
        except BaseException as error:
            self._fatal = error
            raise
        if answer.finish_reason == "error":
            said = f" {answer.metadata['said']}" if "said" in answer.metadata else ""
            raise BackendError(
                f"The {self._backend} could not describe {self._what}: {answer.error}.{said}",
                "Run the same command again; personas can also be had with --prompter static or --persona-file.",
                later=True,
            )
        return answer.text.strip().removeprefix(prefill.strip()).strip()
