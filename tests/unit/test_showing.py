"""How datasets and reports show themselves in a notebook, and what they give to other libraries."""

from __future__ import annotations

import json
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from psyctl_core import OutputError, PluginError, Selection, open_dataset
from psyctl_core.testing import FakeBackend, FakeSource, MemorySink
from psyctl_core.testing.fakes import fake_answer, fake_scenario

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> & \u202e \x1b[2J"


class Tags(HTMLParser):
    """Notes tags, their attributes' names, and cells' texts."""

    def __init__(self, html):
        super().__init__()
        self.found, self.cells = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, *sorted(name for name, _ in attrs)))
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


@pytest.fixture
def dataset(run, tmp_path):
    run(source=FakeSource(5))
    return open_dataset(tmp_path / "out")


def test_a_dataset_shows_its_first_pairs(dataset):
    html = dataset._repr_html_()
    cells = Tags(html).cells
    first = next(iter(dataset))
    assert cells[:4] == ["Situation", "Character", "Extroversion", "neutral"]
    assert cells[4:8] == [first.situation, first.character, first.positive_text, first.neutral_text]
    assert len(cells) == 4 + 3 * 4
    assert html.endswith("<p>The first 3 of 5.</p>")
    assert "5 pairs, complete" in html
    assert dataset.location in html


def test_a_report_shows_each_trait(run):
    html = run("Openness, Neuroticism", source=FakeSource(4)).report._repr_html_()
    cells = Tags(html).cells
    assert cells[:5] == ["Trait", "Pairs", "New", "Rejected", "Where"]
    assert cells[5:9] == ["Openness", "4", "4", "0"]
    assert "Neuroticism" in cells
    assert html.count("4 pairs, complete") == 2


def test_texts_of_a_dataset_are_never_markup(run, tmp_path):
    def make(offset):
        scenario = fake_scenario(offset)
        return type(scenario)(scenario.id, offset, f"{HOSTILE} {offset}", HOSTILE)

    def answer(request):
        return type(fake_answer(request))(request.id, f"{fake_answer(request).text} <b onclick=x>bold</b>")

    report = run(source=FakeSource(3, make=make), backend=FakeBackend(answer=answer)).report
    for html in (report._repr_html_(), open_dataset(tmp_path / "out")._repr_html_()):
        tags = Tags(html).found
        assert {tag for tag, *_ in tags} <= {"p", "strong", "br", "code", "table", "thead", "tbody", "tr", "th", "td"}
        assert {name for _, *names in tags for name in names} == {"style"}
        assert "\u202e" not in html
        assert "\x1b" not in html
        assert "&lt;script&gt;" in html


def test_long_texts_are_cut(run, tmp_path):
    def make(offset):
        scenario = fake_scenario(offset)
        return type(scenario)(scenario.id, offset, f"{offset} " + "word " * 1000, "Kim")

    run(source=FakeSource(3, make=make))
    assert len(open_dataset(tmp_path / "out")._repr_html_()) < 4000


def test_what_cannot_be_read_is_shown_as_such(dataset, run, tmp_path):
    (file,) = (tmp_path / "out").glob("*.jsonl")
    file.write_text('{"question": 1}\n', encoding="utf-8")
    assert "is not a CAA record" in dataset._repr_html_()
    report = run(output=tmp_path / "other", source=FakeSource(2), sink=Selection("mine", instance=MemorySink())).report
    assert "its sink cannot be asked" in report._repr_html_()


def test_an_unfinished_run_is_shown_as_such(run, tmp_path):
    run(source=FakeSource(8), backend=FakeBackend(dies_after=9, in_flight=1), raises=PluginError)
    assert "pairs, stopped" in open_dataset(tmp_path / "out")._repr_html_()


def test_rows_are_the_lines_of_the_dataset(dataset):
    with open(dataset.location, encoding="utf-8") as file:  # noqa: PTH123 - a location is text
        assert dataset.rows() == [json.loads(line) for line in file]


def test_pandas_and_datasets_get_every_record(dataset):
    frame, table, records = dataset.to_pandas(), dataset.to_datasets(), list(dataset)
    assert list(frame.columns) == table.column_names == [*records[0].__slots__]
    assert [record.id for record in records] == list(frame["id"]) == list(table["id"])
    assert frame.loc[2, "positive_text"] == table[2]["positive_text"] == records[2].positive_text
    assert list(frame["metadata"]) == [record.metadata for record in records]
    assert table[0]["metadata"] == (json.dumps(records[0].metadata) if records[0].metadata else "")


def test_metadata_of_any_form_and_halves_of_characters_fit_a_table(dataset, tmp_path):
    (file,) = (tmp_path / "out").glob("*.jsonl")
    rows = dataset.rows()
    rows[0] |= {"metadata": {"x": 1}, "positive_text": "Half \ud83d."}
    rows[1] |= {"metadata": {"x": [{"y": None}]}}
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    table = dataset.to_datasets()
    assert [json.loads(text or "{}") for text in table["metadata"]][:2] == [{"x": 1}, {"x": [{"y": None}]}]
    assert table[0]["positive_text"] == "Half \ufffd."
    assert list(dataset.to_pandas()["metadata"])[1] == {"x": [{"y": None}]}


def test_an_empty_dataset_gives_empty_tables(dataset, tmp_path):
    (file,) = (tmp_path / "out").glob("*.jsonl")
    file.write_bytes(b"")
    assert (len(dataset.to_pandas()), len(dataset.to_datasets()), dataset.rows()) == (0, 0, [])
    assert "0 pairs" in dataset._repr_html_()


def test_what_cannot_be_read_raises_where_records_are_wanted(dataset, tmp_path):
    (file,) = (tmp_path / "out").glob("*.jsonl")
    file.write_text('{"question": 1}\n', encoding="utf-8")
    for read in (dataset.rows, dataset.to_pandas, dataset.to_datasets):
        with pytest.raises(OutputError, match="is not a CAA record"):
            read()


@pytest.mark.slow
def test_who_does_not_ask_for_them_does_not_load_them():
    code = "import sys, psyctl_core; psyctl_core.open_dataset; print({'pandas', 'datasets'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
