"""Fixtures for the whole suite: real entry points in a folder of their own, and a run over fakes."""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis
import pytest
from filelock import FileLock

from psyctl_core import Report, build_caa
from psyctl_core.cli import main
from psyctl_core.components import API_VERSION
from psyctl_core.testing import FakeBackend, FakeSource

hypothesis.settings.register_profile("psyctl", deadline=None)  # a busy machine is no defect
hypothesis.settings.load_profile("psyctl")

# Hundreds of programs are started here: each would compile psyctl anew where bytecode may not be kept.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

if "PYTEST_XDIST_WORKER" in os.environ:
    # Two workers whose models both want all cores spend their time waiting for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

MEMORY = Path("/dev/shm")
if sys.platform == "linux" and MEMORY.is_dir() and os.access(MEMORY, os.W_OK):
    # What is written is flushed to the disk again and again, which would be a third of many tests' time.
    if not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC and shutil.disk_usage(MEMORY).free > 4 << 30:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHROMIUM_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
]  # fmt: skip

SLOW = {"psyctl", "typed", "held", "hub", "with_hub", "loopback", "typed_here", "tiny_model"}
"""Fixtures that start a program, or are for what computes with a model: what takes one is left to `make test`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what computes with a model or starts programs, so that `make quick` does without."""
    tests = Path(__file__).parent
    for item in items:
        has_model = item.path.relative_to(tests).parts[0] in ("hf", "openvino")
        if has_model or SLOW & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Take what was imported out of the garbage collector's sight, and have it look less often: a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture
