"""The documentation site builds without a warning, and its search finds what pages say."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="the extra 'docs' is not installed"),
]


@pytest.mark.skipif(importlib.util.find_spec("mike") is None, reason="the extra 'docs' is not installed")
@pytest.mark.skipif(not all(map(shutil.which, ("git", "make"))), reason="git or make is not there")
def test_each_version_has_a_folder_of_its_own(root, tmp_path):
    copy = tmp_path / "copy"
    left_out = shutil.ignore_patterns(".*", "site", "tests", "build", "dist", "demo-output", "__pycache__")
    shutil.copytree(root, copy, ignore=left_out)
    _only_its_first_page(copy)

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("git", "init", "-q")
    run("git", "config", "user.name", "A test")
    run("git", "config", "user.email", "test@example.org")
    run("git", "commit", "-q", "--allow-empty", "-m", "What is built")
    make = ("make", "docs-version", f"VENV={sys.prefix}", "--old-file", f"{sys.prefix}/docs.done")
    for version in (["DOCS_VERSION=main"], ["DOCS_VERSION=0.1.0", "DOCS_ALIAS=latest"], ["DOCS_VERSION=main"]):
        run(*make, *version)
    assert {"0.1.0", "latest", "main", "versions.json"} <= set(run("git", "ls-tree", "--name-only", "gh-pages").split())
    assert "latest/" in run("git", "show", "gh-pages:index.html")
    assert '"version": {"provider": "mike"}' in run("git", "show", "gh-pages:0.1.0/index.html")


def _only_its_first_page(copy: Path) -> None:
    """What the whole site takes is no matter of its versions."""
    for path in copy.glob("docs/**/*.md"):
        path.unlink()
    (copy / "docs" / "index.md").write_text("# psyctl\n", encoding="utf-8")
    config = (copy / "mkdocs.yml").read_text(encoding="utf-8")
    kept = config.partition("\nnav:")[0].replace("hooks: [docs/site_links.py]\n", "")  # it adds the README's pages
    (copy / "mkdocs.yml").write_text(f"{kept}\nnav: [index.md]\n", encoding="utf-8")


def test_its_index_knows_what_the_pages_say(site):
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    found = {entry["location"] for entry in index["docs"] if "openrouter-max-cost" in entry["text"]}
    assert any(location.startswith("how-to/openrouter.html") for location in found)
    api = (site / "reference" / "api.html").read_text(encoding="utf-8")
    assert "build_caa" in api
    assert "SourceContract" in api
    assert not re.search(r":(class|func|meth|data):", api)
    fetched = re.compile("fonts.googleapis|unpkg.com/iframe")
    assert not [page for page in site.rglob("*.html") if fetched.search(page.read_text(encoding="utf-8"))]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no Chromium here")
def test_the_search_works_in_pages_opened_from_the_file_system(site, tmp_path):
    browser = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    browser += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path}"]
    page = f"file://{site}/how-to/openvino.html?q=budget"
    done = subprocess.run(
        [*browser, "--virtual-time-budget=20000", "--dump-dom", page], capture_output=True, text=True, check=False
    )
    assert re.search(r"\d+ matching documents", done.stdout), done.stderr
