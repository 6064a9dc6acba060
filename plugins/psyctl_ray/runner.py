"""Hands whole blocks to free workers of a Ray cluster, and has dead workers' blocks answered by others."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import logging
import pickle
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from psyctl_core import errors
from psyctl_core.budget import Budget
from psyctl_core.components import BackendState, Context, NextBlock, Runner, RunnerTarget, WorkerPool
from psyctl_core.errors import BackendError, PsyctlError, UsageError
from psyctl_core.files import write_atomically
from psyctl_core.records import ChatRequest, Completion
from psyctl_ray import RayConfig
from psyctl_ray.cluster import CLUSTER, check_room, has_gpus, told
from psyctl_ray.spool import MARK, Spool
from psyctl_ray.worker import Failure, Part, Started, Worker

if importlib.util.find_spec("ray") is None:  # told now, imported only when there is something to answer
    raise ModuleNotFoundError("No module named 'ray'", name="ray")

MAX_DEATHS = 3
"""So many workers may die of one block, or before they are ready, one after the other."""

CONTROL = "control"
"""Ray's group of calls that are answered while a block is under way."""

LOOK_SECONDS = 0.2
"""How long Ray is waited for at a time, so that Ctrl-C is seen."""

log = logging.getLogger("psyctl")


class RayRunner(Runner):
    """Answers with backends that are made anew on the cluster's machines."""

    def __init__(self, config: RayConfig, context: Context) -> None:
        del context
        self._config = config
        self._pools = 0

    def open(self, target: RunnerTarget) -> WorkerPool:
        """A pool that starts nothing yet.

        Raises:
            UsageError: The backend cannot be sent, or its answers may cost money.
        """
        if target.maker is None:
            raise UsageError(
                f"The {target.name} is an object of this program, which --runner ray cannot send elsewhere.",
                "Name an installed backend or pass its config, or take the runner 'local'.",
            )
        if not target.backend.is_free:
            raise UsageError(
                f"The {target.name} may charge money for answers, and budget and rate limits are kept by one process.",
                "Leave --runner ray out, and raise the backend's own workers instead, such as with "
                "--openrouter-max-workers; --openai-base-url takes the addresses of several servers.",
            )
        self._pools += 1
        return RayPool(self._config, target, self._pools, lambda: self._pools)


@dataclass(slots=True, eq=False)
class _Block:
    """Requests that were handed to a worker together.

    Attributes:
        number: Its number.
        requests: What is asked.
        left: The ids that are not answered yet.
        deaths: How many workers died of it.
    """

    number: int
    requests: list[ChatRequest]
    left: set[str]
    deaths: int = 0


@dataclass(slots=True, eq=False)
class _Hand:
    """A worker as the driver sees it.

    Attributes:
        actor: Ray's handle.
        event: What to wait for: its start, or the next part of its block; ``None`` while it is idle.
        block: What it answers.
        host: Its machine, once it is ready.
        spool: Its file in the spool.
    """

    actor: Any
    event: Any
    block: _Block | None = None
    host: str = ""
    spool: str = ""
    is_ready: bool = False


@dataclass(slots=True)
class _Supply:
    """Where requests come from, and whether there was nothing to ask when last looked."""

    next_block: NextBlock
    flow: Iterator[ChatRequest] | None = None
    is_dry: bool = False
    again: deque[_Block] = field(default_factory=deque)


