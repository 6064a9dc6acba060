"""Makes a text from a data set fit to be quoted: markup undone, one line, NFC, every script left as it is.

Which characters go and which stay follows the Unicode Standard (chapter 23, "Special Areas and Format
Characters"): control codes and layout overrides go; joiners, marks and everything printed stay, because
Persian, Indic scripts and emoji are spelled with them.
"""

from __future__ import annotations

import functools
import html
import html.entities
import re
import unicodedata

from psyctl_soda.markup import without_reasoning, without_tokens

MAX_RAW = 100_000
"""Characters of one value that are looked at: far more than a scenario may have."""

MAX_NAME = 100

_CONTROLS = str.maketrans(
    dict.fromkeys((*range(32), *range(127, 160)), " ")
    | dict.fromkeys((173, 65279, *range(8234, 8239), *range(8294, 8298)))
)
_INVISIBLE = " \u200b\u200c\u200d\u200e\u200f\u2060\u061c\ufe0e\ufe0f"
_SURROGATE = re.compile("[\ud800-\udfff]")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
_ATTRIBUTES = r"(?:\s+[\w:-]+\s*=[^<>]{0,2000})?\s*/?>"
_BLOCK_TAG = re.compile(
    r"</?(?:br|p|div|li|ul|ol|hr|tr|td|th|table|thead|tbody|blockquote|h[1-6]|dl|dt|dd|pre|section|article|header|"
    rf"footer|figure|figcaption|img|iframe|center|details|summary|html|body|head){_ATTRIBUTES}",
    re.IGNORECASE,
)
_INLINE_TAG = re.compile(
    r"</?(?:b|i|u|s|em|strong|span|a|font|sup|sub|small|big|code|del|ins|mark|kbd|abbr|cite|q|label|strike|tt|var|wbr|"
    rf"time){_ATTRIBUTES}",
    re.IGNORECASE,
)
_UNSEEN = re.compile(r"<!--.{0,2000}?-->|<(script|style)\b[^<>]{0,500}>.{0,2000}?</\1>", re.DOTALL | re.IGNORECASE)

_DASHES = ("–", "—", "―")
_DASH = re.compile(r"^[–—―] ?(?=\w|[¿¡\"“«„(…])")
"""With what a line of speech begins in French, Spanish or Russian print."""

_FENCES = ("```", "<functioncall>", "<tool_call>", "<tool_response>", "<function=", "[TOOL_CALLS]")
_CODE_LINE = re.compile(
    r"""^\s*(?:
        (?:def|class|elif|while|for|if|with|try|except|switch|catch)\b.*[:{]\s*$
      | (?:import|from|\#include|using|package|public|private|static|const|let|var|func|fn)\b.*[\w;>{)\]'"]\s*$
      | .*[;{}]\s*$
    )""",
    re.VERBOSE,
)
_NUMBERED = re.compile(r"#?([A-Za-z]{3,15})[ _-]?0*(\d{1,3})#?")
NUMBERED_WORDS = {
    "person", "participant", "user", "speaker", "character", "agent", "human", "player", "actor", "role", "student",
    "interlocutor",
}  # fmt: skip


def clean(value: object) -> str:
    """The value's text on one line, in NFC, markup escapes undone; "" for anything but a text.

    Args:
        value: What a column holds.

    Returns:
        A text without line breaks, control characters and outer or doubled spaces.
    """
    if not isinstance(value, str):
        return ""
    text = value if len(value) <= MAX_RAW else value[:MAX_RAW]
    if "&" in text or "<" in text or "_comma_" in text:
        text = _without_markup(text)
    if text.isascii():
        if not text.isprintable():
            text = text.translate(_CONTROLS)
        return " ".join(text.split())
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    text = " ".join(_SURROGATE.sub("\ufffd", text.translate(_CONTROLS)).split())
    return text if text.strip(_INVISIBLE) else ""


def _without_markup(text: str) -> str:
    """Undo EmpatheticDialogues' ``_comma_``, HTML entities and tags; templates and chat tokens stay."""
    text = text.replace("_comma_", ",")
    if "&" in text:
        text = _ENTITY.sub(_character, text)
    if "<" in text:
        text = _INLINE_TAG.sub("", _BLOCK_TAG.sub(" ", _UNSEEN.sub(" ", text)))
    return text


def _character(match: re.Match[str]) -> str:
    known = match[0][1] == "#" or match[0][1:] in html.entities.html5
    return html.unescape(match[0]) if known else match[0]


def prose(value: object) -> str:
    """A scene on one line, without reasoning and control tokens."""
    return clean(without_tokens(without_reasoning(value))) if isinstance(value, str) else ""


def spoken(value: object) -> str:
    """A turn's words on one line, without control tokens, and quotation marks around or left over at an end."""
    text = clean(without_tokens(value)) if isinstance(value, str) else ""
    if text[:1] in _DASHES:
        text = _DASH.sub("", text)
    if '"' in text:
        count = text.count('"')
        if count == 2 and text[0] == text[-1] == '"':
            text = text[1:-1].strip()
        elif count % 2 and text[-1] == '"':
            text = text[:-1].rstrip()
        elif count % 2 and text[0] == '"':
            text = text[1:].lstrip()
    elif text and text[0] == "“" and text[-1] == "”" and text.count("“") == text.count("”") == 1:
        text = text[1:-1].strip()
    return text


@functools.lru_cache(maxsize=10_000)
def _name(text: str) -> str:
    name = clean(text).strip("\"'*:#[]()<>“” ")
    numbered = _NUMBERED.fullmatch(name)
    if numbered and numbered[1].lower() in NUMBERED_WORDS:
        return f"{numbered[1].capitalize()} {numbered[2]}"
    return name if len(name) <= MAX_NAME and any(ch.isalnum() for ch in name) else ""


def clean_name(value: object) -> str:
    """A speaker's name on one line, ``#Person1#`` as ``Person 1``; "" where there is none to be used."""
    return _name(value) if isinstance(value, str) and len(value) <= 10 * MAX_NAME else ""


def is_machine_text(value: str) -> bool:
    """Whether a turn is code or a tool call rather than something a person says.

    Args:
        value: The text as stored, line breaks included.
    """
    text = value[:MAX_RAW]
    if ("`" in text or "<" in text or "[" in text) and any(fence in text for fence in _FENCES):
        return True
    stripped = text.strip()
    if stripped[:1] in ("{", "[") and stripped[-1:] in ("}", "]"):
        return bool(re.match(r"""\{\s*["']\w[^"']*["']\s*:|\[\s*(?:\{\s*["']|\d)""", stripped))
    if "\n" not in stripped:
        return False
    return sum(_CODE_LINE.match(line) is not None for line in stripped.splitlines()[:200]) >= 2
