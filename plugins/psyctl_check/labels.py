"""Whether a tokenizer reads the option's digit or letter as one token, and the rest of both choices alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from psyctl_check.figures import wilson
from psyctl_check.texts import untold
from psyctl_core.checks import CheckedPair, CheckFacts, Finding
from psyctl_core.errors import UsageError
from psyctl_core.figures import counted


def labels(pairs: Sequence[CheckedPair], facts: CheckFacts) -> Finding:
    """The share of pairs whose two choices differ in more than the one token that names the option.

    Raises:
        UsageError: Transformers is not installed, or there is no such tokenizer.
    """
    choices = [pair for pair in pairs if pair.question and all(pair.labels)]
    if not choices:
        return untold("the file has no choices such as '(1' and '(2'")
    if not facts.tokenizer:
        return untold("it takes a tokenizer; name the model's with --tokenizer NAME_OR_FOLDER")
    tokenizer = _tokenizer(facts.tokenizer)
    worst = [(pair.id, wrong) for pair in choices if (wrong := _wrong(pair, tokenizer))]
    text = f"{len(worst)} of {counted(len(choices), 'choice')} are not one token that names the option"
    return Finding(len(worst) / len(choices), text, wilson(len(worst), len(choices)), worst=worst)


def _wrong(pair: CheckedPair, tokenizer: Any) -> str:
    ids = [tokenizer.encode(pair.question + label, add_special_tokens=False) for label in pair.labels]
    if len(ids[0]) != len(ids[1]):
        return f"{pair.labels[0]} and {pair.labels[1]} take {len(ids[0])} and {counted(len(ids[1]), 'token')}"
    different = [place for place, (one, other) in enumerate(zip(*ids, strict=True)) if one != other]
    for tokens, label in zip(ids, pair.labels, strict=True):
        read = [tokenizer.decode([tokens[place]]).strip() for place in different]
        if read != [re.sub(r"\W", "", label)]:
            return f"'{label}' is told from the other by {read}"
    behind = len(ids[0]) - 1 - different[0]
    if behind and not pair.labels[0].endswith(")"):
        return f"behind the option's there is more: {counted(behind, 'token')}"
    return ""


def _tokenizer(name: str) -> Any:
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise UsageError(
            f"Tokenizers are read by packages that are not installed ({error}).",
            "Install them with: pip install 'psyctl[hf]'",
        ) from None
    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        why = str(error).strip().partition("\n")[0].rstrip(".")
        raise UsageError(f"The tokenizer '{name}' cannot be had: {why}.", "Give a folder or a Hub name.") from None
