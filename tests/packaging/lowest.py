"""Prints the lowest releases that psyctl's metadata allows, as pip constraints: `make test-oldest` installs under them.

    python tests/packaging/lowest.py torch

Packages that are named are left out. Only what users need counts: the base and the extras of the built-in plugins.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterable, Iterator

EXTRAS = ("", "hf", "openvino", "check", "ray")
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[.*\])?(?P<bounds>[^;]*)(?:;(?P<marker>.*))?")
EXTRA = re.compile(r"extra\s*==\s*['\"](\w+)['\"]")


def lowest(requirements: Iterable[str], without: Iterable[str] = ()) -> Iterator[str]:
    """A constraint ``name==version`` for each requirement of the base and of the plugins' extras.

    Read without a library: nothing is installed yet where this runs.

    Raises:
        ValueError: A requirement has no lower bound.
    """
    for requirement in requirements:
        found = REQUIREMENT.fullmatch(requirement.strip())
        if found is None:
            raise ValueError(f"cannot read the requirement '{requirement}'")
        extra = EXTRA.search(found["marker"] or "")
        if (extra[1] if extra else "") in EXTRAS and found["name"] not in without:
            bound = re.search(r">=\s*([\w.]+)", found["bounds"])
            if bound is None:
                raise ValueError(f"the requirement '{requirement}' has no lower bound")
            yield f"{found['name']}=={bound[1]}"


if __name__ == "__main__":
    print(*dict.fromkeys(lowest(importlib.metadata.requires("psyctl") or [], sys.argv[1:])), sep="\n")
