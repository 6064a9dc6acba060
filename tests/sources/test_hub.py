"""The default path, executed: real ``datasets`` and ``huggingface_hub`` against a Hub on loopback."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

LINE = {"narrative": "At the quay.", "dialogue": ["Is the old boat still here?", "Yes."], "speakers": ["Ann", "Bo"]}
DAILY = {"dialog": [" Do you remember the road to the old boat house ? ", " No . "], "act": [2, 1], "emotion": [0, 0]}
CARD = b"---\nconfigs:\n- config_name: a\n  data_files: a.jsonl\n- config_name: b\n  data_files: b.jsonl\n---\n"

LOOK = """
import json, sys
from psyctl_core import Context, Scenario, SourceError
from psyctl_soda import SodaConfig
from psyctl_soda.source import SodaSource

for case in json.loads(sys.argv[1]):
    try:
        source = SodaSource(SodaConfig(**case), Context())
        items = list(source.scenarios(0))
        found = [f"{i.dialogue[-1].text} {i.character}" for i in items if isinstance(i, Scenario)]
        print(json.dumps({"found": found, "rows": len(items), "identity": source.identity(), "total": source.total()}))
    except SourceError as error:
        print(json.dumps({"error": error.message, "hint": error.hint}))
"""


def parquet(rows: list[dict], **options) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer, **options)
    return buffer.getvalue()


def lines(*said: str) -> bytes:
    return b"".join(json.dumps({**LINE, "dialogue": [text, "Yes."]}).encode() + b"\n" for text in said)


@pytest.fixture
def hub(loopback):
    """A Hub with one repository of each kind."""
    make = loopback.Repository
    many = [{**LINE, "dialogue": [f"Is boat {n} here?", "Yes."]} for n in range(20)]
    converted = {
        "default/train/0000.parquet": parquet([DAILY]),
        "default/validation/0000.parquet": parquet([DAILY] * 2),
        "default/partial-test/0000.parquet": parquet([DAILY]),
    }
    card = (
        b"---\ndataset_info:\n  splits:\n  - {name: train, num_examples: 20}\n  - {name: test, num_examples: 1}\n---\n"
    )
    repositories = [
        make(
            "allenai/soda",
            {"README.md": card, "train.parquet": parquet(many), "test.parquet": parquet(many[:1])},
            revisions={"v1": {"train.parquet": parquet(many[:2])}},
        ),
        make("me/lines", {"data/train.jsonl": lines("One?", "Two?") + b"{\n", "data/test.jsonl": lines("Three?")}),
        make("me/gated", {"train.jsonl": lines("Gated?")}, gated=True),
        make("me/private", {"train.jsonl": lines("Private?")}, private=True),
        make("me/configs", {"README.md": CARD, "a.jsonl": lines("A?"), "b.jsonl": lines("B?")}),
        make("me/bare", {"README.md": b"nothing here\n"}),
        make("me/empty", {"train.jsonl": b""}),
        make("li/daily_dialog", {"daily_dialog.py": b"1 / 0"}, revisions={"refs/convert/parquet": converted}),
        make("me/script", {"script.py": b"1 / 0"}),
    ]
    with loopback.Hub(repositories, {"daily_dialog": "li/daily_dialog"}) as hub:
        yield hub


def looked(done) -> list[dict]:
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_what_is_there_is_read(hub, with_hub):
    cases = {
        "allenai/soda": ({}, [f"Is boat {n} here? Bo" for n in range(20)]),
        "allenai/soda@v1": ({}, ["Is boat 0 here? Bo", "Is boat 1 here? Bo"]),
        "me/lines": ({"split": "test"}, ["Three? Bo"]),
        "me/configs": ({"config": "b"}, ["B? Bo"]),
        "li/daily_dialog": ({"split": "test"}, ["Do you remember the road to the old boat house ? Person B"]),
        "daily_dialog": ({}, ["Do you remember the road to the old boat house ? Person B"]),
        "hf://datasets/me/lines": ({}, ["One? Bo", "Two? Bo"]),
        "hf://datasets/me/lines/data/test.jsonl": ({}, ["Three? Bo"]),
        "hf://datasets/me/lines@main/data/*.jsonl": ({}, ["Three? Bo", "One? Bo", "Two? Bo"]),
        "hf://datasets/me/lines/data": ({}, ["Three? Bo", "One? Bo", "Two? Bo"]),
        "hf://datasets/li/daily_dialog@refs/convert/parquet/default/validation": (
            {},
            ["Do you remember the road to the old boat house ? Person B"],
        ),
        "li/daily_dialog@refs/convert/parquet": ({}, ["Do you remember the road to the old boat house ? Person B"]),
        f"{hub.url}/datasets/me/lines": ({}, ["One? Bo", "Two? Bo"]),
        f"{hub.url}/datasets/me/lines/blob/main/data/test.jsonl": ({}, ["Three? Bo"]),
    }
    asked = json.dumps([{"dataset": name, **config} for name, (config, _) in cases.items()])
    answers = dict(zip(cases, looked(with_hub(hub, asked, code=LOOK)), strict=True))
    for name, (_, found) in cases.items():
        assert answers[name].get("found") == found, (name, answers[name])
    commits = {name: answer["identity"]["revision"] for name, answer in answers.items()}
    soda = hub.repositories["allenai/soda"]
    assert commits["allenai/soda"] == soda.commit("main")
    assert commits["allenai/soda@v1"] == soda.commit("v1")
    assert commits["daily_dialog"] == hub.repositories["li/daily_dialog"].commit("refs/convert/parquet")
    assert answers["allenai/soda"]["total"] == 20
    assert answers["daily_dialog"]["identity"]["dataset"] == "li/daily_dialog"
    assert not hub.served["allenai/soda/test.parquet"]


def test_each_refusal_is_told_apart(hub, with_hub):
    cases = [
        ("me/none", {}, "not found, or private", "If it is private, set HF_TOKEN"),
        ("me/private", {}, "not found, or private", "If it is private, set HF_TOKEN"),
        ("alenai/soda", {}, "not found, or private", "Did you mean allenai/soda?"),
        ("me/line", {}, "not found, or private", "Did you mean me/lines?"),
        ("me/gated", {}, "is gated: its owner must grant access", "Ask for access at "),
        ("me/lines@v9", {}, "has no such revision", "/tree/main"),
        ("allenai/soda", {"split": "dev"}, "has no split 'dev'; it has: train, test", "--split train"),
        ("me/configs", {}, "has several configs: a, b", "--dataset-config a"),
        ("me/configs", {"config": "c"}, "has no config 'c': a, b", "--dataset-config a"),
        ("me/bare", {}, "holds no data files", "/tree/main"),
        ("me/empty", {}, "is empty: its split 'train' has no rows", "--split"),
        ("daily_dialog", {"split": "dev"}, "has no split 'dev'; it has: test, train, validation", "--split test"),
        ("daily_dialog", {"config": "x"}, "has no config 'x': default", "--dataset-config default"),
        ("li/daily_dialog@v2", {}, "has no such revision", ""),
        ("me/script", {}, "script-based repository, whose code is not run", "Look for a copy"),
        ("hf://datasets/me/lines/none.jsonl", {}, "has no such data file", "/tree/main"),
        ("a/b/c", {}, "not found", "spelling"),
    ]
    asked = json.dumps([{"dataset": name, **config} for name, config, _, _ in cases])
    for (name, _, words, way_out), answer in zip(cases, looked(with_hub(hub, asked, code=LOOK)), strict=True):
        assert words in answer.get("error", ""), (name, answer)
        assert way_out in answer["hint"], (name, answer)


def test_a_token_opens_what_is_private_or_gated_and_a_bad_one_is_told(hub, with_hub, loopback):
    asked = json.dumps([{"dataset": name} for name in ("me/private", "me/gated", "me/none")])
    private, gated, none = looked(with_hub(hub, asked, code=LOOK, token=loopback.TOKEN))
    assert private["found"] == ["Private? Bo"]
    assert gated["found"] == ["Gated? Bo"]
    assert none["error"] == "Dataset 'me/none' not found"
    assert "HF_TOKEN must be of an account that may read it" in none["hint"]
    private, gated, _ = looked(with_hub(hub, asked, code=LOOK, token="hf_wrong"))
    assert "does not accept the token" in private["error"]
    assert "is gated" in gated["error"]


def test_offline_and_out_of_reach_are_told(hub, with_hub):
    asked = json.dumps([{"dataset": "allenai/soda"}])
    (offline,) = looked(with_hub(hub, asked, code=LOOK, HF_HUB_OFFLINE="1"))
    assert offline["error"].startswith("Dataset 'allenai/soda' cannot be reached: HF_HUB_OFFLINE")
    assert "--source starter" in offline["hint"]
    (unreachable,) = looked(with_hub(hub, asked, code=LOOK, HF_ENDPOINT="http://127.0.0.1:9"))
    assert unreachable["error"].startswith("Dataset 'allenai/soda' cannot be reached: ")
    assert "Check the network" in unreachable["hint"]


BACKEND = """
import dataclasses
from psyctl_core import Component, hookimpl
from psyctl_core.testing import FakeBackend

