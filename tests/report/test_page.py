"""The page: what it shows, that data cannot run, and that it is bounded and always the same."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from importlib.resources import files

import pytest

from psyctl_core import stored_datasets
from psyctl_report.facts import SHOWN, facts_of
from psyctl_report.page import page_of

TAGS = {
    "html", "head", "meta", "title", "style", "script", "body", "h1", "h2", "h3", "h4", "p", "a", "nav", "section",
    "div", "table", "tr", "th", "td", "b", "span", "details", "summary", "ul", "li", "blockquote", "figure",
    "figcaption", "br", "svg", "rect", "path", "text", "form", "label", "input", "select", "option", "button", "output",
    "article", "header", "main", "g", "circle",
}  # fmt: skip
"""Those of the template."""


def page(folder, *, room=SHOWN, notes=()):
    return page_of([facts_of(dataset, room) for dataset in stored_datasets(folder)], notes)


def test_hostile_texts_become_no_element_no_attribute_and_no_script(hostile, hostile_texts, parsed):
    html = page(hostile, notes=hostile_texts)
    found = parsed(html)
    assert {tag for tag, _ in found.tags} <= TAGS
    for tag, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        assert not {"src", "style", "srcdoc", "action", "formaction", "autofocus", "xlink:href"} & set(attributes), tag
        assert attributes.get("href", "#").startswith("#")
    assert "".join(found.scripts) == files("psyctl_report").joinpath("page.js").read_text(encoding="utf-8")
    assert len(found.all_of("script")) == len(found.all_of("style")) == 1
    assert found.others == ["DOCTYPE html"]
    assert "{{ 7 * 7 }}" in found.text
    assert "<script>alert(1)</script>" in found.text


def test_characters_that_a_browser_would_obey_are_spelled_out(hostile, hostile_texts):
    html = page(hostile, notes=hostile_texts)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", html)
    assert "\\u202e\\u2066right\\u2069" in html
    assert "\\ud800" in html
    html.encode("utf-8")


def test_the_policy_lets_the_pages_own_script_and_style_in_and_nothing_else(hostile, parsed):
    html = page(hostile)
    (policy,) = [meta["content"] for meta in parsed(html).all_of("meta") if "http-equiv" in meta]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    for tag in ("script", "style"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"
    assert html.index("Content-Security-Policy") < html.index("<style")


def test_the_page_tells_what_lies_in_the_files(dataset, make, parsed):
    records = [make.record(n, metadata=make.scored(80, 10 + n)) for n in range(40)]
    folder = dataset(
        records,
        rejects=[make.rejected(1, metadata=make.scored(30, 20))],
        labels={"id-3": "right"},
        statistics={"rejected": {"the sides do not differ": 1}, "skipped": {"no dialogue": 5}, "cost": 0.25},
    )
    text = parsed(page(folder)).text
    for part in (
        "40 pairs; fails: ", "openings; worth a look: ",
        "FakePrompter", "{character} is known for this: Openness.",
        "the sides do not differ 1", "no dialogue 5", "cost $0.2500", "Over the run Pairs", "Tokens read written",
        "Score 'positive'", "in the dataset: median 80", "Labels of a person", "Precision 1 of 1 (100 %)",
        "Length of the answers, in characters", "oh wow look 40", "best", "borderline", "rejected: the sides do not",
        "Kim, Openness: Oh wow, look at tree 7!", "labelled right", "power", "The vector holds how answers begin",
    ):  # fmt: skip
        assert part in text, part


def test_every_link_leads_to_a_pair_on_the_page(dataset, make, parsed):
    found = parsed(page(dataset([make.record(number) for number in range(30)]), room=12))
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    links = [attributes["href"][1:] for attributes in found.all_of("a")]
    assert links
    assert set(links) <= set(ids)
    assert len(ids) == len(set(ids))
    assert "12 of 30 pairs" in found.text
    assert len(found.all_of("article")) == 12


def test_pairs_can_be_filtered_by_what_is_written_on_them(dataset, make, parsed):
    records = [make.record(n, metadata=make.scored(80, n)) for n in range(12)]
    found = parsed(page(dataset(records, rejects=[make.rejected(1)])))
    names = [option["value"] for option in found.all_of("option")]
    first, *_, last = found.all_of("article")
    assert (first["data-order"], first["data-score"], first["data-kinds"]) == ("first", "80", "kept best")
    assert (last["data-order"], last["data-kinds"]) == ("", "rejected")
    assert "data-score" not in last
    assert set(first["data-checks"].split()) <= set(names)
    assert first["data-checks"]


def test_several_datasets_are_compared_and_linked(dataset, make, parsed, tmp_path):
    folder = tmp_path / "both"
    dataset([make.record(n) for n in range(12)], folder=folder / "openness")
    dataset([make.record(n) for n in range(3)], folder=folder / "calm", trait="Calm")
    for path in sorted(folder.glob("*/caa*")):  # both of one run
        path.rename(path.with_name("caa_dataset_20260101_000000" + "".join(path.suffixes)))
    found = parsed(page(folder, room=5))
    assert "Side by side Figure Calm Openness pairs 3 12" in found.text
    assert "check power fail 3 fail 12" in found.text
    assert [link["href"] for link in found.all_of("a")][:2] == ["#t1", "#t2"]
    assert len(found.all_of("article")) == 3 + 5


@pytest.mark.parametrize(("status", "told"), [("running", "it is going on, or was killed"), ("stopped", "it was")])
def test_an_unfinished_run_is_shown_as_one(dataset, make, parsed, tmp_path, status, told):
    text = parsed(page(dataset([make.record(0)], status=status))).text
    assert f"1 pair, not finished: {told}" in text or f"1 pair; not finished: {told}" in text
    nothing = parsed(page(dataset([], status=status, folder=tmp_path / "none"))).text
    assert "There is nothing to check yet." in nothing
    assert "There are no pairs yet." in nothing


def test_a_page_is_as_long_as_what_it_shows_and_not_as_the_dataset(dataset, make, tmp_path):
    short = "The same."
    records = [make.record(n, positive_text=f"{short} {n}", neutral_text=f"{n} {short}") for n in range(3000)]
    html = page(dataset(records), room=100)
    assert html.count("<article") == 100
    per_pair = (len(html) - len(page(dataset(records[:1], folder=tmp_path / "one")))) / 100
    assert per_pair < 1500
    assert SHOWN * per_pair < 4_000_000


def test_the_same_files_make_the_same_page(dataset, make):
    folder = dataset([make.record(n, metadata=make.scored(80, n)) for n in range(15)])
    assert page(folder) == page(folder)


PAIR = {"text": "kim: hello", "checks": "0 3 ", "order": "first", "kinds": "kept best", "score": "40"}
ANY = {"text": "", "check": "", "order": "", "kind": "", "least": "", "most": ""}


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js, which runs the page's script, is not installed")
@pytest.mark.slow
def test_the_filters_keep_what_they_ask_for():
    cases = [
        ({}, {}, True), ({}, {"text": "HELLO"}, True), ({}, {"text": "bye"}, False), ({}, {"check": "3"}, True),
        ({}, {"check": "1"}, False), ({}, {"order": "first"}, True), ({}, {"order": "second"}, False),
        ({}, {"kind": "best"}, True), ({}, {"kind": "worst"}, False), ({}, {"least": "40", "most": "40"}, True),
        ({}, {"least": "41"}, False), ({}, {"most": "39"}, False), ({"score": ""}, {"least": "0"}, False),
        ({"score": ""}, {"most": "0"}, False), ({"score": "-5"}, {"most": "0"}, True),
        ({"checks": "13 "}, {"check": "3"}, False),
    ]  # fmt: skip
    script = files("psyctl_report").joinpath("page.js").read_text(encoding="utf-8")
    rows = json.dumps([[PAIR | pair, ANY | wanted] for pair, wanted, _ in cases])
    told = f"{script}\nconsole.log(JSON.stringify({rows}.map(([pair, wanted]) => matches(pair, wanted))));"
    done = subprocess.run(["node", "-e", told], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == [expected for *_, expected in cases]
