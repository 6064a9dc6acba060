"""Every way in which servers are known to misbehave, with both backends and both prompters, as whole jobs.

Each ends with a good dataset, or stops with words that a person can act on.
"""

from __future__ import annotations

import json
import logging
import math

import pytest

from psyctl_core import schema
from psyctl_core.errors import BackendError
from psyctl_core.testing import FakeSource
from psyctl_openrouter import retrying
from psyctl_openrouter.retrying import RetryPolicy

KEY = "sk-or-v1-0123456789abcdef0123456789abcdef"
PAIRS = 4

ENDS_WELL = {
    "": (),
    "fault:nosystem=1xinf": ("system text is put into the user's message",),
    "fault:nosystem500=1xinf": ("system text is put into the user's message",),
    "fault:developer=1xinf": ("system text is put into the user's message",),
    "fault:noprefill=1xinf": (),
    "fault:newlimit=1xinf": ("`max_completion_tokens` is sent instead of `max_tokens`",),
    "fault:noseed=1xinf": ("`seed` is left out",),
    "fault:noseed500=1xinf": ("`seed` is left out",),
    "fault:strict=1xinf": ("`temperature`", "`seed`"),
    "fault:notemperature=1xinf": ("`temperature` is left out", "--temperature has no effect"),
    "fault:loading=1x3": (),
    "fault:context500=0.3xinf": (),
    "fault:inspection=0.3xinf": (),
    "fault:strange=0.2xinf": (),
    "fault:nomessage=0.3x1": (),
    "style:think=1": (),
    "style:parts=1": (),
    "style:textchoice=1": (),
    "style:events=1": (),
    "style:lines=1": (),
    "style:surrogate=1": (),
    "style:giants=1": (),
    "style:digits=1": (),
    "style:cutname=1": (),
    "style:cutstop=1": (),
    "style:packed=1": (),
    "listing:bare": (),
    "listing:names": (),
    "listing:object": (),
}
"""What is misbehaved, and what the user is told of it."""

STOPS = {
    "fault:positive=1xinf": ("must be strictly positive", "Give another --temperature"),
    "fault:listed=1xinf": ("The lamp is not lit", "--{kind}-model"),
    "fault:plain=1xinf": ("The lamp is not lit", "--{kind}-model"),
    "fault:nested=1xinf": ("The lamp is not lit", "--{kind}-model"),
    "fault:strange=1xinf": ("The lamp is not lit", "--{kind}-model"),
    "fault:endpoint200=1xinf": ("is not the API's address: Unexpected endpoint or method", "--{kind}-base-url"),
    "fault:html200=1xinf": ("answers with a web page '502 Bad Gateway', not the API", "--{kind}-base-url"),
    "fault:html=1xinf": ("HTTP 502, a web page '502 Bad Gateway'", ""),
    "fault:quota=1xinf": ("says that the credit is used up: You exceeded your current quota", "Add credit"),
    "fault:402=1xinf": ("says that the credit is used up: Insufficient credits", "Add credit"),
    "fault:reason500=1xinf": ("model runner has unexpectedly stopped", ""),
    "fault:nomessage=1xinf": ("answers without a message, with index, finish_reason", "--{kind}-base-url"),
    "fault:nochoices=1xinf": ("answers without a message: with the fields status, version", "--{kind}-base-url"),
    "fault:declined=1xinf": ("refuses to answer: I will not speak for Ann.", "--{kind}-model"),
    "fault:reasoning=1xinf": ("thinks until its tokens are used up", "{kind}-reasoning low"),
    "fault:empty=1xinf": ("empty", ""),
    "fault:endless=1xinf": ("has no end", ""),
    "fault:bomb=1xinf": ("has no end", ""),
    "fault:dripheaders=1xinf": ("timed out", ""),
    "fault:dripping=1xinf": ("timed out", ""),
}
"""What is misbehaved, and what the error says: the message, and the hint where there must be one."""

MAY_PASS = ("fault:html=", "fault:reason500", "fault:drip")
"""What may pass by waiting: how often it is tried is a matter of time, not of number."""


