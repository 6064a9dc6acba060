"""A run's work: answers, personas and verdicts for every dataset of a job, committed in the source's order."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from psyctl_core._caa.cast import cast_task
from psyctl_core._caa.contrast import Task
from psyctl_core._engine.acceptance import Acceptance
from psyctl_core._engine.answering import Answerer
from psyctl_core._engine.blocks import Blocks
from psyctl_core._engine.dataset import Dataset
from psyctl_core._engine.job import Job, budget_of, no_scenario
from psyctl_core._engine.judging import judged_by
from psyctl_core._engine.personas import Asking, describe_all, describe_guides
from psyctl_core._engine.progress import Callback, Meter
from psyctl_core._engine.repeated import Items
from psyctl_core._engine.scheduler import Rounds, Scheduler
from psyctl_core._engine.stopping import Stop
from psyctl_core._engine.trial import LOOKS, Trial
from psyctl_core._plugins.guard import GuardedBackend, GuardedPool
from psyctl_core._store import elsewhere
from psyctl_core._store.journal import Journal
from psyctl_core._store.runs import Run
from psyctl_core.budget import Budget
from psyctl_core.components import RunFolder
from psyctl_core.errors import PsyctlError
from psyctl_core.figures import counted, number
from psyctl_core.records import Scenario, SkippedRow

log = logging.getLogger("psyctl")

JUDGED_AT = 1_024
"""Judge's requests that wait for their turn: each turn's end leaves connections idle."""

JUDGED_AT_LOCALLY = 128
"""The same where a model computes here: nothing is written before its pairs are judged."""

NOTED_EVERY = 5.0
"""Seconds of generating between two moments of a run's course, and a hundredth of its time once that is longer."""

PRUNE_EVERY = 1_000
"""Rows committed between two times that the journal drops what it need not keep any longer."""


