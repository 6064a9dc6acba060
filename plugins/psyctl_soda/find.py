"""From what ``--dataset`` names to rows: a Hub name, an ``hf://`` or other address, a file, a folder, a glob."""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from psyctl_core.errors import SourceError
from psyctl_core.files import digest
from psyctl_soda.bounds import check_hub_card, check_inside, check_local_card, check_own_files, outside
from psyctl_soda.files import FORMATS, READABLE, format_of, is_remote, shown, url_info, without_secrets
from psyctl_soda.readers_json import Judge
from psyctl_soda.table import BLOCKS, Table

NO_DATA = {"dataset_info.json", "dataset_infos.json", "state.json", "dataset_dict.json"}
_MAGIC = re.compile(r"[*?\[]")
_ARROW_FILE = b"ARROW1"
_SCRIPT = "Dataset scripts are no longer supported"


@dataclass(frozen=True, slots=True)
class Located:
    """A data set that was found.

    Attributes:
        name: What messages call it.
        table: Its rows.
        identity: What tells it from the same name with other rows.
    """

    name: str
    table: Table
    identity: Mapping[str, Any]


def locate(dataset: str, split: str, config: str, judge: Judge | None = None) -> Located:
    """Find a data set and the rows of one split.

    Args:
        dataset: As ``--dataset`` takes it.
        split: The split, where there are several.
        config: The config of a data set that has several, or "".
        judge: What tells whether rows are conversations, asked about JSON documents.

    Raises:
        SourceError: There is none, or it cannot be had; the hint says what to do.
    """
    found = _located(_as_hub_path(dataset), split, config)
    found.table.options.update(split=split, judge=judge)
    return found


def _located(dataset: str, split: str, config: str) -> Located:
    if dataset.startswith("hf://datasets/"):
        return _in_repository(dataset, split, config)
    if dataset.startswith(("http://", "https://")):
        return _at_url(dataset)
    if is_remote(dataset):
        return _elsewhere(dataset)
    path = Path(dataset).expanduser()
    if path.is_dir():
        return _folder(path, split, config)
    if path.exists() or _MAGIC.search(dataset):
        return _files(dataset, [str(path)] if path.exists() else sorted(_matches(str(path))))
    if dataset.startswith((".", "/", "~")) or format_of(dataset):
        raise SourceError(
            f"Dataset '{dataset}' not found: there is no such file or folder.",
            "Check the path, or give a Hugging Face dataset name such as allenai/soda.",
        )
    name, _, revision = dataset.partition("@")
    return _on_hub(name, revision, split, config)


def _matches(pattern: str) -> list[str]:
    return glob.glob(pattern, recursive=True)  # noqa: PTH207 - the pattern may be absolute


def check_local(dataset: str) -> None:
    """Raise what :func:`locate` would for a path that is not there, without asking any network."""
    looks_local = dataset.startswith((".", "/", "~")) or bool(format_of(dataset))
    if not is_remote(dataset) and (looks_local or _MAGIC.search(dataset)) and not Path(dataset).expanduser().is_dir():
        locate(dataset, "train", "")


def _as_hub_path(dataset: str) -> str:
    """The ``hf://`` path of a page or file address on the Hub; anything else as it is."""
    from huggingface_hub import constants

    page = f"{constants.ENDPOINT}/datasets/"
    if not dataset.startswith(page):
        return dataset
    path = dataset.removeprefix(page).rstrip("/")
    parts = re.fullmatch(r"((?:[^/]+/)?[^/]+)/(?:resolve|blob|tree|raw)/([^/]+)(/[^?]*)?.*", path)
    return f"hf://datasets/{parts[1]}@{parts[2]}{parts[3] or ''}" if parts else f"hf://datasets/{path}"


def _on_hub(name: str, revision: str, split: str, config: str) -> Located:
    from psyctl_soda import hub

    info = hub.ask(name, revision)
    name = info.id  # the Hub leads on from names that were moved, such as daily_dialog
    with hub.explaining(name):
        try:
            check_hub_card(name, info.sha)
            builder = _builder(name, name, config, revision=info.sha)
        except RuntimeError as error:
            if _SCRIPT not in str(error):
                raise
            return _converted(name, revision, split, config)
        table = _table(name, builder, split)
        check_own_files(name, table.paths)
        return Located(name, table, {"dataset": name, "revision": info.sha})


def _builder(name: str, path: str, config: str, **options: Any) -> Any:
    """``datasets``' builder, which knows the configs, the splits and their files."""
    import datasets

    try:
        return datasets.load_dataset_builder(path, config or None, **options)
    except ValueError as error:
        found = re.search(r"(?:Available|available configs): ?\[(.*?)\]", str(error), re.DOTALL)
        if not found:
            raise
        configs = re.findall(r"'([^']+)'", found[1])
        what = f"has no config '{config}'" if config else "has several configs"
        raise SourceError(
            f"Dataset '{name}' {what}: {', '.join(configs)}.", f"Choose one with --dataset-config {configs[0]}."
        ) from error


