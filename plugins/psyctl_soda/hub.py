"""Asks the Hugging Face Hub: which commit, which files, and why it refuses."""

from __future__ import annotations

import contextlib
import difflib
import logging
import re
from collections.abc import Iterator
from typing import Any

import datasets
import huggingface_hub
from datasets.exceptions import DatasetNotFoundError, DatasetsError
from huggingface_hub import HfApi
from huggingface_hub import errors as hub_errors

from psyctl_core.errors import SourceError

CONVERTED = "refs/convert/parquet"
"""The revision that the Hub's own converter keeps Parquet files in (https://huggingface.co/docs/dataset-viewer)."""

_OLD_CONVERTED = re.compile(r"-([A-Za-z_]+)(?:-\d+-of-\d+)?\.parquet$")
ALIKE = 0.75


def ask(name: str, revision: str) -> Any:
    """What the Hub knows of a data set, its commit above all.

    Raises:
        SourceError: Not found, private, gated, or not to be reached.
    """
    with explaining(name):
        api = HfApi()
        info = api.dataset_info(name, revision=revision or None)
        if info.gated:
            api.auth_check(name, repo_type="dataset")
        return info


def converted_files(name: str) -> tuple[str, dict[str, dict[str, list[str]]]]:
    """The commit of the Parquet conversion, and its files by config and split; none where there is none."""
    found: dict[str, dict[str, list[str]]] = {}
    try:
        commit = str(HfApi().dataset_info(name, revision=CONVERTED).sha)
        tree = list(HfApi().list_repo_tree(name, repo_type="dataset", revision=commit, recursive=True))
    except (hub_errors.RevisionNotFoundError, hub_errors.EntryNotFoundError):
        return "", found
    for path in sorted(entry.path for entry in tree if entry.path.endswith(".parquet")):
        config, _, rest = path.partition("/")
        old = _OLD_CONVERTED.search(rest)
        split = rest.rpartition("/")[0] or (old[1] if old else "")
        if split:  # of a very large split only the first part is converted
            found.setdefault(config, {}).setdefault(split.removeprefix("partial-"), []).append(
                f"hf://datasets/{name}@{commit}/{path}"
            )
    return commit, found


@contextlib.contextmanager
def explaining(name: str) -> Iterator[None]:
    """Turn what ``datasets`` and ``huggingface_hub`` raise into what happened and the way out."""
    datasets.disable_progress_bars()
    logging.getLogger("huggingface_hub.repocard").setLevel(logging.ERROR)  # a card without metadata is none of ours
    try:
        yield
    except SourceError:
        raise
    except Exception as error:
        raise explained(name, error) from error


def explained(name: str, error: Exception) -> SourceError:
    """The user's words for an error that was met with the data set of that name."""
    page = f"{huggingface_hub.constants.ENDPOINT}/datasets/{name}"
    kind = type(error)
    if isinstance(error, hub_errors.GatedRepoError) or "is a gated dataset" in str(error):
        return SourceError(
            f"Dataset '{name}' is gated: its owner must grant access.",
            f"Ask for access at {page}, then set HF_TOKEN to a token of your account.",
        )
    if isinstance(error, hub_errors.RevisionNotFoundError) or str(error).startswith("Revision '"):
        return SourceError(
            f"Dataset '{name}' has no such revision: {_first_line(error)}", f"See {page}/tree/main for what there is."
        )
    if isinstance(error, (hub_errors.RepositoryNotFoundError, hub_errors.HFValidationError, DatasetNotFoundError)):
        return _not_found(name, page, error)
    if isinstance(error, hub_errors.OfflineModeIsEnabled):
        return SourceError(
            f"Dataset '{name}' cannot be reached: HF_HUB_OFFLINE forbids to ask the Hub.",
            "Unset HF_HUB_OFFLINE, or work without the Hub: --source starter, or --dataset FILE.",
        )
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return SourceError(
            f"The Hub refused dataset '{name}': {_first_line(error)}",
            "Check what HF_TOKEN may read."
            if status in (401, 403)
            else "Try again later; see https://status.huggingface.co.",
            later=status >= 500 or status == 429,
        )
    if kind.__name__ in ("DataFilesNotFoundError", "EmptyDatasetError"):
        return SourceError(f"Dataset '{name}' holds no data files that can be read.", f"See {page}/tree/main.")
    if isinstance(error, DatasetsError):
        return SourceError(f"Dataset '{name}' cannot be read: {_first_line(error)}", f"See {page}.")
    if isinstance(error, OSError) or any(cause.__name__ == "TransportError" for cause in kind.__mro__):
        return SourceError(
            f"Dataset '{name}' cannot be reached: {_first_line(error)}",
            "Check the network, or work without it: --source starter, or --dataset FILE.",
            later=True,
        )
    return SourceError(
        f"Dataset '{name}' cannot be read: {kind.__name__}: {_first_line(error)}",
        f"See {page}, or give a local file with --dataset FILE.",
    )


def _not_found(name: str, page: str, error: Exception) -> SourceError:
    """Not there or not for us: the Hub answers 401 to both where no token was sent, 404 where one was."""
    near = alike(name)
    guess = f"Did you mean {' or '.join(near)}? " if near else ""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401 and huggingface_hub.get_token():
        return SourceError(
            f"Dataset '{name}' not found: the Hub does not accept the token in HF_TOKEN.",
            f"{guess}Set HF_TOKEN to a valid token, or unset it for public data sets.",
        )
    if status == 401:
        return SourceError(
            f"Dataset '{name}' not found, or private: the Hub shows it to nobody without a token.",
            f"{guess}1. Check the dataset's page: {page}\n"
            "2. If it is private, set HF_TOKEN to a token that may read it.\n"
            "3. Verify the spelling of the name.",
        )
    return SourceError(
        f"Dataset '{name}' not found",
        f"{guess}1. Check the dataset's page: {page}\n"
        "2. If it is private, HF_TOKEN must be of an account that may read it.\n"
        "3. Verify the spelling of the name.",
    )


def alike(name: str) -> list[str]:
    """Names on the Hub that are spelled nearly like this one, the nearest first; none where it cannot be asked."""
    owner, _, short = name.rpartition("/")
    known: dict[str, str] = {}
    searches: list[dict[str, Any]] = [{"author": owner}] if owner else []
    with contextlib.suppress(Exception):
        for search in [*searches, {"search": short}, {"search": short[:4]}]:
            known.update((info.id.lower(), info.id) for info in HfApi().list_datasets(limit=100, **search))
    wanted = name.lower()
    known = {(key if owner else key.rpartition("/")[2]): full for key, full in known.items()}
    return [known[key] for key in difflib.get_close_matches(wanted, known, n=3, cutoff=ALIKE)]


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
