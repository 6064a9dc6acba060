"""What was understood can be checked: who answers, who speaks last, what is ignored, how sure; and the way out."""

from __future__ import annotations

import json
import logging

import pytest

from psyctl_core import Scenario, SourceError, UsageError
from psyctl_core.terminal import NOTICE
from psyctl_soda.shapes import Sample, custom
from psyctl_soda.shapes.unknown import suggestion

LANTERN = "Did you see who took the big lantern from the gate last night?"
CHAT = {
    "id": 1,
    "reply": "unused words",
    "messages": [{"role": "user", "content": LANTERN}, {"role": "assistant", "content": "No."}],
}


def test_what_is_sure_is_told_in_few_words(jsonl, source):
    told = source(jsonl([CHAT])).describe()
    assert told["Who answers"] == "Assistant"
    assert told["Who speaks last"] == "User"
    assert told["Columns ignored"] == "id, reply (reply looks like a character or a line; see --columns)"
    assert told["How sure"] == "sure"
    assert told["Rows"] == "1"
    assert "Row 1" not in told


def test_under_doubt_three_rows_stand_beside_what_is_made_of_each(jsonl, source):
    rows = [{"dialogue": [f"{LANTERN} {n}", "No."]} for n in range(5)]
    told = source(jsonl(rows)).describe()
    assert told["How sure"].startswith("in doubt: nobody is named")
    for number in (1, 2, 3):
        row, _, made = told[f"Row {number}"].partition("  =>  ")
        assert LANTERN in row
        assert made.endswith("-> Person B answers")
    assert "Row 4" not in told


def test_many_rows_without_a_scenario_are_a_doubt(jsonl, source):
    told = source(jsonl([CHAT, {"messages": []}, {"messages": None}])).describe()
    assert told["How sure"] == "in doubt: 2 of the first 3 give no scenario, mostly: no dialogue"
    assert told["Row 2"].endswith("=>  skipped: no dialogue")


@pytest.mark.parametrize(("doubtful", "level"), [(False, NOTICE), (True, logging.WARNING)])
def test_the_start_of_a_run_says_it_once_in_one_line(jsonl, source, caplog, doubtful, level):
    rows = [{"dialogue": [LANTERN, "No."]}] if doubtful else [CHAT]
    with caplog.at_level(logging.INFO, "psyctl"):
        list(source(jsonl(rows)).scenarios(0))
    (record,) = caplog.records
    assert record.levelno == level
    said = record.getMessage()
    assert "\n" not in said
    assert "answers: " in said
    assert "speaks last: " in said
    assert said.endswith("between two people" if doubtful else "; sure")


def test_the_preview_prints_all_of_it_as_json(psyctl, jsonl):
    done = psyctl("source.preview", "--dataset", str(jsonl([{"dialogue": [LANTERN, "No."]}])), "--json")
    told = json.loads(done.stdout)["description"]
    assert {"Who answers", "Who speaks last", "Columns ignored", "How sure", "Row 1", "Rows"} <= told.keys()


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            {"uid": "x1", "url": "https://x.example", "parts": [{"pid": "P1", "said_by_whom": "hm"}]},
            "line=parts.said_by_whom",
        ),
        (
            {"id": "a-1", "date": "2024-01-02", "headline": "Mill", "report": "The mill burned down last night."},
            "situation=report",
        ),
        (
            {"answer": "The mill burned down, and nobody knows how it began.", "blurb": "A mill by a lake."},
            "situation=blurb",
        ),
        ({"deep": {"note": "The mill burned down last night."}, "label": "sad"}, "situation=deep.note"),
        (
            {"blurb": "The mill burned down last night.", "hero": "Vera", "mood": "sad"},
            "situation=blurb,character=hero",
        ),
    ],
)
def test_a_suggested_line_names_no_id_date_address_label_or_answer_and_is_right(row, expected):
    sample = Sample.of([row] * 3)
    assert suggestion(sample) == expected
    custom.match(custom.parse(expected), sample)


def test_a_suggested_line_reaches_into_objects(jsonl, source, read):
    rows = [
        {
            "k": {
                "seq": [
                    {"w": "P01", "zz": LANTERN},
                    {"w": "P02", "zz": "No, I did not."},
                    {"w": "P01", "zz": "Hm, why."},
                ]
            }
        }
    ]
    path = jsonl(rows)
    with pytest.raises(SourceError) as caught:
        source(path).identity()
    assert "--columns line=k.seq.zz" in caught.value.hint
    (item,) = read(path, columns="line=k.seq.zz,speaker=k.seq.w")
    assert isinstance(item, Scenario)
    assert (item.character, item.dialogue[-1].speaker) == ("P02", "P01")


def test_an_unknown_part_is_not_called_a_missing_column(jsonl, source):
    with pytest.raises(UsageError, match="'speeker' is not a part") as caught:
        source(jsonl([CHAT]), columns="line=messages.content,speeker=messages.role")
    assert "Did you mean 'speaker'?" in caught.value.hint


def test_the_order_of_turns_can_be_said(jsonl, read):
    rows = [{"c": 1, "n": 2, "w": "Olaf", "t": "No."}, {"c": 1, "n": 1, "w": "Vera", "t": LANTERN}]
    (item,) = read(jsonl(rows), columns="conversation=c,order=n,speaker=w,line=t")
    assert (item.character, item.dialogue[-1].speaker) == ("Olaf", "Vera")
    listed = {"t": ["No.", LANTERN], "w": ["Olaf", "Vera"], "n": [2, 1]}
    (item,) = read(jsonl([listed]), columns="order=n,speaker=w,line=t")
    assert (item.character, item.dialogue[-1].speaker) == ("Olaf", "Vera")


def test_not_utf_8_says_how_to_save_it(tmp_path, source):
    (tmp_path / "x.csv").write_bytes(
        "prompt,response\nIst das Café auf?,über\nIst das Café zu?,über\n".encode("latin-1")
    )
    with pytest.raises(SourceError) as caught:
        source(tmp_path / "x.csv").identity()
    assert caught.value.hint == "Save it as UTF-8."
