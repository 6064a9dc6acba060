"""The personas of a run: described once by the prompter, through the same answerer as everything else."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence

from psyctl_core._caa.contrast import Sampling
from psyctl_core._caa.prompts import request_seed
from psyctl_core._engine.answering import Answerer
from psyctl_core._engine.dataset import Dataset
from psyctl_core._plugins.guard import GuardedPrompter, Origin
from psyctl_core.components import Ask
from psyctl_core.errors import BackendError
from psyctl_core.records import NEUTRAL, ChatRequest, Message, Persona
from psyctl_core.terminal import NOTICE

log = logging.getLogger("psyctl")


def describe_all(
    datasets: Sequence[Dataset], prompter: GuardedPrompter, answerer: Answerer, backend: Origin, sampling: Sampling
) -> tuple[dict[str, Persona], Persona]:
    """The personas that are not described yet; each new one is saved before the next is asked for.

    Returns:
        The traits' personas by slug, and the neutral one.

    Raises:
        PsyctlError: Somebody cannot be described.
    """
    asking = _Asking(answerer, backend, sampling)

    def described(trait: str, role: str, owners: Sequence[Dataset]) -> Persona:
        persona = owners[0].run.personas.get(role)
        if persona is None:
            log.info("Describing the %s persona with %s", trait, prompter.origin)
            persona = asking.persona(prompter, trait)
        log.log(NOTICE, "The %s persona: %s", trait, persona.description)
        for owner in owners:
            if owner.run.personas.get(role) != persona:
                owner.run.personas[role] = persona
                owner.save()
        return persona

    neutral = described(NEUTRAL, NEUTRAL, datasets)
    return {d.trait.slug: described(d.trait.name, "positive", [d]) for d in datasets}, neutral


class _Asking:
    """What a prompter asks through: one request after the other.

    What ends the run is raised again behind the prompter's back, should it have swallowed it.
    """

    def __init__(self, answerer: Answerer, backend: Origin, sampling: Sampling) -> None:
        self._answerer = answerer
        self._backend = backend
        self._sampling = sampling
        self._numbers = itertools.count(1)
        self._fatal: BaseException | None = None

    def persona(self, prompter: GuardedPrompter, trait: str) -> Persona:
        """The prompter's description of somebody with the trait."""
        ask: Ask = self._ask
        try:
            persona = prompter.describe(trait, ask)
        except Exception as error:
            if self._fatal is None:
                self._answerer.forget_personas()
            raise self._fatal or error from None
        if self._fatal is not None:
            raise self._fatal
        return persona

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
                f"The {self._backend} could not describe a persona: {answer.error}.{said}",
                "Run the same command again, or use --prompter static.",
            )
        return answer.text.strip().removeprefix(prefill.strip()).strip()
