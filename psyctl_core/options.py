"""The options of a component: the fields of its config, which become command-line flags and run.json's settings."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar, Protocol, TypeAlias, TypeVar

from psyctl_core.errors import UsageError
from psyctl_core.records import JsonValue

OptionValue: TypeAlias = "str | int | float | bool | Path | None"
"""What an option can be set to."""

T = TypeVar("T")


class Config(Protocol):
    """A component's config: an instance of a frozen dataclass whose fields are its options."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[OptionValue]]]


def option(
    default: T,
    *,
    help: str,
    flag: str = "",
    env: str = "",
    parse: Callable[[str], T] | None = None,
    secret: bool = False,
    identity: bool = True,
    saved: Callable[[T], T] | None = None,
    rare: bool = False,
    suggest: tuple[str, ...] = (),
    pin: str = "",
) -> T:
    """Declare a field of a component's config, and so a command-line flag.

    Args:
        default: The value when neither the flag nor the environment variable is given.
        help: The flag's help text.
        flag: A shorter spelling such as ``--model``; components may share one, it goes to the chosen one.
        env: Environment variable read when the flag is not given.
        parse: Turns the environment variable's text into a value; needed with ``env`` unless text is wanted.
        secret: Kept out of ``repr``, files and messages.
        identity: Whether a different value makes a different run (batch sizes and workers do not).
        saved: Gives what of a value is written to files and shown, where a value can hold a secret, as an address
            can hold a password.
        rare: ``--help`` leaves it to ``--help-all``.
        suggest: Values that shells complete, besides files.
        pin: Of an option that names something on the Hugging Face Hub: the key of the component's ``identity()`` whose
            value is the commit that was used. A recipe made of a run then says ``NAME@COMMIT``.

    Returns:
        A dataclass field (typed as the value, as :func:`dataclasses.field` is).

    Raises:
        UsageError: When a config is made while the environment variable holds what ``parse`` refuses.
    """

    metadata = {
        "help": help,
        "flag": flag,
        "env": env,
        "secret": secret,
        "identity": identity,
        "saved": saved,
        "default": default,
        "rare": rare,
        "suggest": suggest,
        "pin": pin,
    }
    value = partial(_value, default, env, parse)
    field: T = dataclasses.field(default_factory=value, repr=not secret, metadata=metadata)
    return field


def _value(default: T, env: str, parse: Callable[[str], T] | None) -> T:
    text = os.environ.get(env, "").strip() if env else ""
    if not text:
        return default
    try:
        return parse(text) if parse else text  # type: ignore[return-value]
    except ValueError as error:
        raise UsageError(
            f"{env}={text!r} cannot be used: {error}.", f"Set {env} to another value or unset it."
        ) from error


PASSWORD = re.compile(r"://[^/@\s]+@")
"""An address with a user name or a password in it, which no file may keep."""


def settings(config: Config, *, identity: bool = False) -> dict[str, JsonValue]:
    """A config's options as JSON values, secrets left out, and addresses without a password.

    Args:
        config: An instance of a component's config dataclass.
        identity: Take only those that decide the dataset.
    """
    found: dict[str, JsonValue] = {}
    for field in dataclasses.fields(config):
        if field.metadata.get("secret", False) or (identity and not field.metadata.get("identity", True)):
            continue
        value = getattr(config, field.name)
        saved = field.metadata.get("saved")
        value = saved(value) if saved else value
        value = str(value) if isinstance(value, Path) else value
        found[field.name] = PASSWORD.sub("://***@", value) if isinstance(value, str) else value
    return found
