"""What the doctor finds, within its time, and that it shows no key."""

from __future__ import annotations

import http.server
import json
import os
import socket
import threading
import time

import pytest

from psyctl_core._engine import doctor
from psyctl_core._plugins.registry import discover
from psyctl_core.cli.app import make_app

KEY = "sk-or-v1-0123456789abcdef"
BACKEND = """
from dataclasses import dataclass
from psyctl_core import Component, hookimpl, option

@dataclass(frozen=True)
class Config:
    pass

@hookimpl
def psyctl_inference_backends():
    return [Component("strange", "strange_backend:make", Config, "A stranger's")]
"""


@pytest.fixture
def strange(install, tmp_path, monkeypatch):
    """What is found of a stranger's backend whose module has this code, the built-in ones left alone."""

    def look(code):
        install("psyctl-strange", BACKEND)
        (tmp_path / "site" / "strange_backend.py").write_text(code)
        found = next(each for each in discover().usable("backend") if each.origin.name == "strange")
        return doctor._backend(found, doctor._Child(doctor._IMPORT, found.component.factory))

    return look


def test_a_backend_that_can_be_imported_can_be_used(strange):
    assert strange("def make(config, context): ...\n").state == "ok"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero"),
        ("import os; os._exit(7)", "cannot be imported: the process ended with 7"),
        ("import os; os.kill(os.getpid(), 9)", "cannot be imported: the process ended with -9"),
        ("import nothing_like_it", "No module named 'nothing_like_it'"),
        ("other = 1", "has no attribute 'make'"),
    ],
)
def test_a_backend_that_cannot_be_imported_says_why(strange, code, words):
    symptom = strange(code)
    assert symptom.state == "problem"
    assert words in symptom.text
    assert symptom.mend == "pip install --upgrade --force-reinstall 'psyctl-strange'"


def test_an_import_that_never_ends_is_ended(strange, monkeypatch):
    monkeypatch.setattr(doctor, "IMPORT_SECONDS", 1.0)
    symptom = strange("while True: pass")
    assert symptom.text == "cannot be imported: it takes more than 1 s"


def test_a_backend_whose_extra_is_missing_names_the_line(monkeypatch):
    monkeypatch.setattr(doctor, "version_of", lambda name: {"torch": "", "transformers": "4.1"}.get(name, "9999"))
    hf = next(each for each in discover().usable("backend") if each.origin.name == "hf")
    symptom = doctor._backend(hf, None)
    assert symptom.state == "note"
    assert "torch is not installed" in symptom.text
    assert "transformers 4.1, >=5.0 is needed" in symptom.text
    assert symptom.mend == "pip install 'psyctl[hf]'"


def test_a_backend_that_lacks_its_key_is_no_backend_that_can_answer(monkeypatch):
    openrouter = next(each for each in discover().usable("backend") if each.origin.name == "openrouter")

    def look():
        return doctor._backend(openrouter, doctor._Child("pass"))

    assert look().text == "needs --openrouter-api-key: OPENROUTER_API_KEY is not set"
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    assert look().state == "ok"


