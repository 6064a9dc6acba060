"""The page in a real browser: search and filters, hostile texts, no request, weight, widths, print, axe-core."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from psyctl_core import stored_datasets
from psyctl_report import facts
from psyctl_report.facts import SHOWN, facts_of
from psyctl_report.page import page_of

pytestmark = pytest.mark.slow

PARTS = 10
"""Elements of the page for each pair that is shown, at most; they decide how long it takes to open."""

LOOKS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]


@pytest.fixture
def opened(browser, tmp_path) -> Iterator[Callable[..., Any]]:
    """Opens the page of a folder; in the end nothing may have been complained of, asked from outside, or popped up."""
    contexts, wrong = [], []

    def opened(folder: Path, width: int = 1280, scheme: str = "light") -> Any:
        datasets = stored_datasets(folder)
        html = page_of([facts_of(dataset, SHOWN // len(datasets)) for dataset in datasets])
        file = tmp_path / f"{folder.name}.html"
        file.write_text(html, encoding="utf-8")
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.set_default_timeout(0)  # a busy machine is no defect
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: wrong.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("popup", lambda other: wrong.append(f"popup: {other.url}"))
        page.on("request", lambda request: request.url == file.as_uri() or wrong.append(f"request: {request.url}"))
        page.goto(file.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def judged(dataset, make) -> Path:
    """Forty judged pairs, whose first answers differ in one word each, and two rejected ones."""
    records = [make.record(n, metadata=make.scored(60 + n * 0.5, 10), situation=f"Word{n:03}.") for n in range(45)]
    rejects = [make.rejected(n, metadata=make.scored(20 + n, 10)) for n in range(2)]
    return dataset(records, rejects=rejects)


def seen(page) -> list[str]:
    """The ids of the pairs that can be seen, without the dataset's own part."""
    return page.eval_on_selector_all("article", "all => all.filter(a => a.offsetParent).map(a => a.id.split('-')[1])")


def all_shown(page) -> None:
    page.get_by_role("button", name="Show all").click()
    page.locator("output:empty").wait_for(state="attached")


def test_search_and_filters_show_what_they_ask_for(opened, judged):
    page = opened(judged)
    assert len(seen(page)) == 47
    page.get_by_label("Search").fill("word007")
    assert seen(page) == ["8"]
    assert page.locator("output").inner_text() == "1 of 47 match"
    all_shown(page)
    assert len(seen(page)) == 47
    page.get_by_label("Positive answer").select_option("second")
    assert len(seen(page)) == 22
    page.get_by_label("Margin from").fill("70")
    assert seen(page) == ["44", "42"]
    all_shown(page)
    page.get_by_role("combobox", name="Pairs").select_option("worst")
    assert len(seen(page)) == 20
    page.get_by_role("combobox", name="Pairs").select_option("borderline")
    assert seen(page) == ["47", "46"]
    all_shown(page)
    page.get_by_label("Check").select_option("openings")
    assert 0 < len(seen(page)) <= 45
    assert page.locator("article header", has_text="openings").count() == len(seen(page))


def test_a_link_from_a_check_leads_to_its_pair_even_where_a_filter_hides_it(opened, judged):
    page = opened(judged)
    page.get_by_label("Search").fill("no such text")
    assert seen(page) == []
    link = page.locator(".check a").first
    link.click()
    assert seen(page) == [str(link.get_attribute("href")).split("-")[1]]


def test_hostile_texts_do_nothing(opened, hostile):
    page = opened(hostile)
    assert page.locator("img, iframe, base, object, embed, textarea, script:not(body > script)").count() == 0
    assert page.locator("script").count() == 1
    assert len(seen(page)) == 13
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_label("Search").fill("<script>alert(1)")
    assert len(seen(page)) == 13


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_axe_finds_no_violation(opened, judged, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed").Axe()
    page = opened(judged, width, scheme)
    assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == (scheme == "dark")
    page.eval_on_selector_all("details", "all => all.forEach(each => { each.open = true; })")
    found = axe.run(page, options={"resultTypes": ["violations"]}).response
    told = [(each["impact"], each["id"], each["nodes"][0]["html"]) for each in found["violations"]]
    assert told == []
    assert len(found["passes"]) > 20


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_lies_beyond_the_edge(opened, dataset, make, width):
    long = "x" * 400
    page = opened(dataset([make.record(n, positive_text=f"{n} {long}", id=f"{n}{long}") for n in range(12)]), width)
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_ten_thousand_pairs_weigh_what_two_thousand_do(opened, dataset, make, monkeypatch):
    """How fast they open and are searched is measured by the benchmark ``report_page``; this is why."""
    checked = facts.check_records  # what the checks take is not asked here
    monkeypatch.setattr(facts, "check_records", lambda dataset, records: checked(dataset, records[:300]))

    page = opened(dataset([make.record(n) for n in range(10_000)]))
    assert len(seen(page)) == SHOWN
    assert "2,000 of 10,000 pairs" in page.inner_text("main")
    assert page.locator("*").count() < SHOWN * PARTS
    drawn = page.eval_on_selector_all("article", "all => all.map(each => getComputedStyle(each).contentVisibility)")
    assert set(drawn) == {"auto"}, "what cannot be seen is not laid out"
    last = seen(page)[-1]
    page.get_by_label("Search").fill(f"stop {int(last) - 1}.")
    assert seen(page) == [last]


def test_a_print_is_black_on_white_with_all_that_is_folded(opened, judged):
    page = opened(judged, scheme="dark")
    pdf = page.pdf()
    assert pdf.startswith(b"%PDF")
    assert page.eval_on_selector_all("details", "all => all.every(each => each.open)")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert not page.locator("form").is_visible()
