"""What stands before a line's colon: a speaker, a field of a form, or a part of the sentence.

Times are taken off, as chat exports write them, and so are emphasis, list marks and parentheses.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from psyctl_soda.shapes.roles import ASSISTANT, role
from psyctl_soda.text import MAX_RAW

_DATE = (
    r"(?:\d{1,4}[./-]\d{1,2}[./-]\d{1,4}\.?|\d{1,2} \w{3,9} \d{4}|\d{4}년 ?\d{1,2}월 ?\d{1,2}일|\w{3} \d{1,2}, \d{4})"
)
_CLOCK = (
    r"(?:(?:오전|오후|上午|下午|午前|午後|AM|PM) ?)?\d{1,2}[:.h]\d{2}(?::\d{2})?(?:[.,]\d{1,6})?"
    r"(?:[ \u202f\u00a0]?[AaPp]\.?[ \u00a0]?[Mm]\.?)?(?:Z|[ ]?[+-]\d{2}:?\d{2}| UTC)?"
)
_STAMP = rf"(?:{_DATE}(?:[,T ]{{1,3}}{_CLOCK})?|(?:(?:Today|Yesterday) at )?{_CLOCK})"
_LEADING_TIME = re.compile(
    rf"^[\u200e\u200f]?(?:\[{_STAMP}\]|\({_STAMP}\)|<{_STAMP}>|{_STAMP})[ \u00a0]*(?:[-–—|~•\t:][ ]*)?"
)
_TRAILING_TIME = re.compile(rf"[ ,]*(?:\[{_STAMP}\]|\({_STAMP}\)|[-–—|@] ?{_STAMP}|{_STAMP})$")
_TIME_IN_LABEL = re.compile(
    rf"^([^:：\n]{{1,40}}?)[ ,]*(?:\[{_STAMP}\]|\({_STAMP}\)|[ ,]{_STAMP})(?=[*_~]{{0,3}} ?[:：])"
)
_KAKAO = re.compile(rf"^\[([^\[\]]{{1,40}})\] \[{_CLOCK}\] (.*)$", re.DOTALL)
_LINE_TABS = re.compile(rf"^{_CLOCK}\t([^\t\n]{{1,40}})\t(.*)$", re.DOTALL)
_HEADING = re.compile(rf"^([^\W\d_][^:：\n,\d]{{0,40}}?)(?:,? {{1,3}}|\t|, )[\[(]?{_STAMP}[\])]?$")
"""A name and a time on a line of their own, the words below, as transcripts and Telegram's copies have it."""

_NICK = re.compile(r"^<([@+%~&]?[\w\[\]\\^{}|`'. -]{1,30})> (.*)$", re.DOTALL)

_MARKS = re.compile(r"^(?:[-•·*>#]{1,4}[ \t]+|\d{1,3}[.)][ \t]+|>+|#{1,4} ?(?=\w))")
_LABEL = re.compile(
    r"^(?P<marks>[*_~\"“'«\[(#]{0,3})(?P<label>[^\W_][^:：\n]{0,79}?)"
    r"(?P<ends>[*_~\"”'»\])#]{0,3}) ?(?:[:：](?!//|\d\d)|(?<!\d)[:：](?!//))"
    r"(?P<more>[*_~]{0,3})\s*(?P<words>.*)$",
    re.DOTALL,
)
_ASIDE = re.compile(r"\s*(?:\([^()]{0,80}\)|\[[^\[\]]{0,80}\]|\*[^*]{1,80}\*|<[^<>]{1,80}>)\s*")

STAGE = {
    "scene", "setting", "location", "place", "stage", "act", "cut to", "fade in", "fade out", "int", "ext", "title",
    "chapter", "episode", "narrator", "narration", "voiceover", "scene description", "background", "context",
    "situation", "opening scene", "scenario", "time", "date", "stage direction", "stage directions", "curtain",
}  # fmt: skip
"""Labels of lines that set the scene and are not spoken by anybody in it."""

FIELDS = {
    "name", "age", "gender", "sex", "occupation", "job", "personality", "appearance", "description", "likes",
    "dislikes", "hobbies", "species", "height", "weight", "hair", "eyes", "backstory", "history", "traits", "goals",
    "goal", "summary", "keywords", "topic", "subject", "from", "to", "cc", "bcc", "date", "time", "sent", "re", "ps",
    "p.s", "note", "notes", "nb", "example", "examples", "hint", "warning", "tip", "tips", "step", "url", "link",
    "source", "category", "tags", "title", "author", "language", "genre", "rating", "price", "address", "phone",
    "email", "ingredients", "instructions", "directions", "explanation", "reason", "result", "conclusion", "output",
    "total", "edit", "update", "tldr", "tl;dr", "first message", "greeting", "world", "skills", "relationships",
    "race", "birthday", "nationality", "emotion", "sentiment", "definition", "passage", "document", "choices",
    "options", "premise", "hypothesis", "label", "body", "clothes", "outfit", "speech", "mind", "sexuality",
    "attributes", "day", "part", "section", "item", "option", "point", "week", "method", "answer key", "problem",
    "solution", "claim", "evidence", "fact", "facts", "opinion", "pros", "cons", "input", "task", "objective",
    "materials", "abilities", "quirks", "features",
}  # fmt: skip
"""Labels of forms, letters and lists."""

