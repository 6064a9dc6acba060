"""What a person sees at the end or instead of a run: the summary, the plan of a dry run, the status of a folder."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from psyctl_core._engine.personas import stored_personas
from psyctl_core._engine.progress import in_parts, progress_of
from psyctl_core._engine.status import RunStatus
from psyctl_core._plugins.kinds import KINDS
from psyctl_core.api import DatasetReport, Plan, Report, Sample
from psyctl_core.figures import counted, duration, money, number, per_cent, rate
from psyctl_core.terminal import say, visible


def summary(report: Report, *, quiet: bool) -> None:
    """Print what was done: the run once, then each dataset; with ``quiet`` the datasets' places alone.

    That there are fewer pairs than wanted is said in any case: with ``quiet`` on stderr.
    """
    if quiet:
        for dataset in report.datasets:
            say(dataset.location)
        for line in _short_lines(report):
            say(line, err=True)
        return
    print_rows(_run_rows(report))
    print_table(("Trait", "Pairs", "New", "Rejected"), [_dataset_row(dataset) for dataset in report.datasets])
    print_rows([row for dataset in report.datasets for row in _dataset_rows(dataset, alone=len(report.datasets) == 1)])
    for line in [*_short_lines(report), *_next_steps(report)]:
        say(line)


def sample(found: Sample) -> None:
    """Print what a sample took, what became of its scenarios, and what the rest takes by that."""
    report = found.report
    print_rows(_run_rows(report))
    print_table(
        ("Trait", "Pairs", "Scenarios", "Accepted", "Positive longer", "Rejected"),
        [_sampled_row(each, found.longer.get(each.trait, 0)) for each in report.datasets],
    )
    told = found.forecast
    wanted = f"{'1,000 pairs' if found.limit is None else counted(found.limit, 'pair')} of each trait"
    if told is None:
        say(f"What {wanted} take cannot be told: no scenario gave a pair.\n")
        return
    tokens = f", {counted(told.prompt_tokens, 'token')} read and {number(told.completion_tokens)} generated"
    cost = "none: it is computed here" if report.is_free else "not known: no answer told what it cost"
    print_rows(
        [
            ("To come", f"{counted(told.pairs, 'pair')}, for {wanted}"),
            ("Calls", f"about {number(told.requests)}{tokens if told.prompt_tokens else ''}"),
            ("Money", cost if told.cost is None else f"about {money(told.cost)} more"),
            ("Time", "not known" if told.seconds is None else f"about {duration(told.seconds)}, at the rate so far"),
        ]
    )


def _sampled_row(dataset: DatasetReport, longer: int) -> tuple[str, ...]:
    rejected = sum(dataset.rejected.values())
    scenarios = dataset.pairs + rejected
    accepted = per_cent(dataset.pairs, scenarios) if scenarios else "0%"
    longer_share = per_cent(longer, dataset.pairs) if dataset.pairs else ""
    return dataset.trait, number(dataset.pairs), number(scenarios), accepted, longer_share, _counts(dataset.rejected)


def _run_rows(report: Report) -> list[tuple[str, str]]:
    usage, new = report.usage, sum(dataset.new_pairs for dataset in report.datasets)
    rows = [("Time", f"{duration(report.seconds)}, {duration(report.generating_seconds)} of it generating")]
    if new and report.generating_seconds:
        rows.append(("Rate", rate(new / report.generating_seconds, "pairs")))
    resumes = f", {number(usage.requests)} over all resumes" if usage.requests != report.requests else ""
    failed = f", {number(usage.failed_requests)} failed" if usage.failed_requests else ""
    rows.append(("Requests", f"{number(report.requests)}{resumes}{failed}"))
    if usage.prompt_tokens or usage.completion_tokens:
        rows.append(
            (
                "Tokens",
                f"{number(usage.prompt_tokens)} read, {number(usage.completion_tokens)} generated, over all resumes",
            )
        )
    if usage.cost is not None:
        unpriced = usage.unpriced_requests + usage.lost_requests
        unknown = f"; what {counted(unpriced, 'request')} cost is not known" if unpriced else ""
        pairs = sum(dataset.pairs for dataset in report.datasets)
        per_1000 = f", {money(1000 * usage.cost / pairs)} per 1,000 pairs" if pairs else ""
        rows.append(("Cost", f"{money(usage.cost)} over all resumes{per_1000}{unknown}"))
    if report.cost_before:
        rows.append(("Cost before", f"{money(report.cost_before)}, to make the pairs that were judged"))
    return rows


def _dataset_row(dataset: DatasetReport) -> tuple[str, ...]:
    rejected = sum(dataset.rejected.values())
    return dataset.trait, number(dataset.pairs), number(dataset.new_pairs), number(rejected)


def _dataset_rows(dataset: DatasetReport, *, alone: bool) -> list[tuple[str, str]]:
    """What a dataset's row has no room for: where it is, and the reasons."""
    of = "" if alone else f" of {dataset.trait}"
    rows = [("Dataset" if alone else dataset.trait, dataset.location)]
    rows += [(f"Rejected{of}", _counts(dataset.rejected))] if any(dataset.rejected.values()) else []
    rows += [(f"Rows skipped{of}", _counts(dataset.skipped))] if any(dataset.skipped.values()) else []
    return rows + ([(f"Scores{of}", _scores(dataset.scores))] if dataset.scores else [])


