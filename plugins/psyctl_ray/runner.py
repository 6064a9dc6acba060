"""The runner itself: which backends can be sent to a cluster, and the pool that has them answer there."""

from __future__ import annotations

import importlib.util

from psyctl_core.components import Context, Runner, RunnerTarget, WorkerPool
from psyctl_core.errors import UsageError
from psyctl_ray import RayConfig
from psyctl_ray.pool import RayPool

if importlib.util.find_spec("ray") is None:  # told now, imported only when there is something to answer
    raise ModuleNotFoundError("No module named 'ray'", name="ray")


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
                f"The {target.name} is an object of this program, which the runner 'ray' cannot send elsewhere.",
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
