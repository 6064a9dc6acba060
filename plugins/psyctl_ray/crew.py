"""The workers as the driver sees them: begins them, refuses those that differ, and replaces those that die."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from psyctl_core import errors
from psyctl_core.components import BackendMaker
from psyctl_core.errors import BackendError, PsyctlError
from psyctl_core.figures import counted
from psyctl_core.records import ChatRequest
from psyctl_ray import RayConfig
from psyctl_ray.cluster import CLUSTER, told
from psyctl_ray.spool import Spool
from psyctl_ray.worker import Failure, Started, Worker

MAX_DEATHS = 3
"""So many workers may die of one block, or one after the other before they are ready."""

CONTROL = "control"
"""Ray's group of calls that are answered while a block is under way."""

LOOK_SECONDS = 0.2
"""How long Ray is waited for at a time, so that Ctrl-C is seen."""

log = logging.getLogger("psyctl")


@dataclass(slots=True, eq=False)
class Block:
    """Requests that were handed to a worker together.

    Attributes:
        number: Its number.
        requests: What is asked.
        left: The ids that are not answered yet.
        deaths: How many workers died of it.
    """

    number: int
    requests: Sequence[ChatRequest]
    left: set[str]
    deaths: int = 0


@dataclass(slots=True, eq=False)
class Hand:
    """A worker.

    Attributes:
        actor: Ray's handle.
        event: What to wait for: its start, or the next part of its block; ``None`` while it is idle.
        started: What it said once it was ready.
        block: What it answers.
    """

    actor: Any
    event: Any
    started: Started | None = None
    block: Block | None = None

    @property
    def host(self) -> str:
        """Its machine's name, once it is ready."""
        return self.started.host if self.started else "a machine"

    @property
    def is_idle(self) -> bool:
        """Whether it can be given something."""
        return self.started is not None and self.block is None

    def give(self, block: Block) -> None:
        """Have it answer a block."""
        self.block = block
        self.event = self.actor.answer.options(num_returns="streaming").remote(block.number, block.requests)

    def control(self, name: str, *arguments: object) -> Any:
        """Call one of its methods while a block is under way."""
        return getattr(self.actor, name).options(concurrency_group=CONTROL).remote(*arguments)


