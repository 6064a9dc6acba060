"""Data sets made to do harm: they stay inside themselves, in bounded memory, and no secret of an address is shown."""

from __future__ import annotations

import functools
import gzip
import json
import logging
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from psyctl_core import SourceError
from psyctl_soda import SodaConfig
from psyctl_soda.files import shown, without_secrets

ROW = {"prompt": "Who took the lantern from the gate last night?", "response": "Nobody."}
LINE = json.dumps(ROW) + "\n"


@pytest.fixture
def secret(tmp_path) -> Path:
    path = tmp_path / "outside" / "secret.jsonl"
    path.parent.mkdir()
    path.write_text(
        json.dumps({**ROW, "prompt": "The secret that nobody may read from here."}) + "\n", encoding="utf-8"
    )
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "set"
    path.mkdir()
    (path / "train.jsonl").write_text(LINE, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "data_files",
    [
        "../outside/secret.jsonl",
        "{outside}",
        "http://127.0.0.1:9/x.jsonl",
        "~/x.jsonl",
        "file:///etc/passwd",
        "sub/../../x",
    ],
)
@pytest.mark.parametrize("form", ["text", "list", "splits"])
def test_a_card_that_names_data_outside_is_refused(folder, secret, source, data_files, form):
    path = data_files.format(outside=secret)
    value = {"text": path, "list": [path], "splits": [{"split": "train", "path": ["train.jsonl", path]}]}[form]
    card = f"---\nconfigs:\n- config_name: default\n  data_files: {json.dumps(value)}\n---\n"
    (folder / "README.md").write_text(card, encoding="utf-8")
    with pytest.raises(SourceError, match="reads outside itself") as caught:
        source(folder).identity()
    assert path in caught.value.message


def test_a_card_that_names_its_own_data_is_read(folder, read):
    (folder / "README.md").write_text("---\nconfigs:\n- config_name: default\n  data_files: '*.jsonl'\n---\n")
    assert len(read(folder)) == 1


def test_links_that_lead_out_are_refused(folder, secret, source):
    (folder / "more.jsonl").symlink_to(secret)
    with pytest.raises(SourceError, match=r"reads outside itself: .*more.jsonl' is really .*secret.jsonl"):
        source(folder).identity()


def test_the_hubs_own_links_are_followed(tmp_path, read):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    (blobs / "123").write_text(LINE, encoding="utf-8")
    (snapshot / "train.jsonl").symlink_to("../../blobs/123")
    assert len(read(snapshot)) == 1


@pytest.mark.parametrize("name", ["../outside/secret.arrow", "/etc/passwd", "link.arrow"])
def test_a_saved_folder_that_names_files_outside_is_refused(tmp_path, folder, source, name):
    (folder / "train.jsonl").unlink()
    (tmp_path / "secret.arrow").write_bytes(b"x")
    (folder / "link.arrow").symlink_to(tmp_path / "secret.arrow")
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    with pytest.raises(SourceError, match="reads outside itself"):
        source(folder).identity()


def test_a_repository_whose_card_names_data_outside_is_refused(tmp_path, secret, loopback, with_hub):
    look = (
        "import sys\nfrom psyctl_core import Context, SourceError\nfrom psyctl_soda import SodaConfig\n"
        "from psyctl_soda.source import SodaSource\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n        print(len(list(SodaSource(SodaConfig(dataset=name), Context()).scenarios(0))))\n"
        "    except SourceError as error:\n        print(error.message)\n"
    )
    card = "---\nconfigs:\n- config_name: default\n  data_files: {}\n---\n"
    names = {"me/local": str(secret), "me/up": "../../x.jsonl", "me/url": "http://127.0.0.1:9/x.jsonl"}
    repositories = [
        loopback.Repository(name, {"README.md": card.format(path).encode(), "a.jsonl": LINE.encode()})
        for name, path in names.items()
    ]
    good = loopback.Repository("me/good", {"README.md": card.format("a.jsonl").encode(), "a.jsonl": LINE.encode()})
    with loopback.Hub([*repositories, good]) as hub:
        done = with_hub(hub, *names, "me/good", code=look)
    *refused, count = done.stdout.splitlines()
    assert count == "1", done.stderr
    assert len(refused) == len(names)
    assert all("reads outside itself" in line for line in refused)


MIB = 1 << 20
LARGE = 350
"""MiB, or pieces that become as many at least: more than what may be taken to read them."""

