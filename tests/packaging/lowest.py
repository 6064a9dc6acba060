"""Prints the lowest releases that psyctl's metadata allows, as pip constraints: `make test-oldest` installs under them.

    python tests/packaging/lowest.py torch

Packages that are named are left out. Only what users need counts: the base and the extras of the built-in plugins.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterable, Iterator

from packaging.requirements import Requirement

EXTRAS = ("hf", "openvino", "check")


def lowest(requirements: Iterable[str], without: Iterable[str] = ()) -> Iterator[str]:
    """A constraint ``name==version`` for each requirement of the base and of the plugins' extras.

    Raises:
        ValueError: A requirement has no lower bound.
    """
    for requirement in map(Requirement, requirements):
        extras = re.findall(r"extra == .(\w+)", str(requirement.marker or ""))
        if all(extra in EXTRAS for extra in extras) and requirement.name not in without:
            bound = next((s.version for s in requirement.specifier if s.operator == ">="), None)
            if bound is None:
                raise ValueError(f"the requirement '{requirement}' has no lower bound")
            yield f"{requirement.name}=={bound}"


if __name__ == "__main__":
    print(*dict.fromkeys(lowest(importlib.metadata.requires("psyctl") or [], sys.argv[1:])), sep="\n")
