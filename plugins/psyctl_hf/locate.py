"""Finds the model that was named, and what tells it from another, without loading it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
from huggingface_hub import errors as hub_errors

from psyctl_core.errors import BackendError, UsageError
from psyctl_core.files import digest
from psyctl_core.local_models import EMBEDDED, check_files, embedded_file

log = logging.getLogger("psyctl")

ADAPTER = "adapter_config.json"
"""The file that makes a folder hold a low-rank adapter of another model: https://huggingface.co/docs/peft."""


@dataclass(frozen=True, slots=True)
class Located:
    """Where ``from_pretrained`` finds a model.

    Attributes:
        name: What names the model in a run's identity.
        repository: A folder, or a Hub name.
        gguf_file: The GGUF file inside the folder, or ``None``.
        revision: The Hub's commit, or ``None`` for local files.
        fingerprint: The commit, or a digest of the local files.
    """

    name: str
    repository: str
    gguf_file: str | None
    revision: str | None
    fingerprint: str


def locate(model: str) -> Located:
    """Find a model by Hub name, folder, GGUF file or ``embedded``.

    Raises:
        UsageError: There is no such model, or it is not installed.
        BackendError: The Hub cannot be reached, or does not let this user in.
    """
    if model == EMBEDDED:
        path = embedded_file()
        return Located(EMBEDDED, str(path.parent), path.name, None, digest([path]))
    path = Path(model).expanduser()
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise UsageError(f"'{model}' is no GGUF file.", "Give a .gguf file, a model folder or a Hub name.")
        check_files([path])
        return Located(path.name, str(path.parent), path.name, None, digest([path]))
    if path.is_dir():
        return _in_folder(path)
    if model.startswith((".", "/", "~")) or path.suffix.lower() == ".gguf":
        raise UsageError(f"Model '{model}' not found: there is no such file or folder.", "Check the path.")
    return _on_hub(model)


def _in_folder(path: Path) -> Located:
    files = sorted(file for file in path.iterdir() if file.is_file())
    names = {file.name for file in files}
    if "config.json" in names:
        if ADAPTER in names:
            log.warning("The adapter in '%s' is not applied: merge it into the model first.", path)
        return Located(path.name, str(path), None, None, digest(files))
    gguf = [file for file in files if file.suffix.lower() == ".gguf"]
    if len(gguf) == 1:
        check_files(gguf)
        return Located(path.name, str(path), gguf[0].name, None, digest(gguf))
    if ADAPTER in names:
        raise UsageError(
            f"The folder '{path}' holds an adapter, not a model.",
            "Merge it first, with merge_and_unload() of the package peft, and give the folder that this is saved in.",
        )
    what = f"{len(gguf)} GGUF files" if gguf else "neither a config.json nor a GGUF file"
    raise UsageError(f"The folder '{path}' holds {what}.", "Give a model's folder, or one GGUF file.")


def _on_hub(model: str) -> Located:
    name, _, revision = model.partition("@")
    with _hub_errors(name, revision):
        file = Path(huggingface_hub.hf_hub_download(name, "config.json", revision=revision or None))
    commit = file.parent.name
    return Located(name, name, None, commit, commit)


@contextlib.contextmanager
def _hub_errors(name: str, revision: str) -> Iterator[None]:
    page = f"https://huggingface.co/{name}"
    try:
        yield
    except hub_errors.GatedRepoError as error:
        raise BackendError(
            f"Model '{name}' is gated: its owner must grant access.",
            f"Ask for access at {page}, then set HF_TOKEN to a token of your account.",
        ) from error
    except hub_errors.RevisionNotFoundError as error:
        raise UsageError(f"Model '{name}' has no revision '{revision}'.", f"See {page}/tree/main.") from error
    except hub_errors.LocalEntryNotFoundError as error:
        raise BackendError(
            f"Model '{name}' cannot be reached, and is not in the local cache.",
            "Check the network (or HF_HUB_OFFLINE), or use --model embedded.",
            later=not huggingface_hub.constants.HF_HUB_OFFLINE,
        ) from error
    except (hub_errors.RepositoryNotFoundError, hub_errors.HFValidationError) as error:
        raise UsageError(
            f"Model '{name}' not found on the Hugging Face Hub.",
            f"Check the spelling at {page}; a private model needs HF_TOKEN.",
        ) from error
    except hub_errors.EntryNotFoundError as error:
        raise UsageError(
            f"'{name}' holds no config.json, so it is no model that Transformers can load.",
            f"See {page}; of a GGUF repository, download one file and give its path; merge an adapter first.",
        ) from error
    except OSError as error:
        raise BackendError(
            f"Model '{name}' cannot be fetched: {str(error).splitlines()[0] if str(error) else error!r}.",
            "Check the network and the free disk space, then run the same command again.",
            later=True,
        ) from error
