"""The kinds of components in one table: a new kind is one entry here and one hook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psyctl_core._plugins.guard import (
    GuardedBackend,
    GuardedExporter,
    GuardedJudge,
    GuardedPrompter,
    GuardedRunner,
    GuardedSink,
    GuardedSource,
)
from psyctl_core.components import (
    DatasetExporter,
    InferenceBackend,
    KindName,
    OutputSink,
    PairJudge,
    PersonalityPrompter,
    Runner,
    ScenarioSource,
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of component.

    Attributes:
        hook: The hook that offers components of this kind.
        protocol: What they implement.
        guard: What wraps each where it is made.
        default: The component's name that is used where nothing is said; empty where nothing is guessed.
        help: What they decide, for ``--help``.
        is_optional: Whether a run may do without.
        is_of_a_run: Whether a run can use it at all.
        decides: Whether it decides what is in a dataset, and so which run goes on.
        flag: The option that chooses one.
    """

    hook: str
    protocol: type[Any]
    guard: type[Any]
    default: str
    help: str
    is_optional: bool = False
    is_of_a_run: bool = True
    decides: bool = True
    flag: str = ""


KINDS: Mapping[KindName, Kind] = {
    "source": Kind("psyctl_scenario_sources", ScenarioSource, GuardedSource, "soda", "Where scenarios come from"),
    "prompter": Kind(
        "psyctl_personality_prompters", PersonalityPrompter, GuardedPrompter, "p2", "How personas are described"
    ),
    "backend": Kind("psyctl_inference_backends", InferenceBackend, GuardedBackend, "", "Who answers"),
    "judge": Kind("psyctl_pair_judges", PairJudge, GuardedJudge, "", "Who accepts pairs", is_optional=True),
    "runner": Kind("psyctl_runners", Runner, GuardedRunner, "local", "Where the backend runs", decides=False),
    "sink": Kind("psyctl_output_sinks", OutputSink, GuardedSink, "jsonl", "Where pairs go"),
    "exporter": Kind(
        "psyctl_dataset_exporters", DatasetExporter, GuardedExporter, "", "Which tool reads a dataset",
        is_optional=True, is_of_a_run=False, flag="--to",
    ),
}  # fmt: skip
"""Backends have no default: they may cost money or gigabytes."""

OF_A_RUN = tuple(name for name, kind in KINDS.items() if kind.is_of_a_run)
"""The kinds whose components and options a run takes."""
