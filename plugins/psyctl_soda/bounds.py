"""Keeps a data set inside itself: its card, its lists of files and its links may name nothing outside of it.

Whoever reads a folder or a repository by its name means what is in it. A card that names ``../../secrets.jsonl``,
``/etc/passwd`` or ``http://127.0.0.1/`` is refused before anything is opened or asked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from psyctl_core.errors import SourceError

CARD, CARD_YAML = "README.md", ".huggingface.yaml"


def check_local_card(folder: Path) -> None:
    """Refuse a folder whose card names data outside of it."""
    _check_card(str(folder), _card_of(folder / CARD, folder / CARD_YAML))


def check_hub_card(name: str, revision: str) -> None:
    """Refuse a repository whose card names data outside of it; the card is fetched as ``datasets`` will do."""
    from huggingface_hub import HfApi
    from huggingface_hub import errors as hub_errors

    paths: list[Path] = []
    for file in (CARD, CARD_YAML):
        with contextlib.suppress(hub_errors.EntryNotFoundError):
            paths.append(Path(HfApi().hf_hub_download(name, file, repo_type="dataset", revision=revision)))
    _check_card(name, _card_of(*paths))


def _card_of(*paths: Path) -> dict[str, Any]:
    import yaml
    from huggingface_hub import metadata_load

    card: dict[str, Any] = {}
    for path in paths:
        with contextlib.suppress(OSError, ValueError, yaml.YAMLError):  # datasets will say what is wrong with it
            if path.name == CARD:
                card |= metadata_load(path) or {}
            else:
                card |= yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return card


def _check_card(name: str, card: Mapping[str, Any]) -> None:
    configs = card.get("configs")
    for config in configs if isinstance(configs, list) else []:
        for key in ("data_files", "data_dir"):
            for path in _texts(config.get(key) if isinstance(config, Mapping) else None):
                if _leads_out(path):
                    raise outside(name, f"its card names '{path}'")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key != "split":
                yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _leads_out(path: str) -> bool:
    parts = PurePosixPath(path.replace("\\", "/")).parts
    return (
        "://" in path
        or "::" in path
        or ".." in parts
        or path.startswith(("/", "~"))
        or PureWindowsPath(path).is_absolute()
    )


def check_inside(folder: Path, paths: Iterable[str | Path]) -> None:
    """Refuse files that are not in the folder, also where links lead out of it.

    In the Hub's cache a snapshot is made of links into ``blobs`` beside it; these are the data set's own.
    """
    root = folder.resolve()
    roots = [root]
    if root.parent.name == "snapshots":
        roots.append(root.parents[1] / "blobs")
    for path in paths:
        real = Path(path).resolve()
        if not any(real.is_relative_to(one) for one in roots):
            raise outside(str(folder), f"'{path}' is really '{real}'")


def check_own_files(name: str, paths: Iterable[str]) -> None:
    """Refuse a repository's files that are not in it."""
    for path in paths:
        if not path.startswith(f"hf://datasets/{name}@"):
            raise outside(name, f"it names '{path}'")


def outside(name: str, what: str) -> SourceError:
    """The error for data that are not where they are said to be."""
    return SourceError(
        f"Dataset '{name}' reads outside itself: {what}. Nothing was read.",
        "If that is what you want, give the file itself with --dataset.",
    )