PEAK = """
import json, os, resource, sys
from psyctl_core import Context, SourceError
from psyctl_soda import SodaConfig
from psyctl_soda.source import SodaSource
import datasets, ijson, pyarrow.parquet

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

def read(path):
    resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
    before = peak()
    try:
        items = list(SodaSource(SodaConfig(dataset=path), Context()).scenarios(0))
        said = f"items {[getattr(item, 'reason', 'scenario') for item in items][:3]}"
    except SourceError as error:
        said = f"refused {error.message}"
    print(json.dumps([said, peak() - before]), flush=True)

for line in sys.stdin:
    pid = os.fork()
    if not pid:
        read(line.strip())
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        print(json.dumps(["failed", 0]), flush=True)
"""


@pytest.fixture(scope="module")
def peak(tmp_path_factory) -> Iterator[Callable[[Path], tuple[str, int]]]:
    """Reads a file in a process of its own, whose libraries are imported; gives what came of it, and MiB it took."""
    pytest.importorskip("resource", reason="this system sets no limits to a process")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    folder = tmp_path_factory.mktemp("peak")
    with subprocess.Popen([sys.executable, "-c", PEAK], text=True, bufsize=1, cwd=folder, **pipes) as reader:

        def read(path: Path) -> tuple[str, int]:
            reader.stdin.write(f"{path}\n")
            said, mib = json.loads(reader.stdout.readline())
            return said, mib

        yield read


def _swollen(path: Path, head: bytes, piece: bytes, times: int, tail: bytes) -> None:
    first, again, last = map(gzip.compress, (head, piece, tail))  # one after the other they are one file
    path.write_bytes(first + again * times + last)


def _cell_csv(folder: Path) -> Path:
    path = folder / "cell.csv.gz"
    _swollen(
        path, b'prompt,response\nWho took the lantern from here?,"', b"a" * MIB, LARGE, b'"\n' + b"Who is there?,x\n"
    )
    return path


def _cells_csv(folder: Path) -> Path:
    path = folder / "cells.csv.gz"
    _swollen(path, b"prompt,response\n", b'"x\n",' * (MIB // 5), LARGE, b"\nWho is there?,x\n")
    return path


def _header_csv(folder: Path) -> Path:
    path = folder / "header.csv.gz"
    _swollen(path, b"", b"a," * (MIB // 2), LARGE, b"\n1\n")
    return path


def _text_json(folder: Path) -> Path:
    path = folder / "text.json.gz"
    _swollen(path, b'[{"prompt":"', b"a" * MIB, LARGE, b'"}]')
    return path


def _document_json(folder: Path) -> Path:
    path = folder / "document.json.gz"
    _swollen(path, b'{"prompt":"', b"a" * MIB, LARGE, b'"}')
    return path


def _deep_json(folder: Path) -> Path:
    path = folder / "deep.json.gz"
    _swollen(path, b"", b"[" * MIB, 64, b"")
    return path


def _line_jsonl(folder: Path) -> Path:
    path = folder / "line.jsonl.gz"
    _swollen(path, b'{"prompt":"', b"a" * MIB, LARGE, b'"}\n' + LINE.encode())
    return path


def _repeated_parquet(folder: Path) -> Path:
    path = folder / "repeated.parquet"
    words = pa.DictionaryArray.from_arrays(pa.array([0] * 2 * LARGE, pa.int32()), pa.array(["x" * MIB]))
    pq.write_table(pa.table({"prompt": words, "response": pa.array(["a"] * 2 * LARGE)}), path)
    return path


def _cell_parquet(folder: Path) -> Path:
    path = folder / "cell.parquet"
    table = pa.table({"prompt": ["y" * (200 * MIB)], "response": ["z"]})
    pq.write_table(table, path, compression="zstd", write_statistics=False)  # which take ten times as long
    return path


def _list_parquet(folder: Path) -> Path:
    path = folder / "list.parquet"
    items = pa.ListArray.from_arrays(pa.array([0, 9_000_000], pa.int32()), pa.array([0] * 9_000_000, pa.int8()))
    pq.write_table(pa.table({"dialog": items}), path, compression="zstd")
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        _cell_csv, _cells_csv, _header_csv, _text_json, _document_json, _deep_json, _line_jsonl, _repeated_parquet,
        _cell_parquet, _list_parquet,
    ],
)  # fmt: skip
def test_a_small_file_that_fills_all_memory_is_read_in_little_or_refused(tmp_path, peak, make):
    path = make(tmp_path)
    assert path.stat().st_size < 8 * MIB
    said, mib = peak(path)
    assert said.startswith(("items", "refused"))
    assert path.name in said or "corrupt row" in said or "nobody answers" in said
    assert mib < 300


def test_a_row_too_large_is_told_and_the_next_is_read(tmp_path, read, monkeypatch, caplog):
    from psyctl_soda import readers

    monkeypatch.setattr(readers, "MAX_ROW_BYTES", 1 << 12)
    path = tmp_path / "x.csv"
    good = f"{ROW['prompt']},{ROW['response']}\n"
    path.write_text("prompt,response\n" + good + f'"{"a" * 9000}",x\n' + good.replace("Who", "Did"))
    with caplog.at_level(logging.WARNING, "psyctl"):
        reasons = [getattr(item, "reason", "") for item in read(path)]
    assert reasons[:3] == ["", "corrupt row", ""]
    assert "x.csv, line 3: longer than" in caplog.text


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("https://me:pass@x.example/a.jsonl?X-Amz-Signature=sig&download=1", "https://x.example/a.jsonl?download=1"),
        ("https://x.example/a.jsonl?sv=1&sig=abc&token=t#frag", "https://x.example/a.jsonl"),
        ("s3://key:secret@bucket/a.jsonl", "s3://bucket/a.jsonl"),
        ("hf://datasets/me/x@main/a.jsonl", "hf://datasets/me/x@main/a.jsonl"),
        ("https://x.example/a.jsonl", "https://x.example/a.jsonl"),
        ("http://[bad/a.jsonl", "http://..."),
        ("some/file?.jsonl", "some/file?.jsonl"),
    ],
)
def test_an_address_is_shown_without_its_secrets(address, seen):
    assert shown(address) == seen


