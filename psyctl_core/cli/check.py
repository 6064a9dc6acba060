"""``psyctl dataset.check``: what every check says of a finished dataset, a line each, or as JSON for programs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from psyctl_core._caa.traits import KNOWN
from psyctl_core._plugins.registry import Registry
from psyctl_core.cli.completion import checks, values
from psyctl_core.errors import ExitCode
from psyctl_core.figures import counted
from psyctl_core.terminal import say, say_json, visible

if TYPE_CHECKING:
    from psyctl_core._engine.checking import CheckResult, Checkup
    from psyctl_core.records import JsonValue

VERDICTS = ("ok", "look", "fail", "cannot tell")
MARGIN = " " * 13
"""Verdicts stand in the first column; what belongs to one is set in behind it."""


def command(registry: Registry) -> Callable[..., None]:
    """The command for what is installed."""

    def dataset_check(
        output: Annotated[
            list[Path],
            typer.Argument(
                help="A dataset: a folder, or a file, also another tool's; or two files, the positive side first."
            ),
        ],
        trait: Annotated[
            str,
            typer.Option(
                help="Which trait's dataset, where there are several, or the trait of a file of others'.",
                autocompletion=values(KNOWN),
            ),
        ] = "",
        only: Annotated[str, typer.Option(help="Run these checks only, comma-separated.", autocompletion=checks)] = "",
        skip: Annotated[str, typer.Option(help="Leave these checks out, comma-separated.", autocompletion=checks)] = "",
        threshold: Annotated[
            list[str] | None,
            typer.Option(help="NAME=LOOK,FAIL: from where on a check says look, and fail; several times for several."),
        ] = None,
        thresholds: Annotated[
            Path | None, typer.Option(help='A JSON file of thresholds: {"NAME": [LOOK, FAIL]}.')
        ] = None,
        tokenizer: Annotated[
            str, typer.Option(help="A tokenizer's folder or Hub name, to check the choices' tokens with.")
        ] = "",
        model: Annotated[
            str, typer.Option(help="A local model whose states to read, for coherence: folder, Hub name or embedded.")
        ] = "",
        worst: Annotated[int, typer.Option(help="How many pairs to show of what is not ok.", min=0)] = 3,
        strict: Annotated[bool, typer.Option("--strict", help="Fail also where a check says look.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
        debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    ) -> None:
        """Look a finished dataset over for what would end up in a vector beside the trait, or instead of it.

        Leaves with exit code 3 where a check fails, and asks no model but the one that --model names.
        """
        from psyctl_core._engine.checking import limits_from, limits_typed
        from psyctl_core.api import check_dataset
        from psyctl_core.cli.live import logging_to_stderr

        limits = {**(limits_from(thresholds) if thresholds else {}), **limits_typed(threshold or ())}
        with logging_to_stderr(quiet=False, debug=debug):
            found = check_dataset(
                *output, trait=trait, only=_names(only), skip=_names(skip), thresholds=limits, tokenizer=tokenizer,
                model=model,
            )  # fmt: skip
        _tell(found, worst, strict=strict, as_json=as_json)

    return dataset_check


def _tell(found: Sequence[Checkup], worst: int, *, strict: bool, as_json: bool) -> None:
    """Print what was found, and leave with the exit code that says whether a check fails."""
    failed = any(checkup.count("fail") or (strict and checkup.count("look")) for checkup in found)
    if as_json:
        say_json({"failed": failed, "datasets": [checkup_json(checkup, worst) for checkup in found]})
    else:
        for number, checkup in enumerate(found):
            say("\n" * bool(number) + "\n".join(checkup_lines(checkup, worst)))
    if failed:
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def checkup_lines(checkup: Checkup, worst: int, *, told_only: bool = False) -> list[str]:
    """What a checkup found, as lines of text.

    Args:
        checkup: The checkup.
        worst: How many of a check's worst pairs to show at most.
        told_only: Leave out the checks that cannot tell; they are counted all the same.
    """
    found = [f"{checkup.trait}, {checkup.location}: {counted(checkup.pairs, 'pair')}"]
    if checkup.unfinished:
        found.append(checkup.unfinished)
    if checkup.left_out:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in checkup.left_out.items())
        found.append(f"Rows left out: {sum(checkup.left_out.values())} ({reasons})")
    width = max(len(result.check.name) for result in checkup.results) + 2
    for result in (each for each in checkup.results if not told_only or each.verdict != "cannot tell"):
        found += _result_lines(result, worst, width)
    counts = ", ".join(f"{checkup.count(verdict)} {verdict}" for verdict in VERDICTS)
    found.append(f"{counted(len(checkup.results), 'check')}: {counts}")
    found += [] if told_only else dict.fromkeys(result.way_out for result in checkup.results if result.way_out)
    return found


def _result_lines(result: CheckResult, worst: int, width: int) -> list[str]:
    found = result.finding
    text = found.text
    if found.interval and result.verdict != "cannot tell":
        text += f" (95 %: {_number(found.interval[0])} to {_number(found.interval[1])})"
    lines = [f"{result.verdict:<{len(MARGIN)}}{result.check.name:<{width}}{' '.join(text.split())}"]
    if result.verdict in ("look", "fail"):
        lines.append(MARGIN + result.check.meaning)
        lines += [_cut(f"{MARGIN}{name}: {why}") for name, why in found.worst[:worst]]
    return lines


def _number(value: float) -> str:
    return f"{value:.2f}"


def _cut(text: str) -> str:
    """A line no longer than the terminal's, with everything in it made visible."""
    from rich.cells import cell_len, set_cell_size

    indent = text[: len(text) - len(text.lstrip())]
    line = indent + visible(" ".join(text.split()))
    width = max(40, shutil.get_terminal_size().columns)
    return line if cell_len(line) <= width else set_cell_size(line, width - 1).rstrip() + "…"


def checkup_json(checkup: Checkup, worst: int) -> dict[str, JsonValue]:
    """A checkup as JSON values, with at most so many of a check's worst pairs."""
    return {
        "trait": checkup.trait,
        "location": checkup.location,
        "pairs": checkup.pairs,
        "left_out": dict(checkup.left_out),
        "unfinished": bool(checkup.unfinished),
        "checks": [_result_json(result, worst) for result in checkup.results],
    }


def _result_json(result: CheckResult, worst: int) -> dict[str, JsonValue]:
    found, check = result.finding, result.check
    rows: Sequence[tuple[str, str]] = found.worst[:worst] if result.verdict in ("look", "fail") else ()
    return {
        "name": check.name,
        "from": result.origin,
        "verdict": result.verdict,
        "value": found.value,
        "interval": list(found.interval) if found.interval else None,
        "text": found.text,
        "look": check.look,
        "fail": check.fail,
        "meaning": check.meaning,
        "way_out": result.way_out,
        "worst": [{"id": name, "why": why} for name, why in rows],
    }
