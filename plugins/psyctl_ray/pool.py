"""Hands whole blocks to free workers of a Ray cluster, and has dead workers' blocks answered by others."""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from psyctl_core.budget import Budget
from psyctl_core.components import BackendState, NextBlock, RunnerTarget, WorkerPool
from psyctl_core.errors import BackendError, UsageError
from psyctl_core.figures import counted
from psyctl_core.records import ChatRequest, Completion
from psyctl_ray import RayConfig
from psyctl_ray.cluster import CLUSTER, check_room, has_gpus, told
from psyctl_ray.crew import MAX_DEATHS, Block, Crew, Hand, raised
from psyctl_ray.spool import Spool
from psyctl_ray.worker import Part

log = logging.getLogger("psyctl")


@dataclass(slots=True)
class _Supply:
    """Where requests come from.

    Attributes:
        next_block: Gives more.
        flow: What is being pulled from, with a backend that has no blocks.
        is_dry: Whether there was nothing to ask when last looked, and no answer since.
        again: What dead workers left.
    """

    next_block: NextBlock
    flow: Iterator[ChatRequest] | None = None
    is_dry: bool = False
    again: deque[Block] = field(default_factory=deque)

    def block(self) -> list[ChatRequest]:
        """The next block; empty where there is none now."""
        requests = list(self.next_block() or ())
        self.is_dry = not requests
        return requests

    def request(self) -> ChatRequest | None:
        """The next request of those that flow; ``None`` where there is none now."""
        while not self.is_dry:
            is_new = self.flow is None
            self.flow = self.flow or self.next_block()
            request = next(self.flow, None) if self.flow is not None else None
            if request is not None:
                return request
            self.flow, self.is_dry = None, is_new
        return None


