"""How long the page of `dataset.report` takes to open in Chromium, from the disk, and to show what is searched for: the
fastest of five. A page shows 2,000 pairs at most.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from unittest import mock

from playwright.sync_api import Page, sync_playwright

from psyctl_core import CaaRecord, build_caa, stored_datasets
from psyctl_core.testing import FakeBackend, FakePrompter, FakeSource
from psyctl_report import facts
from psyctl_report.page import page_of

PAIRS = (500, 2_000, 10_000)
RUNS = 5
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def measure() -> list[dict[str, object]]:
    """Rows of pairs, size of the page, elements in it, milliseconds to open it and to search it."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for pairs in PAIRS:
            file = _written(Path(folder) / str(pairs), pairs)
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            opened = [_opened(page, file) for _ in range(RUNS)]
            searched = [_searched(page, str(number)) for number in range(RUNS)]
            rows.append(
                {
                    "pairs": pairs,
                    "MB": round(file.stat().st_size / 1e6, 2),
                    "elements": page.locator("*").count(),
                    "open ms": round(min(opened)),
                    "search ms": round(min(searched)),
                }
            )
            page.close()
        browser.close()
    return rows


def _opened(page: Page, file: Path) -> float:
    page.goto(file.as_uri())
    return float(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))


def _searched(page: Page, text: str) -> float:
    """Until the browser has laid out what is left."""
    return float(
        page.get_by_label("Search").evaluate(
            """(field, text) => { const began = performance.now(); field.value = text;
            field.dispatchEvent(new Event('input', {bubbles: true}));
            document.body.offsetHeight; return performance.now() - began; }""",
            text,
        )
    )


def _written(folder: Path, pairs: int) -> Path:
    """The page of so many pairs, without the checks of all of them."""
    report = build_caa(
        "Openness", folder, source=FakeSource(1), prompter=FakePrompter(), backend=FakeBackend(), limit_samples=1
    )
    location = Path(report.datasets[0].location)
    record = json.loads(location.read_text(encoding="utf-8"))
    records = [CaaRecord(**{**record, "id": f"id-{n}", "situation": f"Kim waits at stop {n}."}) for n in range(pairs)]
    location.write_text("".join(f"{json.dumps(each.as_json())}\n" for each in records), encoding="utf-8")
    checked = facts.check_records
    with mock.patch.object(facts, "check_records", lambda dataset, records: checked(dataset, records[:300])):
        html = page_of([facts.facts_of(dataset, facts.SHOWN) for dataset in stored_datasets(folder)])
    file = folder / "report.html"
    file.write_text(html, encoding="utf-8")
    return file
