"""Writes recipes: of a job, or of a run by its run.json, with whatever decides its dataset spelled out."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from psyctl_core import schema
from psyctl_core._caa.given import POSITIVE
from psyctl_core._engine.config import BuildConfig
from psyctl_core._engine.recipe import COMPONENT, ENV, JUDGE_BACKEND, RECIPE, SECTIONS, VERSION, core_options, prefix_of
from psyctl_core._plugins.flags import flags_of
from psyctl_core._plugins.registry import HOME, Registered, Registry
from psyctl_core._plugins.selection import Selection
from psyctl_core._store.runs import PREFIX, RUN_FILE, read_run
from psyctl_core.errors import OutputError, UsageError
from psyctl_core.options import PASSWORD
from psyctl_core.records import NEUTRAL, JsonValue

_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
    """A recipe to be written.

    Attributes:
        values: The recipe as JSON values.
        made_from: What it was made from, one line each, for the head of the file.
        notes: What could not be written into it, one line each.
    """

    values: dict[str, JsonValue]
    made_from: tuple[str, ...]
    notes: tuple[str, ...]

    def text(self, *, ascii_only: bool = False) -> str:
        """The YAML file's text.

        Args:
            ascii_only: Spell every other character as an escape.
        """
        import yaml  # not before a recipe is wanted: help must be quick

        head = "".join(
            f"# {' '.join(line.split())}\n"
            for line in ("A recipe: psyctl dataset.build.caa --recipe FILE", *self.made_from)
        )
        body: str = yaml.safe_dump(self.values, sort_keys=False, allow_unicode=not ascii_only, width=10_000)
        return (ascii(head)[1:-1].replace("\\n", "\n") if ascii_only else head) + body


def recipe_of_job(config: BuildConfig, registry: Registry) -> Written:
    """A job's recipe; of a secret it names the variable that the component reads it from. The output ``.`` is left out.

    Raises:
        UsageError: A component was handed over as an object, so no name stands for it.
    """
    notes: list[str] = []
    values = _values(
        {**({} if config.output == Path() else {"output": str(config.output)}), **config.as_json()}, {}, registry, notes
    )
    chosen: dict[str, Selection] = {kind: config.selection(kind) for kind in config.kinds}
    if config.judge_backend is not None:
        chosen[JUDGE_BACKEND] = config.judge_backend
    for section, selection in chosen.items():
        for key, variable in _secrets(section, selection, registry):
            if variable:
                values[section][key] = f"env:{variable}"  # type: ignore[index]
            else:
                notes.append(f"{key} is a secret and is left out: add {key}: env:VARIABLE to the section {section}.")
    return Written(values, (), tuple(notes))


def recipe_of_run(place: Path, registry: Registry) -> Written:
    """The recipe of a run, by its run.json; what was read from the Hub is pinned to the commit that was read.

    Args:
        place: A run folder, its run.json, a dataset file, or a folder of runs: then the newest one.

    Raises:
        UsageError: There is no run, or it was not made by ``dataset.build.caa`` with installed components.
        OutputError: Its run.json cannot be used.
    """
    path = _run_file(place)
    run, wrong = read_run(path)
    if wrong:
        raise OutputError(f"The run file {path} cannot be used: {wrong}.", "Restore it, or name another run.")
    notes: list[str] = []
    values = _values(run["settings"], run["identity"], registry, notes)
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    return Written(values, (f"Made from the run {run['name']}, which used {versions}.",), tuple(notes))


def _run_file(place: Path) -> Path:
    if place.name == RUN_FILE:
        found = [place]
    elif place.is_dir():
        found = [place / RUN_FILE] if (place / RUN_FILE).exists() else list(place.rglob(f"{PREFIX}_*.run/{RUN_FILE}"))
    else:
        found = [place.with_suffix(".run") / RUN_FILE]
    newest = max((path for path in found if path.is_file()), key=lambda path: path.parent.name, default=None)
    if newest is None:
        raise UsageError(
            f"There is no run at '{place}'.", "Name a run folder, a dataset file, or the folder that --output named."
        )
    return newest


def _values(
    settings: Mapping[str, Any], identity: Mapping[str, Any], registry: Registry, notes: list[str]
) -> dict[str, JsonValue]:
    """A recipe's values in the schema's order, from settings as run.json has them."""
    personas = settings.get("personas", {})
    flat = {**settings, "contrast": personas.get("contrast"), "personas": personas.get("number")}
    flat["persona-file"] = _descriptions(personas)
    values: dict[str, JsonValue] = {VERSION: schema.VERSIONS[RECIPE]}
    for name in schema.load(RECIPE)["properties"]:
        value = flat.get(name.replace("-", "_"), flat.get(name))
        if name in SECTIONS and value is not None:
            own = identity.get(name.replace("-", "_"), {}).get("own", {})
            values[name] = _section(name, value, own, registry, notes)
        elif name in core_options() and value not in (None, {}):
            values[name] = value
    return values


def _descriptions(personas: Mapping[str, Any]) -> dict[str, JsonValue]:
    """Given personas in the form of a persona file."""
    positive, neutral = personas.get("positive", {}), personas.get(NEUTRAL, [])
    by_trait = (
        {POSITIVE: positive[""]} if "" in positive else {name: {POSITIVE: texts} for name, texts in positive.items()}
    )
    return {**by_trait, **({NEUTRAL: neutral} if neutral else {})}


def _section(
    section: str, part: Mapping[str, Any], own: Mapping[str, Any], registry: Registry, notes: list[str]
) -> dict[str, JsonValue]:
    """A component's name and options; what says nothing is left out."""
    registered = _installed(section, str(part.get("component", "")), registry)
    name = registered.origin.name if registered.origin.distribution == HOME else registered.full_name
    values: dict[str, JsonValue] = {COMPONENT: name}
    fields = {field.name: field for field in dataclasses.fields(registered.component.config)}
    keys = _keys(section, registered)
    for field, value in part.get("settings", {}).items():
        if field not in keys:
            notes.append(f"The {registered.origin} has no option '{field}' today: {value!r:.60} is left out.")
        elif isinstance(value, str) and PASSWORD.search(value):
            notes.append(f"{keys[field]} holds an address with a password and is left out: type --{keys[field]}.")
        elif value is not None and (value != "" or fields[field].metadata.get("default", "")):
            values[keys[field]] = _pinned(value, own.get(fields[field].metadata.get("pin", "")))
    return values


