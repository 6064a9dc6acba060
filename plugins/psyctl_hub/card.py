"""Fills the card: its metadata as the Hub reads them, and below what is known of the datasets, every text escaped."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files

from huggingface_hub import DatasetCardData
from jinja2 import Environment, StrictUndefined, Template

from psyctl_hub import making
from psyctl_hub.facts import TraitFacts
from psyctl_hub.markdown import Markdown, code, inline, quoted
from psyctl_hub.private import public

NO_LICENCE = "none is stated: ask who published the dataset before you use it"

STATUS = {
    "complete": "finished",
    "stopped": "**not finished**: it was stopped, and these are the pairs so far",
    "running": "**not finished**: it was going on or was killed, and these are the pairs so far",
}

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""The Hub's words for how many rows there are (huggingface_hub, ``DatasetCardData.size_categories``)."""

LARGEST = "1M<n<10M"


def card_of(traits: Sequence[TraitFacts], repo: str, licence: str) -> str:
    """The card of one or several datasets; the same facts make the same card.

    Args:
        traits: What is told of each.
        repo: Where they are loaded from, ``USER/NAME``.
        licence: The licence's identifier on the Hub, or empty.
    """
    made = [making.made_by_all(each.origins) for each in traits]
    body = _template().render(
        traits=traits, title=title_of(traits), total=sum(len(each.records) for each in traits),
        loading=loading_code(traits, repo), citation=citation(),
        made=[("", made[0])] if all(rows == made[0] for rows in made) else list(zip(_names(traits), made, strict=True)),
        accepted=[making.accepted_by(each.runs) for each in traits],
        judged=[making.judged_by(each.run) for each in traits], repeat=repeat_of(traits), status=status_of,
        licence=licence or NO_LICENCE, source_licence=source_licence(traits),
        quoted=quoted, public=public, p2=_has_prompter(traits, "p2"),
        soda=any("allenai/soda" in making.hub_sources(run) for each in traits for run in each.origins),
    )  # fmt: skip
    return f"---\n{metadata_of(traits, licence).to_yaml()}\n---\n\n{body}"


@functools.cache  # to compile it takes longer than to fill it in
def _template() -> Template:
    environment = Environment(  # noqa: S701 - it makes Markdown, and `finalize` escapes for that
        finalize=inline, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(files("psyctl_hub").joinpath("card.md.j2").read_text(encoding="utf-8"))


def metadata_of(traits: Sequence[TraitFacts], licence: str) -> DatasetCardData:
    """What the Hub and ``datasets`` read of the card (https://huggingface.co/docs/hub/datasets-manual-configuration)."""
    total = sum(len(each.records) for each in traits)
    return DatasetCardData(
        pretty_name=str(" ".join(title_of(traits).split())),
        license=licence or None,
        language_creators=["machine-generated"],
        annotations_creators=["machine-generated"],
        size_categories=[next((name for limit, name in SIZES if total < limit), LARGEST)],
        source_datasets=sorted({name for each in traits for run in each.origins for name in making.hub_sources(run)})
        or None,
        tags=["psyctl", "contrastive-activation-addition", "activation-steering", "personality"],
        configs=[
            {"config_name": each.config, "data_files": [{"split": "train", "path": each.file}]} for each in traits
        ],
    )


def loading_code(traits: Sequence[TraitFacts], repo: str) -> Markdown:
    """How each config is loaded."""
    lines = ["from datasets import load_dataset", ""]
    for each in traits:
        lines.append(f'pairs = load_dataset({json.dumps(repo)}, {_python(each.config)}, split="train")')
    return code("\n".join(lines), "python")


def citation() -> Markdown:
    """How psyctl asks to be cited (its CITATION.cff)."""
    return code(
        "@software{psyctl,\n"
        "  title = {psyctl},\n"
        "  author = {{The psyctl authors}},\n"
        f"  version = {{{version('psyctl')}}}\n"
        "}",
        "bibtex",
    )


def title_of(traits: Sequence[TraitFacts]) -> str:
    """What the datasets are called together."""
    return f"{', '.join(_names(traits))}: contrastive pairs"


def status_of(facts: TraitFacts) -> Markdown:
    """Whether the run is finished, and what is missing."""
    text = STATUS.get(str(facts.run.get("status")), "**not known** to be finished: there is no run.json")
    if facts.unread:
        text += f"; **{facts.unread} of its lines could not be read** and are left out"
    return Markdown(text)


def repeat_of(traits: Sequence[TraitFacts]) -> list[Markdown]:
    """The commands that ask for the same again, each once, with what to know of them."""
    parts: dict[str, None] = {}
    for each in traits:
        if not making.made_by(each.origin):
            parts[f"What made {inline(each.trait)} is not known."] = None
        for run in each.runs:
            command, notes = making.command_of(run)
            if command:
                parts[code(command, "bash")] = None
            for note in notes:
                parts[inline(note)] = None
            if given := making.personas_file(run):
                parts[f"`personas.json`:\n\n{code(given, 'json')}"] = None
    return [Markdown(part) for part in parts]


def source_licence(traits: Sequence[TraitFacts]) -> str:
    """What is known of the licences of what the scenes come from."""
    return "; ".join(dict.fromkeys(making.licence_of(run) for each in traits for run in each.origins))


def _has_prompter(traits: Sequence[TraitFacts], name: str) -> bool:
    return any(
        run.get("identity", {}).get("prompter", {}).get("component", {}).get("name") == name
        for each in traits
        for run in each.origins
    )


def _python(text: str) -> str:
    """A text as Python writes it, letters as they are."""
    return json.dumps(text, ensure_ascii=False)


def _names(traits: Sequence[TraitFacts]) -> list[str]:
    return [each.trait for each in traits]
