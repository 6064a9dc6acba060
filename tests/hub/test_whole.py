"""All files or none: real processes that are killed on the way, and what ``datasets`` reads of the result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from psyctl_core import stored_datasets

pytestmark = pytest.mark.slow

MAIN = "from psyctl_core.cli import main; main()"
LOAD = """
import json, sys
import datasets

place, *configs = sys.argv[1:]
assert set(datasets.get_dataset_config_names(place)) == set(configs)
for config in configs:
    rows = datasets.load_dataset(place, config, split="train")
    print(json.dumps({"config": config, "columns": rows.column_names, "ids": rows["id"][:]}))
"""


@pytest.fixture
def hub(server):
    """A Hub on loopback that keeps all files apart, so that there is every step to be killed at."""
    with server.Uploads(lfs_above=100) as hub:
        yield hub
        hub.release.set()


@pytest.fixture
def start(hub, server, tmp_path):
    """Starts a process that takes the Hub on loopback for the Hub."""

    def run(*arguments: str, code: str = MAIN, token: str = server.WRITER) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env={**hub.environment(tmp_path / "home", token), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        )  # fmt: skip

    return run


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
@pytest.mark.parametrize("step", ["create", "preupload", "upload"])
def test_a_killed_push_leaves_nothing_and_the_next_one_publishes_all(hub, start, dataset, step):
    folder = dataset("Openness, Neuroticism")
    hub.hold = step
    process = start("dataset.push", str(folder), "--repo", "me/x")
    assert hub.reached.wait(300)
    process.send_signal(signal.SIGKILL)
    assert finished(process)[0] == -signal.SIGKILL
    hub.hold = ""
    hub.release.set()
    assert "me/x" not in hub.repositories or not hub.repositories["me/x"].content
    code, out, err = finished(start("dataset.push", str(folder), "--repo", "me/x"))
    assert code == 0, err
    assert out.startswith("Published Neuroticism, 6 pairs, Openness, 6 pairs: ")
    assert set(hub.repositories["me/x"].content) == {"README.md", "data/openness.jsonl", "data/neuroticism.jsonl"}
    assert hub.steps().count("commit") == 1


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_one_killed_while_it_waits_for_the_answer_to_its_commit_is_seen_to_be_done(hub, start, dataset):
    folder = dataset()
    hub.hold = "commit"
    process = start("dataset.push", str(folder), "--repo", "me/x")
    assert hub.reached.wait(300)
    process.send_signal(signal.SIGKILL)
    finished(process)
    hub.hold = ""
    hub.release.set()
    code, out, err = finished(start("dataset.push", str(folder), "--repo", "me/x"))
    assert code == 0, err
    assert out.startswith(("Nothing to do", "Published"))
    assert set(hub.repositories["me/x"].content) == {"README.md", "data/openness.jsonl"}


@pytest.mark.parametrize("from_the_hub", [False, True], ids=["folder", "hub"])
def test_every_config_of_the_result_is_read(hub, start, dataset, record, tmp_path, from_the_hub):
    folder = dataset("Openness, Neuroticism")
    mixed = [
        record(0, trait="O/x: `y`", metadata={"a": 1}), record(1, metadata={"a": "one", "b": [None, {}]}), record(2),
    ]  # fmt: skip
    dataset("Curiosity", folder=folder / "more", records=mixed)
    for path in sorted(folder.rglob("caa*")):
        if path.exists():
            path.rename(path.with_name("caa_dataset_20260101_000000" + "".join(path.suffixes)))
    code, _, err = finished(start("dataset.push", str(folder), "--repo", "me/x"))
    assert code == 0, err
    traits = {each.trait: [record.id for record in each] for each in stored_datasets(folder)}
    assert len(traits) == 3
    place = "me/x"
    if not from_the_hub:
        place = str(tmp_path / "copy")
        for path, content in hub.repositories["me/x"].content.items():
            (Path(place) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(place) / path).write_bytes(content)
    code, out, err = finished(start(place, *traits, code=LOAD))
    assert code == 0, err
    found = [json.loads(line) for line in out.splitlines()]
    assert {each["config"]: each["ids"] for each in found} == traits
    assert [each["config"] for each in found if "metadata" in each["columns"]] == ["Curiosity"]


def test_the_token_is_never_shown(hub, start, dataset, server):
    for token in (server.WRITER, "hf_" + "w" * 30):
        code, out, err = finished(start("dataset.push", str(dataset()), "--repo", "you/x", token=token))
        assert code == 1
        assert token not in out + err
        assert "Traceback" not in err
        assert err.count("Error: ") == 1
