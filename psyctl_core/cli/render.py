"""What a person sees: progress, the plan of a dry run, and the summary at the end."""

from __future__ import annotations

import contextlib
import logging
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from psyctl_core._engine.personas import stored_personas
from psyctl_core._engine.status import RunStatus
from psyctl_core._plugins.kinds import KINDS
from psyctl_core.api import DatasetReport, Plan, Progress, Report
from psyctl_core.terminal import NOTICE, say, visible

REFRESH_SECONDS = 0.1
PLAIN_SECONDS = 10.0

log = logging.getLogger("psyctl")


class _Lines(logging.Handler):
    """Hands each record on as a line of text, with its level."""

    def __init__(self, write: Callable[[str, int], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        """Hand one record on."""
        prefix = "Warning: " if record.levelno >= logging.WARNING else ""
        self._write(prefix + record.getMessage(), record.levelno)


@contextlib.contextmanager
def logging_to_stderr(*, quiet: bool, debug: bool, write: Callable[[str, int], None] | None = None) -> Iterator[None]:
    """Show what psyctl logs, as plain lines or through ``write``."""
    handler = _Lines(write or (lambda line, level: say(line, err=True)))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.ERROR if quiet else logging.DEBUG if debug else logging.INFO)
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(handler)


@contextlib.contextmanager
def progress(*, quiet: bool, debug: bool) -> Iterator[Callable[[Progress], None] | None]:
    """Show progress for as long as the block runs: a bar on a terminal, a line now and then elsewhere."""
    if quiet:
        with logging_to_stderr(quiet=True, debug=debug):
            yield None
    elif sys.stderr.isatty():
        with _bar(debug) as update:
            yield update
    else:
        with logging_to_stderr(quiet=False, debug=debug):
            yield _every(PLAIN_SECONDS, lambda p: say(_line(p), err=True))


@contextlib.contextmanager
def _bar(debug: bool) -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True, highlight=False)
    columns = (SpinnerColumn(), BarColumn(), TextColumn("{task.description}", markup=False))
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("getting ready", total=None)

        said = ["getting ready", ""]  # the progress line, and what was logged last, such as what is waited for

        def show() -> None:
            bar.update(task, description=visible(" · ".join(filter(None, said))))

        def update(p: Progress) -> None:
            said[0] = _line(p)
            bar.update(task, completed=p.pairs, total=p.wanted)
            show()

        def write(line: str, level: int) -> None:
            if level >= NOTICE or debug:
                console.print(visible(line), markup=False)
            else:
                said[1] = line
                show()

        with logging_to_stderr(quiet=False, debug=debug, write=write):
            yield _every(REFRESH_SECONDS, update)


