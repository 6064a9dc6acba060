"""What made a dataset, out of its run.json, and how to make it again; nothing private in it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from psyctl_hub.private import is_secret, public

Rows = list[tuple[str, str]]

NOT_KNOWN = "not known"

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")

LICENCES = {
    "starter": "Apache-2.0: the scenes are shipped with psyctl, and have its licence",
    "allenai/soda": "CC-BY-4.0, as its page says: https://huggingface.co/datasets/allenai/soda",
}
"""What is known of the licence of a source, by the source or by the data set that it reads."""

NUMBERED = ("limit_samples", "max_scenarios", "answers_per_scene", "seed", "temperature", "max_tokens")
"""Options of the job that decide what a run gives, as run.json and, with hyphens, the command line call them."""

KINDS = ("source", "prompter", "backend", "judge", "judge_backend")


def made_by(run: Mapping[str, Any]) -> Rows:
    """The model with its revision, the source with its commit, and what else decides the answers."""
    if not run:
        return []
    identity = run["identity"]
    rows = [("model", model_of(identity["backend"])), ("backend", _component(identity["backend"]))]
    rows += [("source of the scenes", source_of(identity["source"])), ("read by", _component(identity["source"]))]
    rows.append(("personas described by", _described_by(identity)))
    rows.append(("sampling", _listed(identity["sampling"])))
    if identity.get("answers_per_scene", 1) != 1:
        rows.append(("pairs of each scene", str(identity["answers_per_scene"])))
    rows.append(("form of prompts and questions", _listed(identity["format"])))
    rows.append(("versions", _listed(run["versions"])))
    return [(name, public(text)) for name, text in rows]


def judged_by(run: Mapping[str, Any]) -> Rows:
    """The judge with its thresholds, its model, and how its scores are spread; nothing where there was none."""
    identity = run.get("identity", {})
    if "judge" not in identity:
        return []
    rows = [("judge", _component(identity["judge"]))]
    rows.append(("thresholds", _listed(_set(identity["judge"].get("settings", {}))) or "it has none"))
    asked = identity.get("judge_backend")
    rows.append(("model", model_of(asked) if asked else "the one that wrote the answers"))
    for name, spread in run["statistics"].get("scores", {}).items():
        rows.append((f"score {name}", _listed(spread) if isinstance(spread, Mapping) else _text(spread)))
    return [(public(name), public(text)) for name, text in rows]


def model_of(part: Mapping[str, Any]) -> str:
    """A backend's model, and what tells it from another of that name."""
    own, settings = part.get("own", {}), part.get("settings", {})
    name = own.get("model") or settings.get("model")
    if not name:
        return f"{NOT_KNOWN}: the backend does not name it"
    revision = own.get("fingerprint") or own.get("revision")
    return f"{public(str(name))}, {_revision(revision, 'whoever serves it tells none')}"


def source_of(part: Mapping[str, Any]) -> str:
    """The data set that scenes were read from, and what tells it from another of that name."""
    own = part.get("own", {})
    revision = next((own[key] for key in ("revision", "files", "version", "scenarios") if own.get(key)), None)
    name = own.get("dataset") or f"the source {part['component']['name']}"
    return f"{public(str(name))}, {_revision(revision, 'the source tells none')}"


def licence_of(run: Mapping[str, Any]) -> str:
    """What is known of the licence that the scenes have."""
    source = run.get("identity", {}).get("source", {})
    name = source.get("own", {}).get("dataset") or source.get("component", {}).get("name", "")
    distribution = source.get("component", {}).get("distribution")
    if name in LICENCES and distribution == "psyctl":
        return LICENCES[name]
    return f"not known to psyctl: look it up for {public(str(name)) or 'the source'}"


def hub_sources(run: Mapping[str, Any]) -> list[str]:
    """The data set on the Hub that scenes were read from, if they were."""
    own = run.get("identity", {}).get("source", {}).get("own", {})
    name = str(own.get("dataset", ""))
    return [name] if HUB_NAME.fullmatch(name) and _COMMIT.fullmatch(str(own.get("revision", ""))) else []


