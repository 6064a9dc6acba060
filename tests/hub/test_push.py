"""``psyctl dataset.push``: one commit or none, what is refused, and what each refusal of the Hub is told as."""

from __future__ import annotations

import importlib
import json
import socket

import huggingface_hub
import pytest
from huggingface_hub import DatasetCard

import psyctl_hub
from psyctl_core import OutputError, UsageError, open_dataset, stored_datasets
from psyctl_core.terminal import NOTICE
from psyctl_hub.commands import push


def test_the_commands_are_offered_and_their_functions_are_there():
    names = {}
    for command in psyctl_hub.psyctl_commands():
        module, _, name = command.factory.partition(":")
        names[command.name] = callable(getattr(importlib.import_module(module), name))
    assert names == {"dataset.push": True, "dataset.card": True}


def test_everything_is_published_in_one_commit_and_nothing_else(uploads, dataset, capsys):
    folder = dataset("Openness, Neuroticism")
    for name in (".env", "hf_token.txt", "journal.sqlite", ".psyctl.lock", "openness/journal.sqlite-wal", "notes.md"):
        (folder / name).write_text("hf_" + "x" * 30, encoding="utf-8")
    push(folder, "me/traits")
    repository = uploads.repositories["me/traits"]
    assert repository.private
    assert set(repository.content) == {"README.md", "data/openness.jsonl", "data/neuroticism.jsonl"}
    assert uploads.steps().count("commit") == 1
    assert repository.number == 2
    for each in stored_datasets(folder):
        lines = repository.content[f"data/{each.trait.lower()}.jsonl"].decode().splitlines()
        assert [json.loads(line) for line in lines] == [record.as_json() for record in each]
    out, err = capsys.readouterr()
    assert out == (f"Published Neuroticism, 6 pairs, Openness, 6 pairs: {uploads.url}/datasets/me/traits (private)\n")
    assert err == "No licence is given, and the card says so; name one with --license.\n"


def test_a_large_file_is_kept_apart_and_known_again(uploads, dataset, capsys):
    uploads.lfs_above = 1000
    folder = dataset()
    push(folder, "me/x", licence="cc-by-4.0")
    assert uploads.apart == {"README.md", "data/openness.jsonl"}
    assert uploads.steps().count("upload") == 2
    capsys.readouterr()
    push(folder, "me/x", licence="cc-by-4.0")
    assert capsys.readouterr().out.startswith("Nothing to do: exactly this is at ")
    assert uploads.repositories["me/x"].number == 2


def test_the_same_again_makes_no_second_commit(uploads, dataset, capsys):
    folder = dataset()
    push(folder, "me/x")
    push(folder, "me/x")
    assert uploads.steps().count("commit") == 1
    assert "Nothing to do" in capsys.readouterr().out


def test_other_content_is_refused_unless_it_shall_be_replaced(uploads, dataset, server):
    old = {**server.NEW, "README.md": b"# Mine\n", "old.csv": b"a\n"}
    uploads.repositories["me/x"] = server.Stored("me/x", old, private=True)
    folder = dataset()
    with pytest.raises(UsageError, match=r"'me/x' holds other content already: README.md, old.csv") as error:
        push(folder, "me/x")
    assert "--replace" in error.value.hint
    assert uploads.repositories["me/x"].files == old
    push(folder, "me/x", replace=True)
    assert set(uploads.repositories["me/x"].files) == {".gitattributes", "README.md", "data/openness.jsonl"}
    assert uploads.steps().count("commit") == 1


def test_more_pairs_are_other_content(uploads, dataset, tmp_path):
    push(dataset(), "me/x")
    with pytest.raises(UsageError, match="holds other content"):
        push(dataset(folder=tmp_path / "more", pairs=8), "me/x")


def test_nobody_else_sees_what_was_not_meant_for_them(uploads, dataset, server):
    folder = dataset()
    uploads.repositories["me/open"] = server.Stored("me/open", server.NEW)
    uploads.repositories["me/closed"] = server.Stored("me/closed", server.NEW, private=True)
    with pytest.raises(UsageError, match="'me/open' is public, and --public was not given"):
        push(folder, "me/open")
    with pytest.raises(UsageError, match="'me/closed' is private, and --public was given"):
        push(folder, "me/closed", public=True, licence="cc-by-4.0")
    assert "commit" not in uploads.steps()
    push(folder, "me/open", public=True, licence="cc-by-4.0")
    push(folder, "me/new", public=True, licence="cc-by-4.0")
    assert not uploads.repositories["me/new"].private


def test_what_everybody_may_see_needs_a_licence(uploads, dataset):
    with pytest.raises(UsageError, match="nothing says what they may do with it") as error:
        push(dataset(), "me/x", public=True)
    assert "--license" in error.value.hint
    with pytest.raises(UsageError, match="'CC BY' is not what the Hub calls a licence"):
        push(dataset(), "me/x", licence="CC BY")
    with pytest.raises(OutputError, match='"license" must be one of'):
        push(dataset(), "me/x", licence="my-own")
    assert not uploads.repositories["me/x"].content


