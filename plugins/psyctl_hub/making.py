"""What made a dataset, out of its run.json, and how to make it again; nothing private in it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from psyctl_core.figures import counted
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


def is_judged_again(run: Mapping[str, Any]) -> bool:
    """Whether the pairs were made by another run, and ``dataset.judge`` judged them in this one."""
    component = _at(run, "identity", "source", "component")
    return component.get("name") == "recorded" and str(component.get("distribution")).startswith("psyctl_core.")


def judged_dataset(run: Mapping[str, Any]) -> str:
    """The name of the dataset that was judged again, or empty."""
    return str(_at(run, "identity", "source", "own").get("dataset", "")) if is_judged_again(run) else ""


def parents_of(run: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the run.json of each dataset said that this one was split off or merged from, the first ones first."""
    found: list[Mapping[str, Any]] = []
    for parent in run.get("parents", ()):
        found += [each for each in (*parents_of(parent), parent) if each and each not in found]
    return found


def derived_by(run: Mapping[str, Any]) -> str:
    """How it was made from other datasets: what stood in them, and which part it is; empty where it was not."""
    made = _at(run, "identity", "made_from")
    if not made:
        return ""
    names = " and ".join(f"{counted(each['pairs'], 'pair')} of {each['name']}" for each in made["datasets"])
    return f"{made['how']}: {names}" + (f", as its part {made['part']}" if "part" in made else "")


def made_by(run: Mapping[str, Any]) -> Rows:
    """The model with its revision, the source with its commit, what else decides the answers; nothing if not known."""
    if not run or is_judged_again(run):
        return []
    identity = run["identity"]
    backend, source = _at(identity, "backend"), _at(identity, "source")
    rows = [("model", model_of(backend)), ("backend", _component(backend))]
    rows += [("source of the scenes", source_of(source)), ("read by", _component(source))]
    rows.append(("personas described by", _described_by(identity)))
    rows.append(("sampling", _listed(_at(identity, "sampling")) or NOT_KNOWN))
    if identity.get("answers_per_scene", 1) != 1:
        rows.append(("pairs of each scene", _text(identity["answers_per_scene"])))
    rows.append(("form of prompts and questions", _listed(_at(identity, "format")) or NOT_KNOWN))
    rows.append(("versions", _listed(run["versions"])))
    return [(name, public(text)) for name, text in rows]


def made_by_all(runs: Sequence[Mapping[str, Any]]) -> Rows:
    """As :func:`made_by`, for a dataset that was merged from several: what differs stands beside each other."""
    rows: dict[str, dict[str, None]] = {}
    for run in runs:
        for name, text in made_by(run):
            rows.setdefault(name, {})[text] = None
    return [(name, "; or ".join(texts)) for name, texts in rows.items()]


def judged_by(run: Mapping[str, Any]) -> Rows:
    """The judge with its thresholds, its model, and how its scores are spread; nothing where there was none."""
    judge, asked = _at(run, "identity", "judge"), _at(run, "identity", "judge_backend")
    if not judge:
        return []
    name = str(_at(judge, "component").get("name", NOT_KNOWN))
    who = name if is_judged_again(run) else _component({"component": judge.get("component")})
    rows = [("judge", who)]
    rows.append(("thresholds", _listed(_set(_decided(judge))) or "it has none"))
    rows.append(("model", model_of(asked) if asked else "the one that wrote the answers"))
    for name, spread in _at(run, "statistics", "scores").items():
        rows.append((f"score {name}", _listed(spread) if isinstance(spread, Mapping) else _text(spread)))
    return [(public(name), public(text)) for name, text in rows]


def accepted_by(runs: Sequence[Mapping[str, Any]]) -> Rows:
    """Pairs, scenes rejected by reason and rows skipped, in each run that had to do with a dataset.

    Args:
        runs: What their run.json say, the first one first.
    """
    rows = []
    for run in runs:
        if derived := derived_by(run):
            rows.append(("then", derived))
            continue
        again, statistics = is_judged_again(run), run["statistics"]
        when, what = ("judged again: ", "pairs") if again else ("", "scenes")
        rows.append((f"{when}begun, last written (local time)", f"{run['created']}, {run['updated']}"))
        rows.append((f"{when}pairs accepted", f"{statistics['accepted']:,}"))
        for name, counts in ((f"{what} rejected", statistics["rejected"]), ("rows skipped", statistics["skipped"])):
            rows += [(f"{when}{name}: {reason}", f"{count:,}") for reason, count in counts.items()]
            if not counts and not (again and name == "rows skipped"):
                rows.append((f"{when}{name}", "none"))
    return [(public(name), public(text)) for name, text in rows]


def model_of(part: Mapping[str, Any]) -> str:
    """A backend's model, and what tells it from another of that name."""
    own, settings = _at(part, "own"), _at(part, "settings")
    name = own.get("model") or settings.get("model")
    if not name:
        return f"{NOT_KNOWN}: the backend does not name it"
    revision = own.get("fingerprint") or own.get("revision")
    return f"{public(str(name))}, {_revision(revision, 'whoever serves it tells none')}"


def source_of(part: Mapping[str, Any]) -> str:
    """The data set that scenes were read from, and what tells it from another of that name."""
    own = _at(part, "own")
    revision = next((own[key] for key in ("revision", "files", "version", "scenarios") if own.get(key)), None)
    name = own.get("dataset") or f"the source {_at(part, 'component').get('name', NOT_KNOWN)}"
    return f"{public(str(name))}, {_revision(revision, 'the source tells none')}"


