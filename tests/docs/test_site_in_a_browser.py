"""Every page of the site in a real browser: its width, what axe-core says of it, and what is fetched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

KINDS = (
    "index.html", "tutorial/first-dataset.html", "how-to/overnight.html", "reference/plugins/psyctl_hf.html",
    "reference/errors.html", "explanation/quality.html", "project/about.html",
)  # fmt: skip
"""A page of each kind, for axe-core, which takes its time."""


@pytest.fixture
def opened(browser, site) -> Iterator[Any]:
    """Opens pages one after the other in one window; in the end nothing may have been asked from outside the site."""
    asked, contexts = [], []

    def window(width: int, height: int = 800, scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        context.set_default_timeout(0)  # a busy machine is no defect
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        return page

    yield window
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith((site.as_uri(), "data:"))] == []


def names(site: Path) -> list[str]:
    return [path.relative_to(site).as_posix() for path in sorted(site.rglob("*.html")) if path.name != "404.html"]


def test_no_page_scrolls_sideways_and_on_a_phone_no_table_does(opened, site):
    page = opened(1280)
    script = """() => [...document.querySelectorAll('.md-typeset__scrollwrap')]
        .filter(it => it.scrollWidth > it.clientWidth + 1).map(it => it.textContent.trim().slice(0, 60))"""
    wide, tables = {}, {}
    for name in names(site):
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 800})
            if width == 1280:  # once for both: what is made narrower is laid out again
                page.goto((site / name).as_uri())
            if (found := page.evaluate("document.documentElement.scrollWidth")) > width:
                wide[name, width] = found
        if found := page.evaluate(script):
            tables[name] = found
    assert wide == {}
    assert tables == {}


def test_the_first_page_shows_a_pair_a_command_and_the_report_within_one_screen(opened, site):
    page = opened(1280, 800)
    page.goto((site / "index.html").as_uri())
    for what in ("blockquote", "pre", "picture img"):
        box = page.locator(what).first.bounding_box()
        assert box["y"] + box["height"] <= 800, what
    assert page.evaluate("document.querySelector('picture img').naturalWidth") == 1000
    page = opened(390, 844, "dark")
    page.goto((site / "index.html").as_uri())
    box = page.locator("picture img").first.bounding_box()
    assert box["y"] + box["height"] <= 1.1 * 844
    assert "report-dark" in page.evaluate("document.querySelector('picture img').currentSrc")


def test_each_page_leads_to_the_one_before_and_the_one_after(opened, site):
    page = opened(1280)
    page.goto((site / "tutorial" / "first-vector.html").as_uri())
    footer = page.locator(".md-footer")
    assert footer.get_by_label("Previous: About").or_(footer.get_by_label("Previous: First dataset")).count() == 1
    assert footer.get_by_label("Next: In a notebook").count() == 1


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_nothing_serious(opened, site, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed").Axe()
    page = opened(width, scheme=scheme)
    told = []
    for name in KINDS:
        page.goto((site / name).as_uri())
        for found in axe.run(page, options={"resultTypes": ["violations"]}).response["violations"]:
            if found["impact"] in ("serious", "critical"):
                told.append((name, found["id"], len(found["nodes"]), found["nodes"][0]["html"][:200]))
    assert told == []