def _short_lines(report: Report) -> list[str]:
    """A line for each dataset with fewer pairs than wanted, and why."""
    lines = []
    for dataset in report.short:
        why = "the source has no more scenarios" if dataset.exhausted else "--max-scenarios is reached"
        wanted = counted(report.limit or 0, "pair")
        lines.append(f"Fewer than wanted: {number(dataset.pairs)} of {wanted} of {dataset.trait}; {why}.")
    return lines


def _next_steps(report: Report) -> list[str]:
    is_old = not any(dataset.new_pairs for dataset in report.datasets)
    lines = [] if report.requests else ["Already complete: nothing was asked." if is_old else "Nothing was asked."]
    folder = report.datasets[0].run_folder.parent
    one = report.datasets[0].location
    shown = folder.parent if len(report.datasets) > 1 else one if Path(one).is_file() else folder
    lines.append(f"Look at it with: psyctl dataset.show {shlex.quote(str(shown))}")
    if report.limit is not None and not report.short:
        lines.append("For more pairs run the same command with a higher --limit-samples.")
    return lines


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


def statuses(found: Sequence[RunStatus], *, details: bool = False) -> None:
    """Print the datasets of a folder: each run with a table of its traits, then what does not fit together."""
    for run in by_run(found):
        _print(run_view(run))
    for status in found:
        if made_from := status.run.get("identity", {}).get("made_from"):
            say(f"{status.trait}, {status.name}: {_origin(made_from)}")
    for status in found:
        if status.elsewhere and not status.is_running:
            say(f"{status.name}: {status.elsewhere}")
    for status in found:
        if details and status.run:
            say(f"--- {status.trait}, {status.folder}/{status.name}")
            print_rows(_detail_rows(status))
    for status in found:
        for problem in status.problems:
            say(f"Problem of {status.trait}: {problem}")


def by_run(found: Sequence[RunStatus]) -> list[list[RunStatus]]:
    """The datasets of each run together, oldest run first."""
    return [[each for each in found if each.name == name] for name in sorted({status.name for status in found})]


def run_view(found: Sequence[RunStatus]) -> Any:
    """How one run is doing, and a table with a row a trait."""
    from rich.console import Group
    from rich.text import Text

    head = ("Trait", "State", "Pairs", "Wanted", "Done", "Rejected")
    rows = []
    for status in found:
        pairs = "?" if status.records is None else number(status.records)
        wanted = "all" if status.wanted is None else number(status.wanted)
        done = "" if status.wanted is None or status.records is None else per_cent(status.records, status.wanted)
        state = status.state.partition(" ")[0]
        rows.append((status.trait, state, pairs, wanted, done, number(status.rejected)))
    return Group(Text(visible(run_line(found))), _table(head, rows))


