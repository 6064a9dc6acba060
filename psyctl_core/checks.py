"""What a check on a finished dataset is: how a plugin offers one, what it is given, and what it hands back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from psyctl_core.components import API_VERSION

CheckVerdict = Literal["ok", "look", "fail"]


@dataclass(frozen=True, slots=True)
class CheckedPair:
    """One pair of a finished dataset, whatever file it came from.

    Attributes:
        id: What names the pair in its file, such as a record's id or ``row 7``.
        positive: The answer that shows the trait; never blank.
        neutral: The answer it is compared with; never blank.
        situation: The scene, or empty where the file has none.
        character: Who answers, or empty.
        question: The text that ends where a model would name its choice, or empty.
        labels: How the positive and the neutral answer are named after the question, such as ``("(2", "(1")``;
            empty texts where the file has no choice.
        positive_is_first: Whether the positive answer is the first option, or ``None`` where the file does not say.
    """

    id: str
    positive: str
    neutral: str
    situation: str = ""
    character: str = ""
    question: str = ""
    labels: tuple[str, str] = ("", "")
    positive_is_first: bool | None = None


@dataclass(frozen=True, slots=True)
class CheckFacts:
    """What is known of a dataset besides its pairs; a text is empty where it is not known.

    Attributes:
        trait: The trait's name.
        personas: The descriptions of who gave the positive and the neutral answers, with ``{character}`` in place
            of the name.
        keywords: The adjectives that the positive persona was described with.
        tokenizer: The folder or Hub name of a tokenizer that the user named.
        model: The local model that the user named, as :func:`psyctl_core.lent_model` takes it.
    """

    trait: str = ""
    personas: tuple[str, str] = ("", "")
    keywords: tuple[str, ...] = ()
    tokenizer: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        value: The number that the thresholds are held against, or ``None`` where the check cannot tell.
        text: The statistic in words, or why the check cannot tell; one line.
        interval: Where the statistic of the text lies with 95 % confidence, or ``None``.
        verdict: The check's own verdict, where its rule is not a threshold; ``None`` to go by the thresholds.
        worst: Pairs to look at, worst first: an id and what is wrong with it.
    """

    value: float | None
    text: str
    interval: tuple[float, float] | None = None
    verdict: CheckVerdict | None = None
    worst: Sequence[tuple[str, str]] = ()


class CheckFunction(Protocol):
    """What a check's factory names; asks nothing of the network but what the user named."""

    def __call__(self, pairs: Sequence[CheckedPair], facts: CheckFacts) -> Finding:
        """Look at all pairs of one dataset, of which there is one at least, in the order of the file."""
        ...


@dataclass(frozen=True, slots=True)
class Check:
    """One check that a plugin adds to ``psyctl dataset.check``.

    Attributes:
        name: What the user types after ``--only``; unique.
        factory: ``"package.module:function"``, imported only when the check is run. The function is a
            :class:`CheckFunction`.
        summary: One line for ``psyctl plugins.list``.
        meaning: One sentence: what a bad value does to a vector that is made of the pairs.
        look: A value beyond it is worth a look.
        fail: A value beyond it fails, or ``None`` where none does. Beyond is above; where ``fail`` is less than
            ``look``, it is below.
        extra: The extra of the plugin's distribution to name when the factory's import fails, or ``None``.
        api_version: The contract's version this check was written for.
    """

    name: str
    factory: str
    summary: str
    meaning: str
    look: float
    fail: float | None = None
    extra: str | None = None
    api_version: int = API_VERSION

    def verdict(self, value: float) -> CheckVerdict:
        """What the thresholds say of a value."""

        def beyond(threshold: float) -> bool:
            return value < threshold if self.fail is not None and self.fail < self.look else value > threshold

        if self.fail is not None and beyond(self.fail):
            return "fail"
        return "look" if beyond(self.look) else "ok"
