"""Publishes files in a repository on the Hub: looks what is there, and makes one commit of all of them, or none."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined] # public as its documentation says

from psyctl_core.errors import UsageError
from psyctl_hub.refusals import explaining, has_token, status_of

KIND = "dataset"

ITS_OWN = frozenset((".gitattributes",))
"""Files that the Hub makes itself in a new repository."""


@dataclass(frozen=True, slots=True)
class There:
    """What is in a repository.

    Attributes:
        commit: The commit of its branch ``main``.
        is_private: Whether only its owner sees it.
        files: The Hub's entries of its files by path, without those that it makes itself.
    """

    commit: str
    is_private: bool
    files: Mapping[str, Any]


def check_name(repo: str) -> None:
    """See that a repository can be called so.

    Raises:
        UsageError: It cannot, or its owner is not named.
    """
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UsageError(
            f"'{repo}' cannot be a repository's name: {str(error).splitlines()[0]}", "Give --repo USER/NAME."
        ) from error
    if "/" not in repo:
        raise UsageError(f"'{repo}' does not say whose the repository is.", f"Give --repo USER/{repo or 'NAME'}.")


def address_of(repo: str) -> str:
    """The repository's page."""
    return f"{constants.ENDPOINT}/datasets/{repo}"


def publish(repo: str, files: Mapping[str, bytes], message: str, *, is_public: bool, replace: bool) -> bool:
    """Make one commit of the files, in a new repository or in one that holds nothing else.

    Args:
        repo: ``USER/NAME``.
        files: Contents by path.
        message: What the commit is called.
        is_public: Whether everybody shall see it.
        replace: Whether other content that is there makes room.

    Returns:
        Whether there was something to do: not where exactly these files are there.

    Raises:
        UsageError: There is no token, or what is there is in the way.
        OutputError: The Hub cannot be reached or refuses; then none of the files is published.
    """
    if not has_token():
        raise UsageError(
            "There is no token to publish with.",
            f"Make one with the right to write at {constants.ENDPOINT}/settings/tokens, and set HF_TOKEN to it.",
        )
    with explaining(repo):
        api = HfApi()
        there = look(api, repo)
        if there is None:
            api.create_repo(repo, repo_type=KIND, private=not is_public)
            there = look(api, repo)
            assert there is not None
        _check_visibility(repo, there, is_public)
        if there.files.keys() == files.keys() and all(_is_same(there.files[path], files[path]) for path in files):
            return False
        if there.files and not replace:
            raise UsageError(
                f"The repository '{repo}' holds other content already: {_some(there.files)}.",
                "Give another --repo, or --replace, which puts these files in its place; the history keeps the old.",
            )
        gone = [CommitOperationDelete(path) for path in there.files if path not in files]
        added = [CommitOperationAdd(path, content) for path, content in files.items()]
        api.create_commit(repo, [*gone, *added], commit_message=message, repo_type=KIND, parent_commit=there.commit)
    return True


def look(api: HfApi, repo: str) -> There | None:
    """What is in a repository; ``None`` where there is none that the token may see.

    Raises:
        UsageError: It has another name by now.
    """
    try:
        info = api.dataset_info(repo, files_metadata=True)
    except RepositoryNotFoundError as error:
        if status_of(error) == 401:
            raise
        return None
    if info.id.casefold() != repo.casefold():
        raise UsageError(f"The repository '{repo}' is called '{info.id}' by now.", f"Give --repo {info.id}.")
    files = {entry.rfilename: entry for entry in info.siblings or () if entry.rfilename not in ITS_OWN}
    return There(str(info.sha), bool(info.private), files)


def _check_visibility(repo: str, there: There, is_public: bool) -> None:
    if there.is_private == is_public:
        is_so, asked = ("private", "--public was") if there.is_private else ("public", "--public was not")
        raise UsageError(
            f"The repository '{repo}' is {is_so}, and {asked} given.",
            f"{'Leave --public out' if is_public else 'Give --public'}, or change that at {address_of(repo)}/settings.",
        )


def _is_same(entry: Any, content: bytes) -> bool:
    """Whether a file of the Hub has that content: by SHA-256 where it is kept apart, else by git's name of a blob."""
    if entry.lfs:
        return bool(entry.lfs.sha256 == hashlib.sha256(content).hexdigest())
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return bool(entry.blob_id == blob.hexdigest())


def _some(files: Mapping[str, Any]) -> str:
    names = sorted(files)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
