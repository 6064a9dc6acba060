"""Reads SODA-shaped rows through ``datasets``: streamed from the Hub, or from local files."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
from datasets.exceptions import DatasetNotFoundError as NotFound
from huggingface_hub import errors as hub_errors

from psyctl_core.components import Context, Identity, ScenarioSource
from psyctl_core.errors import SourceError
from psyctl_core.records import Scenario, SkippedRow
from psyctl_soda import SodaConfig
from psyctl_soda.rows import WANTED, to_scenario

READERS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
SAMPLE_BYTES = 1 << 20


class SodaSource(ScenarioSource):
    """A Hub data set or local files with SODA's columns, read row by row.

    Raises:
        SourceError: A local path holds no readable file.
    """

    def __init__(self, config: SodaConfig, context: Context) -> None:
        del context
        self._name, _, self._revision = config.dataset.partition("@")
        self._split = config.split
        self._path = Path(config.dataset).expanduser()
        self._files = _local_files(self._path) if self._path.exists() else []
        if not self._files and _looks_local(config.dataset):
            raise SourceError(
                f"Dataset '{config.dataset}' not found: there is no such file or folder.",
                "Check the path, or give a Hugging Face dataset name such as allenai/soda.",
            )

    def identity(self) -> Identity:
        """The Hub revision's commit, or the local files' names, sizes and a digest of their ends."""
        if self._files:
            return {"dataset": self._path.name, "files": _digest(self._files)}
        with _hub_errors(self._name):
            info = huggingface_hub.HfApi().dataset_info(self._name, revision=self._revision or None)
        return {"dataset": self._name, "revision": info.sha}

    def total(self) -> int | None:
        """The number of rows where the data set's card tells it."""
        splits = None if self._files else self._open().info.splits
        return splits[self._split].num_examples if splits and self._split in splits else None

    def scenarios(self, start: int) -> Iterator[Scenario | SkippedRow]:
        """Yield a scenario or a skipped row for each row from ``start`` on."""
        with _hub_errors(self._name):
            rows = iter(self._open().skip(start))
            first = next(rows, None)
        if first is None:
            return
        if start == 0 and not set(WANTED) <= set(first):
            raise self._unusable(first, "it lacks columns that SODA has")
        usable = False
        for place, row in enumerate(self._rows(first, rows, start), start):
            item = to_scenario(row, place)
            usable = usable or isinstance(item, Scenario)
            yield item
        if not usable and start == 0:
            raise self._unusable(first, "no row holds a dialogue of two named speakers")

    def _rows(self, first: Any, rest: Iterator[Any], start: int) -> Iterator[Any]:
        yield first
        read = start + 1
        try:
            for row in rest:
                yield row
                read += 1
        except Exception as error:
            raise SourceError(
                f"Reading dataset '{self._name}' failed after row {read}: {type(error).__name__}: {error}",
                "If the network failed, run the same command again: it goes on from what is saved.",
            ) from error

    def _open(self) -> Any:
        datasets.disable_progress_bars()
        if not self._files:
            return datasets.load_dataset(self._name, revision=self._revision or None, split=self._split, streaming=True)
        paths = [str(path) for path in self._files]
        return datasets.load_dataset(READERS[self._files[0].suffix], data_files=paths, split="train", streaming=True)

    def _unusable(self, row: Any, why: str) -> SourceError:
        return SourceError(
            f"Dataset '{self._name}' has no usable rows: {why}. "
            f"Columns found: {', '.join(row)}; wanted: {', '.join(WANTED)}.",
            "Give a dataset in SODA's shape: narrative (text), dialogue (list of turns), speakers (a name a turn).",
        )


@contextlib.contextmanager
def _hub_errors(name: str) -> Iterator[None]:
    """Turn what ``datasets`` and ``huggingface_hub`` raise into the specification's words."""
    try:
        yield
    except SourceError:
        raise
    except Exception as error:
        raise _explained(name, error) from error


def _explained(name: str, error: Exception) -> SourceError:
    page = f"https://huggingface.co/datasets/{name}"
    if isinstance(error, hub_errors.GatedRepoError) or "gated" in str(error):
        return SourceError(
            f"Dataset '{name}' is gated: its owner must grant access.",
            f"Ask for access at {page}, then set HF_TOKEN to a token of your account.",
        )
    if isinstance(error, hub_errors.RevisionNotFoundError):
        return SourceError(f"Dataset '{name}' has no such revision: {error}", f"See {page}/tree/main.")
    if isinstance(
        error,
        (hub_errors.RepositoryNotFoundError, hub_errors.HFValidationError, NotFound),
    ):
        return SourceError(
            f"Dataset '{name}' not found",
            f"1. Check the dataset's page: {page}\n"
            "2. Ensure the dataset is public, or that HF_TOKEN is set.\n"
            "3. Verify the spelling of the name.",
        )
    if isinstance(error, (OSError, hub_errors.OfflineModeIsEnabled)) or _is_transport_error(error):
        return SourceError(
            f"Dataset '{name}' cannot be reached: {_first_line(error)}",
            "Check the network (or HF_HUB_OFFLINE), or work without it: --source starter, or --dataset FILE.",
        )
    return SourceError(
        f"Dataset '{name}' cannot be read: {type(error).__name__}: {_first_line(error)}",
        f"See {page}, or give a local file with --dataset FILE.",
    )


def _is_transport_error(error: Exception) -> bool:
    """Whether the Hub's HTTP client could not connect; which client it is differs between versions."""
    return any(kind.__name__ == "TransportError" for kind in type(error).__mro__)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _looks_local(dataset: str) -> bool:
    return dataset.startswith((".", "/", "~")) or Path(dataset).suffix in READERS


def _local_files(path: Path) -> list[Path]:
    """The file, or the folder's files of the one readable format it holds."""
    if path.is_file() and path.suffix not in READERS:
        raise SourceError(f"'{path}' is no file that can be read as a dataset.", f"Give one of: {', '.join(READERS)}.")
    if path.is_file():
        return [path]
    files = sorted(p for p in path.rglob("*") if p.suffix in READERS and p.is_file())
    formats = sorted({READERS[p.suffix] for p in files})
    if len(formats) != 1:
        found = f"files of several formats ({', '.join(formats)})" if formats else "no dataset file"
        raise SourceError(
            f"The folder '{path}' holds {found}.",
            f"Give one file, or a folder with one of: {', '.join(READERS)}.",
        )
    return files


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}:".encode())
        with path.open("rb") as file:
            digest.update(file.read(SAMPLE_BYTES))
            file.seek(max(0, size - SAMPLE_BYTES))
            digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()[:16]
