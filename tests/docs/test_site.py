"""The documentation site builds without a warning, and its search finds what pages say."""

from __future__ import annotations

import importlib.util
import json
import os
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


@pytest.fixture(scope="module")
def site(root, tmp_path_factory) -> Path:
    """The site as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=root, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_its_index_knows_what_the_pages_say(site):
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    found = {entry["location"] for entry in index["docs"] if "openrouter-max-cost" in entry["text"]}
    assert any(location.startswith("how-to/openrouter.html") for location in found)
    api = (site / "reference" / "api.html").read_text(encoding="utf-8")
    assert "build_caa" in api
    assert "SourceContract" in api
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
