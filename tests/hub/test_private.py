"""What is kept back: folders, addresses of one's own, keys; and what is not."""

from __future__ import annotations

import pytest

from psyctl_hub.private import OWN_ADDRESS, has_key, is_secret, public, public_value


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/me/my models/tiny.gguf", "tiny.gguf"),
        ("~/x.jsonl", "x.jsonl"),
        ("./data/x.jsonl", "x.jsonl"),
        ("../x.jsonl", "x.jsonl"),
        ("C:\\Users\\me\\x.gguf", "x.gguf"),
        ("\\\\server\\share\\x.gguf", "x.gguf"),
        ("file:///home/me/x.jsonl", "x.jsonl"),
        ("/", "(a folder)"),
        ("read from /home/me/x.jsonl, twice", "read from x.jsonl, twice"),
        ("see '/home/me/x'", "see 'x'"),
        ("http://localhost:8000/v1", OWN_ADDRESS),
        ("http://gpu-box:8000/v1", OWN_ADDRESS),
        ("http://192.168.1.7/v1", OWN_ADDRESS),
        ("http://[::1]:8000/v1", OWN_ADDRESS),
        ("https://me:secret@api.example.com:444/v1?key=x#y", "https://api.example.com:444/v1"),
        ("http://[bad", OWN_ADDRESS),
        ("hf://datasets/me/x@v1/a.jsonl", "hf://datasets/me/x@v1/a.jsonl"),
        ("google/gemma-2-2b-it", "google/gemma-2-2b-it"),
        ("and/or, 3/4, a / b", "and/or, 3/4, a / b"),
        ("https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1"),
        ("he is calm, kind/patient/quiet", "he is calm, kind/patient/quiet"),
    ],
)
def test_paths_and_addresses_are_cut(text, shown):
    assert public(text) == shown
    assert public(public(text)) == public(text)


def test_values_keep_their_form():
    value = {"a": [1, None, True, "/home/me/x"], "b": {"/home/me/y": 1.5}}
    assert public_value(value) == {"a": [1, None, True, "x"], "b": {"y": 1.5}}


def test_keys_are_known_by_their_form_or_by_the_variable_that_holds_them(monkeypatch):
    for key in ("hf_" + "aB3" * 8, "sk-or-v1-" + "0" * 30, "ghp_" + "a" * 36, "-----BEGIN RSA PRIVATE KEY-----"):
        assert has_key(f"Take {key}, please.")
    assert not has_key("hf_short and sk-8 and a key to the door")
    assert not has_key("open sesame now")
    monkeypatch.setenv("MY_API_KEY", "open sesame")
    assert has_key("open sesame now")
    monkeypatch.setenv("MY_API_KEY", "open")
    assert not has_key("open sesame now")


def test_options_that_hold_keys_are_known_by_their_names():
    assert all(map(is_secret, ("api_key", "HF_TOKEN", "password", "client_secret", "apikey")))
    assert not any(map(is_secret, ("max_tokens", "monkey", "keywords", "batched_tokens")))
