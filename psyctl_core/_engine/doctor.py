"""Looks at the machine that psyctl runs on: what is there, what can answer, what is missing and how to get it.

Nothing is imported here that may be large or broken: that happens in processes of their own, each with a bound in time.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from psyctl_core._plugins.flags import flags_of
from psyctl_core._plugins.installed import requirements_of, version_of
from psyctl_core._plugins.registry import HOME, BrokenPlugin, Registered, Registry
from psyctl_core.errors import PsyctlError
from psyctl_core.figures import counted
from psyctl_core.local_models import EMBEDDED, embedded_file

State = Literal["ok", "note", "problem"]

IMPORT_SECONDS = 60.0
"""How long a backend's libraries may take to be imported."""

HUB_SECONDS = 6.0
"""How long the Hub may take to answer, its name looked up included."""

BACKEND = "backend"

ROOM = 5 * 10**9
"""Bytes free below which a model may not fit."""

_OWN_PATH = "import sys; sys.path[:] = [p for p in sys.path if p]; "
_IMPORT = _OWN_PATH + (
    "from importlib import import_module, util; "
    "[import_module(name) for name in sys.argv[2:] if util.find_spec(name)]; "
    "m, _, a = sys.argv[1].partition(':'); getattr(import_module(m), a)"
)
_GPU = _OWN_PATH + (
    "import json, torch; c = torch.cuda; n = c.device_count() if c.is_available() else 0; "
    "print(json.dumps({'cuda': [[c.get_device_name(i), c.get_device_properties(i).total_memory] for i in range(n)], "
    "'built': torch.version.cuda or getattr(torch.version, 'hip', None), 'mps': torch.backends.mps.is_available()}))"
)


@dataclass(frozen=True, slots=True)
class Symptom:
    """What was found about one thing.

    Attributes:
        about: The thing, such as "backend hf".
        state: ``ok``, ``note`` for what may matter, ``problem`` for what does not work.
        text: What was found, in one line.
        mend: One line that helps: a command, or what to do; may be empty.
    """

    about: str
    state: State
    text: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """All that was found, and whether any backend can answer."""

    symptoms: tuple[Symptom, ...]
    can_run: bool


