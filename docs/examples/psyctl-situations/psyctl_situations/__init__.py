"""Situations from a CSV file, and datasets in SQLite: what psyctl is told when it looks for plugins."""

from dataclasses import dataclass

from psyctl_core import Component, hookimpl, option


@dataclass(frozen=True)
class SituationsConfig:
    """Which file to read. It is not part of a run's identity: what is in the file is."""

    path: str = option("", help="A CSV file with the columns situation and character.", identity=False)


@dataclass(frozen=True)
class SqliteConfig:
    """How to write."""

    table: str = option("pairs", help="The table that gets a row for each pair.")


@hookimpl
def psyctl_scenario_sources():
    """Offer ``--source situations``."""
    return [
        Component("situations", "psyctl_situations.source:Situations", SituationsConfig, "Situations from a CSV file")
    ]


@hookimpl
def psyctl_output_sinks():
    """Offer ``--sink sqlite``."""
    return [Component("sqlite", "psyctl_situations.sink:Sqlite", SqliteConfig, "A SQLite database for each dataset")]