class RayPool(WorkerPool):
    """Workers with one backend each.

    Args:
        config: Which cluster, and how many workers.
        target: The backend.
        number: Which of the runner's pools it is, from 1.
        pools: How many there are in all.
    """

    def __init__(self, config: RayConfig, target: RunnerTarget, number: int, pools: Any) -> None:
        self._config = config
        self._target = target
        self._number = number
        self._pools = pools
        self._ray: ModuleType | None = None
        self._hands: list[_Hand] = []
        self._numbers = itertools.count()
        self._spool: Spool | None = None
        self._mark = uuid.uuid4().hex
        self._started: Started | None = None
        self._is_stopping = self._has_told_stop = False
        self._deaths = self._deaths_before_ready = 0
        self._said: set[str] = set()
        self.workers = config.workers or 1

    @property
    def block(self) -> int:
        """As the workers' backends say."""
        return self._started.block if self._started else self._target.backend.block

    def speed(self) -> float | None:
        """As the first worker's backend said."""
        return self._started.speed if self._started else None

    def state(self) -> BackendState:
        """How many workers are ready, how many died, and whether there is no room for any."""
        ready = sum(hand.is_ready for hand in self._hands)
        waiting = "" if ready or self._ray is None else "no worker is ready"
        return BackendState(waiting, self._deaths, ready)

    def start(self, budget: Budget, folder: Path) -> None:
        """Connect, and wait for the first worker; the others join as they become ready."""
        del budget
        pools = self._pools()
        wanted = self._config.workers
        ray = self._ray = CLUSTER.enter(self._config, wanted and wanted * pools)
        room = check_room(ray, self._config)
        if pools > 1 and room < pools:
            raise UsageError(
                f"The Ray cluster has room for {room} worker, and the writer's and the judge's backend need one each.",
                "Give less with --ray-cpus and --ray-gpus.",
            )
        if not self._config.gpus and has_gpus(ray):
            self._say("The Ray cluster has graphics processors, and --ray-gpus is 0: no worker uses one.")
        self.workers = wanted if wanted and (pools == 1 or wanted * pools <= room) else max(1, room // pools)
        self._spool = self._opened_spool(folder)
        self._hands = [self._hired() for _ in range(self.workers)]
        log.info("Waiting for the first of %d Ray workers", self.workers)
        while self._started is None:
            for hand in self._ready_hands():
                self._take_start(hand)

    def run(self, next_block: NextBlock) -> Iterator[Completion]:
        """Hand out blocks to whoever is free, and yield what comes of them."""
        supply = _Supply(next_block)
        try:
            while True:
                for completion in self._hand_out(supply):
                    supply.is_dry = False
                    yield completion
                if self._is_stopping:
                    supply.again.clear()
                    self._tell_stop()
                if not supply.again and not self._busy() and (supply.is_dry or self._is_stopping):
                    return
                for hand in self._ready_hands():
                    for completion in self._arrived(hand, supply):
                        supply.is_dry = False
                        yield completion
        finally:
            self._leave()

    def stop(self) -> None:
        """Begin nothing more; the workers are told by whoever waits for them."""
        self._is_stopping = True

    def adaptations(self) -> Sequence[str]:
        """What any worker's backend says."""
        if self._ray is None:
            return ()
        asked = [_control(hand.actor.adaptations).remote() for hand in self._hands if hand.is_ready]
        try:
            said = self._ray.get(asked, timeout=10)
        except self._ray.exceptions.RayError:
            return ()
        return sorted({line for lines in said for line in lines})

    def forget(self) -> None:
        """Remove the spool."""
        if self._spool is not None:
            self._spool.clear()
            self._spool = None

    def close(self) -> None:
        """End the workers, and Ray if it was started here."""
        if self._ray is None:
            return
        for hand in self._hands:
            self._ray.kill(hand.actor)
        if self._spool is not None:
            self._spool.remove([hand.spool for hand in self._hands if hand.spool and hand.block is None])
        self._hands = []
        CLUSTER.leave(self._ray)
        self._ray = None

    # Workers.

    def _hired(self) -> _Hand:
        """A new worker.

        Ray could restart one by itself, but calls to it meanwhile would fail one by one, and it must be looked at anew
        wherever it comes up. So a dead one is replaced here, and Ray repeats nothing.
        """
        assert self._ray is not None
        spool = ("", "") if self._spool is None else (str(self._spool.folder), self._mark)
        remote = self._ray.remote(
            num_cpus=self._config.cpus,
            num_gpus=self._config.gpus,
            max_restarts=0,
            max_task_retries=0,
            concurrency_groups={CONTROL: 1},
            scheduling_strategy="SPREAD",
        )
        actor = remote(Worker).remote(pickle.dumps(self._target.maker), spool)
        return _Hand(actor, actor.start.remote())

    def _ready_hands(self) -> list[_Hand]:
        """Those of whom something has come; waits a moment for the first."""
        assert self._ray is not None
        waiting = {hand.event: hand for hand in self._hands if hand.event is not None}
        if not waiting:
            return []
        ready, _ = self._ray.wait(list(waiting), num_returns=len(waiting), timeout=0)
        if not ready:
            ready, _ = self._ray.wait(list(waiting), num_returns=1, timeout=LOOK_SECONDS)
        return [waiting[event] for event in ready]

    def _take_start(self, hand: _Hand) -> None:
        """A worker is ready, refused, or dead before it was ready."""
        assert self._ray is not None
        try:
            started = self._ray.get(hand.event)
        except self._ray.exceptions.RayError as error:
            self._take_death_before_ready(hand, error)
            return
        hand.event = None
        self._deaths_before_ready = 0
        failure = started if isinstance(started, Failure) else self._mismatch(started)
        if failure is not None:
            self._refuse(hand, failure)
            return
        hand.host, hand.spool, hand.is_ready = started.host, started.spool, True
        self._note(started.notes, started.host)
        if self._spool is not None and started.spool:
            self._spool.is_written_by(started.spool)
        elif self._spool is not None:
            self._say(
                f"The worker on {started.host} does not see {self._spool.folder}: what it has answered and not handed "
                "over at a kill is asked again. Give --ray-spool a folder that all machines see."
            )
        self._started = self._started or started

    def _mismatch(self, started: Started) -> Failure | None:
        if self._started is not None and started.block != self._started.block:
            return Failure(
                started.host,
                "UsageError",
                f"Its backend computes {started.block or 'no'} requests together, and that on {self._started.host} "
                f"{self._started.block or 'none'}.",
                "Give all workers the same kind of machine, or fix the backend's number format.",
            )
        if self._config.spool and not started.spool:
            return Failure(
                started.host, "UsageError", f"It does not see the spool {self._config.spool}.",
                "Give --ray-spool a folder that all machines see under the same name.",
            )  # fmt: skip
        return None

    def _refuse(self, hand: _Hand, failure: Failure) -> None:
        """Go on without a worker that cannot be used. Raises PsyctlError where it is the last one."""
        assert self._ray is not None
        self._hands.remove(hand)
        self._ray.kill(hand.actor)
        if not self._hands:
            raise _raised(failure, f"The worker on {failure.host} is refused: {failure.message}")
        self.workers = len(self._hands)
        self._say(f"The worker on {failure.host} is refused: {failure.message} {failure.hint}")

    def _take_death_before_ready(self, hand: _Hand, error: Exception) -> None:
        self._deaths += 1
        self._deaths_before_ready += 1
        if self._deaths_before_ready >= MAX_DEATHS:
            raise BackendError(
                f"{MAX_DEATHS} Ray workers died one after the other before they were ready; the last: {told(error)}.",
                "Often memory is short: give fewer --ray-workers or more --ray-cpus each. psyctl, the backend's plugin "
                "and its packages must be installed on every machine.",
            ) from error
        log.warning("A Ray worker died before it was ready; another one begins: %s.", told(error))
        self._hands[self._hands.index(hand)] = self._hired()

    # Blocks.

    def _busy(self) -> bool:
        return any(hand.block is not None for hand in self._hands)

    def _hand_out(self, supply: _Supply) -> Iterator[Completion]:
        """Give every idle worker something to do; yields what the spool has already."""
        while not self._is_stopping and (idle := [h for h in self._hands if h.is_ready and h.block is None]):
            if supply.again:
                self._give(idle[0], supply.again.popleft())
            elif supply.is_dry:
                return
            elif self.block:
                yield from self._give_block(idle[0], supply)
            else:
                yield from self._deal(idle, supply)

    def _give_block(self, hand: _Hand, supply: _Supply) -> Iterator[Completion]:
        requests = list(supply.next_block() or ())
        if not requests:
            supply.is_dry = True
            return
        if self._spool is not None:
            self._spool.look()
            if all(map(self._spool.has, requests)):  # its answers may depend on each other: all or none
                yield from self._in_spool(requests)
                return
        self._give(hand, self._new_block(requests))

    def _deal(self, idle: Sequence[_Hand], supply: _Supply) -> Iterator[Completion]:
        """Pull as many requests as all idle workers take, and give each its share."""
        if self._spool is not None:
            self._spool.look()
        requests: list[ChatRequest] = []
        while len(requests) < self._config.batch * len(idle):
            request = self._next_of_flow(supply)
            if request is None:
                break
            found = self._spool.take(request) if self._spool is not None else None
            if found is None:
                requests.append(request)
            else:
                yield found
        share = -(-len(requests) // len(idle))
        for hand, start in zip(idle, range(0, len(requests), max(1, share)), strict=False):
            self._give(hand, self._new_block(requests[start : start + share]))

    def _next_of_flow(self, supply: _Supply) -> ChatRequest | None:
        """The next request; ``None`` where there is nothing to ask before another answer was taken."""
        while not supply.is_dry:
            is_new = supply.flow is None
            supply.flow = supply.flow or supply.next_block()
            request = next(supply.flow, None) if supply.flow is not None else None
            if request is not None:
                return request
            supply.flow, supply.is_dry = None, is_new
        return None

    def _new_block(self, requests: list[ChatRequest]) -> _Block:
        return _Block(next(self._numbers), requests, {request.id for request in requests})

    def _give(self, hand: _Hand, block: _Block) -> None:
        hand.block = block
        hand.event = hand.actor.answer.options(num_returns="streaming").remote(block.number, block.requests)

    def _arrived(self, hand: _Hand, supply: _Supply) -> Iterator[Completion]:
        """What has come of a worker: it is ready, a part of its block, the block's end, or its death."""
        assert self._ray is not None
        block = hand.block
        if block is None:
            self._take_start(hand)
            return
        try:
            part: Part = self._ray.get(next(hand.event))
        except StopIteration:
            hand.block = hand.event = None
            return
        except self._ray.exceptions.RayTaskError as error:
            raise BackendError(f"The worker on {hand.host} failed: {told(error)}.", "Run again; look there.") from error
        except self._ray.exceptions.RayError as error:
            yield from self._take_death(hand, block, supply, error)
            return
        self._note(part.notes, hand.host)
        for completion in part.completions:
            if completion.id in block.left:  # a block that is answered anew gives some a second time
                block.left.remove(completion.id)
                yield completion
        if part.failure is not None:
            raise _raised(part.failure, f"On {hand.host}: {part.failure.message}")

    def _take_death(self, hand: _Hand, block: _Block, supply: _Supply, error: Exception) -> Iterator[Completion]:
        """Replace a dead worker; what it kept in the spool is taken, the rest of its block goes to the next one."""
        self._deaths += 1
        block.deaths += 1
        self._hands[self._hands.index(hand)] = self._hired()
        if self._spool is not None:
            self._spool.was_left(hand.spool)
            self._spool.look()
            left = [request for request in block.requests if request.id in block.left]
            if not self.block or all(map(self._spool.has, left)):
                for completion in self._in_spool(left):
                    block.left.remove(completion.id)
                    yield completion
        if not block.left:
            return
        if block.deaths >= MAX_DEATHS:
            raise BackendError(
                f"{MAX_DEATHS} Ray workers died of the same {len(block.requests)} requests, the last one on "
                f"{hand.host}: {told(error)}.",
                "Often memory is short: give fewer --ray-workers, a smaller --ray-batch or --block-size, or larger "
                "machines; then run the same command again.",
            ) from error
        log.warning("The worker on %s died; another one takes over its %d requests.", hand.host, len(block.left))
        if not self.block:
            block.requests = [request for request in block.requests if request.id in block.left]
        supply.again.append(block)

    def _in_spool(self, requests: Sequence[ChatRequest]) -> Iterator[Completion]:
        assert self._spool is not None
        for request in requests:
            if (found := self._spool.take(request)) is not None:
                yield found

    def _tell_stop(self) -> None:
        if not self._has_told_stop:
            self._has_told_stop = True
            for hand in self._hands:
                if hand.block is not None:
                    _control(hand.actor.stop).remote()

    def _leave(self) -> None:
        """Nobody waits for what is under way any more: workers drop it, and are idle once they have."""
        for hand in self._hands:
            if hand.block is not None:
                _control(hand.actor.leave).remote(hand.block.number)
                hand.block.left.clear()

    # The rest.

    def _opened_spool(self, folder: Path) -> Spool:
        """The spool, with a mark by which workers know it."""
        name = f"spool{'' if self._number == 1 else self._number}"
        if self._config.spool:
            whose = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
            place = Path(self._config.spool).expanduser().resolve() / f"{folder.stem}-{whose}-{name}"
        else:
            place = folder.resolve() / name
        spool = Spool(place)
        write_atomically(place / MARK, self._mark)
        return spool

    def _note(self, lines: Sequence[str], host: str) -> None:
        for line in lines:
            self._say(f"{line} (on {host})")

    def _say(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            log.warning("%s", line)


def _control(method: Any) -> Any:
    """A method of a worker that is answered while a block is under way."""
    return method.options(concurrency_group=CONTROL)


def _raised(failure: Failure, message: str) -> PsyctlError:
    """A worker's error as the driver raises it."""
    kind = getattr(errors, failure.kind, BackendError)
    error: PsyctlError = kind(message, failure.hint, later=failure.later)
    return error