def test_a_dry_run_lists_the_files_and_contacts_nobody(uploads, dataset, capsys, no_token):
    folder = dataset()
    before = sorted(path for path in folder.rglob("*"))
    push(folder, "me/x", dry_run=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Dry run: nothing was asked or sent. Would publish in {uploads.url}/datasets/me/x (private):"
    size = len("".join(f"{json.dumps(each.as_json(), ensure_ascii=False)}\n" for each in open_dataset(folder)))
    assert [line.split()[0] for line in lines[1:]] == ["README.md", "data/openness.jsonl"]
    assert lines[2].endswith(f" {size:,} bytes")
    assert uploads.asked == []
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("repo", "message"),
    [
        ("pairs", "'pairs' does not say whose"),
        ("", "cannot be a repository's name"),
        ("me/my pairs", "'me/my pairs' cannot be a repository's name"),
        ("me/a/b", "cannot be a repository's name"),
        ("https://huggingface.co/me/x", "cannot be a repository's name"),
    ],
)
def test_a_name_that_cannot_be_is_refused_before_anything_is_read(uploads, repo, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        push(tmp_path / "nowhere", repo)
    assert uploads.asked == []


def test_without_a_token_nobody_is_asked(uploads, dataset, no_token):
    with pytest.raises(UsageError, match="There is no token") as error:
        push(dataset(), "me/x")
    assert "set HF_TOKEN" in error.value.hint
    assert uploads.asked == []


def test_a_token_that_is_none_is_told(uploads, dataset, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(OutputError, match="does not accept the token"):
        push(dataset(), "me/x")


def test_a_token_without_the_right_to_write_is_told(uploads, dataset, server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", server.READER)
    folder = dataset()
    with pytest.raises(OutputError, match=r"may not write to 'me/x': .*rights to create") as error:
        push(folder, "me/x")
    assert "token with the right to write" in error.value.hint
    uploads.repositories["me/open"] = server.Stored("me/open", server.NEW)
    with pytest.raises(OutputError, match="may not write to 'me/open': you must use a write token"):
        push(folder, "me/open", public=True, licence="unknown")


def test_a_repository_of_somebody_else_is_told(uploads, dataset):
    with pytest.raises(OutputError, match=r"may not write to 'you/x': .*namespace \"you\"") as error:
        push(dataset(), "you/x")
    assert "may write to you" in error.value.hint


def test_a_repository_with_another_name_by_now_is_told(uploads, dataset, server):
    uploads.repositories["me/new"] = server.Stored("me/new", server.NEW, private=True)
    uploads.moved["me/x"] = "me/new"
    with pytest.raises(UsageError, match="'me/x' is called 'me/new' by now"):
        push(dataset(), "me/x")
    assert "commit" not in uploads.steps()


@pytest.mark.parametrize(
    ("step", "status", "message"),
    [
        ("look", 500, "The Hub failed with status 500: Oh no"),
        ("look", 429, "The Hub is asked too often: Oh no"),
        ("create", 409, "Something else changed 'me/x' meanwhile"),
        ("create", 503, "The Hub failed with status 503"),
        ("create", 402, "The Hub refused 'me/x' with status 402: Oh no"),
        ("validate", 502, "The Hub failed with status 502"),
        ("preupload", 403, "The token may not write to 'me/x': Oh no"),
        ("commit", 401, "does not accept the token"),
        ("commit", 412, "Something else changed 'me/x' meanwhile"),
        ("commit", 429, "The Hub is asked too often"),
        ("commit", 500, "The Hub failed with status 500"),
    ],
)  # fmt: skip
def test_each_refusal_is_one_line_and_leaves_nothing(uploads, dataset, step, status, message):
    folder = dataset()
    uploads.faults[step] = (status, "Oh no")
    with pytest.raises(OutputError, match=message) as error:
        push(folder, "me/x")
    assert "\n" not in error.value.message
    assert error.value.hint
    assert "me/x" not in uploads.repositories or not uploads.repositories["me/x"].content
    push(folder, "me/x")
    assert set(uploads.repositories["me/x"].content) == {"README.md", "data/openness.jsonl"}


def test_no_network_is_one_line(uploads, dataset, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    with pytest.raises(OutputError, match=f"The Hub at {address} cannot be reached") as error:
        push(dataset(), "me/x")
    assert "Check the network" in error.value.hint


def test_the_users_own_word_against_the_network_is_kept(uploads, dataset, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OutputError, match="HF_HUB_OFFLINE forbids"):
        push(dataset(), "me/x")
    assert uploads.asked == []


def test_an_unfinished_run_is_published_on_request_alone_and_the_card_says_so(uploads, dataset):
    folder = dataset(status="stopped")
    with pytest.raises(UsageError, match=r"The run of Openness is not finished \(stopped\)") as error:
        push(folder, "me/x")
    assert "--unfinished" in error.value.hint
    assert uploads.asked == []
    push(folder, "me/x", unfinished=True)
    card = DatasetCard(uploads.repositories["me/x"].content["README.md"].decode())
    assert "| **not finished**: it was stopped" in card.text


def test_a_damaged_line_is_named_and_the_rest_published_on_request_alone(uploads, dataset, capsys):
    folder = dataset()
    (path,) = folder.glob("*.jsonl")
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines[:2], "no record", *lines[3:]]) + "\n", encoding="utf-8")
    with pytest.raises(UsageError, match=f"Line 3 of {path} is not a CAA record"):
        push(folder, "me/x")
    capsys.readouterr()
    push(folder, "me/x", unfinished=True)
    err = capsys.readouterr().err.splitlines()
    assert err[0].startswith(f"Line 3 of {path} is not a CAA record")
    assert err[1].startswith("run.json counts 6 pairs of ")
    content = uploads.repositories["me/x"].content
    assert len(content["data/openness.jsonl"].splitlines()) == 5
    assert "**1 of its lines could not be read** and are left out" in content["README.md"].decode()
    assert str(path) not in content["README.md"].decode()


def test_lost_pairs_and_a_lost_run_json_count_as_unfinished(uploads, dataset, record, tmp_path):
    folder = dataset(records=[record(0), record(1)])
    (path,) = folder.glob("*.jsonl")
    path.write_text(path.read_text(encoding="utf-8").splitlines(keepends=True)[0], encoding="utf-8")
    with pytest.raises(UsageError, match=r"run\.json counts 2 pairs of .*, and 1 could be read"):
        push(folder, "me/x")
    (bare := tmp_path / "bare").mkdir()
    (bare / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UsageError, match=r"has no run\.json: what made it"):
        push(bare, "me/x")
    push(bare, "me/x", unfinished=True)
    card = uploads.repositories["me/x"].content["README.md"].decode()
    assert "**not known** to be finished" in card
    assert "What made Openness is not known." in card


def test_what_is_no_dataset_is_refused(uploads, dataset, tmp_path):
    with pytest.raises(UsageError, match="holds no dataset"):
        push(tmp_path, "me/x")
    with pytest.raises(UsageError, match="There is no dataset at"):
        push(tmp_path / "nowhere", "me/x")
    folder = dataset(records=[])
    with pytest.raises(UsageError, match="There are no pairs in"):
        push(folder, "me/x")
    assert uploads.asked == []


def test_two_datasets_of_one_trait_are_not_mixed(uploads, dataset, tmp_path):
    folder = tmp_path / "both"
    for name in ("a", "b"):
        dataset(folder=folder / name)
    for path in sorted(folder.glob("*/caa*")):
        path.rename(path.with_name("caa_dataset_20260101_000000" + "".join(path.suffixes)))
    with pytest.raises(UsageError, match="More than one of these datasets is of 'openness'"):
        push(folder, "me/x")


def test_older_datasets_are_left_out_and_that_is_said(uploads, dataset, capsys, caplog):
    dataset()
    folder = dataset(pairs=4)
    caplog.set_level(NOTICE)
    push(folder, "me/x")
    assert "Openness, 4 pairs" in capsys.readouterr().out
    assert f"Older datasets in '{folder}' are left out: 1." in caplog.text


@pytest.mark.parametrize(
    "where", ["answer", "metadata", "run"],
)  # fmt: skip
def test_a_key_is_never_published(uploads, dataset, record, where, monkeypatch):
    monkeypatch.setenv("OPENROUTER_API_KEY", "quite-a-secret-value")
    text = "Take quite-a-secret-value with you." if where != "metadata" else "hf_" + "aB3" * 10
    records = [record(0), record(1, positive_text=text if where == "answer" else "Yes.",
                             metadata={"scenario": {"note": text}} if where == "metadata" else {})]  # fmt: skip
    folder = dataset(records=records, **({"versions": {"x": text}} if where == "run" else {}))
    with pytest.raises(OutputError, match=r"Line \d+ of .* holds a key"):
        push(folder, "me/x")
    assert uploads.asked == []


def test_the_metadata_have_one_type_and_no_paths(uploads, dataset, record, capsys):
    records = [
        record(0, metadata={"scenario": {"from": "/home/somebody/chats/a.txt", "n": 1}}),
        record(1, metadata={"scenario": {"n": "one"}, "judge": {"scores": {"positive": None}}}),
        record(2),
    ]
    push(dataset(records=records), "me/x")
    rows = [json.loads(line) for line in uploads.repositories["me/x"].content["data/openness.jsonl"].splitlines()]
    assert [json.loads(row["metadata"]) for row in rows] == [
        {"scenario": {"from": "a.txt", "n": 1}},
        {"scenario": {"n": "one"}, "judge": {"scores": {"positive": None}}},
        {},
    ]
    assert "Openness: in the metadata of 1 pair paths and addresses are cut." in capsys.readouterr().err
