"""How a dataset and a report show themselves in a notebook, as HTML in which no text of a dataset is markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import islice
from typing import TYPE_CHECKING

from psyctl_core.errors import PsyctlError
from psyctl_core.figures import counted
from psyctl_core.terminal import visible

if TYPE_CHECKING:
    from psyctl_core._engine.reading import StoredDataset

FIRST = 3
"""So many pairs are shown."""

LONGEST = 300
"""Characters of a text that are shown."""

_CELL = "text-align: left; vertical-align: top; white-space: pre-line"


def dataset_html(dataset: StoredDataset) -> str:
    """What a dataset is in a line, and its first pairs in a table; what cannot be read is said."""
    status = dataset.run.get("status", "without a run folder")
    try:
        count = None if dataset.sink is None else dataset.sink.inspect(dataset.target).records
        pairs = list(islice(dataset, FIRST))
        problem = ""
    except PsyctlError as error:
        count, pairs, problem = None, [], error.message
    other = pairs[0].metadata.get("contrast", "neutral") if pairs else "neutral"
    rows = [(record.situation, record.character, record.positive_text, record.neutral_text) for record in pairs]
    pairs_there = "? pairs" if count is None else counted(count, "pair")
    parts = [
        f"<p><strong>{_shown(dataset.trait)}</strong>: {pairs_there}, {_shown(status)}<br>",
        f"<code>{_shown(dataset.location)}</code></p>",
        table(("Situation", "Character", dataset.trait, str(other)), rows) if rows else "",
        f"<p>{_shown(problem)}</p>" if problem else "",
        f"<p>The first {len(rows)} of {count}.</p>" if rows and count and count > len(rows) else "",
    ]
    return "".join(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of texts."""
    top = "".join(f'<th style="{_CELL}">{_shown(cell)}</th>' for cell in head)
    body = "".join("<tr>" + "".join(f'<td style="{_CELL}">{_shown(c)}</td>' for c in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _shown(value: object) -> str:
    text = str(value)
    return escape(visible(text if len(text) <= LONGEST else f"{text[:LONGEST]}…"))
