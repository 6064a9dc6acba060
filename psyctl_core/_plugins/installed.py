"""What distributions are installed here, and what they ask for."""

from __future__ import annotations

import importlib_metadata
from packaging.requirements import InvalidRequirement, Requirement


def version_of(distribution: str) -> str:
    """The installed version of a distribution, or ``""`` where there is none."""
    try:
        return importlib_metadata.version(distribution)
    except importlib_metadata.PackageNotFoundError:
        return ""


def requirements_of(distribution: str, *extras: str) -> list[Requirement]:
    """What an installed distribution asks for here, with some of its extras, other than itself."""
    found: dict[str, Requirement] = {}
    lines = importlib_metadata.requires(distribution) if version_of(distribution) else []
    for line in lines or []:
        try:
            each = Requirement(line)
        except InvalidRequirement:
            continue
        marker = each.marker
        if each.name != distribution and (
            marker is None or any(marker.evaluate({"extra": extra}) for extra in (*extras, ""))
        ):
            found.setdefault(each.name, each)
    return list(found.values())