@dataclasses.dataclass(frozen=True)
class Config:
    pass

@hookimpl
def psyctl_inference_backends():
    return [Component("fake", "psyctl_fake:make", Config, "A fake")]

def make(config, context):
    return FakeBackend()
"""


@pytest.mark.slow
def test_the_default_dataset_is_built_and_continued(hub, with_hub, install, tmp_path):
    install("psyctl-fake", BACKEND)
    build = ("dataset.build.caa", "--backend", "fake", "--prompter", "static", "--personality", "Extroversion")
    done = with_hub(hub, *build, "--output", "out", "--limit-samples", "4")
    assert done.returncode == 0, done.stderr
    assert "Reading allenai/soda as soda (columns narrative, dialogue and speakers)" in done.stderr
    done = with_hub(hub, *build, "--output", "out", "--limit-samples", "9")
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "out").glob("*.jsonl")
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [record["situation"] for record in records] == [f"At the quay.\nAnn: Is boat {n} here?" for n in range(9)]


FIRST = """
import resource, sys
from psyctl_core import Context
from psyctl_soda import SodaConfig
from psyctl_soda.source import SodaSource

items = SodaSource(SodaConfig(dataset="me/big"), Context()).scenarios(0)
print(next(items).offset, flush=True)
sys.stdin.readline()
print(sum(1 for _ in items) + 1)
"""


@pytest.mark.parametrize("row_group_size", [None, 2000])
def test_the_first_scenario_comes_before_the_file(loopback, tmp_path, row_group_size):
    import random
    import subprocess
    import sys

    words = random.Random(1)
    rows = [
        {
            "narrative": words.randbytes(300).hex(),
            "dialogue": [words.randbytes(300).hex(), "Yes."],
            "speakers": ["A", "B"],
        }
        for _ in range(20_000)
    ]
    path = Path(tmp_path / "big.parquet")
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=row_group_size or len(rows))
    with loopback.Hub([loopback.Repository("me/big", {"train.parquet": path})]) as hub:
        command = [sys.executable, "-c", FIRST]
        environment = hub.environment(tmp_path / "home")
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout.readline() == "0\n"
            before = hub.served["me/big/train.parquet"]
            answer, _ = process.communicate("\n", timeout=60)
        assert answer == "20000\n"
        assert before < 0.4 * path.stat().st_size