def _every(seconds: float, tell: Callable[[Progress], None]) -> Callable[[Progress], None]:
    last = time.monotonic()

    def tell_now_and_then(p: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            tell(p)

    return tell_now_and_then


PHASES: Mapping[str, str] = {
    "starting": "getting ready",
    "loading": "loading the model or checking the server",
    "describing": "describing personas",
    "generating": "generating",
    "saving": "saving",
}
"""What each phase of a run is called in front of a person."""


def _line(p: Progress) -> str:
    """Progress in one line: count, rate, time to go, rejected, cost; what is under way where it is not generating."""
    if p.phase != "generating":
        return PHASES[p.phase]
    parts = [f"{p.pairs}/{p.wanted} pairs" if p.wanted is not None else f"{p.pairs} pairs"]
    if p.rate is not None:
        parts.append(f"{p.rate:.2f}/s")
    if p.eta is not None:
        parts.append(f"{timedelta(seconds=round(p.eta))} to go")
    parts.append(f"{p.answers} answer{'' if p.answers == 1 else 's'}")
    parts.append(f"{sum(p.rejected.values())} rejected")
    if p.skipped:
        parts.append(f"{sum(p.skipped.values())} rows skipped")
    if p.cost is not None:
        parts.append(f"${p.cost:.4f}")
    return ", ".join(parts)


def summary(report: Report, *, quiet: bool) -> None:
    """Print what was done, or with ``quiet`` the datasets' places alone."""
    if quiet:
        for dataset in report.datasets:
            say(dataset.location)
        return
    for dataset in report.datasets:
        print_rows([*_dataset_rows(dataset), *_pass_rows(report)])
    say(_next_step(report))


def _dataset_rows(dataset: DatasetReport) -> list[tuple[str, str]]:
    return [
        ("Trait", dataset.trait),
        ("Dataset", dataset.location),
        ("Run folder", str(dataset.run_folder)),
        ("Pairs", f"{dataset.pairs} ({dataset.new_pairs} new)"),
        ("Rejected", _counts(dataset.rejected)),
        *([("Rows skipped", _counts(dataset.skipped))] if dataset.skipped else []),
        *([("Scores", _scores(dataset.scores))] if dataset.scores else []),
    ]


FOLLOWS_LENGTH = 0.4
"""Rank correlation of score and length above which a judge rather counts words."""


LEAST_DIFFERENCE = 5.0
"""Points between the sides' medians below which a judge sees no difference."""


def _hardly_differ(scores: Mapping[str, Any]) -> bool:
    sides = [scores.get(name, {}) for name in ("positive", "neutral")]
    return all("p50" in side for side in sides) and abs(sides[0]["p50"] - sides[1]["p50"]) < LEAST_DIFFERENCE


def _scores(scores: Mapping[str, Any]) -> str:
    """How a judge's scores are spread, and whether they follow the length of the answers."""
    parts = []
    for name, figures in scores.items():
        if not isinstance(figures, Mapping):
            continue
        unscored = f", {figures['unscored']} unscored" if figures["unscored"] else ""
        spread = (
            f"{figures['p10']:.3g} to {figures['p90']:.3g}, median {figures['p50']:.3g}"
            if "mean" in figures
            else "none"
        )
        parts.append(f"{name} {spread}{unscored}")
    if _hardly_differ(scores):
        parts.append("the judge hardly tells the sides apart: take a larger model for it")
    follows = scores.get("positive_follows_length")
    if follows is not None and abs(follows) > FOLLOWS_LENGTH:
        parts.append(
            f"they follow the answers' length (rank correlation {follows:.2f}): look at them before trusting them"
        )
    return "; ".join(parts)


def _pass_rows(report: Report) -> list[tuple[str, str]]:
    new = sum(dataset.new_pairs for dataset in report.datasets)
    rows = [("Time", f"{report.seconds:.1f} s, {report.generating_seconds:.1f} s of it generating")]
    if new and report.generating_seconds:
        rows.append(("Rate", f"{new / report.generating_seconds:.2f} pairs/s"))
    usage = report.usage
    rows.append(("Requests", f"{report.requests} ({usage.requests} over all resumes, {usage.failed_requests} failed)"))
    told = usage.prompt_tokens or usage.completion_tokens or not usage.requests
    tokens = f"{usage.prompt_tokens} read, {usage.completion_tokens} generated (over all resumes)"
    rows.append(("Tokens", tokens if told else "unknown: the backend tells none"))
    if usage.cost is not None:
        unpriced = usage.unpriced_requests + usage.lost_requests
        unknown = f", {unpriced} requests of unknown cost" if unpriced else ""
        pairs = sum(dataset.pairs for dataset in report.datasets)
        per_1000 = f", ${1000 * usage.cost / pairs:.4f} per 1,000 pairs" if pairs else ""
        rows.append(("Cost", f"${usage.cost:.6f}{per_1000}{unknown} (over all resumes)"))
    return rows


def _next_step(report: Report) -> str:
    location = report.datasets[0].location
    exhausted = [d for d in report.datasets if d.exhausted and (report.limit is None or d.pairs < report.limit)]
    if exhausted and report.limit is not None:
        ended = f"The source has no more scenarios: {exhausted[0].pairs} of {report.limit} pairs. "
    elif not report.requests:
        ended = "Already complete: nothing was asked. "
    else:
        ended = ""
    more = (
        ""
        if report.limit is None or exhausted
        else "\nFor more pairs run the same command with a higher --limit-samples."
    )
    folder = report.datasets[0].run_folder.parent
    one = location if Path(location).is_file() else str(folder)
    shown = one if len(report.datasets) == 1 else str(folder.parent)
    return f"{ended}Look at it with: psyctl dataset.show {shlex.quote(shown)}{more}"


def run_status(status: RunStatus) -> None:
    """Print one run of a folder."""
    statistics, identity = status.run.get("statistics"), status.run.get("identity", {})
    rows = [
        ("Run", f"{status.folder}/{status.name}"),
        ("Trait", status.trait),
        ("State", status.state),
        ("Pairs", "unknown" if status.records is None else str(status.records)),
    ]
    if made_from := identity.get("made_from"):
        rows.append(("Made from", _origin(made_from)))
    if statistics:
        rows.append(("Rejected", _counts(statistics["rejected"])))
        if statistics["skipped"]:
            rows.append(("Rows skipped", _counts(statistics["skipped"])))
        rows.append(("Requests", f"{statistics['requests']} ({statistics['failed_requests']} failed)"))
        cost = statistics["cost"]
        rows.append(("Cost", "unknown" if cost is None else f"${cost:.6f}"))
        parts: list[tuple[str, str]] = [
            (kind.capitalize(), kind) for kind in KINDS if kind in identity or not KINDS[kind].is_optional
        ]
        parts += [("Judge's backend", "judge_backend")] if "judge_backend" in identity else []
        rows += [(label, _component(identity.get(part, {}))) for label, part in parts]
        rows += [("Scores", _scores(statistics["scores"]))] if statistics.get("scores") else []
        rows.append(("Sampling", _inline(identity.get("sampling", {}))))
    rows += [(f"Persona, {who}", description) for who, description in stored_personas(status.run)]
    rows += [("Problem", problem) for problem in status.problems]
    print_rows(rows)


def _origin(made_from: Mapping[str, Any]) -> str:
    names = " and ".join(f"{parent['pairs']} pairs of {parent['name']}" for parent in made_from["datasets"])
    return f"{names}, as its part '{made_from['part']}'" if "part" in made_from else names


def _component(identity: Mapping[str, Any]) -> str:
    name = identity.get("component", {}).get("name", "unknown")
    return _joined(name, identity.get("settings", {}), identity.get("own", {}))


def _joined(name: str, *settings: Mapping[str, Any]) -> str:
    given = ({key: value for key, value in each.items() if value not in (None, "")} for each in settings)
    return ", ".join(filter(None, [name, *map(_inline, given)]))


def _inline(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def _judge_rows(found: Plan) -> list[tuple[str, str]]:
    asked = "unknown" if found.judge_requests is None else f"{found.judge_requests}, and more for each rejected pair"
    rows = [("Judge asks", found.judge_backend), ("Its requests", asked)]
    if found.judge_estimate is not None and found.judge_estimate.cost is not None:
        each = " for every 1,000 scenarios" if found.judge_requests is None else ""
        rows.append(("Its cost", f"at most about ${found.judge_estimate.cost:.4f}{each}"))
    return rows


def plan(found: Plan) -> None:
    """Print what a run would do."""
    wanted = "all the source gives" if found.limit is None else str(found.limit)
    rows = [
        ("Traits", ", ".join(found.traits)),
        *((kind.capitalize(), _joined(text, found.settings[kind])) for kind, text in found.components.items()),
        ("Folders", ", ".join(map(str, found.folders))),
        ("Pairs wanted", f"{wanted} for each trait"),
        ("Rows in source", "unknown" if found.rows is None else str(found.rows)),
        (
            "Requests",
            "unknown" if found.requests is None else f"{found.requests}, and more for each rejected pair",
        ),
    ]
    if found.estimate is not None:
        e = found.estimate
        each = " for every 1,000 scenarios" if found.requests is None else ""
        rows.append(("Tokens", f"about {e.prompt_tokens} read, at most {e.completion_tokens} generated{each}"))
        rows.append(("Cost", "unknown" if e.cost is None else f"at most about ${e.cost:.4f}{each}"))
    if found.judge_backend:
        rows += _judge_rows(found)
    print_rows(rows)
    for trait, prompts in found.persona_prompts.items():
        for number, messages in enumerate(prompts, 1):
            _section(f"Persona prompt {number}, {trait}", [(m.role, m.content) for m in messages])
    for trait, description in found.personas.items():
        _section(f"Persona, {trait}", [("description", description)])
    example = found.example
    begun = [("assistant, begun", example.prefill)] if example.prefill else []
    _section("Example request", [*((m.role, m.content) for m in example.messages), *begun])
    say("Dry run: nothing was asked and nothing was written.")


def _section(title: str, parts: list[tuple[str, str]]) -> None:
    say(f"--- {title}")
    for role, text in parts:
        say(f"[{role}]\n{text}")
    say()


def print_rows(rows: list[tuple[str, str]]) -> None:
    """Print labels and values in two columns, as wide as the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table: Any = Table(show_header=False, box=None, pad_edge=False)
    for name, value in rows:
        table.add_row(Text(visible(name), "bold"), Text(visible(value), overflow="fold"))
    Console(soft_wrap=not sys.stdout.isatty()).print(table)
    say()


def _counts(counts: Any) -> str:
    total = sum(counts.values())
    reasons = ", ".join(f"{reason}: {n}" for reason, n in sorted(counts.items(), key=lambda item: -item[1]))
    return f"{total} ({reasons})" if total else "0"
