"""What a server does not take, learnt from its refusals: a field, a name for a field, or a role.

Servers and models differ in small things: Gemma 2's chat template has no system role, OpenAI's newer models call
``max_tokens`` another name, Mistral's API forbids fields that it does not know. The request is then asked again
without, the user is told once, and all further requests keep to it.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Collection
from dataclasses import dataclass, replace

from psyctl_openrouter.outcome import Service

log = logging.getLogger("psyctl")

MAX_CHANGES = 12
"""Changes after which a server that still refuses is believed."""

_KEPT = ("model", "messages", "provider", "service_tier")
"""Fields that are never left out: without ``provider`` a text might go where it must not, and without
``service_tier`` it would cost more."""

_UNKNOWN = (
    r"unsupported"
    r"|not (?:be |currently |yet )?(?:support|allow|permit|accept|recogni[sz]|enabled|available|implement)\w*"
    r"|does(?:n't| not) (?:support|accept|allow|take)|unknown|unrecogni[sz]ed|unexpected|extra|forbidden|deprecated"
    r"|removed|cannot find|no such|invalid (?:field|parameter|argument|key|property)|only the default|disallow"
)
_REFUSING = re.compile(
    rf"{_UNKNOWN}|invalid|must|only|should|cannot|can't|expected|incompatible|remove|drop|conflict|no support|instead",
    re.I,
)
_IS_UNKNOWN = re.compile(_UNKNOWN, re.I)
_OF_VALUE = re.compile(
    r"(?:must|should|has to|needs to) be|greater|less than|positive|between|range|at (?:least|most)|[<>]=?\s*-?\d", re.I
)
_EXPECTED = re.compile(
    r"(?:expected one of|(?:supported|allowed|valid|known|permitted) \w+ (?:are|is|include)).*", re.I | re.S
)
_ANOTHER_NAME = re.compile(r"\b(max_(?:completion|output|new)_tokens|num_predict|n_predict)\b")

_SYSTEM = re.compile(
    r"\bsystem\b.{0,40}\b(?:role|message|prompt|instruction|turn)s?\b|\b(?:role|message)s?\b.{0,40}\bsystem\b"
    r"|developer (?:instruction|message|role)|system_instruction|only user and assistant|alternat",
    re.I,
)
_PREFILL = re.compile(
    r"prefill|continue_final_message|add_generation_prompt|(?:last|final) (?:message|role|turn)"
    r"|assistant (?:message|response|role|turn|prefix)|(?:end|begin|start)s? with (?:an? )?(?:user|assistant)|alternat",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a request's body is written.

    Attributes:
        system: Whether system text goes into a message of its own, instead of the user's.
        prefill: Whether an answer may be begun.
        limit: What the most tokens are called.
        omitted: Fields that are left out.
        picky: Whether a provider must know all fields where probabilities are asked for.
    """

    system: bool = True
    prefill: bool = True
    limit: str = "max_tokens"
    omitted: frozenset[str] = frozenset()
    picky: bool = True


class Adapter:
    """Learns a server's dialect; used by several threads.

    Args:
        service: Who is asked.

    Attributes:
        dialect: As known so far.
        notes: What was learnt, in words, in the order of learning.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = threading.Lock()
        self.dialect = Dialect()
        self.notes: list[str] = []

    def learn(self, said: str, fields: Collection[str], used: Dialect, sent: Collection[str], *, begun: bool) -> bool:
        """Take in a refusal; whether it is worth asking again.

        Args:
            said: The server's words.
            fields: What the error names in a place of its own, as dotted paths.
            used: The dialect of the refused request.
            sent: The fields of its body.
            begun: Whether its answer was begun.
        """
        return self._take(change_for(said, fields, used, sent, begun=begun), said, used)

    def be_less_picky(self, said: str, used: Dialect) -> bool:
        """Take in that nobody knows all fields of a request for probabilities; whether to ask again."""
        note = "providers need not know all fields, and may tell no probabilities,"
        return self._take((replace(used, picky=False), note) if used.picky else None, said, used)

    def _take(self, change: tuple[Dialect, str] | None, said: str, used: Dialect) -> bool:
        with self._lock:
            if self.dialect != used:
                return True  # another thread learnt meanwhile
            if change is None or len(self.notes) >= MAX_CHANGES:
                return False
            self.dialect, note = change
            self.notes.append(note)
            log.warning('%s said "%s", so %s from now on.', self._service.name, said, note)
            return True


def change_for(
    said: str, fields: Collection[str], used: Dialect, sent: Collection[str], *, begun: bool
) -> tuple[Dialect, str] | None:
    """The dialect to try after a refusal, and what changed, in words; ``None`` where nothing of it can be mended."""
    if not _REFUSING.search(said) and not fields:
        return None
    roles = [path for path in fields if path.startswith("messages")]
    if used.system and (
        _SYSTEM.search(said) or any(path.startswith(("messages.0", "messages.system")) for path in roles)
    ):
        return replace(used, system=False), "system text is put into the user's message"
    if begun and used.prefill and (_PREFILL.search(said) or any(not path.startswith("messages.0") for path in roles)):
        return replace(used, prefill=False), "answers are not begun for the model (as with prefill off)"
    named = [field for field in sent if field not in _KEPT and _is_named(field, said, fields)]
    if used.limit in named:
        return _renamed(used, said)
    if "temperature" in named and _OF_VALUE.search(said) and not _IS_UNKNOWN.search(said):
        return None  # a value that the user can give
    if "reasoning" in named and not _IS_UNKNOWN.search(said):
        return None  # thinking costs money: the user decides
    if not named:
        return None
    own = " (the model's own is used: --temperature has no effect)" if "temperature" in named else ""
    note = f"{' and '.join(f'`{field}`' for field in named)} {'is' if len(named) == 1 else 'are'} left out{own}"
    return replace(used, omitted=used.omitted | set(named)), note


def _renamed(used: Dialect, said: str) -> tuple[Dialect, str] | None:
    another = next((name for name in _ANOTHER_NAME.findall(said) if name != used.limit), "")
    if not another and (used.limit != "max_tokens" or not _IS_UNKNOWN.search(said)):
        return None
    another = another or "max_completion_tokens"
    return replace(used, limit=another), f"`{another}` is sent instead of `{used.limit}`"


def _is_named(field: str, said: str, fields: Collection[str]) -> bool:
    """Whether a refusal is about a field of the body."""
    if any(path.split(".")[0] == field for path in fields):
        return True
    # What comes after "expected one of" is what the server knows.
    refused = _EXPECTED.sub("", said)
    word = re.escape(field)
    if "_" in field or field in ("seed", "temperature"):
        return re.search(rf"(?<![\w.]){word}(?!\w)", refused) is not None
    # Ordinary words: in quotation marks, or called a field.
    quoted = rf"['\"`\[({{]{word}['\"`\])}}]"
    called = rf"(?:parameter|field|argument|propert(?:y|ies)|key|name|option|input)s?(?: \w+)?:? {word}\b"
    subject = rf"(?<![\w.]){word}(?: is| are|:)"
    return re.search(f"{quoted}|{called}|{subject}", refused) is not None
