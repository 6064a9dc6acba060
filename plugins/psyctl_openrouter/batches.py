"""Asks in batches: at half the price, within a day. Whatever is killed, no batch is forgotten or paid for twice.

Before a batch is sent, it is in the book with the key of each request (:mod:`psyctl_openrouter.batch_book`). A process
that finds it there takes it up: it looks whether the server has it, waits for it, takes all its answers into the book
at once and hands them to the run. Few requests, and those that a batch gave no usable answer to, are asked as without
batches.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from psyctl_core.components import BackendState, RunFolder
from psyctl_core.errors import BackendError
from psyctl_core.figures import counted, number
from psyctl_core.records import ChatRequest, Completion
from psyctl_openrouter.batch_apis import MAX_BYTES, BatchApi, GoneError, Look, PassingError
from psyctl_openrouter.batch_book import FILE, Batch, BatchBook
from psyctl_openrouter.batch_sending import RESUBMIT, Batching, Sender, code_of
from psyctl_openrouter.batch_waiting import FIRST_LOOK, Patience, Stopping, moment
from psyctl_openrouter.client import Reply
from psyctl_openrouter.flow import Flow
from psyctl_openrouter.jobs import Job, Run
from psyctl_openrouter.money import Spending
from psyctl_openrouter.outcome import Outcome, Service
from psyctl_openrouter.replies import sort_reply

log = logging.getLogger("psyctl")

SHARE = 0.5
"""What a batch costs, of the listed price (OpenAI and OpenRouter, "Batch API"); each answer tells what was charged."""

SMALL = 200
"""Fewer requests are asked by themselves: they are soon answered, and a day's waiting would save little."""

MAX_PULLED = 200_000
"""Requests that are held at once."""

GIVEN_UP = "given up"
"""The state of a batch that the server does not know any more, where the user has said so."""