def test_no_secret_of_an_address_is_saved_with_the_run(run, tmp_path, caplog):
    (tmp_path / "rows.jsonl").write_text(LINE.replace("last night", "today") + LINE, encoding="utf-8")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/rows.jsonl?X-Signature=s3cr3t"
        done = run(source=SodaConfig(dataset=address))
        server.shutdown()
    assert len(done.lines) == 2
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert any(b"/rows.jsonl" in path.read_bytes() for path in files)
    assert not any(b"s3cr3t" in path.read_bytes() for path in files)
    assert "s3cr3t" not in caplog.text


def test_a_message_about_an_address_has_none_of_its_secrets():
    address = "https://me:pass@x.example/a.jsonl?X-Amz-Signature=sigsig"
    said = without_secrets(f"cannot open {address}: /a.jsonl?X-Amz-Signature=sigsig as me:pass", [address])
    assert "sigsig" not in said
    assert "pass" not in said


def test_no_secret_of_an_address_is_in_identity_description_or_errors(loopback, source, read, caplog):
    files = {"rows.jsonl": LINE.encode(), "bad.json": b'[{"prompt": "x"}, oops'}
    with loopback.Hub([loopback.Repository("me/x", files)]) as hub:
        base = hub.url.replace("http://", "http://me:swordfish@") + "/datasets/me/x/resolve/main/"
        made = source(f"{base}rows.jsonl?token=opensesame")
        with caplog.at_level(logging.INFO, "psyctl"):
            assert len(list(made.scenarios(0))) == 1
        told = json.dumps([made.identity(), dict(made.describe()), caplog.text])
        for name in ("none.jsonl", "bad.json"):
            with pytest.raises(SourceError) as caught:
                read(f"{base}{name}?token=opensesame")
            told += str(caught.value) + str(caught.value.__cause__)
    with pytest.raises(SourceError) as caught:
        source(f"{base}rows.jsonl?token=opensesame").identity()
    told += str(caught.value) + str(caught.value.__cause__)
    assert "swordfish" not in told
    assert "opensesame" not in told


@pytest.mark.parametrize("column", ["what happens; rm -rf ~", "$(reboot)", "a'b", "`x`", "two\nlines"])
def test_a_line_to_copy_is_quoted_for_the_shell(jsonl, source, column):
    with pytest.raises(SourceError) as caught:
        source(jsonl([{column: "It rains on the mill and on the road to it."}] * 3)).identity()
    words = shlex.split(caught.value.hint[caught.value.hint.index("--columns") :])
    assert words[:2] == ["--columns", f"situation={column}"]
