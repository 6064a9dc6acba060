"""Files of every format, compressed or not, in folders, globs and behind URLs; and what is wrong with some."""

from __future__ import annotations

import bz2
import gzip
import json
import logging
import lzma
import shutil
import subprocess
import sys

import datasets
import pandas as pd
import pyarrow as pa
import pytest

from psyctl_core import Scenario, SourceError
from psyctl_soda import readers
from psyctl_soda.scenario import NO_DIALOGUE
from psyctl_soda.source import CORRUPT

ROWS = [
    {
        "narrative": "Zoë is early, and it rains.",
        "dialogue": ["Is the café open?", "Not yet."],
        "speakers": ["Zoë", "Bo"],
    },
    {"narrative": "NA", "dialogue": ["Seven?\nOr eight?", "8"], "speakers": ["NA", "None"]},
    {
        "narrative": "",
        "dialogue": ["What is that noise in the cellar, do you hear it?", "Mice."],
        "speakers": ["A", "B"],
    },
]
EXPECTED = [
    ("Zoë is early, and it rains.", "Zoë", "Is the café open?", "Bo"),
    ("NA", "NA", "Seven? Or eight?", "None"),
    ("", "A", "What is that noise in the cellar, do you hear it?", "B"),
]


def seen(items) -> list[tuple[str, str, str, str]]:
    assert all(isinstance(item, Scenario) for item in items), items
    return [(i.situation, i.dialogue[-1].speaker, i.dialogue[-1].text, i.character) for i in items]


def jsonl_bytes(rows=ROWS) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def arrow_bytes(*, stream: bool) -> bytes:
    table, sink = pa.Table.from_pylist(ROWS), pa.BufferOutputStream()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def csv_bytes(separator: str = ",") -> bytes:
    spelled = [{**row, "dialogue": repr(row["dialogue"]), "speakers": str(row["speakers"])} for row in ROWS]
    return pd.DataFrame(spelled).to_csv(None, index=False, sep=separator).encode()


def parquet_bytes() -> bytes:
    import io

    buffer = io.BytesIO()
    pd.DataFrame(ROWS).to_parquet(buffer)
    return buffer.getvalue()