class Batches:
    """Answers requests in batches, and the rest through the flow. Not for several threads.

    Args:
        api: The server's way to take batches.
        flow: Answers one by one.
        batching: How batches are made.
        patience: How long they are waited for.
        body: A request's body as bytes, as without batches.
        limit: The most tokens of a request's answer.
        service: Who answers, as known now.
        spending: What may be spent.
    """

    def __init__(
        self,
        api: BatchApi,
        flow: Flow,
        batching: Batching,
        patience: Patience,
        *,
        body: Callable[[ChatRequest], bytes],
        limit: Callable[[ChatRequest], int],
        service: Callable[[], Service],
        spending: Spending,
    ) -> None:
        self._api = api
        self._flow = flow
        self._batching = batching
        self._body = body
        self._limit = limit
        self._service = service
        self._spending = spending
        self._patience = patience
        self._sender = Sender(api, batching, patience, service, self._release)
        self._folder: RunFolder | None = None
        self._book: BatchBook | None = None
        self._reserved: dict[str, float] = {}
        self._probed: set[tuple[bool, ...]] = set()
        self._safe = 0
        self._waiting = ""

    # What the backend hands on.

    def use(self, folder: RunFolder) -> None:
        """Keep the book there; one that is there is read whether or not new batches are made."""
        self._folder = folder
        if self._batching.is_on or (folder.path / FILE).exists():
            self._book = BatchBook(folder.path)

    @property
    def has_answers(self) -> bool:
        """Whether something is under way, or came and was not handed over: it is paid for."""
        return self._book is not None and bool(self._book.open_requests())

    def start(self) -> None:
        """Set aside what earlier processes sent. Called once the budget is known."""
        if self._book is not None:
            for key, worst in self._book.open_requests():
                self._reserved[key] = self._spending.reserve_under_way(worst)
            self._spending.settle(self._spending.reserve_under_way(0.0), self._book.spent())

    def state(self) -> BackendState:
        """What is waited for."""
        state = self._flow.state()
        return replace(state, waiting=self._waiting) if self._waiting else state

    def drain(self) -> None:
        """Send nothing more and wait for no batch; may be called from a signal handler."""
        self._patience.is_stopping = True

    def close(self) -> None:
        """Close the book."""
        if self._book is not None:
            self._book.close()

    def run(self, requests: Iterable[ChatRequest]) -> Iterator[Completion]:
        """Answer every request once: from batches that are under way, in new ones, or one by one.

        Raises:
            BackendError: Nothing more will be answered now; what was sent goes on and is taken up again.
        """
        book = self._book
        if book is None:
            if self._batching.is_on:
                log.warning("Batches have no effect here: there is no run to keep them in.")
            yield from self._flow.run(requests)
            return
        try:
            self._sender.find_lost(book)
            source = self._pulled(iter(requests))
            while pulled := list(islice(source, MAX_PULLED)):
                yield from self._answer(pulled, book)
        except Stopping:
            self._say_what_goes_on(book)
        finally:
            self._waiting = ""
            self._tell(book)

    def _pulled(self, source: Iterator[ChatRequest]) -> Iterator[ChatRequest]:
        for request in source:
            self._note_safe(1)
            yield request
        if self._patience.is_stopping:
            raise Stopping

    def _answer(self, requests: Sequence[ChatRequest], book: BatchBook) -> Iterator[Completion]:
        """Answer requests that are in batches, that a batch gave nothing usable for, and that are new."""
        inside: list[ChatRequest] = []
        alone: list[ChatRequest] = []
        new: list[ChatRequest] = []
        for request in requests:
            asked = book.get(key_of(request))
            (new if asked is None else inside if asked.uuid else alone).append(request)
        while inside or new:
            if probes := self._probes(new):
                yield from self._ask(probes, book)
                new = [request for request in new if request not in probes]
            sent = self._send(new, book)
            new = new[len(sent) :]
            if not sent:  # too few, or no room in the budget
                alone, new = alone + new, []
            useless, untried = yield from self._awaited(inside + sent, book)
            alone, new, inside = alone + useless, new + untried, []
        yield from self._ask(alone, book)

    # One by one.

    def _probes(self, new: Sequence[ChatRequest]) -> list[ChatRequest]:
        """The first request of each form, where many are to be sent: what a server does not take is learnt from it."""
        if not self._is_worth(new):
            return []
        first: dict[tuple[bool, ...], ChatRequest] = {}
        for request in new:
            form = bool(request.prefill), bool(request.choices), bool(request.json_schema)
            if form not in self._probed:
                first.setdefault(form, request)
        self._probed |= set(first)
        return list(first.values())

    def _is_worth(self, requests: Sequence[ChatRequest]) -> bool:
        return self._batching.is_on and len(requests) >= min(SMALL, self._batching.size)

    def _ask(self, requests: Sequence[ChatRequest], book: BatchBook) -> Iterator[Completion]:
        """Ask as without batches."""
        keys = {request.id: key_of(request) for request in requests}

        def counted_out() -> Iterator[ChatRequest]:
            for request in requests:
                self._note_safe(-1)
                yield request

        for completion in self._flow.run(counted_out()) if requests else ():
            key = keys[completion.id]
            asked = book.get(key)
            spent = None if asked is None else asked.spent
            yield completion if spent is None else replace(completion, cost=spent + (completion.cost or 0.0))
            if asked is not None:
                book.forget(key)
        if self._patience.is_stopping:
            raise Stopping

    # What goes out.

    def _send(self, requests: Sequence[ChatRequest], book: BatchBook) -> list[ChatRequest]:
        """Send as many as the budget allows, from the first one on, in as many batches as it takes."""
        sent = 0
        while self._is_worth(requests[sent:]):
            items = self._fitting(requests[sent:])
            if len(items) < min(SMALL, self._batching.size):
                for key, *_ in items:
                    self._release(key)
                break
            self._waiting = f"the server to take a batch of {counted(len(items), 'request')}"
            self._sender.make(items, book)
            self._tell(book)
            sent += len(items)
        return list(requests[:sent])

    def _fitting(self, requests: Sequence[ChatRequest]) -> list[tuple[str, bytes, float]]:
        """What one batch can hold and the budget allows: key, body and the most that each may cost, set aside."""
        items: list[tuple[str, bytes, float]] = []
        size = 0
        for request in requests[: self._batching.size]:
            body = self._body(request)
            size += len(body)
            reserved = self._spending.reserve(request, SHARE) if size <= MAX_BYTES else None
            if reserved is None:
                break
            key = key_of(request)
            self._reserved[key] = reserved
            items.append((key, body, SHARE * (self._spending.worst(request) or 0.0)))
        return items

    def _release(self, key: str) -> None:
        """A request is in no batch after all: what was set aside for it is free again."""
        self._spending.settle(self._reserved.pop(key, 0.0), 0.0)

    def _gone(self, batch: Batch, error: BackendError) -> BackendError:
        return BackendError(
            f"The batch {batch.id} of {counted(batch.requests, 'request')} is gone. {error.message}",
            "Was it deleted, or is this another account's key? To send its requests again, and pay for them again, "
            f"give {self._service().flag}-batch-orphan {code_of(batch)}={RESUBMIT}.",
        )

    # What comes back.

    def _awaited(
        self, requests: Sequence[ChatRequest], book: BatchBook
    ) -> Generator[Completion, None, tuple[list[ChatRequest], list[ChatRequest]]]:
        """Hand over the answers as their batches end.

        Returns:
            The requests to which the answer is of no use, and those that no batch had time for.
        """
        waiting: dict[str, list[ChatRequest]] = {}
        useless: list[ChatRequest] = []
        untried: list[ChatRequest] = []
        for request in requests:
            asked = book.get(key_of(request))
            if asked is None:
                untried.append(request)
            else:
                waiting.setdefault(asked.uuid, []).append(request)
        pause = FIRST_LOOK
        while waiting:
            wait = 0.0
            for batch in book.batches("under_way", "ended"):
                if batch.uuid not in waiting:
                    continue
                self._patience.leave_if_stopping()
                look = self._looked(batch, book) if batch.state == "under_way" else None
                if isinstance(look, float):
                    wait = max(wait, look)
                    continue
                yield from self._handed_over(waiting.pop(batch.uuid), book, useless, untried)
                if look is not None:
                    self._see_what_it_came_to(batch, look)
            if waiting:
                self._say_waiting(book, waiting)
                self._patience.pause(pause, wait)
                pause = 1.5 * pause
        return useless, untried

    def _looked(self, batch: Batch, book: BatchBook) -> Look | float:
        """Look at a batch, and take over what came of one that has ended; else seconds until the next look."""
        if batch.place != self._service().base_url:
            raise BackendError(
                f"A batch of {counted(batch.requests, 'request')} is under way at {batch.place}, and another "
                "address is asked.",
                f"Give {self._service().flag}-base-url {batch.place} to take it up.",
            )
        try:
            look = self._api.look(batch.id)
            results = self._api.results(look) if look.is_ended else []
        except GoneError as error:
            if self._batching.said_of(batch) != RESUBMIT:
                raise self._gone(batch, error) from None
            log.warning("The batch %s is given up, as told.", batch.id)
            book.take_over(batch.uuid, [])
            return Look(GIVEN_UP, 0, "", None, {})
        except PassingError as error:
            self._patience.failed(error, f"does not tell how the batch {batch.id} is doing")
            return error.wait or 0.0
        self._patience.succeeded()
        if not look.is_ended:
            book.looked(batch.uuid, look.done)
            self._tell(book)
            return look.wait or 0.0
        if results and not any(book.is_of(batch.uuid, key) for key, *_ in results):
            book.note(batch.uuid, state="sending")
            raise self._sender.orphan(batch, f"the batch {batch.id} is another one's")
        answered = book.take_over(batch.uuid, results)
        of = counted(batch.requests, "request")
        log.info("The batch %s is %s: %s of %s.", batch.id, look.state, number(answered), of)
        return replace(look, done=answered)

    def _handed_over(
        self, requests: Sequence[ChatRequest], book: BatchBook, useless: list[ChatRequest], untried: list[ChatRequest]
    ) -> Iterator[Completion]:
        """The answers that the book holds, one after the other; each is kept there until the run has it."""
        self._waiting = ""
        why: Counter[str] = Counter()
        for request in requests:
            key = key_of(request)
            asked = book.get(key)
            if asked is None:
                self._release(key)
                untried.append(request)
                continue
            outcome = self._outcome(request, asked.status or 0, asked.body)
            self._spending.settle(self._reserved.pop(key, 0.0), outcome.cost)
            if outcome.kind != "answer":
                book.failed(key, outcome.cost)
                useless.append(request)
                why[outcome.reason or outcome.kind] += 1
                continue
            book.hand_over(key)
            self._note_safe(-1)
            job = Job(request, Run(iter(())))
            job.book(outcome)
            yield job.answered(outcome)
            book.forget(key)
        if why:
            log.warning(
                "Of %s in a batch %s came to nothing (%s): asked again one by one, at the full price.",
                counted(len(requests), "request"), number(why.total()),
                ", ".join(f"{reason}: {number(count)}" for reason, count in why.most_common()),
            )  # fmt: skip

    def _outcome(self, request: ChatRequest, status: int, body: bytes) -> Outcome:
        """What an answer means, with half the listed price where it tells none."""
        outcome = sort_reply(Reply(status, body), self._service(), self._limit(request))
        read, made, prices = outcome.prompt_tokens, outcome.completion_tokens, self._spending.prices
        if outcome.cost is None and prices is not None and read is not None and made is not None:
            return replace(outcome, cost=SHARE * prices.cost(read, made))
        return outcome

    def _see_what_it_came_to(self, batch: Batch, look: Look) -> None:
        """Raise BackendError where the user is to decide how to go on; what was answered is handed over."""
        flag, name = self._service().flag, self._service().name
        again = f"Run the same command again to send what is lacking in another batch, or leave {flag}-batch out."
        smaller = f" Where it was too large, give a smaller {flag}-batch-size."
        said = f": {look.said}" if look.said else ""
        if look.state == "cancelled":
            raise BackendError(
                f"The batch {batch.id} was cancelled: {number(look.done)} of {counted(batch.requests, 'request')} are "
                "kept.",
                again,
            )
        if look.state == GIVEN_UP:
            return
        if look.state == "failed" or not look.done:
            charged = f" Whether {name} charged for it is told in your account there." if self._service().priced else ""
            state = "failed" if look.state == "failed" else f"is {look.state} without a single answer"
            raise BackendError(f"The batch {batch.id} {state}{said}.{charged}", again + smaller)
        if look.state == "expired":
            log.warning(
                "The batch %s expired with %s of %s answered: the rest is asked again.",
                batch.id, number(look.done), counted(batch.requests, "request"),
            )  # fmt: skip

    # Waiting, and what is said of it.

    def _note_safe(self, change: int) -> None:
        self._safe += change
        if self._folder is not None:
            self._folder.safe(max(0, self._safe))

    def _say_waiting(self, book: BatchBook, waiting: Iterable[str]) -> None:
        batches = [batch for batch in book.batches("under_way") if batch.uuid in waiting]
        done, requests = (sum(column) for column in zip(*((b.done, b.requests) for b in batches), strict=True))
        what = "a batch" if len(batches) == 1 else f"{number(len(batches))} batches"
        since = moment(min(batch.sent for batch in batches))
        self._waiting = f"{what}, {number(done)} of {number(requests)} done, since {since}"

    def _say_what_goes_on(self, book: BatchBook) -> None:
        for batch in book.batches("under_way"):
            log.warning(
                "The batch %s of %s goes on at %s: the same command takes it up. To cancel it: %s.",
                batch.id, counted(batch.requests, "request"), batch.place, self._api.how_to_cancel(batch.id),
            )  # fmt: skip

    def _tell(self, book: BatchBook) -> None:
        """Say what goes on for ``dataset.status``."""
        if self._folder is None:
            return
        told = [
            f"a batch of {counted(b.requests, 'request')} {'is' if b.id else 'may be'} under way at {b.place} since "
            f"{moment(b.sent)}, {number(b.done)} done when last looked at{f' ({b.id})' if b.id else ''}; the same "
            "command takes it up"
            for b in book.batches("sending", "under_way")
        ]
        if unclaimed := book.unclaimed():
            told.append(f"{counted(unclaimed, 'answer')} of batches are kept until the run asks for them")
        self._folder.tell("; ".join(told))


def key_of(request: ChatRequest) -> str:
    """A digest of a request, its id included: the same one in every process of a run, and no two have the same."""
    r = request
    messages = [(message.role, message.content) for message in r.messages]
    asked = (r.id, messages, r.prefill, r.stop, r.max_tokens, r.temperature, r.seed)
    more = (r.choices, r.continuation, r.json_schema)
    return hashlib.sha256(json.dumps([*asked, *more]).encode()).hexdigest()[:48]