_SENTENCE = {
    "i", "my", "me", "your", "you", "we", "our", "us", "is", "are", "was", "were", "am", "be", "it", "its", "this",
    "that", "these", "those", "here", "there", "so", "but", "because", "what", "why", "how", "when", "where", "which",
    "if", "not", "no", "yes", "please", "ok", "okay", "just", "can", "could", "will", "would", "should", "do", "does",
    "did", "has", "have", "had", "said", "says", "for", "as", "than", "then", "also", "only", "one", "let", "let's",
    "like", "about", "following", "i'm", "it's", "don't", "you're", "we're", "i'll", "means", "need", "needs",
    "think", "know", "see", "get",
}  # fmt: skip
"""Words that make a label a sentence's beginning."""


_ALONE = {"you", "i", "me", "one"}
"""Words among these that are speakers where they stand alone, as in ``You: ...``."""

_ARTICLES = {"the", "a", "an", "some", "another", "other", "first", "second", "next", "all", "in", "on", "at", "of"}


_SLUG = re.compile(r"(?:INT|EXT|INT/EXT|I/E)[. ]|(?:FADE (?:IN|OUT)|CUT TO|DISSOLVE TO|SMASH CUT)\b")
"""How a film script begins a scene, or ends one."""


class Parted(NamedTuple):
    """A line in its parts: a label, "" where it has none, and its words."""

    label: str
    words: str


def lines_of(text: str) -> list[str]:
    """A text's lines; line ends written as backslash-n, as some exports do, count where there are no others."""
    text = text[:MAX_RAW]
    if "\n" not in text and "\\n" in text:
        text = text.replace("\\r", "").replace("\\n", "\n")
    return text.splitlines()


@functools.lru_cache(maxsize=4096)
def parted(line: str) -> Parted:
    """A line's label and words, times and marks taken off; the label is "" where none can be a speaker's name."""
    line = line.strip()
    export = _KAKAO.match(line) or _LINE_TABS.match(line)
    if export:
        return Parted(export[1].strip(), export[2])
    time = _LEADING_TIME.match(line)
    rest = line[time.end() :] if time else line
    heading = _HEADING.match(line)
    if heading and _label(heading[1]):
        return Parted(_label(heading[1]), "")
    nick = _NICK.match(rest)
    if nick and (time or ":" not in nick[1]):
        return Parted(nick[1].lstrip("@+%~&").strip(), nick[2])
    rest = _TIME_IN_LABEL.sub(r"\1", _MARKS.sub("", rest), count=1)
    found = _LABEL.match(rest)
    if found is None or (found["marks"][:1] in "[(" and found["marks"] and not found["ends"]):
        return Parted("", line)
    name = _label(found["label"] + (found["ends"] if found["ends"].startswith((")", "]")) else ""))
    return Parted(name, found["words"].strip()) if name else Parted("", line)


def _label(text: str) -> str:
    """A label without times, parentheses and emphasis; "" where it is a sentence's beginning, a time or an address."""
    name = _ASIDE.sub(" ", _TRAILING_TIME.sub("", text)).strip(" *_~\"“”'«»#-–—")
    if not name or not any(ch.isalpha() for ch in name) or name.lower() in ("http", "https", "mailto", "ftp"):
        return ""
    words = name.split()
    if len(name) > 60 or len(words) > 5 or (name[-1] in ".!?,;" and not name.endswith(("Mr.", "Jr.", "Sr."))):
        return ""
    plain = [word.lower().strip(".,!?") for word in words]
    if role(name) in ("User", ASSISTANT) or len(words) == 1:
        return "" if plain[0] in _SENTENCE - _ALONE else name
    if any(word in _SENTENCE for word in plain) or words[0] in _ARTICLES:
        return ""
    return (
        name if words[0][0].isupper() or not words[0][0].isalpha() or not words[0].isascii() or len(words) < 3 else ""
    )


def is_stamped(line: str) -> bool:
    """Whether a line begins with a time, as every message of a chat export does."""
    return _LEADING_TIME.match(line.strip()) is not None


def is_stage(line: str) -> bool:
    """Whether a line sets the scene or says what is done: bracketed, or labelled as a scene."""
    text = line.strip().strip("*_ ")
    if len(text) > 1 and (text[0], text[-1]) in (("[", "]"), ("(", ")"), ("{", "}"), ("【", "】"), ("（", "）")):
        return not _KAKAO.match(text)
    head, colon, _ = text.partition(":")
    return (bool(colon) and _plain(head) in STAGE) or _SLUG.match(text) is not None


def _plain(head: str) -> str:
    """A label in small letters, its numbers and marks left out."""
    return re.sub(r"[\W\d_]+", " ", head).strip().lower()


def stage_text(line: str) -> str:
    """What a scene line says, without brackets and its label."""
    text = line.strip().strip("*_ ").strip("[](){}【】（）").strip()
    head, colon, rest = text.partition(":")
    return rest.strip() if colon and _plain(head) in STAGE else text


def is_field(name: str) -> bool:
    """Whether a label is one of a form rather than somebody's name."""
    known = name.lower().strip(" .#0123456789")
    return known in FIELDS or known in STAGE or known.endswith((" persona", "'s personality", "'s description"))