def run_line(found: Sequence[RunStatus]) -> str:
    """One run in a line: how it is doing now, or what it came to."""
    first = found[0]
    told = next((status for status in found if status.is_running), None)
    parts = [first.name]
    if told is None:
        parts.append(", ".join(dict.fromkeys(status.state for status in found)))
        costs = [status.cost for status in found if status.cost is not None]
        parts += [money(max(costs))] if costs else []
        return " · ".join(parts)
    return " · ".join([*parts, told.state, *in_parts(progress_of(told.progress))])


def _detail_rows(status: RunStatus) -> list[tuple[str, str]]:
    statistics, identity = status.run["statistics"], status.run["identity"]
    rows = [("Rejected", _counts(statistics["rejected"]))]
    if statistics["skipped"]:
        rows.append(("Rows skipped", _counts(statistics["skipped"])))
    failed = f", {number(statistics['failed_requests'])} failed" if statistics["failed_requests"] else ""
    rows.append(("Requests", f"{number(statistics['requests'])}{failed}"))
    if servers := statistics.get("answered_by"):
        rows.append(("Answered by", ", ".join(f"{name}: {number(count)}" for name, count in servers.items())))
    parts: list[tuple[str, str]] = [
        (kind.capitalize(), kind)
        for kind in KINDS
        if kind in identity or (KINDS[kind].decides and not KINDS[kind].is_optional)
    ]
    parts += [("Judge's backend", "judge_backend")] if "judge_backend" in identity else []
    rows += [(label, _component(identity.get(part, {}))) for label, part in parts]
    rows += [("Scores", _scores(statistics["scores"]))] if statistics.get("scores") else []
    rows.append(("Sampling", _inline(identity.get("sampling", {}))))
    return rows + [(f"Persona, {who}", description) for who, description in stored_personas(status.run)]


def _origin(made_from: Mapping[str, Any]) -> str:
    names = " and ".join(f"{counted(parent['pairs'], 'pair')} of {parent['name']}" for parent in made_from["datasets"])
    return f"{names}, as its part '{made_from['part']}'" if "part" in made_from else names


def _component(identity: Mapping[str, Any]) -> str:
    name = identity.get("component", {}).get("name", "unknown")
    return _joined(name, identity.get("settings", {}), identity.get("own", {}))


def _joined(name: str, *settings: Mapping[str, Any]) -> str:
    given = ({key: value for key, value in each.items() if value not in (None, "")} for each in settings)
    return ", ".join(filter(None, [name, *map(_inline, given)]))