class Work:
    """One process's work on a run: brings every dataset to its limit, and saves however that ends.

    Args:
        job: The job.
        datasets: Its datasets, opened.
        stop: Whether the user wants to stop.
        callback: Who is told how it goes.
        beside: The run's datasets of other traits, which are left as they are.
        sample: Of how many scenarios it is a sample, or ``None``: what it is for is reached with them.
    """

    def __init__(
        self,
        job: Job,
        datasets: Sequence[Dataset],
        stop: Stop,
        callback: Callback | None,
        beside: Sequence[Run] = (),
        sample: int | None = None,
    ) -> None:
        self._job = job
        self._datasets = list(datasets)
        self._new = [dataset for dataset in datasets if not dataset.run.is_kept]
        self._stop = stop
        self._limit = job.config.limit_samples
        self._sample = sample
        self._is_whole = all(run.status == "complete" for run in beside)  # else others' answers are in the journal
        every = [*(dataset.run for dataset in datasets), *beside]
        try:
            self._journal = Journal.of_run(every, datasets[0].run.identity["backend"])
        except PsyctlError:
            for dataset in self._new:
                dataset.run.discard()
            raise
        self.usage = self._journal.usage()
        if self._journal.lost:
            log.warning(
                "%s under way at a kill: asked again, and what that cost is not known.",
                counted(self._journal.lost, "request"),
            )
        self._answered_before = max((run.answered_by for run in every), key=lambda counts: sum(counts.values()))
        self._seconds_before = max(run.usage.seconds for run in every)
        self._noted = 0.0
        for each in (job.backend, job.judge_backend):
            each.is_stopping = lambda: stop.requested
        pools = dict.fromkeys((job.pool, job.judge_pool))
        self.meter = Meter(datasets, self._limit, self.usage, callback, pools=tuple(pools))
        for dataset in datasets:
            dataset.run.usage = self.usage

    def finish(self) -> None:
        """Generate what is lacking, and save.

        Raises:
            PsyctlError: It cannot go on; whatever can be saved was saved.
        """
        lacking = [dataset for dataset in self._datasets if dataset.lacks(self._limit)]
        try:
            for dataset in self._datasets:
                if dataset not in lacking and dataset.is_ahead:
                    with contextlib.closing(self._job.scenarios(dataset.start_offset)) as items:
                        dataset.catch_up(items)
            if lacking:
                self._generate(lacking)
            self._save()
        except BaseException as error:
            self._save_what_there_is(error)
            raise
        is_complete = self._is_whole and not any(dataset.lacks(self._limit) for dataset in self._datasets)
        self._journal.close(remove=is_complete)
        if is_complete:
            for pool in {self._job.pool, self._job.judge_pool}:
                pool.forget()
            elsewhere.forget(self._datasets[0].run.path)

    def _generate(self, lacking: Sequence[Dataset]) -> None:
        """The main loop: what became of each row, committed to each dataset, in the source's order."""
        for dataset in self._datasets:
            dataset.run.status = "running"
            dataset.save()
            dataset.note()
        lanes = [dataset.lane(self._limit) for dataset in lacking]
        answerer, judging = self._answerers()
        make_task = self._describe(answerer, judging)
        answerer.start()
        blocks = self._blocks(answerer)
        start = min(lane.start for lane in lanes)
        earliest = min(lacking, key=lambda dataset: dataset.start_offset)
        bound = _Bound(self._job.config.max_scenarios, self._sample, earliest.scenarios_before)
        acceptance = Acceptance()
        trials = {dataset.trait.slug: self._trial(dataset) for dataset in lacking}
        with contextlib.closing(self._job.scenarios(start)) as items, self.meter.phase("generating", quietly=True):
            scheduler = Scheduler(
                bound.within(self._begun(items)),
                lanes,
                make_task,
                answerer.answers,
                blocks.scenarios if blocks else None,
                self._rounds(answerer, judging),
            )
            with contextlib.closing(scheduler.outcomes()) as outcomes:
                for committed, outcome in enumerate(outcomes, 1):
                    with self._stop.deferred():
                        for dataset in lacking:
                            dataset.commit(outcome)
                        if self._job.config.gives_up:
                            acceptance.note(outcome)
                            for slug, trial in trials.items():
                                trial.note(outcome.results.get(slug))
                        if committed % PRUNE_EVERY == 0:
                            self._prune([d for d in lacking if d.trait.slug in scheduler.lacking()])
                        self._note(lacking)
                    self.meter.held = scheduler.held
                    self.meter.tell()
        for dataset in lacking:
            if scheduler.exhausted and not bound.is_reached and dataset.trait.slug in scheduler.lacking():
                dataset.finish()
        if bound.is_reached:
            bound.say(lacking, self._limit)
        if not scheduler.scenarios and start == 0:
            raise no_scenario(self._job, lacking[0].skipped)

    def _begun(self, items: Items) -> Items:
        """The items; until the first one comes the source is opened and searched, which is no generating."""
        with self.meter.phase("reading"):
            first = next(items, None)
        if first is not None:
            yield first
            yield from items

    def _answerers(self) -> tuple[Answerer, Answerer]:
        """Who answers scenarios and who answers the judge, the same one where both are one flow; one budget."""
        job = self._job
        flag, limit = budget_of(job)
        budget = Budget(limit, flag, self.usage.likely_cost())
        folder = self._datasets[0].run.path

        def answerer(pool: GuardedPool, journal: Journal, *, is_recorded: bool = False) -> Answerer:
            return Answerer(pool, folder, journal, self.usage, budget, self.meter, self._stop, is_recorded=is_recorded)

        def lend(backend: GuardedBackend, role: str, answerer: Answerer) -> None:
            kept = elsewhere.folder_of(folder, role)
            backend.use(RunFolder(kept, answerer.note_safe, lambda text: elsewhere.tell(kept, text)))

        writer = answerer(job.pool, self._journal, is_recorded=job.config.parent is not None)
        lend(job.backend, "backend", writer)
        if job.judge_choice is not None:
            identity = self._datasets[0].run.identity["judge_backend"]
            judge = answerer(job.judge_pool, self._journal.of(identity))
            lend(job.judge_backend, "judge_backend", judge)
            return writer, judge
        if job.judge is not None:
            log.warning(
                "The judge asks the model that wrote the answers, which likes its own: --judge-backend names another."
            )
            if job.backend.is_free:  # a local model: two kinds of requests in one batch would slow down both
                writer.start()
                return writer, answerer(job.pool, self._journal)
        return writer, writer

    def _trial(self, dataset: Dataset) -> Trial:
        is_over = dataset.num_generated >= min(LOOKS)
        return Trial(dataset.trait.name, is_strict=self._job.config.strict, is_over=is_over)

    def _rounds(self, answerer: Answerer, judging: Answerer) -> Rounds | None:
        if judging is answerer:
            return None
        is_local = self._job.backend.is_free or self._job.judge_backend.is_free
        begin_at = JUDGED_AT_LOCALLY * self._job.pool.workers if is_local else JUDGED_AT
        return Rounds(judging.answers, self._job.judge_pool.block, begin_at)

    def _describe(self, answerer: Answerer, judging: Answerer) -> Callable[[Scenario, str], Task]:
        """Describe the personas that are not described yet; what makes a scenario's task from them."""
        job = self._job
        with self.meter.phase("describing"):
            asking = Asking(answerer, job.backend.origin, job.config.sampling, "a persona")
            casts = describe_all(self._datasets, job.config.personas, job.prompter, asking)
            judged = None
            if job.judge is not None:
                asking = Asking(judging, job.judge_backend.origin, job.config.sampling, "the judge's guide")
                guides = describe_guides(self._datasets, job.judge, asking)
                judged = judged_by(job.judge, guides, job.config.sampling.seed)

        def make_task(scenario: Scenario, slug: str) -> Task:
            return cast_task(scenario, casts[slug], job.config.sampling, judged, job.config.notes.get(scenario.id, {}))

        return make_task

    def _blocks(self, answerer: Answerer) -> Blocks | None:
        most = self._job.pool.block
        if not most:
            if self._job.config.block_size:
                log.warning(
                    "--block-size has no effect: the %s takes requests as room appears.", self._job.backend.origin
                )
            return None
        return Blocks(most, self._job.answers_per_scenario, self._journal, answerer.speed, self._job.config.block_size)

    def _note(self, datasets: Sequence[Dataset]) -> None:
        """Note how far the datasets are, the seldomer the longer the run has taken."""
        self._take_time()
        if self.usage.seconds - self._noted >= max(NOTED_EVERY, self.usage.seconds / 100):
            self._noted = self.usage.seconds
            for dataset in datasets:
                dataset.note()

    def _take_time(self) -> None:
        self.usage.seconds = self._seconds_before + self.meter.seconds

    def _prune(self, lacking: Sequence[Dataset]) -> None:
        """Save how far the datasets are, and forget the answers from before that."""
        for dataset in lacking:
            dataset.checkpoint()
        if lacking and self._is_whole:
            self._take_time()
            self._journal.forget_before(min(dataset.saved_offset for dataset in lacking), self.usage)

    def _save(self) -> None:
        with self.meter.phase("saving"):
            self._take_time()
            answered_by = dict(Counter(self._answered_before) + Counter(self._job.pool.state().answered))
            adapted = {"backend": self._job.pool.adaptations()}
            if self._job.judge_choice is not None:
                adapted["judge_backend"] = self._job.judge_pool.adaptations()
            for dataset in self._datasets:
                settings = dataset.run.settings
                told = {part: {**settings[part], "adaptations": said} for part, said in adapted.items() if said}
                dataset.run.settings = {**settings, **told}
                if self._job.judge is not None:
                    dataset.sum_up_scores()
                dataset.run.answered_by = answered_by
                dataset.run.status = "stopped" if dataset.lacks(self._limit) else "complete"
                dataset.checkpoint()
                dataset.save()
                dataset.note()

    def _save_what_there_is(self, error: BaseException) -> None:
        """After a failure, which stays what is told: save, or leave no trace where nothing came of it."""
        is_nothing = not self.usage.requests and not any(dataset.num_generated for dataset in self._datasets)
        goes_on = elsewhere.told(self._datasets[0].run.path)
        if is_nothing and not goes_on:
            self._journal.close()
            for dataset in self._datasets:
                dataset.run.discard()
            return
        if not self.meter.requests and not goes_on:
            for dataset in self._new:
                if not dataset.num_generated:
                    self._datasets.remove(dataset)
                    dataset.run.discard()
        with contextlib.suppress(PsyctlError):
            self._save()
            for dataset in self._datasets:
                _say_what_is_saved(dataset)
        if not isinstance(error, PsyctlError):  # its hint says how to go on
            log.warning("Run the same command again to go on from there. No answer is asked for twice.")
        self._journal.close()