class RayPool(WorkerPool):
    """Workers with one backend each.

    Args:
        config: Which cluster, and how many workers.
        target: The backend.
        number: Which of the runner's pools it is, from 1.
        pools: How many there are in all.
    """

    def __init__(self, config: RayConfig, target: RunnerTarget, number: int, pools: Callable[[], int]) -> None:
        self._config = config
        self._target = target
        self._number = number
        self._pools = pools
        self._ray: ModuleType | None = None
        self._crew: Crew | None = None
        self._spool: Spool | None = None
        self._numbers = itertools.count()
        self._is_stopping = self._has_told_stop = False
        self.workers = config.workers or 1

    @property
    def block(self) -> int:
        """As the workers' backends say."""
        model = self._crew.model if self._crew else None
        return model.block if model else self._target.backend.block

    def speed(self) -> float | None:
        """As the first worker's backend said."""
        model = self._crew.model if self._crew else None
        return model.speed if model else None

    def state(self) -> BackendState:
        """How many workers are ready, how many died, and whether there is none."""
        if self._crew is None:
            return BackendState()
        ready = self._crew.ready
        return BackendState("" if ready else "no Ray worker is ready", self._crew.deaths, ready)

    def start(self, budget: Budget, folder: Path) -> None:
        """Connect, and wait for the first worker; the others join as they become ready."""
        del budget
        assert self._target.maker is not None
        pools, wanted = self._pools(), self._config.workers
        ray = self._ray = CLUSTER.enter(self._config, wanted and wanted * pools)
        room = check_room(ray, self._config)
        if room < pools:
            raise UsageError(
                f"The Ray cluster has room for {room} worker, and the writer and the judge need one each.",
                "Give less with --ray-cpus and --ray-gpus.",
            )
        self.workers = wanted if wanted and (pools == 1 or wanted * pools <= room) else room // pools
        self._spool = Spool(self._place_of_spool(folder))
        self._crew = Crew(ray, self._config, self._target.maker, self._spool, self.workers)
        if not self._config.gpus and has_gpus(ray):
            self._crew.say("The Ray cluster has graphics processors, and --ray-gpus is 0: no worker uses one.")
        log.info("Waiting for the first of %d Ray workers", self.workers)
        while self._crew.model is None:
            if CLUSTER.is_lost(ray):
                raise _lost()
            for hand in self._crew.heard_of():
                self._crew.take_start(hand)

    def run(self, next_block: NextBlock) -> Iterator[Completion]:
        """Hand out blocks to whoever is free, and yield what comes of them."""
        assert self._crew is not None
        assert self._ray is not None
        crew, supply = self._crew, _Supply(next_block)
        try:
            while True:
                for completion in self._hand_out(crew, supply):
                    supply.is_dry = False
                    yield completion
                if self._is_stopping:
                    supply.again.clear()
                    self._tell_stop(crew)
                if not supply.again and not crew.is_busy and (supply.is_dry or self._is_stopping):
                    return
                if CLUSTER.is_lost(self._ray):
                    if self._is_stopping:
                        return
                    raise _lost()
                for hand in crew.heard_of():
                    for completion in self._arrived(crew, hand, supply):
                        supply.is_dry = False
                        yield completion
        finally:
            self._leave(crew)

    def stop(self) -> None:
        """Begin nothing more; the workers are told by whoever waits for them."""
        self._is_stopping = True

    def adaptations(self) -> Sequence[str]:
        """What any worker's backend says."""
        if self._ray is None or self._crew is None or CLUSTER.is_lost(self._ray):
            return ()
        asked = [hand.control("adaptations") for hand in self._crew.hands if hand.started]
        try:
            return sorted({line for lines in self._ray.get(asked, timeout=10) for line in lines})
        except self._ray.exceptions.RayError:
            return ()

    def forget(self) -> None:
        """Remove the spool."""
        if self._spool is not None:
            self._spool.clear()

    def close(self) -> None:
        """End the workers, and Ray if it was started here."""
        crew, ray = self._crew, self._ray
        self._crew = self._ray = None
        if crew is not None:
            crew.end()
        if ray is not None:
            CLUSTER.leave(ray)

    def _place_of_spool(self, folder: Path) -> Path:
        """A folder for this run's pool alone, in the one that was given or in the run's own."""
        name = "spool" if self._number == 1 else f"spool-{self._number}"
        if not self._config.spool:
            return folder.resolve() / name
        whose = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
        return Path(self._config.spool).expanduser().resolve() / f"{folder.stem}-{whose}-{name}"

    # What goes out.

    def _hand_out(self, crew: Crew, supply: _Supply) -> Iterator[Completion]:
        """Give every idle worker something to do; yields what the spool has already."""
        while not self._is_stopping and (idle := [hand for hand in crew.hands if hand.is_idle]):
            if supply.again:
                idle[0].give(supply.again.popleft())
            elif supply.is_dry:
                return
            elif self.block:
                yield from self._give_block(idle[0], supply)
            else:
                yield from self._deal(idle, supply)

    def _give_block(self, hand: Hand, supply: _Supply) -> Iterator[Completion]:
        """Give a worker the next block, unless the spool has all of it: its answers may depend on each other."""
        assert self._spool is not None
        requests = supply.block()
        self._spool.look()
        if requests and all(map(self._spool.has, requests)):
            yield from self._spool.taken(requests)
        elif requests:
            hand.give(self._new_block(requests))

    def _deal(self, idle: Sequence[Hand], supply: _Supply) -> Iterator[Completion]:
        """Pull as many requests as all idle workers take, and give each its share of what the spool does not have."""
        assert self._spool is not None
        self._spool.look()
        requests: list[ChatRequest] = []
        while len(requests) < self._config.batch * len(idle) and (request := supply.request()) is not None:
            if self._spool.has(request):
                yield from self._spool.taken([request])
            else:
                requests.append(request)
        share = max(1, -(-len(requests) // len(idle)))
        for hand, start in zip(idle, range(0, len(requests), share), strict=False):
            hand.give(self._new_block(requests[start : start + share]))

    def _new_block(self, requests: Sequence[ChatRequest]) -> Block:
        return Block(next(self._numbers), requests, {request.id for request in requests})

    # What comes back.

    def _arrived(self, crew: Crew, hand: Hand, supply: _Supply) -> Iterator[Completion]:
        """What has come of a worker: it is ready, a part of its block, the block's end, or its death."""
        assert self._ray is not None
        block = hand.block
        if block is None:
            crew.take_start(hand)
            return
        try:
            part: Part = self._ray.get(next(hand.event))
        except StopIteration:
            hand.block = hand.event = None
            return
        except self._ray.exceptions.RayTaskError as error:
            raise BackendError(
                f"The worker on {hand.host} failed: {told(error)}.",
                "Run the same command again: it goes on from what is saved.",
            ) from error
        except self._ray.exceptions.RayError as error:
            yield from self._take_death(crew, hand, block, supply, error)
            return
        crew.say_for(hand.host, part.notes)
        for completion in part.completions:
            if completion.id in block.left:  # of a block that is answered anew some were handed over before
                block.left.remove(completion.id)
                yield completion
        if part.failure is not None:
            raise raised(part.failure, f"On {hand.host}: {part.failure.message}")

    def _take_death(
        self, crew: Crew, hand: Hand, block: Block, supply: _Supply, error: Exception
    ) -> Iterator[Completion]:
        """Take what a dead worker kept in the spool; the rest of its block is for the next one."""
        assert self._spool is not None
        crew.replace(hand)
        block.deaths += 1
        self._spool.look()
        left = [request for request in block.requests if request.id in block.left]
        if not self.block or all(map(self._spool.has, left)):
            for completion in self._spool.taken(left):
                block.left.remove(completion.id)
                yield completion
        if not block.left:
            return
        if block.deaths >= MAX_DEATHS:
            raise BackendError(
                f"{MAX_DEATHS} Ray workers died of the same {counted(len(block.requests), 'request')}, the last one on "
                f"{hand.host}: {told(error)}.",
                "Often memory is short: give fewer --ray-workers, a smaller --ray-batch or --block-size, or larger "
                "machines; then run the same command again.",
            ) from error
        log.warning("The worker on %s died: another one takes over what it had.", hand.host)
        if not self.block:
            block.requests = [request for request in block.requests if request.id in block.left]
        supply.again.append(block)

    def _tell_stop(self, crew: Crew) -> None:
        if not self._has_told_stop:
            self._has_told_stop = True
            for hand in crew.hands:
                if hand.block is not None:
                    hand.control("stop")

    def _leave(self, crew: Crew) -> None:
        """Nobody waits for what is under way any more: workers drop it, and are idle once they have."""
        if self._ray is None or CLUSTER.is_lost(self._ray):
            return
        for hand in crew.hands:
            if hand.block is not None:
                hand.control("leave", hand.block.number)
                hand.block.left.clear()


def _lost() -> BackendError:
    return BackendError(
        "Ray, which was started for this run, has ended.",
        "Run the same command again: it goes on from what is saved.",
        later=True,
    )
