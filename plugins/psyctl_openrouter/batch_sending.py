"""Has batches made, and settles what became of one that a process was about to send when it ended."""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from psyctl_core.errors import BackendError
from psyctl_core.figures import counted
from psyctl_openrouter.batch_apis import BatchApi, NoListError, PassingError, UnsureError
from psyctl_openrouter.batch_book import Batch, BatchBook
from psyctl_openrouter.batch_waiting import FIRST_LOOK, Patience, moment
from psyctl_openrouter.outcome import MAX_REQUESTS, Service

log = logging.getLogger("psyctl")

SETTLED = 60.0
"""Seconds after which a server's list shows a batch that it has made."""

RESUBMIT = "resubmit"
"""What stands for a batch that may have been made, where its requests shall be sent again."""


@dataclass(frozen=True, slots=True)
class Batching:
    """How batches are made.

    Attributes:
        is_on: Whether new ones are; those that are under way are taken up in any case.
        size: Requests in one at most.
        poll: Seconds between two looks at one at most.
        orphan: What the user says of a batch that may have been made, ``CODE=ID`` or ``CODE=resubmit``, or nothing. The
            code is the batch's: what is said of one must not hold for the next if the same command is typed again.
    """

    is_on: bool
    size: int = MAX_REQUESTS
    poll: float = 300.0
    orphan: str = ""

    def said_of(self, batch: Batch) -> str:
        """What the user says of a batch: its id, :data:`RESUBMIT`, or nothing."""
        code, _, said = self.orphan.partition("=")
        return said if code == code_of(batch) else ""


class Sender:
    """Has batches made. Not for several threads.

    Args:
        api: The server's way to take batches.
        batching: How batches are made.
        patience: How long is waited.
        service: Who answers, as known now.
        release: Called with the key of each request that is in no batch after all.
    """

    def __init__(
        self,
        api: BatchApi,
        batching: Batching,
        patience: Patience,
        service: Callable[[], Service],
        release: Callable[[str], None],
    ) -> None:
        self._api = api
        self._batching = batching
        self._patience = patience
        self._service = service
        self._release = release

    def make(self, items: Sequence[tuple[str, bytes, float]], book: BatchBook) -> None:
        """Have a batch made; it is in the book before anything is sent."""
        body = self._api.body([(key, body) for key, body, _ in items])
        digest = hashlib.sha256(body).hexdigest()
        batch = Batch(uuid.uuid4().hex, self._service().base_url, digest, len(items), "intended", sent=time.time())
        book.intend(batch, [(key, worst) for key, _, worst in items])
        try:
            id = self._made(batch, body, book)
        except NotMadeError as error:
            self._drop(batch, book)
            raise error.why from None
        book.note(batch.uuid, state="under_way", id=id)
        log.info("A batch of %s is under way as %s.", counted(len(items), "request"), id)

    def _made(self, batch: Batch, body: bytes, book: BatchBook) -> str:
        while True:
            self._patience.leave_if_stopping()
            try:
                return self._api.make(batch, body, lambda: book.note(batch.uuid, state="sending", sent=time.time()))
            except PassingError as error:
                book.note(batch.uuid, state="intended")
                self._patience.failed(error, "takes no batch")
                self._patience.pause(FIRST_LOOK, error.wait)
            except UnsureError as error:
                log.warning(
                    "Whether %s has made a batch of %s is not known (%s): it is looked for.",
                    self._service().name, counted(batch.requests, "request"), error,
                )  # fmt: skip
                if id := self._found(replace(batch, sent=time.time()), book):
                    return id
                book.note(batch.uuid, state="intended")
            except BackendError as error:
                raise NotMadeError(error) from None

    def find_lost(self, book: BatchBook) -> None:
        """Settle what became of batches that a process was about to send when it ended."""
        for batch in book.batches("intended"):
            self._drop(batch, book)
        for batch in book.batches("sending"):
            said = self._batching.said_of(batch)
            if said == RESUBMIT:
                log.warning("A batch of %s is given up, as told.", counted(batch.requests, "request"))
                self._drop(batch, book)
            elif id := said or self._found(batch, book):
                book.note(batch.uuid, state="under_way", id=id)
                log.info("The batch %s of %s is taken up.", id, counted(batch.requests, "request"))
            else:
                log.info("A batch of %s had never been made.", counted(batch.requests, "request"))
                self._drop(batch, book)

    def _found(self, batch: Batch, book: BatchBook) -> str:
        """The id of a batch that may have been made, or ``""`` where the server's list shows that it was not."""
        known = {each.id for each in book.batches("under_way", "ended")}
        settled = min(SETTLED, self._batching.poll)
        while True:
            self._patience.leave_if_stopping()
            try:
                if id := self._api.find(batch, known):
                    return id
                if not 0 <= time.time() - batch.sent < settled:
                    return ""
            except PassingError as error:
                self._patience.failed(error, "does not list its batches")
            except NoListError as error:
                raise self.orphan(batch, str(error)) from None
            self._patience.pause(min(FIRST_LOOK, settled))

    def orphan(self, batch: Batch, why: str) -> BackendError:
        """The error for a batch that may have been made, where the user is to find out."""
        name, option = self._service().name, f"{self._service().flag}-batch-orphan {code_of(batch)}"
        return BackendError(
            f"A batch of {counted(batch.requests, 'request')} was being sent to {name} at {moment(batch.sent)}, and "
            f"whether it arrived cannot be told: {why}. If it did, it is worked on and charged.",
            f"Look for it in your account there. If you find it, give {option}=ID with its id, to take it up. If not, "
            f"{option}={RESUBMIT}, to send its requests again. Then run the same command again.",
        )

    def _drop(self, batch: Batch, book: BatchBook) -> None:
        for key in book.drop(batch.uuid):
            self._release(key)


class NotMadeError(Exception):
    """A batch was certainly not made."""

    def __init__(self, why: BackendError) -> None:
        super().__init__(why.message)
        self.why = why


def code_of(batch: Batch) -> str:
    """What a batch is called where the user is asked about it."""
    return batch.uuid[:6]
