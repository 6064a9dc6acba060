"""Keeps back what is nobody else's: folders of this machine, addresses of its network, and keys."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from psyctl_core.records import JsonValue

_PART = r"[^\s\\/\"'<>|]+"
_PLACE = re.compile(
    r"(?P<address>[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+)"
    rf"|(?<!\w)[A-Za-z]:[\\/](?:{_PART}[\\/])*(?:{_PART})?"
    rf"|\\\\{_PART}(?:\\{_PART})+"
    rf"|(?<![\w.:/\\~-])(?:~[\w.-]*(?:/{_PART})+|(?:/{_PART}){{2,}})/?"
)
_WHOLE = re.compile(r"(?:[A-Za-z]:[\\/]|\\\\|/|~[\w.-]*/|\.{1,2}[\\/])")

_NAMES = re.compile(r"(?:^|_)(?:TOKEN|(?:API)?KEY|SECRET|PASSWORD|PASSWD)$", re.IGNORECASE)
_KEYS = re.compile(
    r"\bhf_[A-Za-z0-9]{20,}|\bsk-[A-Za-z0-9_-]{20,}|\bgh[opsu]_[A-Za-z0-9]{30,}|\bAKIA[0-9A-Z]{16}\b"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
SHORTEST = 8
"""A value with fewer characters is not taken for a key: it would be found in ordinary text."""

OWN_ADDRESS = "(an address of its own)"
"""Stands for an address that means nothing outside its network."""


def public(text: str) -> str:
    """A text of run.json with paths cut to their last part, and addresses without passwords and what was asked.

    Args:
        text: One value, or a sentence with paths and addresses in it.
    """
    if _WHOLE.match(text) and "\n" not in text:
        return _last(text)
    return _PLACE.sub(lambda found: _address(found[0]) if found["address"] else _last(found[0]), text)


def public_value(value: JsonValue) -> JsonValue:
    """A JSON value in which each text is :func:`public`."""
    if isinstance(value, str):
        return public(value)
    if isinstance(value, Mapping):
        return {public(name): public_value(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [public_value(inner) for inner in value]
    return value


def is_secret(name: str) -> bool:
    """Whether an option or a variable of that name holds a key."""
    return bool(_NAMES.search(name))


def has_key(text: str) -> bool:
    """Whether a text holds something with the form of a key, or the value of a variable that is named as one."""
    known = {value for name, value in os.environ.items() if is_secret(name) and len(value) >= SHORTEST}
    return bool(_KEYS.search(text)) or any(value in text for value in known)


def _last(path: str) -> str:
    return re.split(r"[\\/]+", path.rstrip("\\/"))[-1] or "(a folder)"


def _address(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
    except ValueError:
        return OWN_ADDRESS
    if parts.scheme == "file":
        return _last(parts.path)
    if parts.scheme != "hf" and _is_own(host):
        return OWN_ADDRESS
    place = parts.netloc if parts.scheme == "hf" else host + port
    return urlunsplit((parts.scheme, place, parts.path, "", ""))


def _is_own(host: str) -> bool:
    """Whether a host means nothing elsewhere: a bare name, a private address (RFC 1918) or a local domain."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".lan", ".localdomain"))
