"""Rows as the objects of pandas and of Hugging Face datasets, which are imported when asked for and nowhere else.

The import rules allow the two here, and their names in types: nothing is computed with them, and who does not call this
does not load them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from psyctl_core._plugins.problems import storable
from psyctl_core.records import CaaRecord

if TYPE_CHECKING:
    import datasets
    import pandas


def to_pandas(records: Sequence[CaaRecord]) -> pandas.DataFrame:
    """A row for each record, in their order; ``metadata`` holds dicts."""
    import pandas

    return pandas.DataFrame({**_texts(records), "metadata": [dict(record.metadata) for record in records]})


def to_datasets(records: Sequence[CaaRecord]) -> datasets.Dataset:
    """The same; ``metadata`` is JSON as in an export, for a column has one form, and plugins attach what they like."""
    import datasets

    metadata = [json.dumps(record.metadata) if record.metadata else "" for record in records]
    columns = {**_texts(records), "metadata": metadata}
    features = datasets.Features({name: datasets.Value("string") for name in columns})
    return datasets.Dataset.from_dict(columns, features=features)


def _texts(records: Sequence[CaaRecord]) -> dict[str, list[str]]:
    """The columns that hold text, in the order of the fields, without halves of characters, which no table takes."""
    names = [name for name in CaaRecord.__slots__ if name != "metadata"]
    return {name: [storable(getattr(record, name)) for record in records] for name in names}
