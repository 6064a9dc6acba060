"""``psyctl dataset.judge``: judges a finished dataset into a new file, or compares its judge with a person."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from psyctl_core._plugins.registry import Registry
from psyctl_core._plugins.selection import Selection, choose, resolve
from psyctl_core.cli.build import (
    AsJson,
    Debug,
    JudgeBackend,
    LimitSamples,
    LogFile,
    MaxCost,
    ProgressStyle,
    Quiet,
    component_parameters,
    run,
    shown,
    typed,
    with_parameters,
)
from psyctl_core.cli.completion import components
from psyctl_core.components import Context
from psyctl_core.errors import UsageError
from psyctl_core.figures import counted
from psyctl_core.terminal import ask_key, say

if TYPE_CHECKING:
    from psyctl_core import BuildConfig
    from psyctl_core._engine.labels import Pair
    from psyctl_core._engine.reading import StoredDataset

KEYS = "Which answer shows {trait}: 1 or 2, or 0 for neither; any other key stops: "


def command(registry: Registry) -> Callable[..., None]:
    """The command with the flags of the judges, and of the backends that may answer them."""
    of_judges, spellings = component_parameters(registry, "judge")
    of_backends, judge_spellings = component_parameters(registry, "backend", prefix="judge-", hidden=True)

    def judge_dataset(
        output: Annotated[Path, typer.Argument(help="A dataset file, or a folder: then those of its newest run.")],
        judge: Annotated[str, typer.Option(help="Who accepts pairs.", autocompletion=components("judge"))] = "rubric",
        judge_backend: JudgeBackend = None,
        limit_samples: LimitSamples = None,
        max_cost: MaxCost = None,
        check: Annotated[
            int | None, typer.Option("--check", help="Label so many pairs yourself, and see how far the judge agrees.")
        ] = None,
        as_json: AsJson = False,
        progress: ProgressStyle = "auto",
        log_file: LogFile = None,
        quiet: Quiet = False,
        debug: Debug = False,
        **flags: Any,
    ) -> None:
        """Judge a finished dataset into a new file beside it; what is scored already is not asked about again.

        Pairs that a judge rejected are judged with the others, so that other thresholds may accept them.
        """
        from psyctl_core._engine.asked import judge_backend_of
        from psyctl_core._engine.reading import find_datasets
        from psyctl_core._engine.rejudging import begun_from
        from psyctl_core.cli.live import logging_to_stderr

        with logging_to_stderr(quiet=quiet, debug=debug):
            found = [begun_from(dataset, registry) for dataset in find_datasets(output.expanduser(), registry)]
        if check is not None:
            for dataset in found:
                _check(dataset, check)
            return
        selection = choose(registry, {"judge": judge}, typed(flags, spellings), ["judge"])["judge"]
        backend = judge_backend_of(registry, judge_backend, typed(flags, judge_spellings))
        jobs = [_job(registry, dataset, selection, backend, limit_samples, max_cost) for dataset in found]
        reports = [run(job, progress, log_file=log_file, quiet=quiet, debug=debug) for job in jobs]
        shown(reports, [report.as_json() for report in reports] if as_json else None, quiet=quiet)

    return with_parameters(judge_dataset, [*of_judges, *(p for p in of_backends if p.name not in spellings)])


def _job(
    registry: Registry,
    dataset: StoredDataset,
    selection: Selection,
    backend: Selection | None,
    limit: int | None,
    max_cost: float | None,
) -> BuildConfig:
    """The job that judges a dataset into a new one. Raises UsageError and OutputError."""
    from psyctl_core import BuildConfig
    from psyctl_core._engine.rejudging import (
        RECORDED,
        Recorded,
        RecordedBackend,
        RecordedPrompter,
        RecordedSource,
        Rejudge,
        recorded,
    )

    pairs: Recorded = recorded(dataset)
    choice = resolve(registry, "judge", selection)
    judge = choice.make(Context())
    known = pairs.scores(judge.origin.name)
    unscored = sum(pair.id not in known or None in known[pair.id].values() for pair in pairs.pairs)
    if unscored and backend is None:
        raise UsageError(
            f"{unscored} of {counted(len(pairs.pairs), 'pair')} in {dataset.location} have "
            f"no scores of '{judge.origin.name}'.",
            "Say who answers it, such as --judge-model NAME or --judge-openrouter-model NAME.",
        )
    again = Rejudge(judge, choice.settings(identity=True), pairs)
    return BuildConfig(
        pairs.trait,
        dataset.target.folder,
        {
            "source": Selection(RECORDED, instance=RecordedSource(pairs)),
            "prompter": Selection(RECORDED, instance=RecordedPrompter(pairs)),
            "backend": Selection(RECORDED, instance=RecordedBackend(pairs)),
            "judge": Selection(judge.origin.name, instance=again),
        },
        limit,
        max_cost=max_cost,
        judge_backend=backend or Selection(RECORDED, instance=RecordedBackend(pairs)),
        gives_up=False,
        notes=pairs.notes(),
        parent=dataset.run,
    )


def _check(dataset: StoredDataset, count: int) -> None:
    """Have a person label pairs, and print how far they and the judge agree."""
    from psyctl_core._engine import labels
    from psyctl_core._engine.rejudging import recorded
    from psyctl_core.cli.render import print_rows

    folder = dataset.target.folder / f"{dataset.target.name}.run"
    pairs = recorded(dataset)
    known = labels.read_labels(folder)

    def show(pair: Pair, first: bool) -> str:
        answers = (pair.positive_text, pair.neutral_text) if first else (pair.neutral_text, pair.positive_text)
        say(f"\n{pair.situation}")
        for number, answer in enumerate(answers, 1):
            say(f"  {number}. {pair.character}: {answer}")
        return ask_key(KEYS.format(trait=pairs.trait))

    for pair, label in labels.ask_for_labels(pairs.pairs, known, count, len(known), show):
        labels.keep_label(folder, pair.id, label)
        known[pair.id] = label
    found = labels.labelled(pairs.pairs, known)
    say()
    print_rows([("Dataset", dataset.location), *labels.agreement(found)])
    for each in labels.differing(found):
        what = "accepted" if each.is_accepted else "rejected"
        say(f"\n{each.pair.id}: {what} by the judge, {each.label} for you")
        say(f"  {pairs.trait}: {each.pair.positive_text}\n  neutral: {each.pair.neutral_text}")
