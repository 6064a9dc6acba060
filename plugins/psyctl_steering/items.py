"""What an effect is measured on: held-out pairs, statements, and a questionnaire's items as statements and answers."""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from psyctl_core.errors import PsyctlError, SourceError, UsageError
from psyctl_core.figures import counted
from psyctl_core.local_models import LentModel
from psyctl_core.records import CaaRecord, ChatRequest, Message, prompt_of
from psyctl_steering.passes import Text

FACTORS = {
    "E": "Extroversion",
    "A": "Agreeableness",
    "C": "Conscientiousness",
    "N": "Neuroticism",
    "O": "Openness",
}
"""The factors of the questionnaire, by the letter that its items have."""

TRAITS = (*FACTORS.values(), "Machiavellianism", "Narcissism", "Psychopathy")
"""The traits that there are shipped statements of."""

OTHER_NAMES = {
    "extraversion": ("Extroversion", 1),
    "introversion": ("Extroversion", -1),
    "disagreeableness": ("Agreeableness", -1),
    "unconscientiousness": ("Conscientiousness", -1),
    "emotional stability": ("Neuroticism", -1),
    "openness to experience": ("Openness", 1),
}
"""Names that mean a trait or its opposite besides the traits' own, in lower case."""

DESCRIBE = "Describe yourself in one sentence."
"""What a statement answers."""

RATED = ("Very accurate", "Moderately accurate", "Neither accurate nor inaccurate", "Moderately inaccurate",
         "Very inaccurate")  # fmt: skip
"""The questionnaire's answers (https://ipip.ori.org/newIndexofScaleLabels.htm), from 5 points to 1."""

LETTERS = "ABCDE"

Values = torch.Tensor
"""One number for each item under each direction: shape ``[directions, items]``."""


@dataclass(frozen=True, slots=True)
class ItemSet:
    """Items to measure an effect on.

    Attributes:
        name: ``statements``, ``pairs``, ``ipip``, ``ipip-answers``, or the name of a file or data set of statements.
        unit: What their values are in.
        labels: What each item is called.
        signs: 1 where an item shows the trait, or is a contrast in its direction; -1 where it shows the opposite.
        write: Makes the texts, those of a group together, in the model's template under a system message or none.
        value: From the texts' log-probabilities, as :meth:`Passes.logprobs` has them, each item's number.
        mass: From the same, how much probability lies on the answers that count; ``None`` where every text does.
    """

    name: str
    unit: str
    labels: tuple[str, ...]
    signs: tuple[int, ...]
    write: Callable[[LentModel, str], list[list[Text]]]
    value: Callable[[Sequence[torch.Tensor]], Values]
    mass: Callable[[Sequence[torch.Tensor]], float] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def some(self, numbers: Sequence[int]) -> ItemSet:
        """A set of these items alone."""
        each = _PARTS.get(self.name, 1)

        def write(lent: LentModel, system: str) -> list[list[Text]]:
            groups = self.write(lent, system)
            if len(groups) == 1:
                return [[groups[0][number] for number in numbers]]
            return [groups[each * number + part] for number in numbers for part in range(each)]

        return ItemSet(
            self.name, self.unit, tuple(self.labels[i] for i in numbers), tuple(self.signs[i] for i in numbers),
            write, self.value, self.mass,
        )  # fmt: skip


_PARTS = {"ipip-answers": 2}
"""Groups of texts that an item has, where it is not one, or one for all."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence that somebody with the trait would say of themselves, or somebody with the opposite."""

    text: str
    sign: int


def pairs(records: Sequence[CaaRecord]) -> ItemSet:
    """Pairs of answers: each item's number is how much likelier a token of the positive answer is than of the other."""

    def write(lent: LentModel, system: str) -> list[list[Text]]:
        return [
            answered(lent, prompt_of(record), [record.positive_text, record.neutral_text], system) for record in records
        ]

    def value(found: Sequence[torch.Tensor]) -> Values:
        means = _means(found)
        return means[:, 0::2] - means[:, 1::2]

    labels = tuple(record.id for record in records)
    return ItemSet("pairs", "nats per token", labels, (1,) * len(records), write, value)


def statements(found: Sequence[Statement], name: str) -> ItemSet:
    """Statements: each item's number is the mean log-probability of its tokens."""

    def write(lent: LentModel, system: str) -> list[list[Text]]:
        return [answered(lent, DESCRIBE, [each.text for each in found], system)]

    return ItemSet(
        name, "nats per token", tuple(each.text for each in found), tuple(each.sign for each in found), write, _means
    )


def shipped(trait: str) -> list[ItemSet]:
    """The set of the shipped statements of a trait, half of them of its opposite; none for other traits.

    They were written for psyctl, after no questionnaire and no evaluation.
    """
    name, sign = known(trait)
    rows = [row for row in _shipped() if row["trait"] == name]
    found = [Statement(row["statement"], sign if row["matches_trait"] else -sign) for row in rows]
    return [statements(found, "statements")] if found else []


