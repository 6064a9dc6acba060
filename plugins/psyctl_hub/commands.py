"""``psyctl dataset.push`` and ``dataset.card``: what may be published is settled here, and nobody asked for that."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from psyctl_core.errors import OutputError, UsageError
from psyctl_core.figures import counted
from psyctl_core.files import write_atomically
from psyctl_core.terminal import say
from psyctl_hub.private import has_key

if TYPE_CHECKING:
    from psyctl_hub.facts import TraitFacts

NAME = "README.md"
"""What the Hub calls a card."""

ANYBODY = "USER/NAME"
"""Stands in a card's loading code where no repository is named."""

LICENCES = "https://huggingface.co/docs/hub/repositories-licenses"
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")

Output = Annotated[Path, typer.Argument(help="A dataset file, or a folder: then those of its newest run.")]
License = Annotated[
    str, typer.Option("--license", help="The licence you give the dataset, as the Hub calls it, such as cc-by-4.0.")
]


def push(
    output: Output,
    repo: Annotated[str, typer.Option(help="The repository to publish in, USER/NAME; made where there is none.")],
    public: Annotated[
        bool, typer.Option("--public", help="Let everybody see it; without, only its owner does.")
    ] = False,
    licence: License = "",
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Also what a run has so far, or what can be read; the card says so.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of other content that is in the repository.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the files; ask and write nothing.")] = False,
) -> None:
    """Publish datasets on the Hugging Face Hub: a config for each trait, with a card, in one commit.

    Private unless --public is given. The token is HF_TOKEN, or that of `hf auth login`.
    """
    from psyctl_hub.card import card_of
    from psyctl_hub.facts import read
    from psyctl_hub.repository import address_of, check_name, publish

    check_name(repo)
    _check_licence(licence)
    traits, notes = read(output.expanduser())
    for note in notes:
        say(note, err=True)
    _check_whole(traits, unfinished)
    if public and not licence:
        raise UsageError(
            "Everybody may see the dataset, and nothing says what they may do with it.",
            f"Give --license, such as --license cc-by-4.0; the names are at {LICENCES}.",
        )
    if not licence:
        say("No licence is given, and the card says so; name one with --license.", err=True)
    files = {NAME: card_of(traits, repo, licence).encode("utf-8"), **{each.file: each.lines() for each in traits}}
    _check_keys(files)
    shown = f"{address_of(repo)} ({'public' if public else 'private'})"
    if dry_run:
        say(f"Dry run: nothing was asked or sent. Would publish in {shown}:")
        for path, content in files.items():
            say(f"  {path}  {counted(len(content), 'byte')}")
        return
    counts = ", ".join(f"{each.trait}, {_pairs(each)}" for each in traits)
    if publish(repo, files, f"Publish {counts}", is_public=public, replace=replace):
        say(f"Published {counts}: {shown}")
    else:
        say(f"Nothing to do: exactly this is at {shown}, in {counted(len(files), 'file')}.")


def card(
    output: Output,
    file: Annotated[
        Path | None, typer.Option("--card", help=f"The card to write; without it {NAME} in the dataset's folder.")
    ] = None,
    repo: Annotated[str, typer.Option(help="Where the datasets will be loaded from, USER/NAME.")] = ANYBODY,
    licence: License = "",
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of a file with other content.")] = False,
) -> None:
    """Write the card that dataset.push would publish. Goes by the run's files alone, and asks nobody."""
    from psyctl_hub.card import card_of
    from psyctl_hub.facts import read
    from psyctl_hub.repository import check_name

    check_name(repo)
    _check_licence(licence)
    output = output.expanduser()
    traits, notes = read(output)
    for note in notes:
        say(note, err=True)
    place = file.expanduser() if file else (output if output.is_dir() else output.parent) / NAME
    text = card_of(traits, repo, licence)
    _check_keys({str(place): text.encode("utf-8")})
    try:
        if place.exists() and not replace and place.read_bytes() != text.encode("utf-8"):
            raise UsageError(
                f"The file '{place}' has other content.", "Give another --card, or --replace to write over it."
            )
        write_atomically(place, text)
    except OSError as error:
        raise OutputError(
            f"Cannot write {place}: {error.strerror or error}.", "Name a place with --card where you may write."
        ) from error
    say(f"Wrote {place}: {', '.join(f'{each.trait}, {_pairs(each)}' for each in traits)}.")


def _check_licence(licence: str) -> None:
    if licence and not _LICENCE.fullmatch(licence):
        raise UsageError(f"'{licence}' is not what the Hub calls a licence.", f"The names are at {LICENCES}.")


def _check_whole(traits: Sequence[TraitFacts], unfinished: bool) -> None:
    """Refuse what is not known to be all that the run gives, unless that is asked for."""
    for each in traits:
        if unfinished or (each.is_finished and not each.problems):
            continue
        if each.problems:
            what = f"{each.trait} cannot be read as it was written: {each.problems[0]}"
        else:
            what = f"The run of {each.trait} is not finished ({each.run['status']})."
        raise UsageError(
            what, "Finish it with the command that began it, or mend it; --unfinished publishes what there is."
        )


def _check_keys(files: Mapping[str, bytes]) -> None:
    """Refuse to publish what looks like a key, wherever it came from."""
    for path, content in files.items():
        text = content.decode("utf-8")
        if has_key(text):
            number = next((n for n, line in enumerate(text.split("\n"), 1) if has_key(line)), 1)
            raise OutputError(
                f"Line {number} of {path} holds a key, such as a token or a password; nothing was published.",
                "Take it out of the dataset or of what its run.json says.",
            )


def _pairs(facts: TraitFacts) -> str:
    return counted(len(facts.records), "pair")
