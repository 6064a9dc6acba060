"""What a contributor finds beside the code agrees with the code and with itself."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import importlib_metadata
import pytest
from packaging.requirements import Requirement

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
ROOT = Path(__file__).resolve().parents[2]
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
by_name = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def read(path: Path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def lowest():
    spec = importlib.util.spec_from_file_location("psyctl_lowest", Path(__file__).with_name("lowest.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.lowest


def steps(workflow) -> list[str]:
    """The shell commands of a workflow, with each value of a job's matrix filled in."""
    found = []
    for job in workflow["jobs"].values():
        rows = job.get("strategy", {}).get("matrix", {}).get("include", [{}])
        for step in job["steps"]:
            for row in rows:
                values = {f"${{{{ matrix.{name} }}}}": value for name, value in row.items()}
                text = step.get("run", "")
                for mark, value in values.items():
                    text = text.replace(mark, value)
                found.append(text)
    return found


@by_name
def test_workflows_call_targets_and_files_that_exist(path):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    lines = steps(read(path))
    assert {target for line in lines for target in re.findall(r"\bmake ([a-z-]+)", line)} <= targets
    assert all((ROOT / name).is_file() for line in lines for name in re.findall(r"-c (\S+)", line))
    extras = set(importlib_metadata.metadata("psyctl").get_all("Provides-Extra"))
    assert {extra for line in lines for extra in re.findall(r'"\.\[(\w+)\]"', line)} <= extras


@by_name
def test_a_workflow_may_only_read_unless_it_says_otherwise(path):
    assert read(path)["permissions"] == {"contents": "read"}


def test_the_site_is_published_from_main_and_from_each_release():
    workflow = read(ROOT / ".github" / "workflows" / "docs.yml")
    assert workflow[True]["push"] == {"branches": ["main"], "tags": ["v*"]}  # `on` is a truth value in YAML 1.1
    assert workflow["jobs"]["publish"]["permissions"] == {"contents": "write"}
    lines = steps(workflow)
    assert "make docs" in lines
    assert [line for line in lines if "docs-version" in line] == [
        'make docs-version DOCS_VERSION="${GITHUB_REF_NAME#v}" DOCS_ALIAS=latest',
        "make docs-version DOCS_VERSION=main",
    ]


def test_the_matrix_begins_with_the_lowest_python():
    matrix = read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["quick"]["strategy"]["matrix"]
    assert f">={matrix['python'][0]}" == importlib_metadata.metadata("psyctl")["Requires-Python"]
    assert len(matrix["os"]) == 3


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_forms_ask_for_something(path):
    form = read(path)
    assert {"name", "description", "body"} <= set(form)
    asked = [element for element in form["body"] if element["type"] != "markdown"]
    ids = [element["id"] for element in asked]
    assert len(ids) == len(set(ids))
    assert all(element["attributes"]["label"] for element in asked)
    assert any(element.get("validations", {}).get("required") for element in asked)


def test_the_citation_is_of_this_version():
    citation = read(ROOT / "CITATION.cff")
    metadata = importlib_metadata.metadata("psyctl")
    assert str(citation["version"]) == metadata["Version"]
    assert citation["license"] == metadata["License-Expression"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)


def test_hooks_and_make_use_the_same_ruff():
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    (pinned,) = re.findall(r"^ruff==.*$", pins, re.MULTILINE)
    hooks = (hook for repo in read(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"])
    used = {name for hook in hooks for name in hook.get("additional_dependencies", []) if name.startswith("ruff")}
    assert used == {pinned}


def test_the_lowest_releases_are_those_of_the_metadata():
    needed = ["a-b>=1.2", "c[x]>=3,<4", 'd>=5.0; extra == "hf"', 'e>=6; extra == "dev"', 'psyctl[hf]; extra == "all"']
    assert list(lowest()(needed, without=["c"])) == ["a-b==1.2", "d==5.0"]
    with pytest.raises(ValueError, match="no lower bound"):
        list(lowest()(["f<2"]))
    for constraint in lowest()(importlib_metadata.requires("psyctl")):
        assert Requirement(constraint).specifier
