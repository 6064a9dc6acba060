"""Scenarios in, contrastive pairs out: asks, puts answers together, and settles scenarios in order."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from psyctl_core import answers, items
from psyctl_core.components import InferenceBackend
from psyctl_core.dataset import Dataset
from psyctl_core.errors import BackendError, PluginError
from psyctl_core.journal import Journal
from psyctl_core.prompts import answer_request
from psyctl_core.records import (
    NEUTRAL,
    ChatRequest,
    Completion,
    ContrastivePair,
    Persona,
    Scenario,
    SkippedRow,
)
from psyctl_core.registry import Found, blamed_items
from psyctl_core.run import Usage
from psyctl_core.stopping import Stop

MOST_OPEN = 10_000
"""Scenarios asked about and not yet settled, at most: bounds memory while one answer is late."""

PRUNE_EVERY = 1_000
"""Scenarios settled between two times that the journal drops what it need not keep any longer."""

MOST_REJECTED = 100
"""Scenarios in a row without a pair after which going on would only waste time or money."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are drawn: new tokens at most, temperature, and the run's seed."""

    max_tokens: int
    temperature: float
    seed: int


@dataclass(slots=True, eq=False)
class _Open:
    """A scenario on its way: who hopes for a pair from it, and its requests and answers by role.

    A role is a trait's slug, or ``neutral``. ``already`` tells what an earlier process made of it. ``seals``
    are the hashes that the scenario (under ``""``) and the answers had when they were handed over.
    """

    scenario: Scenario
    takers: list[Dataset]
    hopers: list[Dataset]
    already: dict[str, bool]
    asked: dict[str, ChatRequest] = field(default_factory=dict)
    answers: dict[str, Completion] = field(default_factory=dict)
    seals: dict[str, int] = field(default_factory=dict)