CONTENTS = {
    "rows.jsonl": jsonl_bytes(),
    "rows.ndjson": b"\n\n" + jsonl_bytes().replace(b"\n", b"\r\n\r\n"),
    "lines.json": jsonl_bytes(),
    "array.json": json.dumps(ROWS, indent=2).encode(),
    "bom.json": b"\xef\xbb\xbf" + json.dumps(ROWS).encode(),
    "under.json": json.dumps({"version": 1, "data": ROWS}).encode(),
    "only.json": json.dumps({"train": ROWS}, indent=1).encode(),
    "by_id.json": json.dumps({f"d{n}": row for n, row in enumerate(ROWS)}).encode(),
    "columns.json": pd.DataFrame(ROWS).to_json().encode(),
    "lists.json": json.dumps({name: [row[name] for row in ROWS] for name in ROWS[0]}).encode(),
    "rows.csv": csv_bytes(),
    "excel.csv": b"\xef\xbb\xbf" + csv_bytes(";"),
    "rows.TSV": csv_bytes("\t"),
    "rows.parquet": parquet_bytes(),
    "file.arrow": arrow_bytes(stream=False),
    "stream.arrow": arrow_bytes(stream=True),
    "rows.jsonl.gz": gzip.compress(jsonl_bytes()[:99]) + gzip.compress(jsonl_bytes()[99:]),
    "rows.json.bz2": bz2.compress(json.dumps(ROWS).encode()),
    "rows.csv.xz": lzma.compress(csv_bytes()),
    "rows.jsonl.zst": pa.Codec("zstd").compress(jsonl_bytes(), asbytes=True),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_the_same_scenarios_from_every_format(tmp_path, read, source, name):
    path = tmp_path / name
    path.write_bytes(CONTENTS[name])
    items = read(path)
    assert seen(items) == EXPECTED
    assert read(path, 1) == items[1:]
    assert source(path).total() == 3


def test_a_lz4_frame_is_read(tmp_path, read):
    path = tmp_path / "rows.jsonl.lz4"
    with pa.CompressedOutputStream(str(path), "lz4") as stream:
        stream.write(jsonl_bytes())
    assert seen(read(path)) == EXPECTED


def test_folders_globs_and_splits(tmp_path, read, jsonl, source):
    for name in ("b", "a"):
        jsonl([{**ROWS[0], "narrative": name}], f"plain/{name}.jsonl")
    assert [item.situation for item in read(tmp_path / "plain")] == ["a", "b"]
    assert [item.situation for item in read(f"{tmp_path}/plain/*.jsonl")] == ["a", "b"]
    assert [item.situation for item in read(f"{tmp_path}/**/b.jsonl")] == ["b"]
    for name in ("train", "test"):
        jsonl([{**ROWS[0], "narrative": name}], f"split/{name}.jsonl")
    assert [item.situation for item in read(tmp_path / "split")] == ["train"]
    assert [item.situation for item in read(tmp_path / "split", split="test")] == ["test"]
    with pytest.raises(SourceError, match=r"no split 'dev'; it has: train, test"):
        read(tmp_path / "split", split="dev")
    assert source(tmp_path / "split").identity() != source(tmp_path / "split", split="test").identity()


def test_what_save_to_disk_wrote_is_read(tmp_path, read):
    made = datasets.Dataset.from_list(ROWS)
    made.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": made, "test": made.select([0])}).save_to_disk(tmp_path / "dict")
    assert seen(read(tmp_path / "one")) == seen(read(tmp_path / "dict")) == EXPECTED
    assert len(read(tmp_path / "dict", split="test")) == 1
    with pytest.raises(SourceError, match="no split 'dev'; it has: train, test"):
        read(tmp_path / "dict", split="dev")


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet", "rows.csv.xz"])
def test_a_url_is_read_in_pieces(tmp_path, read, source, loopback, name):
    with loopback.Hub([loopback.Repository("me/x", {name: CONTENTS[name]})]) as hub:
        url = f"{hub.url}/datasets/me/x/resolve/main/{name}?download=true"
        assert seen(read(url)) == EXPECTED
        assert source(url).identity()["size"] == str(len(CONTENTS[name]))
        with pytest.raises(SourceError, match="not found: the server answers 404"):
            read(url.replace("rows", "none"))
    with pytest.raises(SourceError, match="cannot be reached"):
        source(url).identity()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.jsonl", "no such file or folder"),
        ("./none", "no such file or folder"),
        ("*.jsonl", "no file matches it"),
        ("notes.txt", "no file that can be read"),
        ("empty/", "no dataset file"),
        ("mixed/", "files of several formats (csv, json)"),
        ("https://127.0.0.1/page.html", "no file that can be read"),
        ("nosuch://bucket/rows.jsonl", "cannot be read"),
    ],
)
def test_what_is_not_there_is_told(tmp_path, monkeypatch, source, name, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "a.csv").write_text("a\n1\n")
    (tmp_path / "mixed" / "b.jsonl").write_text("{}\n")
    with pytest.raises(SourceError) as caught:
        source(tmp_path / name if name == "./none" else name).identity()
    assert words in caught.value.message
    assert caught.value.hint


def test_corrupt_rows_are_skipped_and_told_with_file_and_line(tmp_path, read, caplog):
    lines = jsonl_bytes().splitlines()
    bad = [b'{"narrative": "cut', b"[1, 2]", b'{"narrative": "\xff\xfe"}', b'"text"']
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join([lines[0], b"", bad[0], lines[1], bad[1], bad[2], lines[2], lines[2]]))
    with caplog.at_level(logging.WARNING, "psyctl"):
        items = read(path)
    assert [getattr(item, "reason", "") for item in items][:6] == ["", CORRUPT, "", NO_DIALOGUE, CORRUPT, ""]
    assert [record.args[0] for record in caplog.records] == [f"rows.jsonl, line {n}" for n in (3, 6)]
    whys = [record.args[1] for record in caplog.records]
    assert whys[0].startswith("not JSON: ")
    assert whys[1:] == ["not UTF-8"]


def test_mostly_corrupt_rows_are_refused(tmp_path, read):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"{\n{\n" + jsonl_bytes(ROWS[:1]))
    with pytest.raises(
        SourceError, match=r"is corrupt: 2 of 3 rows cannot be read, such as rows.jsonl, line 1: not JSON"
    ):
        read(path)
    path.write_bytes(jsonl_bytes() * 100 + b"{\n" * 400)
    with pytest.raises(SourceError, match=r"is corrupt: 301 of 601 rows cannot be read, such as rows.jsonl, line 601"):
        read(path)