def questionnaire(trait: str) -> list[ItemSet]:
    """The IPIP-NEO-120's items of a trait, as statements and as questions with five answers; none for other traits.

    The items are Johnson's (2014, https://doi.org/10.1016/j.jrp.2014.05.003), in the public domain (ipip.ori.org).
    """
    name, sign = known(trait)
    rows = [row for row in ipip() if FACTORS[row["domain"]] == name]
    found = [Statement(sentence(row["text"]), sign * row["key"]) for row in rows]
    return [statements(found, "ipip"), answers(found)] if found else []


def factors() -> dict[str, list[Statement]]:
    """All items of the questionnaire as statements, by the factor's name."""
    return {
        name: [Statement(sentence(row["text"]), row["key"]) for row in ipip() if row["domain"] == letter]
        for letter, name in FACTORS.items()
    }


def answers(found: Sequence[Statement]) -> ItemSet:
    """Questions with five answers: an item's number is the points expected, 1 to 5, over both orders of answers."""

    def write(lent: LentModel, system: str) -> list[list[Text]]:
        return [[_asked(lent, each.text, order, system)] for each in found for order in (1, -1)]

    def value(logprobs: Sequence[torch.Tensor]) -> Values:
        likely = torch.stack(list(logprobs), 1).flatten(2).softmax(-1)  # among the five
        points = torch.tensor([[5.0, 4, 3, 2, 1], [1.0, 2, 3, 4, 5]])
        return (likely[:, 0::2] @ points[0] + likely[:, 1::2] @ points[1]) / 2

    def mass(logprobs: Sequence[torch.Tensor]) -> float:
        return float(torch.stack(list(logprobs), 1).flatten(2).exp().sum(-1).mean())

    labels, signs = tuple(each.text for each in found), tuple(each.sign for each in found)
    return ItemSet("ipip-answers", "points of 5", labels, signs, write, value, mass)


def known(trait: str) -> tuple[str, int]:
    """The trait among :data:`TRAITS` that a name means, and -1 where it means the opposite; else the name as it is."""
    names = {name.lower(): (name, 1) for name in TRAITS} | OTHER_NAMES
    return names.get(" ".join(trait.lower().split()), (trait, 1))