def _table(name: str, builder: Any, split: str) -> Table:
    """The rows of a builder's split, read here where the format is one of ours and nothing odd is asked for."""
    from psyctl_soda.readers_parquet import names_of_features

    files = {str(key): [str(file) for file in files] for key, files in (builder.config.data_files or {}).items()}
    if not files:
        raise SourceError(f"Dataset '{name}' holds no data files that can be read.", f"Wanted: {READABLE}.")
    _check_split(name, split, files)
    kind = type(builder).__module__.rpartition(".")[2]
    splits = builder.info.splits
    count = splits[split].num_examples or None if splits and split in splits else None
    ours = kind in ("parquet", "json", "csv") and all(format_of(file) in BLOCKS for file in files[split])
    if ours and not getattr(builder.config, "skiprows", None):
        options = {key: getattr(builder.config, key, None) for key in ("field", "names")}
        if builder.info.features:
            options["decode"] = names_of_features(builder.info.features)
        separator = getattr(builder.config, "sep", ",")
        options["sep"] = separator if separator not in (",", "\t") else None
        return Table(tuple(files[split]), kind, options, count)
    options = {"decode": names_of_features(builder.info.features or {})}
    return Table(tuple(files[split]), kind, options, count, lambda: builder.as_streaming_dataset(split=split))


def _check_split(name: str, split: str, there: Iterable[str]) -> None:
    splits = list(there)
    if split not in splits:
        raise SourceError(
            f"Dataset '{name}' has no split '{split}'; it has: {', '.join(splits)}.",
            f"Choose one with --split {splits[0]}.",
        )


def _converted(name: str, revision: str, split: str, config: str) -> Located:
    """A script-based repository, through the Parquet files the Hub has made of what the script gave."""
    from psyctl_soda import hub

    what = f"Dataset '{name}' is a script-based repository, whose code is not run"
    if revision not in ("", "main"):
        raise SourceError(
            f"{what}, and the Hub's Parquet conversion is of its main branch, not of '{revision}'.",
            f"Leave out @{revision}.",
        )
    with hub.explaining(name):
        commit, found = hub.converted_files(name)
    if not found:
        raise SourceError(
            f"{what}, and the Hub has no Parquet conversion of it ({hub.CONVERTED}).",
            "Look for a copy of it in Parquet or JSON Lines on the Hub.",
        )
    if not config and len(found) > 1 and "default" not in found:
        raise SourceError(
            f"Dataset '{name}' has several configs: {', '.join(found)}.",
            f"Choose one with --dataset-config {next(iter(found))}.",
        )
    config = config or ("default" if "default" in found else next(iter(found)))
    if config not in found:
        raise SourceError(
            f"Dataset '{name}' has no config '{config}': {', '.join(found)}.",
            f"Choose one with --dataset-config {next(iter(found))}.",
        )
    _check_split(name, split, found[config])
    return Located(name, Table(tuple(found[config][split]), "parquet"), {"dataset": name, "revision": commit})


def _in_repository(dataset: str, split: str, config: str) -> Located:
    """``hf://datasets/NAME[@REVISION][/PATH]``, the path a file, a folder or a glob."""
    from huggingface_hub import HfFileSystem, constants

    from psyctl_soda import hub

    parts = re.fullmatch(r"hf://datasets/((?:[^/@]+/)?[^/@]+)(?:@([^/]+))?(?:/(.*))?", dataset)
    if parts is not None and parts[1].count("/") and not parts[3]:
        return _on_hub(parts[1], unquote(parts[2] or ""), split, config)
    fs: Any = HfFileSystem()
    fixed = _MAGIC.split(dataset)[0].rpartition("/")[0]
    with hub.explaining(dataset):
        resolved: Any = fs.resolve_path(fixed)
        name, revision = resolved.repo_id, resolved.revision
        commit = hub.ask(name, revision).sha
        inside = f"{resolved.path_in_repo}/{dataset[len(fixed) :].strip('/')}".strip("/")
        base = f"datasets/{name}@{commit}/"
        if _MAGIC.search(inside):
            found: Any = fs.glob(base + inside)
        else:
            found = fs.find(base + inside) if fs.isdir(base + inside) else [base + inside]
        paths = [f"hf://{path}" for path in sorted(map(str, found)) if format_of(path)]
        if not paths or not fs.exists(paths[0]):
            raise SourceError(
                f"Dataset '{dataset}' not found: the repository {name} has no such data file.",
                f"See {constants.ENDPOINT}/datasets/{name}/tree/{revision}.",
            )
    return Located(dataset, _plain_table(dataset, paths), {"dataset": dataset, "revision": commit})


def _at_url(url: str) -> Located:
    import requests

    table = _plain_table(url, [url])
    try:
        info = url_info(url)
    except requests.RequestException as error:
        status = getattr(error.response, "status_code", None)
        what = f"not found: the server answers {status}" if status else f"cannot be reached: {type(error).__name__}"
        raise SourceError(
            f"Dataset '{shown(url)}' {what}.",
            "Check the address, or download the file and give its path.",
            later=not status or status >= 500 or status == 429,
        ) from None
    return Located(shown(url), table, {"dataset": shown(url), **info})


