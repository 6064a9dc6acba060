"""Finds the published JSON Schemas and applies them."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

VERSIONS = {"caa-record": 2, "scenario": 2, "checkpoint": 1, "run": 1, "recipe": 1, "progress": 1, "steering": 1}
"""The schemas by name, and the version of each that is written today."""


def path(name: str) -> Path:
    """Where a schema's file is: inside the installed package, or at the top of a checkout."""
    file = f"{name}.v{VERSIONS[name]}.schema.json"
    here = Path(__file__).resolve().parent
    installed = here / "schemas" / file
    return installed if installed.exists() else here.parent / "schemas" / file


def load(name: str) -> dict[str, Any]:
    """A schema as a dictionary; ``name`` is one of :data:`VERSIONS`."""
    schema: dict[str, Any] = json.loads(path(name).read_text(encoding="utf-8"))
    return schema


@functools.cache
def validator(name: str) -> Draft202012Validator:
    """The validator of one schema, made once (importing jsonschema only now)."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator(load(name))


@functools.cache
def _accepts(name: str) -> Callable[[object], object]:
    """The schema compiled to Python code: an order of magnitude quicker where nothing is wrong."""
    import fastjsonschema

    accepts: Callable[[object], object] = fastjsonschema.compile(load(name))
    return accepts


def problem(name: str, instance: object) -> str:
    """What is wrong with ``instance`` in one line, or nothing.

    Args:
        name: The schema's name.
        instance: JSON values: dictionaries, lists, texts, numbers, booleans, None.
    """
    try:
        _accepts(name)(instance)
        return ""
    except ValueError:
        pass  # jsonschema says best what is wrong
    for error in validator(name).iter_errors(instance):
        where = "/".join(str(step) for step in error.absolute_path) or "the whole"
        met = f", and it is {json.dumps(error.instance)[:50]}" if error.validator == "const" else ""
        return f"{where}: {error.message[:300]}{met}"
    return ""
