"""The commands ``dataset.push`` and ``dataset.card``: a dataset on the Hugging Face Hub, with a card that is true."""

from __future__ import annotations

from collections.abc import Sequence

from psyctl_core.components import Command
from psyctl_core.hookspecs import hookimpl


@hookimpl
def psyctl_commands() -> Sequence[Command]:
    """Offer ``dataset.push`` and ``dataset.card``."""
    return [
        Command("dataset.push", "psyctl_hub.commands:push", "Publish datasets on the Hugging Face Hub, with a card"),
        Command("dataset.card", "psyctl_hub.commands:card", "Write the card that dataset.push would publish"),
    ]