def _elsewhere(address: str) -> Located:
    """An address with another scheme that fsspec knows, such as ``s3://``."""
    import fsspec  # type: ignore[import-untyped]

    try:
        fs, path = fsspec.core.url_to_fs(address)
        paths = fs.glob(path) if _MAGIC.search(path) else fs.find(path) if fs.isdir(path) else [path]
        paths = [fs.unstrip_protocol(path) for path in sorted(paths) if format_of(path)]
        sizes = [fs.size(path) for path in paths]
    except (ValueError, ImportError, OSError) as error:
        raise SourceError(
            f"Dataset '{shown(address)}' cannot be read: {without_secrets(str(error), [address])}",
            "Check the address and its scheme.",
        ) from None
    return Located(shown(address), _plain_table(address, paths), {"dataset": shown(address), "sizes": sizes})


def _folder(path: Path, split: str, config: str) -> Located:
    """A folder: what ``save_to_disk`` wrote, or data files whose names may tell their splits."""
    import datasets

    whole = path
    if (path / "dataset_dict.json").is_file():
        splits = _own_json(path / "dataset_dict.json").get("splits", [])
        _check_split(path.name, split, [str(name) for name in splits] if isinstance(splits, list) else [])
        path = path / split
    if (path / "state.json").is_file():
        listed = _own_json(path / "state.json").get("_data_files") or []
        names = [str(file.get("filename", "")) for file in listed if isinstance(file, dict)]
        if any(Path(name).name != name for name in names):
            raise outside(str(whole), f"its state.json names '{next(n for n in names if Path(n).name != n)}'")
        check_inside(whole, [path / name for name in names])
        return _files(str(path), [str(path / name) for name in names])
    files = _data_files(path)
    formats = {_family(file) for file in files}
    if len(formats) != 1:
        found = f"files of several formats ({', '.join(sorted(formats))})" if formats else "no dataset file"
        raise SourceError(f"The folder '{path}' holds {found}.", f"Give one file, or a folder with one of: {READABLE}.")
    check_local_card(path)
    check_inside(path, files)
    try:
        table = _table(str(path), _builder(str(path), str(path.resolve()), config), split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError, RuntimeError) as error:
        raise SourceError(
            f"The folder '{path}' cannot be read: {error}", "Give the files: --dataset 'FOLDER/*'."
        ) from error
    check_inside(path, table.paths)
    return Located(path.name, table, {"dataset": path.name, "files": digest(table.paths)})


def _own_json(path: Path) -> dict[str, Any]:
    """What ``save_to_disk`` wrote about a folder."""
    check_inside(path.parent, [path])
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"The folder '{path.parent}' cannot be read: its {path.name} is damaged.", "Save it again."
        ) from error
    return value if isinstance(value, dict) else {}


def _data_files(folder: Path) -> list[Path]:
    files = (file for file in folder.rglob("*") if file.is_file() and file.name not in NO_DATA)
    return [
        file
        for file in files
        if format_of(file.name) and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]


def _family(file: Path) -> str:
    """The format, with those that are read alike under one name."""
    return {"jsonl": "json", "tsv": "csv"}.get(kind := format_of(file.name), kind)


def _files(dataset: str, paths: Sequence[str]) -> Located:
    files = [path for path in paths if Path(path).is_file()]
    if not files:
        raise SourceError(f"Dataset '{dataset}' not found: no file matches it.", "Check the path.")
    table = _plain_table(dataset, files)
    return Located(dataset, table, {"dataset": Path(dataset).name, "files": digest(files)})


def _plain_table(dataset: str, paths: Sequence[str]) -> Table:
    """The rows of files that are named one by one, and so are the only split."""
    formats = {format_of(path) for path in paths}
    if "" in formats or not formats:
        raise SourceError(f"'{shown(dataset)}' is no file that can be read as a dataset.", f"Wanted: {READABLE}.")
    if "arrow" not in formats:
        return Table(tuple(paths), "")
    if formats != {"arrow"}:
        raise SourceError(
            f"'{shown(dataset)}' names files of several formats.", f"Give files of one of: {', '.join(FORMATS)}."
        )
    import datasets

    from psyctl_soda.readers_parquet import label_names

    builder = datasets.load_dataset_builder("arrow", data_files={"train": list(paths)})
    schema, count = _arrow_facts(paths)
    options = {"decode": label_names(schema)}
    return Table(tuple(paths), "arrow", options, count, lambda: builder.as_streaming_dataset(split="train"))


def _arrow_facts(paths: Sequence[str]) -> tuple[Any, int | None]:
    """The schema that Arrow files on disk begin with, and their rows; an empty one and None where one is not read."""
    import pyarrow as pa  # type: ignore[import-untyped]

    schema, count = pa.schema([]), 0
    for path in paths:
        try:
            with pa.memory_map(path) as file:
                is_file = file.read(len(_ARROW_FILE)) == _ARROW_FILE
                file.seek(0)
                reader = pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)
                batches = map(reader.get_batch, range(reader.num_record_batches)) if is_file else reader
                count += sum(batch.num_rows for batch in batches)
                schema = reader.schema
        except (pa.ArrowInvalid, OSError):
            return pa.schema([]), None
    return schema, count