@pytest.fixture
def job(serve, connect, run, monkeypatch, caplog):
    """Run a whole job against a server that misbehaves in one way; the error, the lines, the log, the server."""
    monkeypatch.setattr(retrying, "LASTING_TIMEOUT", 0.02)  # what is waited for is tried with a clock of its own
    caplog.set_level(logging.WARNING, "psyctl")

    def done(mode, kind, prompter, *, raises=None):
        what, _, value = mode.partition(":")
        script = {"fault": {"faults": [value]}, "style": {"styles": [value]}, "listing": {"listing": value}}
        server = serve(models=["a/b"], priced=kind == "openrouter", retry_after=0.001, **script.get(what, {}))
        policy = RetryPolicy(retries=2, outage_timeout=0.05, min_failures=12, first=0.001, ceiling=0.01, grace=1.0)
        timeout = 0.15 if "drip" in mode else 20.0
        backend = connect(server, kind=kind, model="a/b", max_workers=4, policy=policy, timeout=timeout)
        report = run(
            source=FakeSource(400),
            backend=backend,
            prompter=prompter,
            limit_samples=PAIRS,
            raises=raises,
            max_tokens=32,
            temperature=0.0 if "positive" in mode else 0.7,
        )
        return report, server, caplog.text, backend

    return done


@pytest.mark.parametrize("prompter", ["static", "p2"])
@pytest.mark.parametrize("kind", ["openrouter", "openai"])
@pytest.mark.parametrize("mode", ENDS_WELL)
def test_it_ends_well_and_says_what_was_changed(job, mode, kind, prompter):
    if prompter == "p2" and ("0.3xinf" in mode or "0.2xinf" in mode):
        pytest.skip("which of the few requests for a persona are refused is a matter of chance")
    report, server, told, backend = job(mode, kind, prompter)
    rows = [json.loads(line) for line in report.lines]
    assert len(rows) == PAIRS
    for row in rows:
        assert schema.problem("caa-record", row) == ""
        assert "She would refuse" not in row["positive_text"] + row["neutral_text"]
        assert "think>" not in row["positive_text"]
    for words in ENDS_WELL[mode]:
        assert told.count(words) == 1
        assert sum(words in note for note in backend.adaptations()) == 1
    saved = json.loads(next(report.paths[0].parent.rglob("run.json")).read_text(encoding="utf-8"))
    assert saved["settings"]["backend"].get("adaptations", []) == list(backend.adaptations())
    usage = report.report.usage
    assert usage.cost is None or math.isfinite(usage.cost)
    assert usage.prompt_tokens < 10**9
    if "xinf" in mode and "=1" in mode:  # learnt once, and not by each request anew
        assert sum(server.log.faults.values()) <= 4 + 4


@pytest.mark.parametrize("prompter", ["static", "p2"])
@pytest.mark.parametrize("kind", ["openrouter", "openai"])
@pytest.mark.parametrize("mode", STOPS)
def test_it_stops_soon_with_words_to_act_on(job, mode, kind, prompter):
    report, server, told, _ = job(mode, kind, prompter, raises=BackendError)
    message, hint = (words.format(kind=kind) for words in STOPS[mode])
    assert message in report.error.message + told
    assert hint in report.error.hint
    assert report.error.hint
    assert "\n" not in report.error.message
    if not mode.startswith(MAY_PASS):
        assert server.log.requests <= 120  # a busy machine lets some more out before it is clear
    assert report.lines == []


@pytest.mark.parametrize("kind", ["openrouter", "openai"])
@pytest.mark.parametrize("style", ["harmony", "bracketthink", "eot"])
def test_thoughts_and_control_tokens_are_in_no_record(job, style, kind):
    pytest.importorskip("psyctl_core.markup", reason="taken out by the core for all backends")
    report, _, _, _ = job(f"style:{style}=1", kind, "p2")
    text = "\n".join(report.lines)
    assert not [mark for mark in ("<|", "THINK", "would say no") if mark in text]


def test_a_persona_that_is_refused_is_told_in_the_servers_words(serve, connect, run):
    backend = connect(serve(faults=["moderation=1xinf"]))
    refused = run(backend=backend, prompter="p2", limit_samples=2, raises=BackendError)
    assert "could not describe a persona: moderation. OpenRouter said: " in refused.error.message
    assert "flagged" in refused.error.message