def licence_of(run: Mapping[str, Any]) -> str:
    """What is known of the licence that the scenes have."""
    source, component = _at(run, "identity", "source", "own"), _at(run, "identity", "source", "component")
    name = str(source.get("dataset") or component.get("name", ""))
    if name in LICENCES and component.get("distribution") == "psyctl":
        return LICENCES[name]
    known = name if name and not is_judged_again(run) else "their source, which is not known either"
    return f"not known to psyctl: look it up for {public(known)}"


def hub_sources(run: Mapping[str, Any]) -> list[str]:
    """The data set on the Hub that scenes were read from, if they were."""
    own = _at(run, "identity", "source", "own")
    name = str(own.get("dataset", ""))
    return [name] if HUB_NAME.fullmatch(name) and _COMMIT.fullmatch(str(own.get("revision", ""))) else []


def command_of(run: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The command that asks for the same again, pinned to the same model and source, and what to know of it.

    Options that decide the answers are given, and those that are texts; how fast a machine computes is its own affair.
    An option's long spelling is its component's name and its own (the plugin contract, "Components").
    """
    if derived := derived_by(run):
        return "", [
            f"Then dataset.split or dataset.merge wrote this one, {derived}; with the same datasets it does again."
        ]
    settings = run["settings"]
    if not {"personality", "source", "prompter", "backend"} <= settings.keys():
        return "", ["run.json does not say how it was asked for."]
    again, notes = is_judged_again(run), []
    words = [] if again else ["--personality", _text(settings["personality"])]
    for kind in ("judge", "judge_backend") if again else KINDS:
        if kind in settings and _name(run, kind) != "recorded":
            words += list(_choice(run, kind))
            if not again and ":" not in settings[kind]["component"]:
                notes.append(f"The {kind.replace('_', ' ')} was handed over in Python, and is no plugin's.")
    for name in ("limit_samples",) if again else NUMBERED:
        if settings.get(name) is not None:
            words += [f"--{name.replace('_', '-')}", _text(settings[name])]
    personas = {} if again else _at(settings, "personas")
    for name, flag in (("contrast", "--contrast"), ("number", "--personas")):
        if name in personas:
            words += [flag, _text(personas[name])]
    if personas_file(run):
        words += ["--persona-file", "personas.json"]
    shown = [public(word) for word in words]
    if shown != words:
        notes.append("Of files and addresses of the machine that made it only the last part stands here.")
    lines = [" ".join(map(shlex.quote, option)) for option in _options(shown)]
    first = "psyctl dataset.judge dataset" if again else "psyctl dataset.build.caa --output dataset"
    return " \\\n    ".join([first, *lines]), notes


def personas_file(run: Mapping[str, Any]) -> str:
    """The personas that were given and not described, as a persona file; empty where there are none."""
    personas = {} if is_judged_again(run) else _at(run, "settings", "personas")
    given: dict[str, Any] = {name: {"positive": texts} for name, texts in _at(personas, "positive").items()}
    if "neutral" in personas:
        given["neutral"] = personas["neutral"]
    return json.dumps(given, ensure_ascii=False, indent=2) if given else ""


def _choice(run: Mapping[str, Any], kind: str) -> Iterator[str]:
    """The words that choose a component and set its options."""
    name, decided = _name(run, kind), _at(run, "identity", kind)
    yield from (f"--{kind.replace('_', '-')}", name)
    asked = _at(run, "settings", kind, "settings")
    options = {key: value for key, value in asked.items() if isinstance(value, str)} | dict(_decided(decided))
    for key, value in _set(options).items():
        flag = f"{'judge-' if kind == 'judge_backend' else ''}{name}-{key}".replace("_", "-")
        if isinstance(value, bool):
            yield f"--{flag}" if value else f"--no-{flag}"
        else:
            yield f"--{flag}"
            yield _pinned(key, _text(value), _at(decided, "own"))


def _name(run: Mapping[str, Any], kind: str) -> str:
    """A component's name, without its distribution's."""
    return str(_at(run, "settings", kind).get("component", "")).rpartition(":")[2]


def _decided(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """A component's options that decide the answers; a judge of recorded pairs has them among what it says itself."""
    return _at(part, "settings") or _at(part, "own", "settings")


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
    if option:
        yield option


def _component(part: Mapping[str, Any]) -> str:
    """A component, who supplies it, and its options that decide the answers."""
    component, options = _at(part, "component"), _listed(_set(_at(part, "settings")))
    name = f"{component.get('name', NOT_KNOWN)} of {component.get('distribution', NOT_KNOWN)}"
    return f"{name} ({options})" if options else name


def _described_by(identity: Mapping[str, Any]) -> str:
    personas = _at(identity, "personas")
    given = [side for side in ("positive", "neutral") if side in personas]
    text = _component(_at(identity, "prompter"))
    if given:
        text = f"who made the dataset, on the {' and the '.join(given)} side; else {text}"
    if "number" in personas:
        text += f"; {personas['number']} on each side"
    return f"{text}; compared with somebody {personas.get('contrast', 'neutral')}"


def _revision(value: Any, none: str) -> str:
    if not value:
        return f"revision {NOT_KNOWN}: {none}"
    return f"commit {value}" if _COMMIT.fullmatch(str(value)) else f"digest {value}"


def _at(value: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """The object within an object, by its name and those around it; empty where there is none."""
    for name in names:
        inner = value.get(name)
        if not isinstance(inner, Mapping):
            return {}
        value = inner
    return value


def _set(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are set, without keys that nobody declared as such."""
    return {name: value for name, value in options.items() if value not in (None, "") and not is_secret(name)}


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_text(value)}" for name, value in values.items())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
