"""A job, ready to run: what was asked for is checked, and the components are made."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from psyctl_core._caa.traits import Trait
from psyctl_core._engine.config import BuildConfig
from psyctl_core._engine.repeated import Items, repeated
from psyctl_core._plugins.guard import (
    GuardedBackend,
    GuardedJudge,
    GuardedPool,
    GuardedPrompter,
    GuardedRunner,
    GuardedSink,
    GuardedSource,
    as_backend,
)
from psyctl_core._plugins.installed import requirements_of, version_of
from psyctl_core._plugins.registry import discover
from psyctl_core._plugins.remaking import maker_of
from psyctl_core._plugins.selection import Choice, resolve
from psyctl_core.components import Context, KindName, RunnerTarget
from psyctl_core.errors import SourceError
from psyctl_core.records import NEUTRAL

_WITHOUT_BACKEND: tuple[KindName, ...] = ("source", "prompter", "sink")


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that was asked for, checked and made.

    Attributes:
        config: What was asked for.
        traits: The traits it names.
        choices: Who supplies each component.
        source: Where scenarios come from.
        prompter: How personas are described.
        backend: Who answers.
        sink: Where records go.
        judge: Who accepts pairs, or ``None``.
        judge_backend: Who answers the judge; the backend itself, unless another was chosen.
        judge_choice: Who supplies that other one.
        pool: Who answers in the end: the backend here, or several like it elsewhere.
        judge_pool: Who answers the judge in the end; the same one, unless another backend was chosen.
    """

    config: BuildConfig
    traits: tuple[Trait, ...]
    choices: Mapping[KindName, Choice]
    source: GuardedSource
    prompter: GuardedPrompter
    backend: GuardedBackend
    sink: GuardedSink
    judge: GuardedJudge | None
    judge_backend: GuardedBackend
    judge_choice: Choice | None
    pool: GuardedPool
    judge_pool: GuardedPool

    @property
    def is_free(self) -> bool:
        """Whether nothing that is asked costs money."""
        return self.backend.is_free and self.judge_backend.is_free

    @property
    def answers_per_scenario(self) -> int:
        """Requests that one scenario takes: all traits share the neutral answer, and no opposite's."""
        traits = len(self.traits)
        return traits + 1 if self.config.personas.contrast == NEUTRAL else 2 * traits

    def scenarios(self, start: int) -> Items:
        """The source's items from an offset on, each scenario as often as it is to be answered."""
        times = self.config.answers_per_scene
        return self.source.scenarios(start) if times == 1 else repeated(self.source.scenarios, start, times)

    @property
    def folders(self) -> list[Path]:
        """Where datasets of its traits may lie: in the output itself, and in each trait's own folder."""
        return [self.config.output, *(self.config.output / trait.slug for trait in self.traits)]


@contextlib.contextmanager
def prepared(config: BuildConfig) -> Iterator[Job]:
    """Check what was asked for, make the components, and close the backend afterwards, whatever happens.

    Raises:
        PsyctlError: Something makes no sense, or a component cannot be made.
    """
    with contextlib.ExitStack() as closing:
        registry = discover()
        context = Context(seed=config.sampling.seed)

        def made_backend(choice: Choice) -> GuardedBackend:
            backend: GuardedBackend = choice.make(context)
            closing.enter_context(closed_after(backend.close))
            return backend

        handed_over = config.components.get("backend")
        backend: GuardedBackend | None = None
        if handed_over is not None and handed_over.instance is not None:  # to be closed even where all else fails
            backend = made_backend(resolve(registry, "backend", handed_over))
        traits = config.traits()
        config.check()
        personas = config.personas.settled(traits)
        config.check_repeats(personas.pairs(traits))
        choices = {kind: resolve(registry, kind, config.selection(kind)) for kind in config.kinds}
        judge_choice = resolve(registry, "backend", config.judge_backend) if config.judge_backend else None
        source, prompter, sink = (choices[kind].make(context) for kind in _WITHOUT_BACKEND)
        if not personas.is_given(traits):
            prompter.check(opposite=personas.contrast == "opposite", number=personas.number)
        judge = choices["judge"].make(context) if "judge" in choices else None
        backend = backend or made_backend(choices["backend"])
        judge_backend = made_backend(judge_choice) if judge_choice else backend
        runner: GuardedRunner = choices["runner"].make(context)

        def opened_pool(choice: Choice, backend: GuardedBackend) -> GuardedPool:
            pool = runner.open(
                RunnerTarget(str(backend.origin), as_backend(backend), maker_of(choice, context, backend))
            )
            closing.enter_context(closed_after(pool.close))
            return pool

        pool = opened_pool(choices["backend"], backend)
        judge_pool = opened_pool(judge_choice, judge_backend) if judge_choice else pool
        complete = dataclasses.replace(
            config,
            components={kind: choice.selection for kind, choice in choices.items()},
            judge_backend=judge_choice.selection if judge_choice else None,
            personas=personas,
        )
        yield Job(
            complete, traits, choices, source, prompter, backend, sink, judge, judge_backend, judge_choice,
            pool, judge_pool,
        )  # fmt: skip


@contextlib.contextmanager
def closed_after(close: Callable[[], None]) -> Iterator[None]:
    """Close something in the end; where that fails too, the first failure is what is raised."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):
            close()
        raise
    close()


def budget_of(job: Job) -> tuple[str, float | None]:
    """The tightest of the budgets that were given, with its option; US dollars, or ``None`` for any sum."""
    limits = {
        f"--{prefix}{backend.origin.name}-max-cost": backend.max_cost
        for prefix, backend in (("", job.backend), ("judge-", job.judge_backend))
    }
    given = {flag: limit for flag, limit in {**limits, "--max-cost": job.config.max_cost}.items() if limit is not None}
    flag = min(given, key=lambda name: given[name], default="--max-cost")
    return flag, given.get(flag)


def no_scenario(job: Job, skipped: Mapping[str, int]) -> SourceError:
    """The error for a source that has nothing, with the reasons for which its rows were skipped."""
    reasons = ", ".join(f"{reason}: {n}" for reason, n in Counter(skipped).most_common())
    return SourceError(
        f"The {job.source.origin} yields no usable scenario{f': its rows are skipped ({reasons})' if reasons else ''}.",
        "`psyctl source.preview` shows what it reads. Mend the rows, or choose another with --source or --dataset.",
    )


def versions_of(job: Job) -> dict[str, str]:
    """Python, the chosen components' distributions, and what these ask for, as far as installed."""
    versions = {"python": platform.python_version(), "psyctl": version_of("psyctl")}
    for choice in job.choices.values():
        if choice.registered is not None:
            versions[choice.origin.distribution] = choice.origin.version
            versions |= _required(choice.origin.distribution, choice.registered.component.extra or "")
    return versions


@functools.lru_cache(maxsize=64)  # each version is read from a file
def _required(distribution: str, extra: str) -> dict[str, str]:
    """The versions of what a distribution asks for, with one of its extras, as far as installed."""
    wanted = {each.name: version_of(each.name) for each in requirements_of(distribution, extra)}
    return {name: version for name, version in wanted.items() if version}