def _inline(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def plan(found: Plan, *, prompts: bool = False) -> None:
    """Print what a run would do: how many calls, how much money, how long; then what with; the prompts if wanted."""
    print_rows([("Calls", _calls(found)), ("Money", _money(found)), ("Time", _time(found))])
    for trait, changes in found.others.items():
        say(f"What lies there of {trait} was made with other settings ({changes}): another dataset is begun.\n")
    print_table(
        ("Trait", "There", "Wanted", "Folder"),
        [
            (trait, number(found.pairs[trait]), "all" if found.limit is None else number(found.limit), str(folder))
            for trait, folder in zip(found.traits, found.folders, strict=True)
        ],
    )
    print_rows(
        [
            *((kind.capitalize(), _joined(text, found.settings[kind])) for kind, text in found.components.items()),
            *([("Judge asks", found.judge_backend)] if found.judge_backend else []),
            ("Scenarios", _scenarios(found)),
        ]
    )
    if prompts:
        _prompts(found)
    else:
        say("The prompts: --show-prompts adds them.")
    say("Dry run: nothing was asked and nothing was written.")


def _calls(found: Plan) -> str:
    if found.requests is None:
        return "not known: nobody knows how many scenarios the source has; --limit-samples bounds them"
    parts = [f"{number(found.requests - found.persona_requests)} for pairs"]
    parts += [f"{number(found.persona_requests)} for personas"] if found.persona_requests else []
    parts += [f"{number(found.judge_requests or 0)} of the judge"] if found.judge_backend else []
    total = found.requests + (found.judge_requests or 0)
    more = "; more for each rejected pair" if total else ": nothing is lacking"
    return f"{number(total)} ({', '.join(parts)}){more}" if total else f"0{more}"


def _money(found: Plan) -> str:
    if found.is_free:
        return "none: it is computed here"
    cost = found.cost
    each = " for every 1,000 scenarios" if found.requests is None else ""
    price = f" at {found.estimate.price}" if found.estimate is not None and found.estimate.price else ""
    if found.requests == 0:
        told = "none"
    elif cost is None:
        told = "not known: no price is listed"
    else:
        tokens = found.estimate and (
            f", {counted(found.estimate.prompt_tokens, 'token')} read and at most "
            f"{number(found.estimate.completion_tokens)} generated{each}"
        )
        told = f"at most about {money(cost)}{each}{price}{tokens or ''}"
    if found.budget is None:
        return told
    spent = f", {money(found.spent)} of it spent" if found.spent else ""
    left = found.budget - found.spent
    fits = "" if cost is None or each else "; it suffices" if cost <= left else "; it may end the run early"
    return f"{told}. The budget is {money(found.budget)}{spent}{fits}"


def _time(found: Plan) -> str:
    if found.requests == 0:
        return "none"
    if found.seconds is not None:
        return f"about {duration(found.seconds)}, at the rate of the run so far"
    return "not known before the first answers: --sample 20 tells, and the run goes on from there"


def _scenarios(found: Plan) -> str:
    if found.scenarios is not None and found.limit is not None and found.scenarios >= found.limit:
        return f"{number(found.scenarios)} or more"
    rows = f" ({counted(found.rows, 'row')})" if found.rows is not None else ""
    if found.scenarios is None:
        return f"not counted{rows}"
    few = f": fewer than the {counted(found.limit, 'pair')} wanted" if found.limit is not None else ""
    return f"{number(found.scenarios)}{rows}{few}"


def _prompts(found: Plan) -> None:
    for trait, prompts in found.persona_prompts.items():
        for index, messages in enumerate(prompts, 1):
            _section(f"Persona prompt {index}, {trait}", [(m.role, m.content) for m in messages])
    for trait, description in found.personas.items():
        _section(f"Persona, {trait}", [("description", description)])
    example = found.example
    begun = [("assistant, begun", example.prefill)] if example.prefill else []
    _section("Example request", [*((m.role, m.content) for m in example.messages), *begun])


def _section(title: str, parts: list[tuple[str, str]]) -> None:
    say(f"--- {title}")
    for role, text in parts:
        say(f"[{role}]\n{text}")
    say()


def print_rows(rows: list[tuple[str, str]]) -> None:
    """Print labels and values in two columns, as wide as the terminal."""
    from rich.table import Table
    from rich.text import Text

    table: Any = Table(show_header=False, box=None, pad_edge=False)
    for name, value in rows:
        table.add_row(Text(visible(name), "bold"), Text(visible(value), overflow="fold"))
    _print(table)


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; what no terminal reads is as wide as it likes."""
    _print(_table(head, rows))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    """A table without lines, numbers to the right."""
    from rich.table import Table
    from rich.text import Text

    table: Any = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(head):
        is_number = all(cell[:1].isdigit() or cell in ("", "all", "?") for cell in (row[index] for row in rows))
        table.add_column(name, justify="right" if is_number else "left", overflow="fold", no_wrap=is_number)
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    return table


def _print(table: Any) -> None:
    from rich.console import Console

    if sys.stdout.isatty():
        Console().print(table)
        say()
        return
    console = Console(width=10_000)  # nobody's screen: what is read by a program or later is not broken
    with console.capture() as drawn:
        console.print(table)
    say("\n".join(line.rstrip() for line in drawn.get().splitlines()) + "\n")


def _counts(counts: Mapping[str, int]) -> str:
    reasons = ", ".join(f"{reason}: {number(n)}" for reason, n in sorted(counts.items(), key=lambda item: -item[1]))
    return f"{number(sum(counts.values()))} ({reasons})" if any(counts.values()) else "0"