class _Child:
    """A Python process of its own, and what it says within its time."""

    def __init__(self, code: str, *arguments: str) -> None:
        self._deadline = time.monotonic() + IMPORT_SECONDS
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - closed in end()
        self._process = subprocess.Popen(  # noqa: S603 - this Python, and code from this file
            [sys.executable, "-c", code, *arguments], stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._err
        )

    def end(self) -> tuple[str, str]:
        """Its last line on stdout, and what went wrong or ""."""
        with self._out, self._err:
            try:
                code = self._process.wait(timeout=max(0.1, self._deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                return "", f"it takes more than {IMPORT_SECONDS:.0f} s"
            said, wrong = self._last_line(self._out), self._last_line(self._err)
        return said, (wrong if code > 0 and wrong else f"the process ended with {code}") if code else ""

    @staticmethod
    def _last_line(file: IO[bytes]) -> str:
        file.seek(0)
        lines = file.read().decode("utf-8", errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""


def examine(registry: Registry) -> Health:
    """Look at everything; a look that fails is itself what is found.

    Args:
        registry: What is installed.
    """
    gpu = _Child(_GPU) if version_of("torch") else None
    imports = {
        found.origin: _Child(_IMPORT, found.component.factory, *_libraries(found))
        for found in registry.usable("backend")
        if not _missing(found)
    }
    hub = _in_time(_hub_answer, HUB_SECONDS)
    looks: dict[str, Callable[[], Iterator[Symptom]]] = {
        "Python": _python,
        "plugins": lambda: _plugins(registry),
        BACKEND: lambda: (_backend(found, imports.get(found.origin)) for found in registry.usable("backend")),
        "checks": lambda: _checks(registry),
        "model": _embedded,
        "GPU": lambda: _gpu(gpu),
        "Hub": lambda: _hub(hub),
        "keys": lambda: _keys(registry),
        "releases": lambda: _releases(registry),
        "disk": _disk,
    }
    symptoms = tuple(symptom for about, look in looks.items() for symptom in _safely(about, look))
    can_run = any(each.state == "ok" and each.about.startswith(BACKEND) for each in symptoms)
    return Health(symptoms, can_run)


def _safely(about: str, look: Callable[[], Iterator[Symptom]]) -> list[Symptom]:
    found: list[Symptom] = []
    try:
        found.extend(look())
    except Exception as error:  # a doctor that dies of what it looks at helps nobody
        found.append(Symptom(about, "problem", f"could not be looked at: {type(error).__name__}: {error}"))
    return found


def _python() -> Iterator[Symptom]:
    yield Symptom("psyctl", "ok", f"{version_of(HOME)}, in {Path(__file__).parents[1]}")
    system = (
        f"{platform.system()} {platform.release()}, {platform.machine()}, {counted(os.cpu_count() or 0, 'processor')}"
    )
    yield Symptom("Python", "ok", f"{platform.python_version()} on {system}")


def _plugins(registry: Registry) -> Iterator[Symptom]:
    supplied: dict[str, int] = {}
    for entry in registry.entries:
        name = f"{entry.origin.distribution} {entry.origin.version}"
        if isinstance(entry, BrokenPlugin):
            mend = f"pip install --upgrade {entry.origin.distribution}, or pip uninstall {entry.origin.distribution}"
            yield Symptom(f"plugin {entry.origin.name}", "problem", f"from {name}: {entry.problem}", mend)
        else:
            supplied[name] = supplied.get(name, 0) + 1
    yield Symptom("plugins", "ok", ", ".join(f"{name} ({counted(count, 'part')})" for name, count in supplied.items()))


def _missing(found: Registered) -> list[str]:
    """What a backend's extra asks for that is not installed, or is too old."""
    return _lacking(found.origin.distribution, found.component.extra or "")


def _lacking(distribution: str, extra: str) -> list[str]:
    return [
        f"{each.name} {version or 'is not installed'}{f', {each.specifier} is needed' if version else ''}"
        for each in requirements_of(distribution, extra)
        if not _fits(each, version := version_of(each.name))
    ]


def _checks(registry: Registry) -> Iterator[Symptom]:
    """Which checks on finished datasets can be run, by the extra that they need."""
    needing: dict[tuple[str, str], list[str]] = {}
    for found in registry.checks():
        extra = found.check.extra or ""
        needing.setdefault((found.origin.distribution if extra else "", extra), []).append(found.origin.name)
    for (distribution, extra), names in needing.items():
        if lacking := _lacking(distribution, extra) if extra else []:
            text = f"{', '.join(names)} cannot tell anything here: {'; '.join(lacking)}"
            yield Symptom("checks", "note", text, f"pip install '{distribution}[{extra}]'")
        else:
            yield Symptom(
                "checks", "ok", f"{counted(len(names), 'check')} can be run{f' with [{extra}]' if extra else ''}"
            )


def _libraries(found: Registered) -> list[str]:
    """The modules that are named as the distributions which a backend's extra brings: it may import them late."""
    base = {each.name for each in requirements_of(found.origin.distribution)}
    extra = requirements_of(found.origin.distribution, found.component.extra or "")
    return [each.name.replace("-", "_") for each in extra if each.name not in base]


def _backend(found: Registered, child: _Child | None) -> Symptom:
    """Whether a backend can answer, as far as can be told without asking anything."""
    about, component = f"{BACKEND} {found.origin.name}", found.component
    if child is None:
        mend = f"pip install '{found.origin.distribution}[{component.extra}]'"
        return Symptom(about, "note", f"cannot be used here: {'; '.join(_missing(found))}", mend)
    wrong = child.end()[1]
    if wrong:
        extra = f"[{component.extra}]" if component.extra else ""
        mend = f"pip install --upgrade --force-reinstall '{found.origin.distribution}{extra}'"
        return Symptom(about, "problem", f"cannot be imported: {wrong}", mend)
    for field in dataclasses.fields(component.config):
        env = field.metadata.get("env", "")
        if field.name in component.implied_by and env and not os.environ.get(env, "").strip():
            flag = next(flag for flag in flags_of(component) if flag.field == field.name and not flag.hidden)
            return Symptom(about, "note", f"needs {flag.spelling}: {env} is not set", f"export {env}=...")
    return Symptom(about, "ok", f"can be used ({component.summary})")


def _embedded() -> Iterator[Symptom]:
    try:
        yield Symptom(f"model {EMBEDDED}", "ok", str(embedded_file()))
    except PsyctlError as error:
        yield Symptom(f"model {EMBEDDED}", "note", error.message.rstrip("."), error.hint)


def _gpu(child: _Child | None) -> Iterator[Symptom]:
    if child is None:
        yield Symptom("GPU", "note", "PyTorch is not installed, so nobody was asked")
        return
    said, wrong = child.end()
    if wrong:
        yield Symptom("GPU", "problem", f"PyTorch {version_of('torch')} cannot be asked: {wrong}", "pip install torch")
        return
    seen: Mapping[str, Any] = json.loads(said)
    names = [f"{name}, {memory / 2**30:.0f} GiB" for name, memory in seen["cuda"]]
    if names or seen["mps"]:
        yield Symptom("GPU", "ok", "; ".join(names) or "Apple's, through MPS")
    elif seen["built"]:
        yield Symptom(
            "GPU", "note", f"none is seen by PyTorch {version_of('torch')}, built for {seen['built']}: nvidia-smi"
        )
    else:
        yield Symptom("GPU", "note", f"none: PyTorch {version_of('torch')} is built for processors")


def _in_time(ask: Callable[[], str], seconds: float) -> Callable[[], str]:
    """Begin to ask in a thread; what is handed back waits for the answer, no longer than so many seconds in all."""
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(ask()), daemon=True)  # a name's look-up knows no time limit
    deadline = time.monotonic() + seconds
    thread.start()

    def answer() -> str:
        thread.join(max(0.0, deadline - time.monotonic()))
        return answers[0] if answers else f"it does not answer within {seconds:.0f} s"

    return answer


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


def _is_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in ("1", "ON", "YES", "TRUE")


def _hub_answer() -> str:
    """What keeps the Hub from answering, or ""."""
    if _is_offline():
        return "HF_HUB_OFFLINE is set"
    import requests

    try:
        status = requests.head(_endpoint(), timeout=HUB_SECONDS / 2, allow_redirects=False).status_code
    except Exception as error:  # whatever an address or a proxy makes go wrong; raised in a thread nobody would see it
        return f"it cannot be reached ({type(error).__name__})"
    return "" if status < 400 else f"it answers with HTTP {status}"


def _hub(answer: Callable[[], str]) -> Iterator[Symptom]:
    cache = _hub_cache()
    counts = (
        {kind: sum(1 for _ in cache.glob(f"{kind}--*")) for kind in ("models", "datasets")} if cache.is_dir() else {}
    )
    held = (
        f"{counted(counts.get('models', 0), 'model')} and {counted(counts.get('datasets', 0), 'data set')} in {cache}"
    )
    wrong = answer()
    if not wrong:
        yield Symptom("Hub", "ok", f"{_endpoint()} answers; {held}")
    elif _is_offline():
        yield Symptom("Hub", "note", f"is not asked: {wrong}; {held}", "unset HF_HUB_OFFLINE")
    else:
        mend = "check the network and HTTPS_PROXY, or use --source starter and --model embedded"
        yield Symptom("Hub", "note", f"{_endpoint()}: {wrong}; {held}", mend)


def _hub_cache() -> Path:
    """Where the Hub's files are kept: https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    home = Path(os.environ.get("HF_HOME") or cache / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()


def _keys(registry: Registry) -> Iterator[Symptom]:
    wanted = {
        field.metadata["env"]: f"the {found.origin.kind} {found.origin.name}"
        for found in registry.usable()
        for field in dataclasses.fields(found.component.config)
        if field.metadata.get("secret") and field.metadata.get("env")
    }
    for name, who in {**wanted, "HF_TOKEN": "gated models and data sets of the Hub"}.items():
        is_set = bool(os.environ.get(name, "").strip())
        yield Symptom(f"key {name}", "ok" if is_set else "note", f"is {'' if is_set else 'not '}set; for {who}")


def tested() -> dict[str, str]:
    """The releases that psyctl was developed and tested with, by distribution."""
    here = Path(__file__).resolve().parents[1]
    file = next((f for f in (here / "constraints.txt", here.parent / "constraints.txt") if f.exists()), None)
    lines = file.read_text(encoding="utf-8").splitlines() if file else []
    pairs = (line.partition("#")[0].strip().partition("==") for line in lines)
    return {name: version for name, _, version in pairs if version}


def _releases(registry: Registry) -> Iterator[Symptom]:
    """What users need, as installed, beside the lowest release that works and the one that was tested."""
    known = tested()
    extras = {found.component.extra or "" for found in registry.usable()}
    extras |= {found.check.extra or "" for found in registry.checks()}
    for each in requirements_of(HOME, *extras):
        version, best = version_of(each.name), known.get(each.name, "")
        if not version:
            continue
        if not _fits(each, version):
            yield Symptom(
                each.name,
                "problem",
                f"{version}, and {each.specifier} is needed",
                f"pip install '{each.name}{each.specifier}'",
            )
        elif best:
            newer = _order(version, best)
            beside = f"newer than {best}, the newest that was tested" if newer > 0 else f"tested with {best}"
            mend = f"pip install '{each.name}=={best}', if it gives trouble" if newer > 0 else ""
            yield Symptom(each.name, "note" if newer > 0 else "ok", f"{version}, {beside}", mend)


def _fits(requirement: Requirement, version: str) -> bool:
    try:
        return bool(version) and requirement.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return True


def _order(one: str, other: str) -> int:
    """Whether a version comes after another; what follows a ``+`` does not count."""
    try:
        first, second = (Version(Version(text).public) for text in (one, other))
    except InvalidVersion:
        return 0
    return (first > second) - (first < second)


def _disk() -> Iterator[Symptom]:
    for about, place in (("this folder", Path.cwd()), ("Hub cache", _hub_cache())):
        there = next(path for path in (place, *place.parents) if path.exists())
        free = shutil.disk_usage(there).free
        room = f"{free / 10**9:.1f} GB free in {place}"
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as error:
            mend = "set HF_HOME to a folder that you may write to" if place != Path.cwd() else "choose another --output"
            yield Symptom(about, "problem", f"{room}, but it cannot be written: {error.strerror or error}", mend)
            continue
        little = free < ROOM
        mend = "make room, or set HF_HOME to another disk" if little else ""
        yield Symptom(about, "note" if little else "ok", f"{room}{', which is little for a model' * little}", mend)
