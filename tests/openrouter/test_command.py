"""The whole command against the stand-in server: good rows, clear endings, and money that is booked."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
from collections import Counter
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from psyctl_core import schema

KEY = "sk-or-v1-0123456789abcdef0123456789abcdef"
FAULTS = (
    "429=0.03", "429plain=0.02", "402busy=0.02", "408=0.02", "500=0.02", "502=0.02", "503=0.01", "html=0.01",
    "html200=0.01", "error200=0.02", "limit200=0.01", "choice=0.01", "malformed=0.01", "cutoff=0.01", "chunkcut=0.01",
    "close=0.01", "reset=0.01", "empty=0.01", "null=0.01", "reasoning=0.01", "moderation=0.01xinf", "context=0.01xinf",
)  # fmt: skip


@pytest.fixture
def loopback():
    """The module of the Hub on loopback."""
    path = Path(__file__).parents[1] / "sources" / "hub.py"
    spec = importlib.util.spec_from_file_location("psyctl_loopback_hub", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def build(psyctl, tmp_path):
    """Type the command with the stand-in's address."""

    def typed(server, *arguments, **environment):
        return psyctl(
            "dataset.build.caa", "--source", "starter", "--prompter", "static", "--personality", "Extroversion",
            "--output", "out", "--backend", "openrouter", "--openrouter-base-url", server.url, *arguments,
            **{"OPENROUTER_API_KEY": KEY, **environment},
        )  # fmt: skip

    return typed


def records(tmp_path):
    path = next((tmp_path / "out").glob("caa_dataset_*.jsonl"))
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def run_file(tmp_path):
    return json.loads(next((tmp_path / "out").glob("*.run/run.json")).read_text(encoding="utf-8"))


@pytest.mark.slow
def test_two_hundred_pairs_while_a_quarter_of_the_requests_fails(build, serve, tmp_path):
    server = serve(faults=FAULTS, styles=["echo=0.2", "quoted=0.2", "think=0.05"], latency=0.02, slow_seconds=0.2)
    done = build(server, "--openrouter-max-workers", "16", "--limit-samples", "200")
    assert done.returncode == 0, done.stderr
    rows = records(tmp_path)
    assert len(rows) == 200
    assert all(schema.problem("caa-record", row) == "" for row in rows)
    assert not [row for row in rows if not row["positive_text"].strip() or not row["neutral_text"].strip()]
    assert sum(row["positive"] == "(1" for row in rows) == 100
    rejects = next((tmp_path / "out").glob("*.run/rejects.jsonl")).read_text(encoding="utf-8").splitlines()
    reasons = Counter(json.loads(line)["reason"] for line in rejects)
    assert set(reasons) == {"moderation", "input too long"}
    assert sum(reasons.values()) + 200 == max(int(row["id"].split("-")[0]) for row in rows) + 1
    assert set(server.log.answered.values()) == {1}
    assert len(server.log.faults) >= 15
    statistics = run_file(tmp_path)["statistics"]
    assert statistics["cost"] > 0
    assert "per 1,000 pairs" in done.stdout


@pytest.mark.parametrize(
    ("script", "arguments", "code", "words"),
    [
        ({"key": "another"}, (), 1, "Set OPENROUTER_API_KEY, or --openrouter-api-key, to a valid one"),
        ({"credit": 0.0}, (), 75, "is used up"),
        ({}, ("--openrouter-model", "qwen/qwen3-next-80b-a3b-instrct"), 1, "qwen/qwen3-next-80b-a3b-instruct"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_paid(build, serve, tmp_path, script, arguments, code, words):
    server = serve(**script)
    done = build(server, "--limit-samples", "5", *arguments)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert KEY not in done.stderr + done.stdout
    assert server.log.requests == 0
    assert not (tmp_path / "out").exists()


def test_credit_that_runs_out_and_a_budget_both_stop_saved_and_resumable(build, serve, tmp_path):
    server = serve(credit=0.0015)
    done = build(server, "--limit-samples", "60")
    assert done.returncode == 75
    assert "Run the same command again" in done.stderr or "run the same command again" in done.stderr
    saved = records(tmp_path)
    assert 0 < len(saved) < 60
    server.script.credit = None
    limited = build(server, "--limit-samples", "60", "--openrouter-max-cost", "0.0025")
    assert limited.returncode == 75
    assert "--openrouter-max-cost" in limited.stderr
    assert server.log.charged <= 0.0025
    assert build(server, "--limit-samples", "60").returncode == 0
    assert records(tmp_path)[: len(saved)] == saved
    assert len(records(tmp_path)) == 60
    assert run_file(tmp_path)["statistics"]["cost"] == pytest.approx(server.log.charged)
    assert set(server.log.answered.values()) == {1}


def test_an_outage_stops_the_run_and_the_same_command_goes_on(build, serve, tmp_path):
    server = serve(down=(30, float("inf")))
    done = build(server, "--limit-samples", "40", "--openrouter-max-workers", "4", "--openrouter-patience", "0.2")
    assert done.returncode == 75
    assert "in a row" in done.stderr
    server.script.down = (0, 0)
    assert build(server, "--limit-samples", "40", "--openrouter-max-workers", "4").returncode == 0
    assert len(records(tmp_path)) == 40
    assert run_file(tmp_path)["statistics"]["rejected"] == {}
    assert set(server.log.answered.values()) == {1}


def test_a_dry_run_estimates_and_asks_no_model(build, serve, tmp_path):
    server = serve()
    done = build(server, "--limit-samples", "50", "--dry-run", OPENROUTER_API_KEY="")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Calls  100 (100 for pairs); more for each rejected pair\nMoney  at most about $")
    assert "a million tokens read" in done.stdout
    assert server.log.requests == 0
    assert not (tmp_path / "out").exists()


def test_the_key_is_in_no_file(build, serve, tmp_path):
    server = serve(faults=["500=0.2"])
    done = build(server, "--limit-samples", "5", "--debug")
    assert done.returncode == 0
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in done.stdout + done.stderr


def test_the_whole_of_a_hub_dataset_as_the_readme_types_it(loopback, psyctl, serve, tmp_path):
    """Every part real but the two servers: the Hub's reader, p2 through the API, no limit, a dry run first."""
    rows = [
        {
            "narrative": f"Kim and Robin wait at stop {n}.",
            "dialogue": [f"Shall we walk to stop {n}?", "Yes."],
            "speakers": ["Kim", "Robin"],
        }
        for n in range(12)
    ]
    parquet = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), parquet)
    server = serve()
    command = (
        "dataset.build.caa", "--source", "soda", "--backend", "openrouter", "--personality", "Extroversion",
        "--output", "./dataset/extroversion",
    )  # fmt: skip
    with loopback.Hub([loopback.Repository("allenai/soda", {"data/train.parquet": parquet.getvalue()})]) as hub:
        environment = {
            **hub.environment(tmp_path / "home"),
            "HF_HUB_OFFLINE": "0",
            "OPENROUTER_API_KEY": KEY,
            "OPENROUTER_BASE_URL": server.url,
        }
        dry = psyctl(*command, "--dry-run", **environment)
        assert dry.stdout.startswith("Calls  28 (24 for pairs, 4 for personas)"), dry.stderr
        assert server.log.requests == 0
        done = psyctl(*command, **environment)
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "dataset" / "extroversion").glob("caa_dataset_*.jsonl")
    written = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(written) == 12
    assert all(schema.problem("caa-record", row) == "" for row in written)
    assert server.log.requests == 2 * 12 + 4  # four for the personas
