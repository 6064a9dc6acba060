"""Connects to a Ray cluster or starts one here, quietly, and turns what Ray says into errors of psyctl's."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import socket
import threading
import warnings
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from psyctl_core.errors import BackendError, UsageError
from psyctl_ray import RayConfig

CONNECT_SECONDS = 10.0
"""How long a cluster's address is tried."""

log = logging.getLogger("psyctl")

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
"""Variables that keep Ray from reporting and from printing, where nobody set them otherwise."""

WITHOUT_TOKEN = {"RAY_AUTH_MODE": "disabled"}
"""Without it Ray writes a token into the user's home, even for a cluster that ends with the run."""


class Cluster:
    """This process's connection to a Ray cluster, shared by all pools; the last one to leave ends it."""

    def __init__(self) -> None:
        self._users = 0
        self._is_ours = False
        self.is_here = False

    def enter(self, config: RayConfig, workers: int | None) -> ModuleType:
        """Connect, and return Ray's module.

        Args:
            config: Which cluster.
            workers: How many workers are wanted in all, where that is said.

        Raises:
            BackendError: There is no such cluster, or it is of another Ray or Python.
        """
        ray = imported()
        if not self._users and not ray.is_initialized():
            _init(ray, config, workers)
            _silence(ray)
            self._is_ours = True
            self.is_here = not config.address
        self._users += 1
        return ray

    def is_lost(self, ray: ModuleType) -> bool:
        """Whether Ray was started here and has ended, as by a signal to the whole process group.

        Ray would wait for itself for a minute, and then end this process before anything is saved.
        """
        node = getattr(ray._private.worker, "_global_node", None) if self.is_here else None
        return node is not None and bool(node.dead_processes())

    def leave(self, ray: ModuleType) -> None:
        """Disconnect; what was started here ends."""
        self._users -= 1
        if not self._users and self._is_ours:
            self._is_ours = False
            with _quiet():
                ray.shutdown()


CLUSTER = Cluster()


def imported() -> ModuleType:
    """Ray's module; its import leaves the signal handlers as they are."""
    with _quiet(), _signals_kept():
        import ray
    return ray


def _init(ray: ModuleType, config: RayConfig, workers: int | None) -> None:
    options: dict[str, Any] = {"address": config.address or "local"}
    variables = dict(QUIET)
    if not config.address:
        variables |= WITHOUT_TOKEN
        wanted = math.ceil((workers or 0) * config.cpus)
        options |= {"num_cpus": max(os.cpu_count() or 1, wanted), "include_dashboard": False}
    for name, value in variables.items():
        os.environ.setdefault(name, value)
    _check_port(config)
    try:
        with _quiet(), _signals_kept():
            ray.init(**options, log_to_driver=False, configure_logging=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises ConnectionError, RuntimeError, ValueError and its own, as it happens
        where = f"The Ray cluster at '{config.address}' cannot be used" if config.address else "Ray cannot be started"
        raise BackendError(
            f"{where}: {told(error)}.", _way_out(config, str(error)), later=bool(config.address)
        ) from error


def _check_port(config: RayConfig) -> None:
    """See that somebody listens at an address: Ray itself would try for more than ten minutes."""
    host, _, port = config.address.rpartition(":")
    if not host or not port.isdigit():
        return  # such as auto
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS):
            pass
    except (OSError, OverflowError) as error:
        raise BackendError(
            f"The Ray cluster at '{config.address}' cannot be used: {error}.", _way_out(config, ""), later=True
        ) from error


def _silence(ray: ModuleType) -> None:
    """Keep off stdout what Ray prints of dead workers, for which it has no option; the runner says it in a line."""
    worker: Any = ray._private.worker
    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda data, *_, **__: log.debug("Ray: %s", " ".join(data.get("lines", ())))


def _way_out(config: RayConfig, text: str) -> str:
    if "ersion mismatch" in text:
        return "Install the same Ray and the same Python on all machines, psyctl's included."
    if "token" in text.casefold():
        return (
            "Copy the cluster's ~/.ray/auth_token here, or set RAY_AUTH_TOKEN; see Ray's pages on token authentication."
        )
    if not config.address:
        return "Look into /tmp/ray/session_latest/logs, or run without --runner ray."
    return (
        "See that `ray status` works there and that the port is reachable; leave --ray-address out to start one here."
    )


def told(error: BaseException) -> str:
    """What Ray says in one line: the last of its lines is what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines and "Traceback" in str(error) else " ".join(lines)
    return (text[:400].rstrip(".") or type(error).__name__).strip()


def check_room(ray: ModuleType, config: RayConfig) -> int:
    """How many workers the cluster has room for, were it empty.

    Raises:
        UsageError: No machine is large enough for a single one.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = sum(_fitting(machine, config) for machine in machines)
    if room:
        return room
    for what, wanted, kind in (("graphics processor", config.gpus, "GPU"), ("processor", config.cpus, "CPU")):
        most = max((machine.get(kind, 0.0) for machine in machines), default=0.0)
        if wanted > most:
            raise UsageError(
                f"No machine of the Ray cluster has {wanted:g} {what}{'' if wanted == 1 else 's'}: "
                f"the most is {most:g}.",
                f"Give --ray-{kind.lower()}s {most:g} or less." if most else f"Leave out --ray-{kind.lower()}s.",
            )
    raise UsageError(
        f"No machine of the Ray cluster has room for a worker: "
        f"{config.cpus:g} of its processors are wanted, and {config.gpus:g} of its GPUs.",
        "Give less with --ray-cpus and --ray-gpus.",
    )


def has_gpus(ray: ModuleType) -> bool:
    """Whether any machine has a graphics processor."""
    return any(node["Alive"] and node["Resources"].get("GPU") for node in ray.nodes())


def _fitting(machine: Mapping[str, float], config: RayConfig) -> int:
    """How many workers a machine has room for."""
    wanted = {"CPU": config.cpus, "GPU": config.gpus}
    return min(int(machine.get(kind, 0.0) / each + 1e-9) for kind, each in wanted.items() if each)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Ray's advice is not for whoever runs psyctl."""
    logger = logging.getLogger("ray")
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray installs handlers of its own; psyctl's stay."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
