"""The personas of a run: described once by the prompter, through the same answerer as everything else."""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from psyctl_core._caa.contrast import Sampling
from psyctl_core._caa.prompts import request_seed
from psyctl_core._engine.answering import Answerer
from psyctl_core._engine.dataset import Dataset
from psyctl_core._plugins.guard import GuardedJudge, GuardedPrompter, Origin
from psyctl_core.components import Ask
from psyctl_core.errors import BackendError
from psyctl_core.records import NEUTRAL, ChatRequest, Message, Persona
from psyctl_core.terminal import NOTICE

log = logging.getLogger("psyctl")

T = TypeVar("T")


def describe_all(
    datasets: Sequence[Dataset], prompter: GuardedPrompter, answerer: Answerer, backend: Origin, sampling: Sampling
) -> tuple[dict[str, Persona], Persona]:
    """The personas that are not described yet; each new one is saved before the next is asked for.

    Returns:
        The traits' personas by slug, and the neutral one.

    Raises:
        PsyctlError: Somebody cannot be described.
    """
    hint = "Run the same command again, or use --prompter static."
    asking = _Asking(answerer, backend, sampling, "a persona", hint)

    def described(trait: str, role: str, owners: Sequence[Dataset]) -> Persona:
        persona = owners[0].run.personas.get(role)
        if persona is None:
            log.info("Describing the %s persona with %s", trait, prompter.origin)
            persona = asking.told(lambda ask: prompter.describe(trait, ask))
        log.log(NOTICE, "The %s persona: %s", trait, persona.description)
        for owner in owners:
            if owner.run.personas.get(role) != persona:
                owner.run.personas[role] = persona
                owner.save()
        return persona

    neutral = described(NEUTRAL, NEUTRAL, datasets)
    return {d.trait.slug: described(d.trait.name, "positive", [d]) for d in datasets}, neutral


def describe_guides(
    datasets: Sequence[Dataset], judge: GuardedJudge, answerer: Answerer, backend: Origin, sampling: Sampling
) -> dict[str, str]:
    """What the judge must know of each trait, by the trait's name; each new guide is saved before the next.

    Raises:
        PsyctlError: There is none to be had.
    """
    asking = _Asking(answerer, backend, sampling, "the judge's guide", "Run the same command again.")
    for dataset in datasets:
        trait = dataset.trait.name
        if trait not in dataset.run.guides:
            dataset.run.guides[trait] = asking.told(functools.partial(judge.guide, trait))
            dataset.save()
    return {dataset.trait.name: dataset.run.guides[dataset.trait.name] for dataset in datasets}


class _Asking:
    """What a prompter asks through: one request after the other.

    What ends the run is raised again behind the prompter's back, should it have swallowed it.
    """

    def __init__(self, answerer: Answerer, backend: Origin, sampling: Sampling, what: str, hint: str) -> None:
        self._answerer = answerer
        self._backend = backend
        self._sampling = sampling
        self._what = what
        self._hint = hint
        self._numbers = itertools.count(1)
        self._fatal: BaseException | None = None

    def told(self, wanted: Callable[[Ask], T]) -> T:
        """What a component makes of what it asks."""
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
            temperature=self._sampling.temperature,
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
                self._hint,
            )
        return answer.text.strip().removeprefix(prefill.strip()).strip()
