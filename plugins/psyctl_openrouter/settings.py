"""Checks what the user set before anything is sent: numbers, the key, the address."""

from __future__ import annotations

import ipaddress
import logging
import math
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from psyctl_core.errors import UsageError
from psyctl_core.figures import counted
from psyctl_openrouter import OpenAIConfig, OpenRouterConfig
from psyctl_openrouter.outcome import MAX_REQUESTS, Service

log = logging.getLogger("psyctl")

_ORPHAN = re.compile(r"[0-9a-f]{6}=[\w.:-]{1,200}")
"""A batch's code and its id at the server, or what to do instead."""

_API_VERSION = re.compile(r"api-version=[\w.-]{1,40}")
"""What may stand after a base URL's path (Azure OpenAI REST API reference)."""


def warn_of_open_key(services: Sequence[Service]) -> None:
    """Say where a key goes to another machine without encryption."""
    parts = [urlsplit(service.base_url) for service in services if service.key]
    hosts = [part.hostname or "" for part in parts if part.scheme == "http"]
    open_to = list(dict.fromkeys(host for host in hosts if not _is_here(host)))
    if open_to:
        where = ", ".join(open_to[:5]) + (" and others" if len(open_to) > 5 else "")
        log.warning("The API key goes to %s without encryption: anybody between can read it. Use https.", where)


def _is_here(host: str) -> bool:
    """Whether a host is this machine, by its name alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def names(text: str) -> list[str]:
    """The names in a list with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def check(config: OpenRouterConfig | OpenAIConfig, flag: str) -> None:
    """Refuse numbers that make no sense. Raises UsageError."""
    if config.max_workers < 1:
        raise UsageError(
            f"{counted(config.max_workers, 'worker')} can do nothing.", f"Give {flag}-max-workers 1 or more."
        )
    if config.retries < 0:
        raise UsageError(
            f"Trying again {counted(config.retries, 'time')} makes no sense.", f"Give {flag}-retries 0 or more."
        )
    if not (config.timeout > 0 and math.isfinite(config.timeout)):
        raise UsageError(f"A timeout of {config.timeout:g} s leaves no time.", f"Give {flag}-timeout above 0.")
    if not 1 <= config.batch_size <= MAX_REQUESTS:
        raise UsageError(
            f"A batch of {counted(config.batch_size, 'request')} cannot be made.",
            f"Give {flag}-batch-size 1 to {MAX_REQUESTS}.",
        )
    if not (config.batch_poll > 0 and math.isfinite(config.batch_poll)):
        raise UsageError(f"Looking every {config.batch_poll:g} s makes no sense.", f"Give {flag}-batch-poll above 0.")
    if config.batch_orphan and not _ORPHAN.fullmatch(config.batch_orphan.strip()):
        raise UsageError(
            f"'{config.batch_orphan}' does not say what became of a batch.",
            f"Give {flag}-batch-orphan only where a message asks for it, as it says there.",
        )
    if not config.patience >= 0:
        raise UsageError(f"A patience of {config.patience:g} s makes no sense.", f"Give {flag}-patience 0 or more.")


def key_of(key: str, owner: str) -> str:
    """The key without the blanks around it. Raises UsageError where it cannot be one."""
    key = key.strip()
    if not all("!" <= ch <= "~" for ch in key):
        # Said here and without the key: the HTTP libraries would put it into their message.
        raise UsageError(
            f"The {owner} API key holds a character that no key has, such as a blank or a typographic quote.",
            "Copy it again.",
        )
    return key


def address_of(url: str, flag: str) -> str:
    """The address in the form that paths are added to; of a query only Azure's ``api-version`` is kept.

    Raises:
        UsageError: It is not an address, or holds what must not be saved with the run.
    """
    base, mark, query = url.strip().partition("?")
    base = base.rstrip("/").removesuffix("/chat/completions").rstrip("/")
    wrong = ""
    try:
        parts = urlsplit(f"{base}{mark}{query}")
        if parts.username or parts.password:
            wrong = "it holds a user name or password, which would be saved with the run"
        elif parts.fragment or (mark and not _API_VERSION.fullmatch(query)):
            wrong = "it goes on after the path, where only Azure's ?api-version=DATE may stand"
        elif parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            wrong = f"'{base.rpartition('@')[2]}' is not an http or https address"
    except ValueError:
        wrong = "it is not an http or https address"
    if wrong:
        raise UsageError(
            f"The base URL cannot be used: {wrong}.", f"Give {flag}-base-url like http://localhost:8000/v1."
        )
    return f"{base}{mark}{query}"