class _Bound:
    """Ends the source once so many scenarios were asked about, those of earlier processes included.

    Args:
        typed: The bound that the user gave.
        sample: That of a sample, which has what it was for once it is reached.
        before: Scenarios of earlier processes.
    """

    def __init__(self, typed: int | None, sample: int | None, before: int) -> None:
        self._most = min((most for most in (typed, sample) if most is not None), default=None)
        self._is_said = self._most == typed
        self._count = before

    @property
    def is_reached(self) -> bool:
        """Whether no more are asked about."""
        return self._most is not None and self._count >= self._most

    def say(self, datasets: Sequence[Dataset], limit: int | None) -> None:
        """Tell how many pairs are lacking, if any."""
        for dataset in datasets if self._is_said else ():
            if dataset.lacks(limit):
                pairs = dataset.num_generated
                of = counted(pairs, "pair") if limit is None else f"{number(pairs)} of {counted(limit, 'pair')}"
                log.warning("--max-scenarios %d is reached: %s of %s.", self._most, of, dataset.trait.name)

    def within(self, items: Iterator[Scenario | SkippedRow]) -> Iterator[Scenario | SkippedRow]:
        """The items up to the bound."""
        while not self.is_reached and (item := next(items, None)) is not None:
            self._count += isinstance(item, Scenario)
            yield item


def _say_what_is_saved(dataset: Dataset) -> None:
    if dataset.num_generated:
        log.warning("Stopped with %s saved in %s.", counted(dataset.num_generated, "pair"), dataset.location())
    else:
        log.warning("Stopped before the first pair of %s.", dataset.trait.name)
