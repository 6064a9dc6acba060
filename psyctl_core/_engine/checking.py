"""Looks finished datasets over: reads their pairs, runs the checks that plugins offer, and gives each a verdict."""

from __future__ import annotations

import dataclasses
import logging
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from psyctl_core._caa.traits import known_name
from psyctl_core._engine import foreign
from psyctl_core._engine.reading import StoredDataset, find_datasets
from psyctl_core._plugins.registry import BrokenPlugin, RegisteredCheck, Registry
from psyctl_core._store import runs
from psyctl_core.checks import Check, CheckedPair, CheckFacts, Finding
from psyctl_core.errors import PsyctlError, UsageError, did_you_mean
from psyctl_core.figures import counted
from psyctl_core.files import read_json
from psyctl_core.records import NEUTRAL, CaaRecord, JsonValue

log = logging.getLogger("psyctl")

Limits = tuple[float, float | None]
"""From where on a value is worth a look, and from where on it fails; see :class:`~psyctl_core.checks.Check`."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check says of one dataset.

    Attributes:
        check: The check, with the thresholds that were used.
        origin: The check's name and who supplies it.
        verdict: The verdict; ``cannot tell`` also where the check could not be run.
        finding: What it found, or why it could not be run.
        way_out: What to do about a check that could not be run, or empty.
    """

    check: Check
    origin: str
    verdict: Literal["ok", "look", "fail", "cannot tell"]
    finding: Finding
    way_out: str = ""


@dataclass(frozen=True, slots=True)
class Checkup:
    """What all checks say of one dataset.

    Attributes:
        trait: Its trait, or ``unknown``.
        location: A path or an address to show.
        pairs: How many pairs were looked at.
        left_out: Rows that hold no pair, by reason.
        results: One a check, in the order of the checks.
        unfinished: One line where the run that makes it is not complete; else empty.
    """

    trait: str
    location: str
    pairs: int
    left_out: Mapping[str, int]
    results: tuple[CheckResult, ...]
    unfinished: str = ""

    def count(self, verdict: str) -> int:
        """How many checks came to that verdict."""
        return sum(result.verdict == verdict for result in self.results)


@dataclass(frozen=True, slots=True)
class PairSet:
    """The pairs of one dataset, wherever they were read from, and what is known besides."""

    location: str
    pairs: Sequence[CheckedPair]
    facts: CheckFacts
    left_out: Mapping[str, int] = field(default_factory=dict)
    unfinished: str = ""


def check_up(pairs: PairSet, checks: Iterable[RegisteredCheck], limits: Mapping[str, Limits]) -> Checkup:
    """Run the checks on one dataset; one that fails is told of and stops no other."""
    results = tuple(_result(registered, pairs, limits.get(registered.origin.name)) for registered in checks)
    return Checkup(
        pairs.facts.trait or "unknown",
        pairs.location,
        len(pairs.pairs),
        dict(pairs.left_out),
        results,
        pairs.unfinished,
    )


def _result(registered: RegisteredCheck, pairs: PairSet, limits: Limits | None) -> CheckResult:
    check, origin = registered.check, str(registered.origin)
    if limits:
        check = dataclasses.replace(check, look=limits[0], fail=limits[1])
    try:
        finding = registered.made()(pairs.pairs, pairs.facts)
    except PsyctlError as error:
        log.debug("%s", "".join(traceback.format_exception(error)))
        return CheckResult(check, origin, "cannot tell", Finding(None, error.message), error.hint)
    if finding.value is None:
        return CheckResult(check, origin, "cannot tell", finding)
    if limits and finding.verdict:
        log.warning("The %s goes by a rule of its own: the thresholds given for it are not used.", origin)
    return CheckResult(check, origin, finding.verdict or check.verdict(finding.value), finding)


def chosen(registry: Registry, only: Sequence[str], skip: Sequence[str]) -> list[RegisteredCheck]:
    """The checks to run; one that is installed and cannot be used is told of.

    Raises:
        UsageError: There are none, or none of a name that is given.
    """
    for entry in registry.entries:
        name = entry.origin.name
        if isinstance(entry, BrokenPlugin) and entry.origin.kind == "check" and name not in skip:
            log.warning("The %s is left out: %s.", entry.origin, entry.problem)
    known = {registered.origin.name: registered for registered in registry.checks()}
    for name in (*only, *skip):
        known_check(name, known)
    found = [check for name, check in known.items() if name not in skip and (not only or name in only)]
    if not found:
        raise UsageError("No check is left to run.", f"Installed: {', '.join(known) or 'none'}.")
    return found


def known_check(name: str, known: Iterable[str]) -> None:
    """Refuse a check's name that nothing installed has."""
    names = list(known)
    if name not in names:
        raise UsageError(
            f"There is no check named '{name}'.", f"{did_you_mean(name, names)}Installed: {', '.join(names) or 'none'}."
        )


def limits_from(file: Path) -> dict[str, Limits]:
    """The thresholds in a JSON file: ``{"length": [0.65, 0.8], "sides-alike": [0.6, null]}``.

    Raises:
        UsageError: The file cannot be read, or holds something else.
    """
    try:
        value = read_json(file, f"The file of thresholds '{file}'")
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"The thresholds in '{file}' cannot be read: {why}.", "Give a JSON file.") from None
    if not isinstance(value, dict):
        raise UsageError(f"'{file}' holds no object of thresholds.", 'Write such as {"length": [0.65, 0.8]}.')
    return {name: _limits(name, numbers) for name, numbers in value.items()}