class Pairing:
    """One pass over the scenarios for all datasets.

    Each dataset gets the first usable scenarios in the source's order, so which ones depends on the
    answers alone and never on when they arrive. A scenario is asked about ahead of time only while all
    that are under way could be accepted without going over the limit; what an earlier scenario turns
    out to need in addition is asked for first.

    Args:
        datasets: Those that still lack records, each opened and started.
        personas: By trait slug, and under ``neutral``.
        scenarios: The source from the earliest dataset's place on.
        source: Who supplies the scenarios, for blame.
        backend: Who answers.
        backend_found: Who supplies the backend, for blame.
        sampling: How answers are drawn.
        limit: Records wanted in each dataset, or ``None`` for all there are.
        usage: Where requests, tokens and cost are added up.
        journal: Where completions are kept until their scenario is settled.
        stop: Whether the user wants to stop.
        on_progress: Called after each answer and each settled scenario with the number of answers that wait
            for others of their scenario, or for an earlier one.
    """

    def __init__(
        self,
        datasets: Sequence[Dataset],
        personas: dict[str, Persona],
        scenarios: Iterator[Scenario | SkippedRow],
        source: Found,
        backend: InferenceBackend,
        backend_found: Found,
        *,
        sampling: Sampling,
        limit: int | None,
        usage: Usage,
        journal: Journal,
        stop: Stop,
        on_progress: Callable[[int], None],
    ) -> None:
        self._datasets = datasets
        self._personas = personas
        self._scenarios = scenarios
        self._source = source
        self._backend = backend
        self._backend_found = backend_found
        self._sampling = sampling
        self._limit = limit
        self._usage = usage
        self._journal = journal
        self._stop = stop
        self._on_progress = on_progress
        self._line: deque[_Open | SkippedRow] = deque()
        self._under_way: dict[str, tuple[_Open, str]] = {}
        self._settled = 0
        self._gaps = 0
        self._waiting = 0
        self._late: deque[ChatRequest] = deque()
        self._hopes = Counter({d.trait.slug: 0 for d in datasets})
        self._last_seen = -1
        self._exhausted = False
        self._met = 0
        self._rejected_in_a_row: Counter[str] = Counter()
        self._block = max(1, backend.block // (len(datasets) + 1)) if backend.block else 0

    def run(self) -> int:
        """Go on until every dataset has what it lacks or the source has no more.

        Returns:
            How many scenarios the source yielded.
        """
        while self._wants_more() or self._line:
            requests = iter(self._next_block()) if self._block else self._flow()
            for completion in blamed_items(self._backend_found, self._backend.generate(requests)):
                with self._stop.deferred():
                    self._receive(completion)
                    self._settle()
            self._check_all_answered()
            with self._stop.deferred():
                self._settle()
                if not self._line:
                    self._mark_all()
            self._stop.leave_if_requested()
        for dataset in self._datasets:
            if self._exhausted and self._lacks(dataset):
                dataset.mark(exhausted=True)
        return self._met

    def _mark_all(self) -> None:
        for dataset in self._datasets:
            dataset.mark()

    def _flow(self) -> Iterator[ChatRequest]:
        """Requests for as long as there are any, for a backend that takes them as room appears."""
        while not self._stop.requested:
            self._fill_gaps()
            if self._late:
                yield self._late.popleft()
            elif opened := self._open_next():
                asked = self._ask(opened, [d for d in opened.hopers if d.trait.slug not in opened.already])
                self._late.extend(request for request in asked if not self._answer_from_journal(request))
                self._settle()
            else:
                return

    def _next_block(self) -> list[ChatRequest]:
        """The requests of one block: what is late, then the next scenarios, cut by place alone.

        A block that an earlier process settled in part is asked again whole, because answers may depend
        on which requests are computed together; one that it settled wholly is not asked at all.
        """
        self._fill_gaps()
        requests = list(self._late)
        self._late.clear()
        block: list[_Open] = []
        while len(block) < self._block and (opened := self._open_next()) is not None:
            block.append(opened)
        if any(d.trait.slug not in opened.already for opened in block for d in opened.hopers):
            for opened in block:
                requests.extend(self._ask(opened, opened.hopers))
        if all(self._journal.get(request) for request in requests):
            requests = [request for request in requests if not self._answer_from_journal(request)]
        return requests

    def _answer_from_journal(self, request: ChatRequest) -> bool:
        """Take the answer that an earlier process got, if it got one: it is paid for and counted."""
        completion = self._journal.get(request)
        if completion is None:
            return False
        opened, role = self._under_way.pop(request.id)
        opened.answers[role] = completion
        self._waiting += 1
        return True

    def _wants_more(self) -> bool:
        return not self._exhausted and len(self._line) < MOST_OPEN and any(map(self._has_room, self._datasets))

    def _has_room(self, dataset: Dataset) -> bool:
        return self._limit is None or dataset.accepted + self._hopes[dataset.trait.slug] < self._limit

    def _open_next(self) -> _Open | None:
        """Take the next scenario off the source, with the rows before it that hold none."""
        while self._wants_more():
            item = next(self._scenarios, None)
            if item is None:
                self._exhausted = True
                return None
            self._check_item(item)
            if isinstance(item, Scenario):
                self._met += 1
                takers = [d for d in self._datasets if item.place >= d.start_place]
                known = {d.trait.slug: d.already(item) for d in takers}
                already = {slug: was for slug, was in known.items() if was is not None}
                self._line.append(opened := _Open(item, takers, [], already, seals={"": hash(item)}))
                self._gaps += len(takers)
                for dataset in takers:
                    self._hope(opened, dataset)
                return opened
            self._line.append(item)
            if len(self._line) == 1:
                self._settle()
        return None

    def _hope(self, opened: _Open, dataset: Dataset) -> bool:
        """Count on a pair for the dataset from this scenario, if the dataset has room for one more."""
        if not self._has_room(dataset):
            return False
        opened.hopers.append(dataset)
        self._hopes[dataset.trait.slug] += 1
        self._gaps -= 1
        return True

    def _fill_gaps(self) -> None:
        """Let a dataset that lost a pair take one from a scenario already open, before a new one is opened."""
        if not self._gaps or not any(map(self._has_room, self._datasets)):
            return
        for opened in [item for item in self._line if isinstance(item, _Open)]:
            for dataset in opened.takers:
                if dataset not in opened.hopers and self._hope(opened, dataset):
                    asked = self._ask(opened, [d for d in [dataset] if d.trait.slug not in opened.already])
                    self._late.extend(r for r in asked if self._block or not self._answer_from_journal(r))

    def _ask(self, opened: _Open, datasets: Sequence[Dataset]) -> list[ChatRequest]:
        """The requests, not made yet, that these datasets need for a pair from the scenario."""
        roles = [NEUTRAL, *(d.trait.slug for d in datasets)] if datasets else []
        requests = []
        for role in roles:
            if role not in opened.asked:
                request = answer_request(
                    opened.scenario,
                    self._personas[role],
                    f"{opened.scenario.place}:{role}",
                    max_tokens=self._sampling.max_tokens,
                    temperature=self._sampling.temperature,
                    seed=self._sampling.seed,
                )
                opened.asked[role] = request
                self._under_way[request.id] = (opened, role)
                requests.append(request)
        return requests

    def _receive(self, completion: Completion) -> None:
        if wrong := items.completion_problem(completion):
            raise PluginError(
                f"The {self._backend_found} answered with something unusable: {wrong}.",
                f"Tell {self._backend_found.distribution}'s authors; what is written so far is kept.",
            )
        place = self._under_way.pop(completion.id, None)
        if place is None:
            raise PluginError(
                f"The {self._backend_found} answered a request '{completion.id}' that is not open: "
                "it was never made, or was answered before.",
                f"Tell {self._backend_found.distribution}'s authors; what is written so far is kept.",
            )
        opened, role = place
        self._journal.put(opened.asked[role], opened.scenario.place, completion)
        opened.answers[role] = completion
        opened.seals[role] = hash(completion)
        self._usage.add(completion)
        self._waiting += 1
        self._tell()

    def _tell(self) -> None:
        self._on_progress(self._waiting)

    def _check_all_answered(self) -> None:
        unanswered = sorted(self._under_way.keys() - {request.id for request in self._late})
        if unanswered:
            raise PluginError(
                f"The {self._backend_found} left {len(unanswered)} requests unanswered, '{unanswered[0]}' among them.",
                f"Tell {self._backend_found.distribution}'s authors; what is written so far is kept.",
            )

    def _settle(self) -> None:
        """Write or reject whatever stands first in the line and has all its answers."""
        while self._line:
            first = self._line[0]
            if isinstance(first, SkippedRow):
                concerned = [d for d in self._datasets if first.place >= d.start_place and self._lacks(d)]
                for dataset in concerned:
                    dataset.skip(first.reason)
                place = first.place
            else:
                concerned = [d for d in first.takers if d.trait.slug in first.already or self._lacks(d)]
                unsettled = [d for d in concerned if d.trait.slug not in first.already]
                self._fill_gaps()
                if unsettled and not {NEUTRAL, *(d.trait.slug for d in unsettled)} <= first.answers.keys():
                    return
                self._hopes.subtract(d.trait.slug for d in first.hopers)
                self._gaps -= len(first.takers) - len(first.hopers)
                self._waiting -= len(first.answers)
                self._check_seals(first)
                for dataset in concerned:
                    self._settle_for(dataset, first)
                place = first.scenario.place
            self._line.popleft()
            for dataset in concerned:
                dataset.settle_up_to(place + 1, resumable=not self._block)
            self._settled += 1
            if self._settled % PRUNE_EVERY == 0:
                self._prune_journal()
            self._tell()

    def _prune_journal(self) -> None:
        """Save how far the datasets are, and forget the answers from before that."""
        lacking = [dataset for dataset in self._datasets if self._lacks(dataset)]
        for dataset in lacking:
            dataset.checkpoint()
        if lacking:
            self._journal.forget_before(min(dataset.saved_place for dataset in lacking), self._usage)

    def _lacks(self, dataset: Dataset) -> bool:
        return self._limit is None or dataset.accepted < self._limit

    def _settle_for(self, dataset: Dataset, opened: _Open) -> None:
        known = opened.already.get(dataset.trait.slug)
        pair, reason = _pair(opened, dataset) if known is None else (None, "")
        if pair:
            dataset.accept(pair)
        elif known:
            dataset.keep()
        else:
            self._reject(dataset, opened.scenario, reason)
            return
        self._rejected_in_a_row.clear()

    def _check_seals(self, opened: _Open) -> None:
        """Records are frozen, but Python lets whoever insists change them after they were checked."""
        if hash(opened.scenario) != opened.seals[""]:
            raise self._unusable(f"it changed the scenario with the id {opened.scenario.id!r} after handing it over")
        for role, completion in opened.answers.items():
            if hash(completion) != opened.seals.get(role, hash(completion)):
                raise PluginError(
                    f"The {self._backend_found} changed its answer to a request after handing it over.",
                    f"Tell {self._backend_found.distribution}'s authors; what is written so far is kept.",
                )

    def _reject(self, dataset: Dataset, scenario: Scenario, reason: str) -> None:
        dataset.reject(scenario, reason)
        self._rejected_in_a_row[reason] += 1
        if self._rejected_in_a_row.total() >= MOST_REJECTED:
            reasons = ", ".join(f"{reason}: {n}" for reason, n in self._rejected_in_a_row.most_common())
            raise BackendError(
                f"{MOST_REJECTED} scenarios in a row gave no usable pair ({reasons}).",
                "Try another model, more --max-tokens, or --prompter static; what is written so far is kept.",
            )

    def _check_item(self, item: Scenario | SkippedRow) -> None:
        if wrong := items.problem(item, self._last_seen):
            raise self._unusable(f"{wrong} (scenario id {getattr(item, 'id', None)!r})")
        self._last_seen = item.place

    def _unusable(self, why: str) -> PluginError:
        return PluginError(
            f"The {self._source} yielded something unusable: {why}.",
            f"Tell {self._source.distribution}'s authors; what is written so far is kept.",
        )


def _pair(opened: _Open, dataset: Dataset) -> tuple[ContrastivePair | None, str]:
    """The scenario's pair for a dataset, or why there is none."""
    lines = {}
    for role in (NEUTRAL, dataset.trait.slug):
        line, reason = answers.clean_answer(opened.answers[role], opened.scenario, opened.asked[role].prefill)
        if reason:
            return None, reason
        lines[role] = line
    if answers.comparable(lines[NEUTRAL]) == answers.comparable(lines[dataset.trait.slug]):
        return None, answers.IDENTICAL
    return ContrastivePair(opened.scenario, dataset.trait.name, lines[dataset.trait.slug], lines[NEUTRAL]), ""