class Crew:
    """Workers that answer alike.

    Args:
        ray: Ray's module, connected.
        config: What a worker takes.
        maker: Makes its backend.
        spool: Where its answers are kept; with the mark by which it knows the folder.
        size: How many workers there are to be.

    Attributes:
        hands: The workers, those that are not ready yet included.
        deaths: How many have died.
        model: What the first one said; the others must say the same.
    """

    def __init__(self, ray: ModuleType, config: RayConfig, maker: BackendMaker, spool: Spool, size: int) -> None:
        self._ray = ray
        self._config = config
        self._made_of = pickle.dumps(maker)
        self._spool = spool
        self._deaths_before_ready = 0
        self._said: set[str] = set()
        self.deaths = 0
        self.model: Started | None = None
        self.hands = [self._begun() for _ in range(size)]

    @property
    def ready(self) -> int:
        """How many can answer."""
        return sum(hand.started is not None for hand in self.hands)

    @property
    def is_busy(self) -> bool:
        """Whether any has something to answer."""
        return any(hand.block is not None for hand in self.hands)

    def heard_of(self) -> list[Hand]:
        """Those of whom something has come; waits a moment for the first.

        Nothing is fetched meanwhile: that would hang where Ray has just ended.
        """
        waiting = {hand.event: hand for hand in self.hands if hand.event is not None}
        if not waiting:
            return []
        ready, _ = self._ray.wait(list(waiting), num_returns=len(waiting), timeout=0, fetch_local=False)
        if not ready:
            ready, _ = self._ray.wait(list(waiting), num_returns=1, timeout=LOOK_SECONDS, fetch_local=False)
        return [waiting[event] for event in ready]

    def take_start(self, hand: Hand) -> None:
        """A worker is ready, is refused, or died before it was ready.

        Raises:
            PsyctlError: Every worker is refused, or several died.
        """
        try:
            started = self._ray.get(hand.event)
        except self._ray.exceptions.RayError as error:
            self._replace_unready(hand, error)
            return
        hand.event = None
        self._deaths_before_ready = 0
        failure = started if isinstance(started, Failure) else self._difference(started)
        if failure is not None:
            self._refuse(hand, failure)
            return
        hand.started = started
        self.model = self.model or started
        self.say_for(started.host, started.notes)
        self._spool.is_written_by(started.spool)
        if not started.spool:
            self.say(
                f"The worker on {started.host} does not see {self._spool.folder}: what it has answered and not handed "
                "over at a kill is asked again. Give --ray-spool a folder that all machines see."
            )

    def replace(self, hand: Hand) -> None:
        """Another worker takes a dead one's place.

        Ray could restart it by itself, but calls to it would fail one by one until then, and it must be looked at anew
        wherever it comes up.
        """
        self.deaths += 1
        if hand.started is not None:
            self._spool.was_left(hand.started.spool)
        self.hands[self.hands.index(hand)] = self._begun()

    def end(self) -> None:
        """End all workers."""
        if not CLUSTER.is_lost(self._ray):
            for hand in self.hands:
                self._ray.kill(hand.actor)
        self._spool.remove([hand.started.spool for hand in self.hands if hand.started and hand.block is None])

    def say_for(self, host: str, lines: Sequence[str]) -> None:
        """Warn of what a worker warned of."""
        for line in lines:
            self.say(f"{line} (on {host})")

    def say(self, line: str) -> None:
        """Warn of something, once."""
        if line not in self._said:
            self._said.add(line)
            log.warning("%s", line)

    def _begun(self) -> Hand:
        """A new worker; Ray puts it where there is room, and repeats nothing by itself."""
        remote = self._ray.remote(
            num_cpus=self._config.cpus,
            num_gpus=self._config.gpus,
            max_restarts=0,
            max_task_retries=0,
            concurrency_groups={CONTROL: 1},
            scheduling_strategy="SPREAD",
        )
        actor = remote(Worker).remote(self._made_of, str(self._spool.folder), self._spool.mark)
        return Hand(actor, actor.start.remote())

    def _difference(self, started: Started) -> Failure | None:
        """Why a worker cannot answer beside the others, or ``None``."""
        if self.model is not None and started.block != self.model.block:
            return Failure(
                started.host,
                "UsageError",
                f"its backend computes up to {counted(started.block, 'request')} together, the one on "
                f"{self.model.host} {self.model.block} (0: as they come).",
                "Give all workers the same kind of machine, or say the backend's number format.",
            )
        if self._config.spool and not started.spool:
            folder = self._config.spool
            hint = "Give --ray-spool a folder that all machines see under the same name."
            return Failure(started.host, "UsageError", f"it does not see the spool {folder}.", hint)
        return None

    def _refuse(self, hand: Hand, failure: Failure) -> None:
        """Go on without a worker that cannot be used, unless it is the last one."""
        self.hands.remove(hand)
        self._ray.kill(hand.actor)
        if not self.hands:
            raise raised(failure, f"The worker on {failure.host} is refused: {failure.message}")
        self.say(f"The worker on {failure.host} is refused: {failure.message} {failure.hint}")

    def _replace_unready(self, hand: Hand, error: Exception) -> None:
        self._deaths_before_ready += 1
        if self._deaths_before_ready >= MAX_DEATHS:
            raise BackendError(
                f"{MAX_DEATHS} Ray workers died one after the other before they were ready; the last: {told(error)}.",
                "Often memory is short: give fewer --ray-workers or more --ray-cpus each. psyctl, the backend's plugin "
                "and its packages must be installed on every machine.",
            ) from error
        log.warning("A Ray worker died before it was ready, and another one begins: %s.", told(error))
        self.replace(hand)


def raised(failure: Failure, message: str) -> PsyctlError:
    """A worker's error as the driver raises it."""
    kind: Callable[..., PsyctlError] = getattr(errors, failure.kind, BackendError)
    return kind(message, failure.hint, later=failure.later)