def limits_typed(texts: Iterable[str]) -> dict[str, Limits]:
    """Thresholds as typed: ``NAME=LOOK,FAIL``, or ``NAME=LOOK`` for a check that shall never fail.

    Raises:
        UsageError: One is not of that form.
    """
    found = {}
    for text in texts:
        name, _, numbers = text.partition("=")
        try:
            found[name.strip()] = _limits(name, [float(number) for number in numbers.split(",")])
        except ValueError:
            raise _bad_limits(name, numbers) from None
    return found


def _limits(name: str, numbers: object) -> Limits:
    if isinstance(numbers, list) and len(numbers) in (1, 2):
        look, fail = numbers[0], numbers[1] if len(numbers) == 2 else None
        if _is_number(look) and (fail is None or _is_number(fail)):
            return float(look), None if fail is None else float(fail)
    raise _bad_limits(name, numbers)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _bad_limits(name: str, numbers: object) -> UsageError:
    return UsageError(
        f"The thresholds {numbers!r} of '{name}' cannot be used.",
        "Give two numbers, from where on to look and to fail: --threshold length=0.65,0.8.",
    )


def pair_sets(
    paths: Sequence[Path], registry: Registry, *, trait: str, tokenizer: str, model: str
) -> Iterator[PairSet]:
    """The pairs at a path, one set a trait: through the sink that wrote them, or as a foreign file's columns tell.

    Args:
        paths: A folder or a file; or two files, one a side.
        registry: What is installed.
        trait: Keep to this trait; the trait of files that do not name one.
        tokenizer: The folder or name of a tokenizer, for checks that need one.
        model: A local model, for checks that read its states.

    Raises:
        PsyctlError: Nothing can be read, or there is no pair.
    """
    found = list(_sets(paths, registry, trait))
    wanted = known_name(trait).casefold()
    named = [pairs for pairs in found if wanted in ("", pairs.facts.trait.casefold())]
    if not named:
        names = ", ".join(pairs.facts.trait for pairs in found)
        raise UsageError(f"'{paths[0]}' holds no dataset of {trait}.", f"There are: {names}.")
    for pairs in named:
        if not pairs.pairs:
            reasons = ", ".join(f"{reason}: {count}" for reason, count in pairs.left_out.items())
            raise UsageError(
                f"{pairs.location} holds no pair{f' ({reasons})' if reasons else ''}.",
                "Build some, or give another dataset.",
            )
        yield dataclasses.replace(pairs, facts=dataclasses.replace(pairs.facts, tokenizer=tokenizer, model=model))


def _sets(paths: Sequence[Path], registry: Registry, trait: str) -> Iterator[PairSet]:
    if len(paths) > 2:
        raise UsageError(
            f"{counted(len(paths), 'path')} are given.", "Give one dataset, or the two files of its sides."
        )
    location = " and ".join(map(str, paths))
    for path in paths:
        if not path.exists():
            raise UsageError(f"There is no dataset at '{path}'.", "Give the folder that --output named, or a file.")
    if len(paths) == 2:
        yield from _foreign(location, trait, *foreign.read_two(*paths))
    elif paths[0].is_file() and not (paths[0].with_suffix(".run") / runs.RUN_FILE).exists():
        yield from _foreign(location, trait, *foreign.read_pairs(paths[0]))
    else:
        for dataset in find_datasets(paths[0], registry):
            file = Path(dataset.location)
            if dataset.sink is not None and not dataset.run and file.is_file():
                yield from _foreign(dataset.location, trait, *foreign.read_pairs(file))
            else:
                yield _own(dataset)


def _foreign(
    location: str, trait: str, pairs: Mapping[str, Sequence[CheckedPair]], left_out: Counter[str]
) -> Iterator[PairSet]:
    for name, found in (pairs or {"": ()}).items():
        yield PairSet(location, found, CheckFacts(known_name(name or trait)), left_out)


def _own(dataset: StoredDataset) -> PairSet:
    for problem in dataset.problems():
        log.warning("%s", problem)
    return pair_set(dataset, dataset)


def pair_set(dataset: StoredDataset, records: Iterable[CaaRecord]) -> PairSet:
    """A dataset's records as checks see them, with what its run.json says."""
    pairs = [_pair(record) for record in records]
    personas: Mapping[str, Mapping[str, JsonValue]] = dataset.run.get("personas", {})
    texts = [str(personas.get(role, {}).get("description", "")) for role in ("positive", NEUTRAL)]
    keywords = personas.get("positive", {}).get("keywords", ())
    facts = CheckFacts(
        trait=dataset.trait,
        personas=(texts[0], texts[1]),
        keywords=tuple(map(str, keywords)) if isinstance(keywords, Sequence) and not isinstance(keywords, str) else (),
    )
    return PairSet(dataset.location, pairs, facts, unfinished=dataset.unfinished)


def _pair(record: CaaRecord) -> CheckedPair:
    return CheckedPair(
        id=record.id,
        positive=record.positive_text,
        neutral=record.neutral_text,
        situation=record.situation,
        character=record.character,
        question=record.question,
        labels=(record.positive, record.neutral),
        positive_is_first=record.positive == "(1",
    )