def _keys(section: str, registered: Registered) -> dict[str, str]:
    """The key of each field: its shortest spelling."""
    return {
        flag.field: f"{prefix_of(section)}{flag.spelling[2:]}"
        for flag in flags_of(registered.component)
        if not flag.hidden
    }


def _installed(section: str, name: str, registry: Registry) -> Registered:
    try:
        return registry.get(SECTIONS[section], name)
    except UsageError as error:
        raise UsageError(
            f"The {section} '{name}' is no installed component, so a recipe cannot name it.", error.hint
        ) from error


def _pinned(value: JsonValue, commit: object) -> JsonValue:
    """The name of something on the Hub with the commit that was read; every other value as it is."""
    is_name = isinstance(value, str) and _HUB_NAME.fullmatch(value) and not Path(value).exists()
    return f"{value}@{commit}" if is_name and isinstance(commit, str) and _COMMIT.fullmatch(commit) else value


def _secrets(section: str, selection: Selection, registry: Registry) -> Iterator[tuple[str, str]]:
    """The secrets that are given, and the variable that each is to be read from, or ""."""
    registered = _installed(section, selection.name, registry)
    keys = _keys(section, registered)
    for field in dataclasses.fields(registered.component.config):
        value = getattr(selection.config, field.name, "")
        if field.metadata.get("secret") and value:
            named = ENV.fullmatch(str(value))
            yield keys[field.name], named[1] if named else str(field.metadata.get("env", ""))