@functools.cache
def _shipped() -> list[dict[str, Any]]:
    """The rows of the shipped statements: ``trait``, ``statement`` and ``matches_trait``."""
    text = files("psyctl_steering").joinpath("statements.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@functools.cache
def ipip() -> list[dict[str, Any]]:
    """The rows of the IPIP-NEO-120: ``text``, ``domain`` (a letter), ``facet`` and ``key`` (-1 is reversed)."""
    text = files("psyctl_steering").joinpath("ipip_neo_120.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def sentence(item: str) -> str:
    """An item of the questionnaire as something one says of oneself."""
    return f"I {item[0].lower()}{item[1:]}."


def answered(lent: LentModel, prompt: str, texts: Sequence[str], system: str = "") -> list[Text]:
    """Texts as answers to a prompt, steered from the end of the prompt's own words on."""
    messages = _messages(prompt, system)
    start, *whole = lent.encode([ChatRequest("", messages, prefill=text) for text in ("", *texts)])
    behind = _behind(lent)
    found = []
    for ids, text in zip(whole, texts, strict=True):
        begin = next((i for i, (a, b) in enumerate(zip(start, ids, strict=False)) if a != b), len(start))
        if lent.longest and len(ids) > lent.longest:
            raise UsageError(
                f"The text '{text[:40]}…' and its prompt have {counted(len(ids), 'token')}: "
                f"the model can place {lent.longest}.",
                "Leave it out.",
            )
        if begin >= len(ids):
            raise UsageError(f"The text '{text[:40]}' has no token of its own.", "Leave it out.")
        steered = max(1, min(begin, len(start) - behind))
        found.append(Text(tuple(ids[:-1]), steered, tuple((token,) for token in ids[begin:])))
    return found


def read_statements(name: str) -> list[Statement]:
    """Statements from a file or a Hub data set.

    Rows have ``statement`` and ``matches_trait`` (true or false), or, as Anthropic's model-written evals have,
    ``statement`` and ``answer_matching_behavior`` (``Yes`` or ``No``). A file is JSON Lines, JSON or CSV; on the Hub
    a file is named behind the data set: ``Anthropic/model-written-evals:persona/extraversion.jsonl``.

    Raises:
        UsageError: There is no such file, or its rows are no statements.
        SourceError: The Hub does not give it.
    """
    path = Path(name).expanduser()
    if not path.is_file():
        path = _from_hub(name)
    found: dict[str, Statement] = {}
    try:
        for number, row in enumerate(_rows(path), 1):
            statement = _statement(row, f"{name}, row {number}")
            found[statement.text] = statement
    except (OSError, ValueError) as error:
        raise UsageError(f"'{name}' cannot be read as statements: {error}.", _FORM) from error
    sides = {each.sign for each in found.values()}
    if sides != {1, -1}:
        lacking = "no row" if not sides else f"no statement of {'the opposite' if 1 in sides else 'the trait'}"
        raise UsageError(f"'{name}' has {lacking}, so there is nothing to compare.", _FORM)
    return list(found.values())


def some_of(found: Sequence[Statement], most: int) -> list[Statement]:
    """At most so many statements, evenly from all over, and as many of each side."""
    kept: list[Statement] = []
    for sign in (1, -1):
        side = [each for each in found if each.sign == sign]
        wanted = min(len(side), most // 2)
        kept += [side[i * len(side) // wanted] for i in range(wanted)]
    return kept


_FORM = (
    'Rows look like {"statement": "I like parties", "matches_trait": true}, or have answer_matching_behavior, '
    "Yes or No."
)


def _messages(prompt: str, system: str) -> tuple[Message, ...]:
    asked = Message("user", prompt)
    return (Message("system", system), asked) if system else (asked,)


def _behind(lent: LentModel) -> int:
    """How many tokens the template writes between a prompt's own words and the answer."""
    one, other = lent.encode([ChatRequest("", (Message("user", text),)) for text in ("Why is it so?", "A cat sat")])
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), 0)


def _asked(lent: LentModel, text: str, order: int, system: str) -> Text:
    options = "\n".join(f"{letter}. {words}" for letter, words in zip(LETTERS, RATED[::order], strict=True))
    prompt = f"How accurately does this describe you?\n{options}\n\n“{text}”\n\nAnswer with one letter."
    messages = _messages(prompt, system)
    start, *whole = lent.encode([ChatRequest("", messages, prefill=letter) for letter in ("", *LETTERS)])
    tokens = tuple(ids[-1] for ids in whole)
    if any(ids[:-1] != start for ids in whole) or len(set(tokens)) < len(LETTERS):
        raise UsageError(
            f"The tokenizer of '{lent.name}' does not keep the letter of an answer apart.",
            "Leave the answers out: --items ipip measures the questionnaire's statements.",
        )
    return Text(tuple(start), max(1, len(start) - _behind(lent)), (tokens,))


def _means(found: Sequence[torch.Tensor]) -> Values:
    return torch.stack([each.flatten(1).mean(1) for each in found], 1)


def _rows(path: Path) -> Iterator[Any]:
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() == ".csv":
        yield from csv.DictReader(text.splitlines())
    elif text.lstrip().startswith("["):
        yield from json.loads(text)
    else:
        yield from (json.loads(line) for line in text.splitlines() if line.strip())


def _statement(row: Any, where: str) -> Statement:
    if not isinstance(row, Mapping) or not isinstance(row.get("statement"), str) or not row["statement"].strip():
        raise UsageError(f"{where} has no text under 'statement'.", _FORM)
    said = row.get("matches_trait", row.get("answer_matching_behavior"))
    known = {"true": 1, "yes": 1, "1": 1, "false": -1, "no": -1, "0": -1}
    sign = known.get(str(said).strip().lower())
    if sign is None:
        raise UsageError(f"{where} says {said!r} where it should say whether the statement shows the trait.", _FORM)
    return Statement(row["statement"].strip(), sign)


def _from_hub(name: str) -> Path:
    """A data set's file from the Hub, or the only one that it could be."""
    from huggingface_hub import HfApi, hf_hub_download

    repository, _, file = name.partition(":")
    if repository.count("/") != 1 or Path(repository).suffix.lower() in (".json", ".jsonl", ".csv"):
        raise UsageError(
            f"There is no file '{name}' with statements.",
            "Give a file, or a data set on the Hub with its file, such as "
            "Anthropic/model-written-evals:persona/extraversion.jsonl.",
        )
    try:
        if not file:
            every = HfApi().list_repo_files(repository, repo_type="dataset")
            files_ = [each for each in every if each.endswith((".json", ".jsonl", ".csv"))]
            if len(files_) != 1:
                raise UsageError(
                    f"'{repository}' has {counted(len(files_), 'file')} that could hold statements.",
                    f"Name one: {repository}:{files_[0] if files_ else 'FILE'}",
                )
            (file,) = files_
        return Path(hf_hub_download(repository, file, repo_type="dataset"))
    except PsyctlError:
        raise
    except Exception as error:  # whatever the Hub's library raises
        why = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise SourceError(
            f"The statements '{name}' cannot be had from the Hub: {why}.", "Check the name, or give a local file."
        ) from error