def command_of(run: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The command that asks for the same again, pinned to the same model and source, and what to know of it.

    Options that decide the answers are given, and those that are texts; how fast a machine computes is its own affair.
    An option's long spelling is its component's name and its own (the plugin contract, "Components").
    """
    settings, notes = run["settings"], []
    words = ["--personality", str(settings["personality"])]
    for kind in KINDS:
        if kind in settings:
            words += list(_choice(run, kind))
            if ":" not in settings[kind]["component"]:
                notes.append(f"The {kind.replace('_', ' ')} was handed over in Python, and is no plugin's.")
    for name in NUMBERED:
        if settings.get(name) is not None:
            words += [f"--{name.replace('_', '-')}", _text(settings[name])]
    personas = settings.get("personas", {})
    for name, flag in (("contrast", "--contrast"), ("number", "--personas")):
        if name in personas:
            words += [flag, str(personas[name])]
    if personas_file(run):
        words += ["--persona-file", "personas.json"]
    shown = [public(word) for word in [*words, "--output", "dataset"]]
    if shown[:-1] != words + ["--output"]:
        notes.append("Of files and addresses of the machine that made it only the last part stands here.")
    pairs = [" ".join(map(shlex.quote, pair)) for pair in _options(shown)]
    return " \\\n    ".join(["psyctl dataset.build.caa", *pairs]), notes


def personas_file(run: Mapping[str, Any]) -> str:
    """The personas that were given and not described, as a persona file; empty where there are none."""
    personas = run.get("settings", {}).get("personas", {})
    given: dict[str, Any] = {name: {"positive": texts} for name, texts in personas.get("positive", {}).items()}
    if "neutral" in personas:
        given["neutral"] = personas["neutral"]
    return json.dumps(given, ensure_ascii=False, indent=2) if given else ""


def _choice(run: Mapping[str, Any], kind: str) -> Iterator[str]:
    """The words that choose a component and set its options."""
    asked, decided = run["settings"][kind], run["identity"].get(kind, {})
    name = asked["component"].rpartition(":")[2]
    yield from (f"--{kind.replace('_', '-')}", name)
    options = {key: value for key, value in asked.get("settings", {}).items() if isinstance(value, str)}
    options |= decided.get("settings", {})
    for key, value in _set(options).items():
        flag = f"{'judge-' if kind == 'judge_backend' else ''}{name}-{key}".replace("_", "-")
        if isinstance(value, bool):
            yield f"--{flag}" if value else f"--no-{flag}"
        else:
            yield f"--{flag}"
            yield _pinned(key, _text(value), decided.get("own", {}))


def _pinned(key: str, value: str, own: Mapping[str, Any]) -> str:
    """A name on the Hub with the commit that was read."""
    revision = str(own.get("fingerprint" if key == "model" else "revision", ""))
    if key in ("model", "dataset") and HUB_NAME.fullmatch(value) and _COMMIT.fullmatch(revision):
        return f"{value}@{revision}"
    return value


def _options(words: list[str]) -> Iterator[list[str]]:
    """Each option with its value."""
    option: list[str] = []
    for word in words:
        if len(option) == 2 or (option and word.startswith("--")):
            yield option
            option = []
        option.append(word)
    yield option


def _component(part: Mapping[str, Any]) -> str:
    """A component, who supplies it, and its options that decide the answers."""
    component, options = part["component"], _listed(_set(part.get("settings", {})))
    return f"{component['name']} of {component['distribution']}{f' ({options})' if options else ''}"


def _described_by(identity: Mapping[str, Any]) -> str:
    personas = identity.get("personas", {})
    given = [side for side in ("positive", "neutral") if side in personas]
    text = _component(identity["prompter"])
    if given:
        text = f"who made the dataset, on the {' and the '.join(given)} side; else {text}"
    if "number" in personas:
        text += f"; {personas['number']} on each side"
    return f"{text}; compared with somebody {personas.get('contrast', 'neutral')}"


def _revision(value: Any, none: str) -> str:
    if not value:
        return f"revision {NOT_KNOWN}: {none}"
    return f"commit {value}" if _COMMIT.fullmatch(str(value)) else f"digest {value}"


def _set(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are set, without keys that nobody declared as such."""
    return {name: value for name, value in options.items() if value not in (None, "") and not is_secret(name)}


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_text(value)}" for name, value in values.items())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