class Server(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.mark.parametrize(("status", "state"), [(200, "ok"), (307, "ok"), (503, "note")])
def test_the_hub_is_asked(monkeypatch, status, state):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        server.status = status
        threading.Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        (symptom,) = doctor._hub(doctor._in_time(doctor._hub_answer, 30))
    assert symptom.state == state, symptom


def test_a_hub_that_says_nothing_is_not_waited_for(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        (symptom,) = doctor._hub(doctor._in_time(doctor._hub_answer, 0.2))
    assert time.monotonic() - began < 5
    assert symptom.state == "note"
    assert "does not answer" in symptom.text


def test_an_offline_hub_is_not_asked_and_its_cache_is_counted(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for name in ("models--a--b", "models--c--d", "datasets--e"):
        (tmp_path / "hub" / name).mkdir(parents=True)
    (symptom,) = doctor._hub(doctor._in_time(doctor._hub_answer, 30))
    assert "HF_HUB_OFFLINE is set; 2 models and 1 data set in" in symptom.text


def test_a_cache_that_cannot_be_written_is_a_problem(monkeypatch):
    monkeypatch.setenv("HF_HOME", "/proc/none")
    cache = list(doctor._disk())[1]
    assert cache.state == "problem"
    assert "HF_HOME" in cache.mend


def test_little_room_is_noted(monkeypatch):
    monkeypatch.setattr(doctor, "ROOM", 10**30)
    assert {symptom.state for symptom in doctor._disk()} == {"note"}


@pytest.mark.parametrize(
    ("version", "state", "words"),
    [
        ("2.13.0+cpu", "ok", "tested with"),
        ("9999.0", "note", "newer than"),
        ("1.0", "problem", ">=2.4 is needed"),
        ("no version", "ok", "tested with"),
    ],
)
def test_releases_are_compared_with_the_tested_ones(monkeypatch, version, state, words):
    real = doctor.version_of
    monkeypatch.setattr(doctor, "version_of", lambda name: version if name == "torch" else real(name))
    torch = next(symptom for symptom in doctor._releases(discover()) if symptom.about == "torch")
    assert (torch.state, words in torch.text) == (state, True), torch
    assert {"torch", "transformers", "datasets"} <= doctor.tested().keys()


def test_a_look_that_fails_is_a_finding(monkeypatch):
    def broken():
        raise RuntimeError("no such thing")
        yield

    (symptom,) = doctor._safely("disk", broken)
    assert symptom.text == "could not be looked at: RuntimeError: no such thing"


@pytest.mark.slow
def test_the_doctor_shows_no_key_and_reads_as_json(typed_here, monkeypatch):
    for name in ("OPENROUTER_API_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, KEY)
    found = doctor.examine(discover())  # once for both: it imports what every backend needs
    monkeypatch.setattr(doctor, "examine", lambda registry: found)
    text, rows = typed_here("doctor"), typed_here("doctor", "--json")
    assert text.returncode == rows.returncode == 0, text.stderr
    told = json.loads(rows.stdout)
    assert told["can_run"] is True
    about = {row["about"]: row for row in told["symptoms"]}
    assert about["key OPENROUTER_API_KEY"]["text"] == "is set; for the backend openrouter"
    assert about["backend openrouter"]["state"] == "ok"
    for done in (text, rows):
        assert KEY not in done.stdout + done.stderr
        assert str(len(KEY)) not in about["key OPENROUTER_API_KEY"]["text"]
        assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.slow
def test_where_nothing_can_answer_the_doctor_says_so_by_its_exit_code(psyctl, tmp_path):
    (tmp_path / "site").mkdir()
    for name in ("torch", "openvino_genai"):  # installed, and broken
        (tmp_path / "site" / f"{name}.py").write_text("raise OSError('libc.so.9 is missing')")
    done = psyctl("doctor", PYTHONPATH=f"{tmp_path / 'site'}:{os.environ.get('PYTHONPATH', '')}")
    assert done.returncode == 1
    assert "No backend can be used here" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


CHECKS = """
from psyctl_core import Check, hookimpl

@hookimpl
def psyctl_dataset_checks():
    return [Check("moon", "strange_check:moon", "The moon", "It is full.", look=0.5, extra="sky")]
"""


def test_checks_whose_extra_is_lacking_are_named_with_what_brings_it(install, tmp_path):
    install("psyctl-moon", CHECKS, module="strange_check")
    metadata = tmp_path / "site" / "psyctl_moon-1.0.dist-info" / "METADATA"
    needed = "Provides-Extra: sky\nRequires-Dist: a-telescope>=2; extra == 'sky'\n"
    metadata.write_text(metadata.read_text() + needed)
    notes = [each for each in doctor._checks(discover()) if each.state == "note" and "moon" in each.text]
    assert [(each.text, each.mend) for each in notes] == [
        ("moon cannot tell anything here: a-telescope is not installed", "pip install 'psyctl-moon[sky]'")
    ]


def test_the_last_line_counts_the_problems(install, capsys, monkeypatch):
    install("psyctl-broken", "import nothing_like_it\n")
    monkeypatch.setattr(
        doctor, "examine", lambda registry: doctor.Health(tuple(doctor._plugins(registry)), can_run=True)
    )
    make_app()(["doctor"], standalone_mode=False)
    told = capsys.readouterr().out
    assert told.splitlines()[-1] == "A backend can be used here. 1 problem: see the lines above."
    assert "(1 parts)" not in told
