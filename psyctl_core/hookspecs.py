"""The hooks a plugin may implement, and the marker to implement them with."""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from psyctl_core.checks import Check
from psyctl_core.components import Command, Component

PROJECT = "psyctl"
"""The entry-point group that plugins are found in, and pluggy's project name."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def psyctl_scenario_sources() -> Sequence[Component]:  # type: ignore[empty-body]
    """Components whose factory returns a :class:`~psyctl_core.components.ScenarioSource`."""


@hookspec
def psyctl_personality_prompters() -> Sequence[Component]:  # type: ignore[empty-body]
    """Components whose factory returns a :class:`~psyctl_core.components.PersonalityPrompter`."""


@hookspec
def psyctl_inference_backends() -> Sequence[Component]:  # type: ignore[empty-body]
    """Components whose factory returns an :class:`~psyctl_core.components.InferenceBackend`."""


@hookspec
def psyctl_pair_judges() -> Sequence[Component]:  # type: ignore[empty-body]
    """Components whose factory returns a :class:`~psyctl_core.components.PairJudge`."""


@hookspec
def psyctl_runners() -> Sequence[Component]:  # type: ignore[empty-body]
    """Components whose factory returns a :class:`~psyctl_core.components.Runner`."""


@hookspec
def psyctl_output_sinks() -> Sequence[Component]:  # type: ignore[empty-body]
    """Components whose factory returns an :class:`~psyctl_core.components.OutputSink`."""


@hookspec
def psyctl_dataset_exporters() -> Sequence[Component]:  # type: ignore[empty-body]
    """Components whose factory returns a :class:`~psyctl_core.components.DatasetExporter`."""


@hookspec
def psyctl_commands() -> Sequence[Command]:  # type: ignore[empty-body]
    """Commands to add to ``psyctl``; see :class:`~psyctl_core.components.Command`."""


@hookspec
def psyctl_dataset_checks() -> Sequence[Check]:  # type: ignore[empty-body]
    """Checks that ``psyctl dataset.check`` runs; see :class:`~psyctl_core.checks.Check`."""
