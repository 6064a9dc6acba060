"""The runner ``ray``: equal backends on the machines of a Ray cluster answer, each whole blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psyctl_core.components import Component
from psyctl_core.errors import UsageError
from psyctl_core.hookspecs import hookimpl
from psyctl_core.options import option


@dataclass(frozen=True, slots=True)
class RayConfig:
    """Which cluster answers, with how many workers.

    Attributes:
        address: As ``ray.init`` takes it; see https://docs.ray.io/en/latest/ray-core/api/doc/ray.init.html.
            Empty starts Ray on this machine for as long as the run goes on.
        workers: Processes with a backend each; ``None`` is as many as the cluster has room for.
        cpus: Processors that a worker takes.
        gpus: Graphics processors that a worker takes; two workers share one with 0.5.
        batch: Requests handed to a worker at once where they flow.
        spool: A folder that all machines see. Each worker keeps its answers there until they are safe.
    """

    address: str = option(
        "",
        help="Where the Ray cluster is: HOST:PORT, or auto for this machine's; left out, Ray is started for the run.",
        env="RAY_ADDRESS",
        identity=False,
    )
    workers: int | None = option(
        None, help="Processes with a backend each; by default as many as there is room for.", identity=False
    )
    cpus: float = option(1.0, help="Processors that a worker takes.", identity=False)
    gpus: float = option(0.0, help="Graphics processors that a worker takes; 0.5 has two share one.", identity=False)
    batch: int = option(
        64, help="Requests handed to a worker at once, with a backend that has no blocks.", identity=False
    )
    spool: str = option(
        "",
        help="Folder that all machines see, for answers on their way; left out, the run's own, if all see that.",
        identity=False,
    )

    def __post_init__(self) -> None:
        for name in ("workers", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--ray-{name} {value} leaves nobody to answer.", f"Give --ray-{name} 1 or more.")
        if self.address.startswith("ray://"):
            raise UsageError(
                f"Ray's client mode ({self.address}) hands over no answers while they come.",
                "Run psyctl on a machine of the cluster with --ray-address auto.",
            )
        if self.cpus < 0 or self.gpus < 0 or not (self.cpus or self.gpus):
            raise UsageError(
                f"A worker with --ray-cpus {self.cpus:g} and --ray-gpus {self.gpus:g} finds no place.",
                "Give --ray-cpus or --ray-gpus above 0.",
            )


@hookimpl
def psyctl_runners() -> Sequence[Component]:
    """Offer ``ray``."""
    return [
        Component(
            name="ray",
            factory="psyctl_ray.runner:RayRunner",
            config=RayConfig,
            summary="Many backends at once, on this machine or a Ray cluster",
            extra="ray",
        )
    ]
