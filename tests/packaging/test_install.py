"""The built wheel in a fresh environment, beside a stranger's package."""

from __future__ import annotations

import json
import re
import subprocess
import zipfile

import pytest

pytestmark = pytest.mark.slow


def test_the_wheel_holds_what_it_needs_and_nothing_called_plugins(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {"psyctl_core", "psyctl_soda", "psyctl_p2", "psyctl_static", "psyctl_hf", "psyctl_openrouter"} <= tops
    assert not {"plugins", "schemas", "tests"} & tops
    assert "psyctl_core/schemas/caa-record.v1.schema.json" in names
    assert "psyctl_soda/starter.jsonl" in names
    assert "psyctl_core/constraints.txt" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_base_install_has_no_torch(environment, check):
    listed = check(environment / "python", "-m", "pip", "list", "--format", "json").stdout
    names = {row["name"] for row in json.loads(listed)}
    assert not {"torch", "transformers", "accelerate"} & names
    assert {"psyctl", "psyctl-thirdparty"} <= names


def test_a_missing_extra_is_named_with_its_pip_line(environment, tmp_path):
    done = subprocess.run(
        [environment / "psyctl", "dataset.build.caa", "--model", "embedded", "--source", "starter"]
        + ["--personality", "Openness", "--output", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'psyctl[hf]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_strangers_source_and_backend_make_a_dataset(environment, check, tmp_path):
    (tmp_path / "scenes.txt").write_text("\n".join(f"Sam stands at gate {n}." for n in range(9)), encoding="utf-8")
    rows = json.loads(check(environment / "psyctl", "plugins.list", "--json").stdout)
    mine = {(row["kind"], row["name"]) for row in rows if row["distribution"] == "psyctl-thirdparty"}
    assert mine == {("source", "lines"), ("backend", "echo")}
    command = [environment / "psyctl", "dataset.build.caa", "--source", "lines", "--lines-path", "scenes.txt"]
    command += ["--backend", "echo", "--echo-shout", "--prompter", "static", "--personality", "Openness"]
    done = check(*command, "--output", "out", "--limit-samples", "6", cwd=tmp_path)
    assert re.search(r"^Openness +6 +6 +0$", done.stdout, re.MULTILINE), done.stdout
    records = [json.loads(line) for line in next((tmp_path / "out").glob("*.jsonl")).read_text().splitlines()]
    assert [record["id"] for record in records] == [f"line-{n}" for n in range(6)]
    assert records[0]["positive_text"].startswith("SAM IS ")
