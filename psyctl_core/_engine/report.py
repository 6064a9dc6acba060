"""What a run did, and what its first pairs tell of the rest: what ``build`` and ``sample`` hand back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from psyctl_core._engine.checking import Checkup, check_up, chosen, pair_set
from psyctl_core._engine.config import BuildConfig
from psyctl_core._engine.dataset import Dataset
from psyctl_core._engine.reading import of_run
from psyctl_core._engine.sampling import Forecast, forecast
from psyctl_core._engine.showing import dataset_html, table
from psyctl_core._plugins.registry import discover
from psyctl_core._store import runs
from psyctl_core.records import JsonValue, Usage


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """One finished or stopped dataset; ``scores`` is how a judge's are spread, as run.json has it."""

    trait: str
    location: str
    run_folder: Path
    pairs: int
    new_pairs: int
    rejected: Mapping[str, int]
    skipped: Mapping[str, int]
    exhausted: bool
    scores: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """What :func:`~psyctl_core.api.build` did.

    Attributes:
        datasets: One for each trait, in the order given.
        limit: Records wanted in each, or ``None``.
        usage: Totals over all resumes of the run.
        seconds: Wall time of this call, loading included.
        generating_seconds: Wall time this call spent on answers.
        requests: Answers this call asked for.
        persona_requests: Those among them that described personas, or told a judge of the trait.
        is_free: Whether answers cost no money, so that there is no cost to tell.
        cost_before: US dollars that the dataset cost which was judged anew; ``None`` where none was, or none is known.
    """

    datasets: tuple[DatasetReport, ...]
    limit: int | None
    usage: Usage
    seconds: float
    generating_seconds: float
    requests: int
    is_free: bool = False
    persona_requests: int = 0
    cost_before: float | None = None

    @property
    def short(self) -> tuple[DatasetReport, ...]:
        """The datasets with fewer pairs than wanted: the source or the bound on scenarios ended them."""
        return tuple(each for each in self.datasets if self.limit is not None and each.pairs < self.limit)

    def as_json(self) -> dict[str, JsonValue]:
        """The report as JSON values, each by its name."""
        row = dataclasses.asdict(self)
        row["datasets"] = [{**dataclasses.asdict(each), "run_folder": str(each.run_folder)} for each in self.datasets]
        return row

    def _repr_html_(self) -> str:
        """What a notebook shows of it: what became of each trait, and its dataset's first pairs.

        See https://ipython.readthedocs.io/en/stable/config/integrating.html.
        """
        registry = discover()
        rows = [(d.trait, d.pairs, d.new_pairs, sum(d.rejected.values()), d.location) for d in self.datasets]
        stored = [of_run(d.run_folder / runs.RUN_FILE, registry) for d in self.datasets]
        return table(("Trait", "Pairs", "New", "Rejected", "Where"), rows) + "".join(map(dataset_html, stored))


PAIRS_OF_A_FORECAST = 1_000
"""For how many pairs in each dataset a sample tells the effort where no limit is given."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What :func:`~psyctl_core.api.sample` found.

    Attributes:
        report: What was done.
        checks: What the checks say of each dataset that has a pair.
        longer: Of each of them in how many pairs the positive answer is the longer one.
        limit: Records wanted in each, or ``None``: the forecast is then for 1,000.
        forecast: What the rest takes, or ``None`` where nobody can tell.
    """

    report: Report
    checks: tuple[Checkup, ...]
    longer: Mapping[str, int]
    limit: int | None
    forecast: Forecast | None


def sampled(report: Report, config: BuildConfig) -> Sample:
    """What a run over a few scenarios tells.

    Args:
        report: What it did.
        config: The job, with the limit that is wanted in the end.
    """
    counts = [(each.pairs, sum(each.rejected.values())) for each in report.datasets]
    is_new = report.requests == report.usage.requests
    seconds = report.generating_seconds if is_new else report.usage.seconds
    wanted = config.limit_samples or PAIRS_OF_A_FORECAST
    ahead = forecast(counts, wanted, report.usage, report.persona_requests, seconds)
    registry = discover()
    stored = [of_run(each.run_folder / runs.RUN_FILE, registry) for each in report.datasets if each.pairs]
    records = [list(dataset) for dataset in stored]
    installed = chosen(registry, (), ()) if stored else []
    checks = tuple(
        check_up(pair_set(dataset, found), installed, {}) for dataset, found in zip(stored, records, strict=True)
    )
    longer = {each[0].trait: sum(len(pair.positive_text) > len(pair.neutral_text) for pair in each) for each in records}
    return Sample(report, checks, longer, config.limit_samples, ahead)


def report_of(dataset: Dataset) -> DatasetReport:
    """How far one dataset has come."""
    return DatasetReport(
        trait=dataset.trait.name,
        location=dataset.location(),
        run_folder=dataset.run.path,
        pairs=dataset.num_generated,
        new_pairs=dataset.num_generated - dataset.found_records,
        rejected=dict(dataset.rejected),
        skipped=dict(dataset.skipped),
        exhausted=dataset.exhausted,
        scores=dict(dataset.run.scores),
    )