def test_corrupt_cells_are_told(tmp_path, read, caplog):
    path = tmp_path / "rows.csv"
    good = csv_bytes().decode().splitlines()[0] + "\nA.,\"['Hi there', 'Hello']\",\"['A', 'B']\"\n"
    path.write_bytes((good * 1 + "one,two\n" + good.splitlines()[1] + "\n").encode() + b"\xff,x,y\n")
    with caplog.at_level(logging.WARNING, "psyctl"):
        assert [getattr(item, "reason", "") for item in read(path)] == ["", CORRUPT, "repeats an earlier row", CORRUPT]
    assert [record.args for record in caplog.records] == [
        ("rows.csv, line 3", "2 cells where the header has 3", ""),
        ("rows.csv, line 5", "not UTF-8", ""),
    ]


def test_an_overlong_line_is_a_corrupt_row_and_never_in_memory(tmp_path, read, monkeypatch, caplog):
    monkeypatch.setattr(readers, "MAX_ROW_BYTES", 1 << 20)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(jsonl_bytes() + b'{"narrative": "' + b"x" * (5 << 20) + b'"}\n' + jsonl_bytes()[:-1])
    items = read(path)
    assert [getattr(item, "reason", "") for item in items][3] == CORRUPT
    assert len(items) == 7
    assert "longer than 1 MiB" in caplog.text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.parquet", parquet_bytes()[:-20]),
        ("cut.jsonl.gz", gzip.compress(jsonl_bytes() * 2000)[:-30]),
        ("cut.jsonl.xz", lzma.compress(jsonl_bytes() * 2000)[:-30]),
        ("no.jsonl.zst", b"hello"),
        ("cut.json", json.dumps(ROWS * 3)[:-9].encode()),
        ("broken.json", b'[{"narrative": "x"}, {"narrative": oops}]'),
        ("broken2.json", b'{"data":\n [1,\n 2,,]}'),
        ("cut.arrow", arrow_bytes(stream=False)[:200]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # not the bytes, which hold the time
)
def test_a_damaged_file_is_told_by_its_name(tmp_path, source, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SourceError) as caught:
        list(source(path, columns="situation=narrative").scenarios(0))
    assert name in str(caught.value)
    assert caught.value.hint


def test_an_empty_file_is_told(tmp_path, source):
    for name, content in [("e.jsonl", b""), ("e.json", b"[]"), ("e.csv", b"narrative,dialogue\n"), ("f.json", b" ")]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SourceError, match=r"holds no rows|is no JSON") as caught:
            source(tmp_path / name).identity()
        assert "split" not in str(caught.value)  # a file has none


def test_a_big_array_is_read_a_piece_at_a_time(tmp_path, source):
    path = tmp_path / "rows.json"
    rows = [{**ROWS[0], "narrative": f"{n}. " + "long " * 20} for n in range(20_000)]
    path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    import tracemalloc

    made = source(path)
    made.identity()
    tracemalloc.start()
    count = sum(1 for _ in made._found.table.rows(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert peak < path.stat().st_size * 0.7 + (8 << 20)


def test_identity_changes_with_the_file(tmp_path, jsonl, source):
    path = jsonl(ROWS)
    before = source(path).identity()
    assert source(path.rename(tmp_path / "other").rename(path)).identity() == before
    path.write_text(path.read_text(encoding="utf-8").replace("rains", "snows"), encoding="utf-8")
    assert source(path).identity() != before
    shutil.copy(path, tmp_path / "copy.jsonl")
    assert source(tmp_path / "copy.jsonl").identity() != source(path).identity()


@pytest.mark.slow
def test_a_file_of_lines_is_read_without_the_libraries_that_others_need(tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(jsonl_bytes())
    code = (
        "import sys\nfrom psyctl_core import Context\nfrom psyctl_soda import SodaConfig\n"
        "from psyctl_soda.source import SodaSource\n"
        f"assert list(SodaSource(SodaConfig(dataset={str(tmp_path / 'rows.jsonl')!r}), Context()).scenarios(0))\n"
        "print(sorted({'datasets', 'pandas', 'pyarrow', 'numpy'} & sys.modules.keys()))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.stdout == "[]\n", ended.stdout + ended.stderr
