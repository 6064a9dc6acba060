"""Where the servers are: one address, several, a file of them; and what is wrong with such a list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psyctl_core.components import Context
from psyctl_core.errors import UsageError
from psyctl_core.options import settings
from psyctl_openrouter import OpenAIConfig
from psyctl_openrouter.addresses import MAX_FILE, addresses_of
from psyctl_openrouter.backend import OpenAIBackend


def read(text, key=""):
    return addresses_of(text, key, "--openai")


def test_one_address_is_taken_as_before():
    assert read("http://localhost:8000/v1/") == [("http://localhost:8000/v1", "")]


def test_several_are_separated_by_commas_and_share_a_key():
    assert read("http://a:1/v1, http://b:1/v1/chat/completions", "sk-x") == [
        ("http://a:1/v1", "sk-x"), ("http://b:1/v1", "sk-x"),
    ]  # fmt: skip


def test_a_file_has_one_a_line_with_remarks_and_keys_and_joins_others(tmp_path):
    file = tmp_path / "servers.txt"
    file.write_bytes("\ufeff# mine\r\n\r\nhttp://a/v1\thttp-key\r\n  http://b/v1  \r\n".encode())
    assert read(f"@{file},http://c/v1", "sk-all") == [
        ("http://a/v1", "http-key"), ("http://b/v1", "sk-all"), ("http://c/v1", "sk-all"),
    ]  # fmt: skip


@given(st.lists(st.integers(1, 65535), min_size=1, max_size=30, unique=True))
def test_every_address_comes_back_in_its_order(ports):
    urls = [f"http://gpu:{port}/v1" for port in ports]
    assert [url for url, _ in read(",".join(urls))] == urls


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://a/v1,htp://b/v1", "'htp://b/v1' is not an http or https address"),
        ("http://a/v1,b", "'b' is not an http or https address"),
        ("http://a/v1,,http://b/v1", "has an empty place between its commas"),
        ("http://a/v1,", "has an empty place between its commas"),
        (",", "has an empty place between its commas"),
        ("", "'' is not an http or https address"),
        ("http://a/v1,http://a/v1", "http://a/v1 is named twice"),
        ("http://a/v1,http://A/v1/", "http://A/v1 is named twice"),
        ("http://a/v1,http://me:secret@b/v1", "holds a user name or password"),
        ("@nowhere.txt", "The file of servers 'nowhere.txt' cannot be read: No such file or directory"),
        ("@", "The file of servers '' cannot be read"),
        ("@.", "cannot be read: Is a directory"),
    ],
)
def test_what_is_no_list_of_servers_is_refused_with_the_value(text, words):
    with pytest.raises(UsageError) as caught:
        OpenAIBackend(OpenAIConfig(base_url=text), Context())
    assert words in caught.value.message
    assert caught.value.hint
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "names none"),
        (b"# nothing\n\n", "names none"),
        (b"http://a/v1\nb:8000\n", "line 2: The base URL cannot be used: 'b:8000' is not an http or https address"),
        (b"http://a/v1\n\nhttp://a/v1 key\n", "line 3: http://a/v1 is named twice"),
        (b"http://a/v1 key more\n", "line 1: there is more than an address and a key"),
        (b"sk-0123456789abcdef http://a/v1\n", "line 1: The base URL cannot be used: '[key]' is not"),
        ("http://a/v1 sk-\u2019quoted\n".encode(), "holds a character that no key has"),
        (b"\xff\xfe\x00", "is not text in UTF-8"),
        (b"# " + b"x" * MAX_FILE, f"is longer than {MAX_FILE} bytes"),
    ],
)
def test_a_file_that_cannot_be_used_names_the_line(tmp_path, content, words):
    file = tmp_path / "servers.txt"
    file.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read(f"@{file}")
    assert words in caught.value.message
    assert "0123456789abcdef" not in caught.value.message


def test_where_the_servers_are_makes_no_other_run_and_no_key_is_saved(tmp_path):
    file = tmp_path / "servers.txt"
    file.write_text("http://a/v1 sk-secret-key-0000\n")
    here, there = OpenAIConfig(base_url=f"@{file}"), OpenAIConfig(base_url="http://b/v1,http://c/v1")
    assert settings(here, identity=True) == settings(there, identity=True)
    assert settings(here)["base_url"] == f"@{file}"
    assert "secret" not in repr(here) + str(settings(here))
