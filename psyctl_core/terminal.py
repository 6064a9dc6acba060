"""What leaves for a terminal: texts from files, servers and plugins can hold codes that it would obey.

Everything a command prints goes through :func:`say` or :func:`say_json`, or through :func:`visible` where another
library does the printing.
"""

from __future__ import annotations

import json
import re
import sys
from typing import TextIO

from psyctl_core.records import JsonValue

NOTICE = 25
"""The logging level of what a person should see on a line that stays, such as what a source understood of its rows."""

# Control codes but line breaks and tabs; line and paragraph separators; what turns the direction of text around
# (Unicode Standard Annex 9, section 2); halves of characters, which no encoding can write.
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """The text with every character that a terminal would obey spelled out, such as ``\\x1b`` for ESC.

    Args:
        text: What is to be printed; its line breaks and tabs are kept.
    """
    return text if text.isprintable() else _OBEYED.sub(_spelled, text)


def say(text: str = "", *, err: bool = False) -> None:
    """Print a line, made :func:`visible`.

    Args:
        text: The line, or several.
        err: To stderr.
    """
    _write(sys.stderr if err else sys.stdout, visible(text))


def ask_key(question: str) -> str:
    """Print a question and take one key in a terminal, the first character of a line elsewhere; ``""`` at the end."""
    sys.stdout.write(visible(question))
    sys.stdout.flush()
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()[:1]
    import typer

    key = typer.getchar()
    say(key)
    return key


def say_json(value: JsonValue, *, line: bool = False) -> None:
    """Print a value as JSON that reads back the same, with the characters that a terminal would obey escaped.

    Args:
        value: The value.
        line: As one line to stderr, which is an event among others.
    """
    stream = sys.stderr if line else sys.stdout
    few_letters = not (stream.encoding or "utf-8").lower().startswith("utf")
    _write(stream, _OBEYED.sub(_escaped, json.dumps(value, ensure_ascii=few_letters, indent=None if line else 2)))


def _write(stream: TextIO, text: str) -> None:
    stream.write(f"{text}\n")
    stream.flush()


def _spelled(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
