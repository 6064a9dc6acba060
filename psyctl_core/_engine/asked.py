"""From options, as the command line and a recipe name them, to a job."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psyctl_core._caa.contrast import Sampling
from psyctl_core._caa.given import PersonaChoice, personas_in, read_persona_file
from psyctl_core._engine.config import BuildConfig
from psyctl_core._plugins.kinds import OF_A_RUN
from psyctl_core._plugins.registry import Registry
from psyctl_core._plugins.selection import Selection, choose
from psyctl_core.errors import UsageError

_PLAIN = ("limit_samples", "max_cost", "checkpoint_interval", "block_size", "max_scenarios", "strict")
"""Options that are fields of the job under the same name."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Options that were given; what is left out takes its default.

    Attributes:
        core: Those of the command itself, such as ``limit_samples``, and the components' names, such as ``backend``.
        components: Those of the components, by spelling.
        judge: Those of the judge's backend, spelled as the backend's own.
    """

    core: dict[str, Any] = field(default_factory=dict)
    components: dict[str, Any] = field(default_factory=dict)
    judge: dict[str, Any] = field(default_factory=dict)


def job_of(registry: Registry, asked: Asked) -> BuildConfig:
    """The job that options ask for.

    Raises:
        UsageError: Something is unknown, ambiguous, unused or missing.
    """
    given = {name: value for name, value in asked.core.items() if value is not None}
    for name in ("personality", "output"):
        if name not in given:
            raise UsageError(f"Nothing says what --{name} is.", f"Give --{name}, or write {name} into the recipe.")
    config = BuildConfig(
        given["personality"],
        Path(given["output"]).expanduser(),
        choose(registry, {kind: given[kind] for kind in OF_A_RUN if kind in given}, asked.components, OF_A_RUN),
        judge_backend=judge_backend_of(registry, given.get("judge_backend"), asked.judge),
        sampling=Sampling(**{name: given[name] for name in Sampling.__dataclass_fields__ if name in given}),
        personas=dataclasses.replace(
            _own_personas(given.get("persona_file")),
            contrast=given.get("contrast", "neutral"),
            number=given.get("personas", 1),
        ),
        answers_per_scene=given.get("answers_per_scene", 1),
    )
    return dataclasses.replace(config, **{name: given[name] for name in _PLAIN if name in given})


def judge_backend_of(registry: Registry, name: str | None, given: Mapping[str, Any]) -> Selection | None:
    """The judge's own backend, if one is asked for. Raises UsageError."""
    if name is None and not given:
        return None
    try:
        return choose(registry, {"backend": name} if name else {}, given, ["backend"])["backend"]
    except UsageError as error:
        message = f"The judge's backend cannot be chosen: {error.message}"
        raise UsageError(message, f"Each of its options has --judge- before its name. {error.hint}") from error


def _own_personas(given: Path | Mapping[str, Any] | None) -> PersonaChoice:
    if given is None:
        return PersonaChoice()
    return personas_in(dict(given), "recipe") if isinstance(given, Mapping) else read_persona_file(given.expanduser())
