"""Takes the picture of a report that the first page shows: ``python docs/picture.py`` writes it into docs/assets/.

What is pictured is real: 100 pairs of Extroversion by the embedded model over the starter scenes, as `make demo` makes
them, and their report. It takes a minute or two, the extras ``openvino`` and ``check``, Playwright, and a Chromium.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from psyctl_core import build_caa, stored_datasets
from psyctl_openvino import OpenVinoConfig
from psyctl_report.facts import facts_of
from psyctl_report.page import page_of

ASSETS = Path(__file__).resolve().parent / "assets"
SECTION = "Words that tell the sides apart"
SIZE = {"width": 1000, "height": 272}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def report(folder: Path) -> Path:
    """The page about 100 pairs, which are made where they are not in the folder yet."""
    build_caa(
        "Extroversion",
        folder,
        backend=OpenVinoConfig(model="embedded"),
        source="starter",
        prompter="static",
        limit_samples=100,
    )
    page = folder / "report.html"
    page.write_text(page_of([facts_of(dataset, 100) for dataset in stored_datasets(folder)]), encoding="utf-8")
    return page


def take(page: Path, scheme: str, to: Path) -> None:
    """Picture the section and what follows it, in a colour scheme."""
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        opened = browser.new_page(viewport=SIZE, color_scheme=scheme)
        opened.goto(page.as_uri())
        opened.get_by_role("heading", name=SECTION).evaluate("it => scrollTo(0, it.getBoundingClientRect().y - 16)")
        opened.screenshot(path=to)
        browser.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        made = report(Path(temporary))
        for scheme in ("light", "dark"):
            take(made, scheme, ASSETS / f"report-{scheme}.png")
            print(f"wrote {ASSETS / f'report-{scheme}.png'}")
