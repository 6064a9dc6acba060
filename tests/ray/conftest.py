"""A stranger's backend, installed as pip does it, and one Ray on this machine for all tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from psyctl_core import Selection
from psyctl_core._plugins.registry import discover
from psyctl_core._plugins.selection import config_of

CODE = """
import hashlib, os, time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from psyctl_core import BackendError, Completion, Component, InferenceBackend, hookimpl, option


@dataclass(frozen=True)
class Config:
    folder: Path = option(Path("."), help="Where it notes what it was asked", identity=False)
    block: int = option(0, help="Requests computed together", identity=False)
    seconds: float = option(0.0, help="Seconds for eight answers", identity=False)
    deaths: int = option(0, help="How many processes die of the sixth scene", identity=False)
    model: str = option("one", help="What it says it is; {pid} is another one in each process", identity=False)
    costs: bool = option(False, help="Whether answers cost money", identity=False)
    fails: bool = option(False, help="Whether it cannot start", identity=False)
    key: str = option("", help="A key", env="STRANGER_KEY", secret=True, identity=False)


class Stranger(InferenceBackend):
    def __init__(self, config, context):
        self.config, self.block, self.is_free = config, config.block, not config.costs

    def identity(self):
        return {"model": self.config.model.format(pid=os.getpid())}

    def start(self, budget):
        if self.config.fails:
            raise BackendError("The model cannot be loaded: no room.", "Take a smaller one.")

    def adaptations(self):
        return ["it takes no seed"]

    def generate(self, requests):
        requests = iter(list(requests)) if self.block else requests
        while held := list(islice(requests, self.block or 8)):
            time.sleep(self.config.seconds)
            ids = " ".join(request.id for request in held) if self.block else ""
            for request in held:
                self.note(request)
                text = "\\n".join(message.content for message in request.messages) + ids
                digest = hashlib.sha256(text.encode()).hexdigest()
                yield Completion(request.id, f"{' '.join('ab' + c for c in digest[:8])}.", completion_tokens=3)

    def note(self, request):
        died = list(self.config.folder.glob("*.died"))
        if "stop 6." in request.messages[-1].content and len(died) < self.config.deaths:
            (self.config.folder / f"{os.getpid()}.died").touch()
            os.kill(os.getpid(), 9)
        with (self.config.folder / f"{os.getpid()}.asked").open("a") as file:
            file.write(request.id + "\\n")


@hookimpl
def psyctl_inference_backends():
    return [Component("stranger", "psyctl_stranger:Stranger", Config, "A stranger's")]
"""


@pytest.fixture(scope="module")  # a folder without an __init__ is no package to pytest, and would leak into others
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that the stranger's distribution is installed in, on the path here and for workers."""
    folder = tmp_path_factory.mktemp("site")
    info = folder / "psyctl_stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: psyctl-stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[psyctl]\nstranger = psyctl_stranger\n")
    (folder / "psyctl_stranger.py").write_text(CODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
        yield folder
    sys.modules.pop("psyctl_stranger", None)


@pytest.fixture(scope="module")  # a folder without an __init__ is no package to pytest, and would leak into others
def ray(site: Path) -> Iterator[object]:
    """Ray on this machine, with room for eight workers."""
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    from psyctl_ray import RayConfig
    from psyctl_ray.cluster import CLUSTER

    module = CLUSTER.enter(RayConfig(address=""), 8)
    yield module
    CLUSTER.leave(module)


@pytest.fixture
def stranger(site: Path, tmp_path: Path):
    """The stranger's backend with some options; what it was asked is noted in a folder."""

    def made(**options: object) -> Selection:
        noted = tmp_path / "noted"
        noted.mkdir(exist_ok=True)
        registered = discover().get("backend", "stranger")
        return Selection(registered.full_name, config_of(registered, {"folder": noted, **options}))

    return made


@pytest.fixture
def asked(tmp_path: Path):
    """The ids of all requests that any process's backend was asked, one after the other."""

    def ids() -> list[str]:
        return [id for file in (tmp_path / "noted").glob("*.asked") for id in file.read_text().split()]

    return ids
