"""What a run would do, found out without asking a model or writing anything: for a dry run."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psyctl_core._caa.cast import Cast
from psyctl_core._caa.contrast import request_of
from psyctl_core._engine.job import Job, budget_of, no_scenario
from psyctl_core._engine.opening import There, changes_of, folder_of, identity_of
from psyctl_core._engine.personas import Wanted, wanted_personas
from psyctl_core._store import runs
from psyctl_core._store.runs import Run
from psyctl_core.components import Estimate, KindName, SinkTarget
from psyctl_core.figures import counted, money
from psyctl_core.records import NEUTRAL, ChatRequest, ContrastivePair, JsonValue, Message, Persona, Scenario, Usage
from psyctl_core.terminal import NOTICE

log = logging.getLogger("psyctl")

EXAMPLE_SCENARIOS = 1_000
"""For how many scenarios a plan estimates where nobody knows how many there are."""

READING_SECONDS = 5.0
"""How long a plan reads on after the first scenario, to count them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What :func:`psyctl_core.plan` found that a run would do.

    Attributes:
        traits: The traits, spelled as they will be recorded.
        components: The chosen components by kind, as text.
        settings: Their options by kind, secrets left out.
        folders: The datasets' folders.
        persona_prompts: What would be asked to describe the personas, by whom they are; empty where nothing is.
        personas: The descriptions that are known without asking, likewise.
        example: The first scenario's request with the trait's persona.
        rows: Rows in the source, or ``None`` where unknown.
        scenarios: Scenarios that were read, up to the limit and for a moment; ``None`` where that did not suffice.
        pairs: Pairs that are there already, by trait.
        requests: Answers a run would ask for if no pair were rejected, the judge's left out, or ``None``.
        persona_requests: Those among them that describe personas.
        estimate: What those would take, as far as the backend can tell; where their number is unknown,
            what 1,000 scenarios would.
        judge_backend: Who answers the judge, or "" where there is none.
        judge_example: The first of its requests about a pair, or ``None``.
        judge_requests: Its requests, if no pair were rejected.
        judge_estimate: What those would take.
        limit: Records wanted in each dataset, or ``None``.
        budget: US dollars that the run may cost in all, or ``None``.
        spent: US dollars that it has cost so far.
        is_free: Whether nothing that is asked costs money.
        seconds: How long it would take at the rate of the run so far, or ``None`` where there is none yet.
        others: Why what lies in a folder is not continued, by trait: the settings that differ.
    """

    traits: tuple[str, ...]
    components: Mapping[KindName, str]
    settings: Mapping[KindName, Mapping[str, JsonValue]]
    folders: tuple[Path, ...]
    persona_prompts: Mapping[str, tuple[tuple[Message, ...], ...]]
    personas: Mapping[str, str]
    example: ChatRequest
    rows: int | None
    scenarios: int | None
    pairs: Mapping[str, int]
    requests: int | None
    persona_requests: int
    estimate: Estimate | None
    limit: int | None
    judge_backend: str = ""
    judge_example: ChatRequest | None = None
    judge_requests: int | None = None
    judge_estimate: Estimate | None = None
    budget: float | None = None
    spent: float = 0.0
    is_free: bool = False
    seconds: float | None = None
    others: Mapping[str, str] = field(default_factory=dict)

    @property
    def cost(self) -> float | None:
        """US dollars that it would cost at most, about; ``None`` where nobody can tell, 0 where nothing costs money."""
        if self.is_free:
            return 0.0
        estimates = [self.estimate, *([self.judge_estimate] if self.judge_backend else [])]
        costs = [each.cost for each in estimates if each is not None and each.cost is not None]
        return sum(costs) if costs else None

    def as_json(self) -> dict[str, JsonValue]:
        """The plan as JSON values, each by its name."""
        row = dataclasses.asdict(self)
        return {**row, "folders": list(map(str, self.folders)), "cost": self.cost}


@dataclass(frozen=True, slots=True)
class _Found:
    """A dataset that would be continued: its run, its pairs, and the scenarios that it has seen."""

    run: Run | None = None
    pairs: int = 0
    seen: int = 0


def planned(job: Job, runs_there: There) -> Plan:
    """Find out what a job would do.

    Args:
        job: The job.
        runs_there: What it goes on with.

    Raises:
        PsyctlError: The source gives nothing, or something else that would end it before it starts.
    """
    there = [_found(job, runs_there.runs.get(trait.name)) for trait in job.traits]
    first, scenarios = _read(job)
    prompts, personas = _planned_personas(job, runs_there)
    rows = job.source.total()
    asked = sum(map(len, prompts.values()))
    lacking = _lacking(job, there, rows, scenarios)
    pairs_requests = None if lacking is None else _requests(job, there, lacking, _answered(job, runs_there))
    requests = None if pairs_requests is None else pairs_requests + asked
    cast = _first_cast(job, personas)
    example = request_of(first, cast.conditions(first.offset)[1], job.config.sampling)
    known = max((run.usage for run in runs_there.runs.values()), key=lambda usage: usage.requests, default=None)
    estimated = requests or (EXAMPLE_SCENARIOS * job.answers_per_scenario if requests is None else 0)
    return Plan(
        traits=tuple(trait.name for trait in job.traits),
        components={kind: str(choice.origin) for kind, choice in job.choices.items()},
        settings={kind: choice.settings() for kind, choice in job.choices.items()},
        folders=tuple(folder_of(job, runs_there, trait) for trait in job.traits),
        persona_prompts=prompts,
        personas={who.label: p.description for who, p in personas.items() if not prompts[who.label]},
        example=example,
        rows=rows,
        scenarios=scenarios,
        pairs={trait.name: each.pairs for trait, each in zip(job.traits, there, strict=True)},
        requests=requests,
        persona_requests=asked,
        estimate=job.backend.estimate(example, estimated) if estimated else Estimate(0, 0, 0.0),
        limit=job.config.limit_samples,
        budget=budget_of(job)[1],
        spent=known.likely_cost() if known else 0.0,
        is_free=job.is_free,
        seconds=_seconds(known, requests),
        others={
            trait.name: changes_of(runs_there.others[trait.name], identity_of(job, trait))
            for trait in job.traits
            if trait.name in runs_there.others
        },
        **_planned_judging(job, first, None if lacking is None else sum(lacking)),
    )


def say_what_begins(job: Job, there: There) -> None:
    """Say which datasets are begun beside others, and what the run would ask and pay for, before it does."""
    begun = [trait for trait in job.traits if trait.name not in there.runs]
    limit = job.config.limit_samples
    pays = "" if job.is_free else f", and pays for {'all its pairs' if limit is None else counted(limit, 'pair')}"
    for trait in begun:
        if other := there.others.get(trait.name):
            changes = changes_of(other, identity_of(job, trait))
            log.warning("%s was made with other settings (%s): starting another%s.", other.name, changes, pays)
        elif there.name:
            log.log(NOTICE, "%s is added to %s: the neutral persona and answers are reused.", trait.name, there.name)
    if begun and (there.name or there.others) and job.choices["backend"].registered is not None:
        log.log(NOTICE, "This run asks for %s.", _effort(planned(job, there)))


def _effort(found: Plan) -> str:
    """What a run would take, in words."""
    if found.requests is None:
        return f"{counted(len(found.traits), 'answer')} or more for each scenario, of which nobody knows the number"
    calls = counted(found.requests + (found.judge_requests or 0), "answer")
    if found.is_free:
        return f"about {calls}, computed here"
    price = "at a price that is not listed" if found.cost is None else f"at most about {money(found.cost)}"
    return f"about {calls}, {price}"


def _found(job: Job, run: Run | None) -> _Found:
    """A dataset with the pairs that its sink counts, and the scenarios that gave none."""
    if run is None:
        return _Found()
    pairs = job.sink.inspect(SinkTarget(run.folder, run.name, run.trait)).records or 0
    return _Found(run, pairs, pairs + len(runs.rejected_ids(run.path)))


def _answered(job: Job, there: There) -> int:
    """For how many scenarios the neutral answer was had already, for whichever trait."""
    return max((_found(job, run).seen for run in there.runs.values()), default=0)


def _read(job: Job) -> tuple[Scenario, int | None]:
    """The first scenario, and how many there are up to the limit, unless reading them takes too long."""
    skipped: Counter[str] = Counter()
    first, count, most = None, 0, job.config.limit_samples
    give_up_at = None
    with closing(job.scenarios(0)) as items:
        for item in items:
            if not isinstance(item, Scenario):
                skipped[item.reason] += 1
                continue
            first, count = first or item, count + 1
            if most is not None and count >= most:
                return first, count
            give_up_at = give_up_at or time.monotonic() + READING_SECONDS
            if time.monotonic() >= give_up_at:
                return first, None
    if first is None:
        raise no_scenario(job, skipped)
    return first, count


def _lacking(job: Job, there: Sequence[_Found], rows: int | None, scenarios: int | None) -> list[int] | None:
    """The pairs that each dataset lacks if none were rejected, or ``None`` where nobody knows how many there are."""
    limit = job.config.limit_samples
    times = job.config.answers_per_scene
    most = [n for n in (limit, scenarios, rows and rows * times, job.config.max_scenarios) if n is not None]
    if not most:
        return None
    reached = scenarios is not None and (limit is None or scenarios < limit)  # the source ends before the limit
    lacking = []
    for each in there:
        left = min(most) - each.pairs
        if reached and scenarios is not None:
            left = min(left, scenarios - each.seen)
        lacking.append(max(0, left))
    return lacking


def _requests(job: Job, there: Sequence[_Found], lacking: Sequence[int], answered: int) -> int:
    """Answers to ask for: the neutral one is shared by all traits and kept, the opposite's is each one's own."""
    if job.config.personas.contrast != NEUTRAL:
        return 2 * sum(lacking)
    furthest = max((each.seen + lack for each, lack in zip(there, lacking, strict=True) if lack), default=0)
    return sum(lacking) + max(0, furthest - answered)


def _seconds(usage: Usage | None, requests: int | None) -> float | None:
    """How long so many requests take at the rate of the run so far."""
    if usage is None or requests is None or not usage.requests or not usage.seconds:
        return None
    return requests * usage.seconds / usage.requests


def _planned_judging(job: Job, scenario: Scenario, pairs: int | None) -> dict[str, Any]:
    """What a plan says of the judge: who answers it, and what it would ask if no pair were rejected."""
    if job.judge is None:
        return {}
    pair = ContrastivePair(scenario, job.traits[0].name, "(the answer with the trait)", "(the neutral answer)")
    asked = job.judge.requests(pair, "(what the judge is told of the trait)")
    requests = None if pairs is None else pairs * len(asked)
    estimated = EXAMPLE_SCENARIOS * len(job.traits) * len(asked) if requests is None else requests
    return {
        "judge_backend": str(job.judge_backend.origin),
        "judge_example": asked[0],
        "judge_requests": requests,
        "judge_estimate": job.judge_backend.estimate(asked[0], estimated) if estimated else Estimate(0, 0, 0.0),
    }


def _planned_personas(
    job: Job, there: There
) -> tuple[dict[str, tuple[tuple[Message, ...], ...]], dict[Wanted, Persona]]:
    """What the prompter would ask to describe each persona, by its label, and what it would make of it."""
    choice = job.config.personas
    stored = {trait: run.personas for trait, run in there.runs.items()}
    neutral = next((each for each in stored.values() if each), {})
    prompts: dict[str, tuple[tuple[Message, ...], ...]] = {}
    personas: dict[Wanted, Persona] = {}
    wanted = [who for trait in job.traits for who in wanted_personas(choice, trait.name)]
    if choice.contrast == "opposite":
        wanted += [who for trait in job.traits for who in wanted_personas(choice, trait.name, opposite=True)]
    else:
        wanted += wanted_personas(choice, NEUTRAL)
    for who in wanted:
        heard: list[tuple[Message, ...]] = []

        def ask(
            messages: tuple[Message, ...],
            *,
            max_tokens: int,
            prefill: str = "",
            heard: list[tuple[Message, ...]] = heard,
            trait: str = who.trait,
        ) -> str:
            del max_tokens, prefill
            heard.append(messages)
            return f"the model's answer, which stands here once it was asked about {trait}."

        known = stored.get(who.trait, neutral if who.trait == NEUTRAL else {}).get(who.role)
        if known is not None:
            personas[who] = known
        elif who.given:
            personas[who] = Persona(who.trait, who.given)
        else:
            personas[who] = job.prompter.describe(who.trait, ask, opposite=who.opposite, number=who.number)
        prompts[who.label] = tuple(heard)
    return prompts, personas


def _first_cast(job: Job, personas: Mapping[Wanted, Persona]) -> Cast:
    """Who would answer for the first trait."""
    trait, contrast = job.traits[0], job.config.personas.contrast
    positive = tuple(p for who, p in personas.items() if who.trait == trait.name and not who.opposite)
    neutral = tuple(p for who, p in personas.items() if who.opposite or who.trait == NEUTRAL)
    return Cast(trait, positive, neutral, contrast)
