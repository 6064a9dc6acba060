"""A Ray cluster of several nodes on this machine, as a program: prints its address, and serves until its input ends.

Each node is a raylet of its own, as Ray's own tests have it (``ray.cluster_utils.Cluster``). For a test of another
process there is ``with running(4, 2, site) as address``, and ``installed(folder)`` for a stranger's backend.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STRANGER = ROOT / "tests" / "packaging" / "psyctl-sleepy"
QUIET = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
"""Nothing is written into the home folder, and nothing is told to anybody."""


def installed(folder: Path) -> Path:
    """Install the stranger's backend ``sleepy`` as pip does, and return what belongs on the path."""
    site = folder / "site"
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "-q", "--no-deps", "--target", site]
    subprocess.run([*map(str, pip), str(STRANGER)], check=True)
    return site


def environment(*sites: Path) -> Mapping[str, str]:
    """The environment in which psyctl and the cluster both find what is installed in these folders."""
    path = os.pathsep.join([*map(str, sites), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, **QUIET, "PYTHONPATH": path}


@contextmanager
def running(nodes: int, cpus: int, *sites: Path) -> Iterator[str]:
    """A cluster of so many nodes with so many CPUs each; gives its address."""
    command = [sys.executable, __file__, "--nodes", str(nodes), "--cpus", str(cpus)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=environment(*sites), text=True, **pipes)
    assert process.stdout is not None
    try:
        lines = (line for line in process.stdout if line.startswith("listening on "))
        yield next(lines).split()[-1]
    finally:
        process.communicate()


def main() -> None:
    """Start the nodes, say where, and wait for the input's end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=2)
    options = parser.parse_args()
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        head = {"num_cpus": options.cpus, "temp_dir": folder, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(options.nodes - 1):
            cluster.add_node(num_cpus=options.cpus)
        print(f"listening on {cluster.address}", flush=True)
        sys.stdin.read()
        cluster.shutdown()


if __name__ == "__main__":
    main()