def shared_data() -> Path:
    """Real dialogue rows, where they lie beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"real dialogue rows are not at {SHARED.name}/ beside this checkout")
    return SHARED


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test off the Hub and out of the user's settings, unless it sets its own."""
    for name in ("PSYCTL_INFERENCE_BATCH_SIZE", "PSYCTL_CHECKPOINT_INTERVAL", "OPENROUTER_API_KEY", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Fill a folder once for all workers: ``once("wheel", fill)``. Whoever comes second waits and reads.

    As in pytest-xdist's how-to, "Making session-scoped fixtures execute only once".
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def made(name: str, fill: Callable[[Path], None]) -> Path:
        folder, done = shared / f"once-{name}", shared / f"once-{name}.done"
        with FileLock(shared / f"once-{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # what a failed attempt left
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return made


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Any]:
    """Build a dataset with a fake source and backend and everything else real.

    Returns a function that takes build_caa's options and returns the report, the backend and the files' lines.
    """

    def build(
        personality: str = "Extroversion",
        *,
        source: Any = None,
        backend: Any = None,
        output: Path = tmp_path / "out",
        raises: type[BaseException] | None = None,
        **options: Any,
    ) -> SimpleNamespace:
        backend = backend or FakeBackend()
        report: Report | None = None
        error: BaseException | None = None
        try:
            report = build_caa(
                personality,
                output,
                source=source or FakeSource(1000),
                backend=backend,
                prompter=options.pop("prompter", "static"),
                **options,
            )
        except BaseException as caught:
            if raises is None or not isinstance(caught, raises):
                raise
            error = caught
        assert raises is None or error is not None, f"expected {raises}"
        datasets = sorted(output.rglob("caa_dataset_*.jsonl"))
        return SimpleNamespace(
            report=report,
            error=error,
            backend=backend,
            paths=datasets,
            lines=[line for path in datasets for line in path.read_text(encoding="utf-8").splitlines()],
        )

    return build


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Put a distribution with a ``psyctl`` entry point on the path, as pip would."""
    installed = set()

    def put(distribution: str, code: str, *, version: str = "1.0", module: str = "") -> None:
        site = tmp_path / "site"
        module = module or distribution.replace("-", "_")
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[psyctl]\n{distribution} = {module}\n")
        (site / f"{module}.py").write_text(code)
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
        sys.modules.pop(module, None)
        installed.add(module)

    yield put
    for module in installed:
        sys.modules.pop(module, None)


@pytest.fixture(scope="session")
def forks() -> Iterator[Any]:
    """Starts psyctl by forks of a program that has done the imports: what the crash tests have for that."""
    spec = importlib.util.spec_from_file_location("psyctl_forks", Path(__file__).parent / "crash" / "forks.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    found = module.Forks(("psyctl_openrouter.backend", "jsonschema"), os.environ)
    yield found
    found.stop()


@pytest.fixture
def psyctl(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Type ``psyctl ...`` in an empty folder and get what it printed and its exit code.

    It is forked from a program with the imports done, unless it is told what is read when one starts or imports.
    """

    def typed(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "COLUMNS": "200", **environment}
        if sys.platform == "win32" or any(name.startswith(("PYTHON", "HF_")) for name in environment):
            command = [sys.executable, "-c", "from psyctl_core.cli import main; main()", *arguments]
            return subprocess.run(
                command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=HANGS, check=False
            )
        folder = tmp_path_factory.mktemp("printed")
        files = folder / "output", folder / "errors"
        started = request.getfixturevalue("forks").start(
            arguments, *files, folder=str(tmp_path), environment=env, path=["", *sys.path]
        )
        code = started.wait(HANGS)
        assert code is not None, f"psyctl {' '.join(arguments)} hangs"
        return subprocess.CompletedProcess(arguments, code, *(file.read_text(encoding="utf-8") for file in files))

    return typed


HANGS = 1200
"""Seconds after which a command is taken to hang; not a measure of speed."""


COMPONENT_CODE = f"""
import dataclasses
from psyctl_core import Component, hookimpl

@dataclasses.dataclass(frozen=True)
class Config:
    pass

@hookimpl
def psyctl_scenario_sources():
    return [Component({{name!r}}, {{factory!r}}, Config, "A stranger's source", api_version={API_VERSION})]
"""


@pytest.fixture
def source_code() -> Callable[..., str]:
    """The code of a plugin that offers one source."""

    def code(name: str = "mine", factory: str = "nowhere:Source") -> str:
        return COMPONENT_CODE.format(name=name, factory=factory)

    return code


FAKES = """
from dataclasses import dataclass
from psyctl_core import Component, hookimpl, option
from psyctl_core.testing import FakeBackend, FakeSource

@dataclass(frozen=True)
class Config:
    rows: int = option(50, help="Rows")

def source(config, context):
    return FakeSource(config.rows)

def backend(config, context):
    return FakeBackend()

@hookimpl
def psyctl_scenario_sources():
    return [Component("fakes", "psyctl_fakes:source", Config, "Fake scenarios")]

@hookimpl
def psyctl_inference_backends():
    return [Component("fakes", "psyctl_fakes:backend", Config, "Fake answers")]
"""


@pytest.fixture
def fakes(install: Callable[..., None]) -> None:
    """Install a plugin with a source and a backend ``fakes``, for commands that a program of its own runs."""
    install("psyctl-fakes", FAKES)


@pytest.fixture
def typed_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Type ``psyctl ...`` as the fixture ``psyctl`` does, but in this process.

    For commands that compute with a model: its libraries take seconds to import, and here they are imported once.
    """

    def typed(*arguments: str) -> subprocess.CompletedProcess[str]:
        capfd.readouterr()
        before = signal.getsignal(signal.SIGTERM)
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            patch.setenv("COLUMNS", "200")
            patch.setattr(sys, "argv", ["psyctl", *arguments])
            try:
                main()
            except SystemExit as end:
                code = int(end.code or 0)
            finally:
                signal.signal(signal.SIGTERM, before)
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, code, out, err)

    return typed


TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SAMPLE = [
    'Robin: "Is this bus number 3?"\nKim: "Yes, it is. Get on, please."\n',
    "Kim is outgoing. Robin waits at the stop in the rain, under a large umbrella.\n",
    "You write what one person in a scene says next: one short line of speech and nothing else.\n",
]


def _fill_tiny_model(folder: Path) -> None:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    bpe.train_from_iterator(SAMPLE * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>", additional_special_tokens=special
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, eos_token_id=tokenizer.eos_token_id, initializer_range=0.6,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


@pytest.fixture(scope="session")
def tiny_model(once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A real, tiny, randomly weighted Llama with a chat template: a folder that ``from_pretrained`` reads."""
    pytest.importorskip("transformers", reason="the extra 'hf' is not installed")
    return once("tiny-model", _fill_tiny_model)


@pytest.fixture(scope="module")  # it runs an event loop, in which other modules' own cannot run
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()
