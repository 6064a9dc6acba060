"""Reads where the servers are: one address, several, or a file of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from psyctl_core.errors import UsageError
from psyctl_openrouter.client import scrub
from psyctl_openrouter.settings import address_of, key_of

MAX_FILE = 2**20
"""Bytes of a file of addresses that are read: ten thousand of them fit."""


def addresses_of(text: str, key: str, flag: str) -> list[tuple[str, str]]:
    """The servers' addresses in the form that paths are added to, each with its key.

    Args:
        text: Addresses with commas between them; ``@FILE`` stands for those in a file, which has one a line, maybe
            with a blank and a key of its own behind it. Lines that begin with ``#`` are left out.
        key: For all that have none of their own.
        flag: What the backend's options begin with.

    Raises:
        UsageError: One is no address, stands there twice, or a file cannot be used.
    """
    found: dict[str, str] = {}
    hint = f"Give {flag}-base-url like http://gpu1:8000/v1,http://gpu2:8000/v1, or @FILE with one a line."
    for item in text.split(","):
        item = item.strip()
        if not item and "," in text:
            raise UsageError(f"'{text}' has an empty place between its commas.", hint)
        for where, url, own in _in_file(item[1:].strip(), hint) if item.startswith("@") else [("", item, "")]:
            try:
                address = address_of(url, flag)
            except UsageError as error:
                raise UsageError(
                    f"{where}{scrub(error.message, key)}", hint if where or "," in text else error.hint
                ) from None
            if _alike(address) in map(_alike, found):
                raise UsageError(f"{where}{address} is named twice.", "Name each server once.")
            found[address] = key_of(own or key, "server")
    return list(found.items())


def _in_file(name: str, hint: str) -> Iterator[tuple[str, str, str]]:
    """Each line's place for messages, its address and its own key."""
    path = Path(name).expanduser()
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE + 1)
        lines = raw.decode("utf-8-sig").splitlines()
    except OSError as error:
        raise UsageError(f"The file of servers '{name}' cannot be read: {error.strerror}.", hint) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"The file of servers '{name}' is not text in UTF-8.", hint) from error
    if len(raw) > MAX_FILE:
        raise UsageError(f"The file of servers '{name}' is longer than {MAX_FILE} bytes.", hint)
    entries = [(number, line.split()) for number, line in enumerate(lines, 1)]
    entries = [(number, words) for number, words in entries if words and not words[0].startswith("#")]
    if not entries:
        raise UsageError(f"The file of servers '{name}' names none.", hint)
    for number, words in entries:
        if len(words) > 2:
            raise UsageError(
                f"{name}, line {number}: there is more than an address and a key.", "Write one server a line."
            )
        yield f"{name}, line {number}: ", words[0], words[1] if len(words) == 2 else ""


def _alike(address: str) -> str:
    """An address as it is compared: the host's name means the same in any case."""
    scheme, _, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host}{slash}".lower() + path
