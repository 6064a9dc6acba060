"""A stand-in for OpenRouter and for OpenAI-compatible servers, which misbehaves exactly as told.

It needs nothing but the standard library, so any test suite can start it as a program:

    python tests/openrouter/server.py --latency 0.2 --fault 429=0.05 --fault cutoff=0.05x2 --key sk-test

It prints one line, ``listening on http://127.0.0.1:PORT/api/v1``, and serves until it is ended. In a test
of one process it runs in a thread instead: ``with running(Script(latency=0.2)) as server: server.url``.

What is answered depends on the request's content alone: the same body always gets the same words, and
whether it meets a fault is decided by its hash, the seed and how often it came before. So a run against
this server can be repeated, whatever the order in which its requests arrive.

Faults (``--fault KIND=SHARE[xTIMES]``): that share of all different requests fails so many times before
it is answered; ``xinf`` fails for ever. Kinds, each as the API documents it: see :data:`FAULTS`.
Styles (``--style KIND=SHARE``): that share is answered in an awkward way; see :data:`STYLES`.

Batches are taken as OpenAI does (``/v1/files``, ``/v1/batches``) and as OpenRouter does (``/api/beta/batches``), each
request answered as by itself and at half the price, in any order; what goes wrong with the first, second, ... batch
is told by ``--batch-fault``, see :data:`BATCH_FAULTS`.

Beside the API's own addresses below ``/api/v1`` and ``/v1`` (``/chat/completions``, ``/models``, ``/key``,
``/generation?id=``) there are ``GET /_log`` (what happened so far, see :class:`Log`), ``POST /_set`` (a JSON
object of Script fields to change while serving, such as ``{"faults": []}``) and ``POST /_reset`` (an empty log).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import email.utils
import functools
import gzip
import hashlib
import json
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

FAULTS = {
    "429": "rate limited, Retry-After and X-RateLimit headers",
    "429plain": "rate limited by the provider, no header",
    "402busy": "passing 402: in-flight budget, Retry-After",
    "402": "out of credits",
    "400": "request shape refused",
    "401": "key refused",
    "404": "no such model",
    "408": "timed out",
    "413": "body too large",
    "context": "400 because the input is too long",
    "moderation": "403 with the reasons",
    "guardrail": "403 because a spending limit is used up",
    "500": "server error",
    "502": "provider down",
    "503": "no provider, Retry-After",
    "html": "a gateway's HTML page with status 502",
    "html200": "an HTML page with status 200",
    "error200": "an error inside HTTP 200, no choices",
    "limit200": "a rate limit inside HTTP 200",
    "choice": "a choice with its own error, finish_reason error (uncharged)",
    "malformed": "status 200, a body that is no JSON (charged)",
    "cutoff": "the body ends early (charged)",
    "chunkcut": "a chunked body ends early (charged)",
    "close": "the connection ends before the answer (charged)",
    "reset": "the connection is reset before the answer (not charged)",
    "slow": "the answer comes slow_seconds late",
    "drip": "the body comes byte by byte over slow_seconds",
    "empty": 'content "" (charged)',
    "null": "content null, no tokens (uncharged)",
    "reasoning": "content null, all tokens in reasoning (charged)",
    "filtered": "finish_reason content_filter, no content",
    "nosystem": "400 where there is a system message, as Gemma 2's template behind vLLM",
    "nosystem500": "the same as 500, as llama.cpp",
    "developer": "the same in Google's words, wrapped in a list",
    "noprefill": "400 where the answer is begun",
    "newlimit": "400 where max_tokens is sent: another name is wanted",
    "noseed": "422 extra_forbidden where seed is sent",
    "noseed500": "500 in litellm's words where seed is sent",
    "strict": "422 extra_forbidden for all but model, messages, max_tokens and stream",
    "notemperature": "400 where temperature is sent",
    "positive": "422 where temperature is 0",
    "listed": "400 with the error in a list",
    "plain": "400 with bare text",
    "nested": "400 with JSON inside of the message",
    "endpoint200": "HTTP 200 that says that there is no such address",
    "quota": "429 insufficient_quota",
    "loading": "503 Loading model",
    "reason500": "500 with its reason",
    "context500": "500 because the input is too long",
    "inspection": "400 because of what was said",
    "strange": "400 that nothing explains",
    "nomessage": "a choice without a message",
    "nochoices": "an object that is something else",
    "declined": "a refusal instead of content",
    "endless": "a body without an end",
    "bomb": "a packed body that is a thousand times as long unpacked",
    "dripheaders": "headers byte by byte without an end",
    "dripping": "a body byte by byte without an end",
    "picky": "404 where all parameters are required and probabilities are asked for",
    "soon": "503 whose availability says when to try again",
    "never": "503 whose availability says that trying again is no use",
    "noflex": "404 where the flex tier is asked for",
}
"""What can go wrong, by kind."""

STYLES = {
    "echo": "the begun answer is repeated before the rest",
    "quoted": "the begun answer is ignored: a new one in quotation marks",
    "newline": "the begun answer is ignored: an empty line first",
    "think": "thoughts in a <think> block before the answer",
    "rambling": "the answer goes on over several lines",
    "bracketthink": "thoughts in a [THINK] block",
    "harmony": "harmony's channels in the content",
    "eot": "a control token and another turn at the end",
    "parts": "content is a list, thoughts in a part of their own",
    "textchoice": "a choice with text instead of a message",
    "events": "server-sent events although no stream was asked for",
    "lines": "one JSON object a line",
    "surrogate": "half an emoji in the content",
    "giants": "token counts of 2^63 and a cost of 1e308",
    "digits": "token counts of 400 digits",
    "cutname": "cut off, in Google's words",
    "cutstop": "cut off, and said to have stopped",
    "long": "5 MB of content",
    "packed": "gzip although it was not accepted",
}
"""Awkward ways to answer, by kind."""

BATCH_FAULTS = {
    "": "nothing goes wrong",
    "orphan": "the batch is made, and the connection ends before the answer",
    "502": "the batch is made, and a gateway says 502",
    "unmade": "the connection ends, and no batch is made",
    "busy": "503 with Retry-After, and no batch is made",
    "expired": "half of it is done when its time is over",
    "empty": "its time is over, and nothing is done",
    "failed": "it fails as a whole",
    "cancelled": "half of it is done when somebody cancels it",
    "gone": "nobody knows it afterwards",
}
"""What can go wrong with a batch."""

SUCCEEDING = {"slow", "drip"}
"""Faults after which the request counts as answered, if somebody still listens."""

ONLY_WHERE: dict[str, Callable[[dict[str, Any]], bool]] = {
    "nosystem": lambda request: request["messages"][0]["role"] == "system",
    "nosystem500": lambda request: request["messages"][0]["role"] == "system",
    "developer": lambda request: request["messages"][0]["role"] == "system",
    "noprefill": lambda request: request["messages"][-1]["role"] == "assistant",
    "newlimit": lambda request: "max_tokens" in request,
    "noseed": lambda request: "seed" in request,
    "noseed500": lambda request: "seed" in request,
    "strict": lambda request: bool(set(request) - {"model", "messages", "max_tokens", "stream"}),
    "notemperature": lambda request: "temperature" in request,
    "positive": lambda request: request.get("temperature") == 0,
    "picky": lambda request: "logprobs" in request and request.get("provider", {}).get("require_parameters") is True,
    "noflex": lambda request: request.get("service_tier") == "flex",
}
"""What a request must have to meet a fault that is about that."""

PLAIN: dict[str, tuple[int, Any]] = {
    "nosystem": (400, {"object": "error", "message": "System role not supported", "code": 400}),
    "nosystem500": (500, {"error": {"code": 500, "message": "System role not supported", "type": "server_error"}}),
    "developer": (
        400, [{"error": {"code": 400, "message": "Developer instruction is not enabled", "status": "FAILED"}}],
    ),
    "noprefill": (400, {"error": {"message": "Prefilling assistant messages is not supported by this model"}}),
    "newlimit": (
        400,
        {
            "error": {
                "message": "Unsupported parameter: 'max_tokens' is not supported with this model. "
                "Use 'max_completion_tokens' instead.",
                "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter",
            }
        },
    ),
    "noseed": (
        422,
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]},
    ),
    "noseed500": (500, {"error": {"message": "litellm.UnsupportedParams: x does not support parameters: ['seed']"}}),
    "notemperature": (
        400,
        {
            "error": {
                "message": "Unsupported value: 'temperature' does not support 0.0 with this model. "
                "Only the default (1) value is supported.",
                "type": "invalid_request_error", "param": "temperature", "code": "unsupported_value",
            }
        },
    ),
    "positive": (
        422, {"error": "Input validation error: `temperature` must be strictly positive", "error_type": "validation"},
    ),
    "listed": (400, [{"error": {"code": 400, "message": "The lamp is not lit", "status": "FAILED_PRECONDITION"}}]),
    "nested": (
        400, {"error": {"message": '{"message": {"detail": [{"loc": ["body", "x"], "msg": "The lamp is not lit"}]}}'}},
    ),
    "endpoint200": (
        200, {"error": "Unexpected endpoint or method. (POST /chat/completions). Returning 200 anyway"},
    ),
    "quota": (
        429,
        {
            "error": {
                "message": "You exceeded your current quota, please check your plan and billing details.",
                "type": "insufficient_quota", "param": None, "code": "insufficient_quota",
            }
        },
    ),
    "loading": (503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),
    "reason500": (500, {"error": {"message": "model runner has unexpectedly stopped", "type": "api_error"}}),
    "context500": (
        500, {"error": {"code": 500, "message": "the request exceeds the available context size"}},
    ),
    "inspection": (
        400, {"error": {"code": "data_inspection_failed", "message": "Input data may contain inappropriate content."}},
    ),
    "strange": (400, {"error": {"message": "The lamp is not lit"}}),
    "nochoices": (200, {"status": "ok", "version": "1.0"}),
    "picky": (404, {"error": {"code": 404, "message": "No endpoints found that can handle the requested parameters."}}),
    "noflex": (404, {"error": {"code": 404, "message": "No endpoints found for the service tier flex."}}),
    "never": (
        503,
        {
            "error": {
                "code": 503, "message": "No provider is left",
                "availability": {"code": "no_endpoints", "retryable": False},
            }
        },
    ),
}  # fmt: skip
"""Faults that are a status and a body."""

LISTS = ("standard", "bare", "names", "named", "object", "401", "404", "html", "silent", "loading", "error200")
"""What ``/models`` can be: a form of the list, or what is wrong with it."""


@dataclass(frozen=True)
class Share:
    """One fault or style: its kind, the share of requests it meets, and how often each of those meets it."""

    kind: str
    share: float
    times: float = 1

    @classmethod
    def parse(cls, text: str) -> Share:
        """Read ``KIND=SHARE`` or ``KIND=SHARExTIMES``; raises ValueError."""
        kind, _, rest = text.partition("=")
        share, _, times = rest.partition("x")
        if kind not in FAULTS and kind not in STYLES:
            raise ValueError(f"no fault or style {kind!r}; there are {', '.join([*FAULTS, *STYLES])}")
        return cls(kind, float(share), float(times) if times else 1)


@dataclass
class Script:
    """How the server behaves.

    Attributes:
        seed: Decides which requests meet a fault, and the words of the answers.
        latency: Seconds before an answer.
        faults: What goes wrong; the shares add up to at most 1.
        styles: How answers look; the shares add up to at most 1.
        models: Ids that ``/models`` lists and that are answered; others get a 404.
        key: The only key accepted, or ``""`` to accept any and none.
        credit: Dollars left on the key, or ``None`` for no limit; each charge lowers it, at 0 comes a fatal 402.
        prompt_price: Dollars a prompt token.
        completion_price: Dollars a completion token.
        listing: How ``/models`` looks, one of :data:`LISTS`.
        priced: Whether answers and ``/models`` tell prices, as OpenRouter does and the others do not.
        retry_after: Seconds in the Retry-After header.
        slow_seconds: How late ``slow`` and ``drip`` are.
        capacity: Requests at a time above which comes a 429, or 0 for any number.
        per_minute: Requests a minute above which comes a 429, or 0 for any number.
        down: Fail everything with 503 while the number of requests so far is in this range.
        prefill: Whether a last assistant message is continued; if not, it is answered anew in quotes.
        echo_key: Whether refusals repeat the key they were sent.
        answers_as: What answers call the model, or ``""`` for what was asked.
        canonical: What the list calls each model for good, or ``""``.
        reasoning: What the list tells about reasoning, or ``None``.
        root: Where the model was loaded from, as vLLM's list tells, or ``""``.
        tier: The tier that serves where flex is asked for; flex costs half.
        journal: A file that gets a line for each chat request and answer, so that it outlives a kill, or ``""``.
        batch_faults: What goes wrong with the first, second, ... batch; see :data:`BATCH_FAULTS`.
        batch_looks: How often a batch is looked at until it has ended.
        batch_wait: Seconds in the Retry-After header of a batch that is under way, or ``None``.
        batch_list: Whether batches are listed.
        batch_places: Where OpenRouter's batches are.
        batch_variant: Whether a model takes them only under its name with ``:batch``.
    """

    seed: int = 0
    latency: float = 0.0
    faults: Sequence[Share] = ()
    styles: Sequence[Share] = ()
    models: Sequence[str] = (
        "qwen/qwen3-next-80b-a3b-instruct",
        "qwen/qwen3-30b-a3b",
        "meta-llama/llama-3.1-405b-instruct",
    )
    key: str = ""
    credit: float | None = None
    prompt_price: float = 1e-7
    completion_price: float = 1e-6
    listing: str = "standard"
    priced: bool = True
    retry_after: float = 1
    slow_seconds: float = 5.0
    capacity: int = 0
    per_minute: int = 0
    down: tuple[float, float] = (0, 0)
    prefill: bool = True
    echo_key: bool = True
    answers_as: str = ""
    canonical: str = ""
    reasoning: dict[str, Any] | None = None
    root: str = ""
    tier: str = "flex"
    journal: str = ""
    batch_faults: Sequence[str] = ()
    batch_looks: int = 1
    batch_wait: float | None = None
    batch_list: bool = True
    batch_places: Sequence[str] = ("/api/beta/batches", "/api/v1/batches")
    batch_variant: bool = False


@dataclass
class Log:
    """What happened, as ``GET /_log`` tells it.

    Attributes:
        requests: Chat requests that came in whole.
        answered: How often each body (its hash) got a usable answer that was sent off whole.
        faults: How often each fault was met.
        charged: Dollars charged, lost answers included.
        lost: Dollars charged for answers that were thrown away (cut off, malformed, empty).
        in_flight: Chat requests being answered now.
        most_in_flight: The most there were at a time.
        connections: Connections accepted.
        stop_strings: Every stop string that was ever sent.
        sessions: How often each session was named.
        providers: How often each ``provider`` was sent, as JSON.
        batches: How many requests each batch has that was made.
        batched: Requests that batches answered.
    """

    requests: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    charged: float = 0.0
    lost: float = 0.0
    in_flight: int = 0
    most_in_flight: int = 0
    connections: int = 0
    stop_strings: Counter[str] = field(default_factory=Counter)
    sessions: Counter[str] = field(default_factory=Counter)
    providers: Counter[str] = field(default_factory=Counter)
    batches: list[int] = field(default_factory=list)
    batched: int = 0


@dataclass
class Answer:
    """What is sent back; ``trick`` names what the connection does instead of sending it properly."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    trick: str = ""
    delay: float = 0.0
    key: str = ""


class Server:
    """The behaviour, without the network: bodies in, answers out.

    Args:
        script: How to behave; may be changed at any time.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.log = Log()
        self.url = ""
        self._attempts: Counter[str] = Counter()
        self._recent: list[float] = []
        self._generations: dict[str, float] = {}
        self._files: dict[str, bytes] = {}
        self._batches: dict[str, dict[str, Any]] = {}
        self._share = 1.0

    def answered(self) -> Counter[str]:
        """How often each request body was answered usably."""
        return self.log.answered

    def get(self, path: str, key: str) -> Answer:
        """Answer a GET."""
        path, _, query = path.partition("?")
        if path == "/_log":
            return _json(200, vars(self.log))
        if path == "/_batches":
            return _json(200, {id: len(batch["requests"]) for id, batch in self._batches.items()})
        if not path.startswith(("/api/v1/", "/api/beta/", "/v1/")):
            return Answer(404, b"<!DOCTYPE html><h1>Not Found</h1>", content_type="text/html")
        if path.endswith("/models"):
            if not self.script.priced and (refusal := self._refuse_key(key)):  # OpenRouter's list is public
                return refusal
            return self._models()
        if path.endswith("/generation"):
            cost = self._generations.get(query.removeprefix("id="))
            return _error(404, "Generation not found") if cost is None else _json(200, {"data": {"total_cost": cost}})
        if "/batches" in path or "/files/" in path:
            return self._refuse_key(key) or self._get_batch(path)
        if path.endswith("/key"):
            if refusal := self._refuse_key(key):
                return refusal
            usage = {"label": "sk-...abc", "usage": self.log.charged, "is_free_tier": False}
            credit = self.script.credit
            return _json(200, {"data": {**usage, "limit": credit, "limit_remaining": credit}})
        return _error(404, "Not found")

    def _models(self) -> Answer:
        listing, entries = self.script.listing, [self._model(name) for name in self.script.models]
        forms = {
            "standard": {"object": "list", "data": entries},
            "bare": entries,
            "names": list(self.script.models),
            "named": {"models": [{"name": name, "details": {"family": "x"}} for name in self.script.models]},
            "object": {"data": {name: {"description": "A model"} for name in self.script.models}},
            "error200": {"error": "Unexpected endpoint or method. (GET /models). Returning 200 anyway"},
        }
        if listing in forms:
            return _json(200, forms[listing])
        if listing == "html":
            return Answer(200, b"<!DOCTYPE html><title>Sign in</title>", content_type="text/html")
        if listing == "loading":
            return _json(*PLAIN["loading"])
        if listing == "silent":
            return Answer(200, b"", trick="silent")
        return _error(int(listing), "You may not see the models")

    def post(self, path: str, body: bytes, key: str, session: str = "") -> Answer:
        """Answer a POST."""
        if path == "/_set":
            for name, value in json.loads(body).items():
                if name in ("faults", "styles"):
                    value = [Share.parse(text) for text in value]
                setattr(self.script, name, value)
            return _json(200, {})
        if path == "/_reset":
            self.log = Log(in_flight=self.log.in_flight)
            self._attempts.clear()
            return _json(200, {})
        if path.endswith("/files"):
            return self._refuse_key(key) or self._upload(body)
        if path.endswith("/batches"):
            return self._refuse_key(key) or self._make_batch(path, body)
        if path not in ("/api/v1/chat/completions", "/v1/chat/completions"):
            return _error(404, "Not found")
        self.log.requests += 1
        self.log.in_flight += 1
        self.log.most_in_flight = max(self.log.most_in_flight, self.log.in_flight)
        self.log.sessions[session] += 1
        self._note("asked", hashlib.sha256(body).hexdigest()[:16])
        return self._chat(body, key)

    # Batches.

    def _upload(self, body: bytes) -> Answer:
        boundary = body.partition(b"\r\n")[0]
        parts = dict(part.strip(b"\r\n").partition(b"\r\n\r\n")[::2] for part in body.split(boundary)[1:-1])
        (file,) = [content for head, content in parts.items() if b"filename=" in head]
        if not any(b'name="purpose"' in head and content == b"batch" for head, content in parts.items()):
            return _error(400, "purpose must be batch")
        return _json(200, {"id": self._keep_file(file), "object": "file", "purpose": "batch"})

    def _keep_file(self, content: bytes) -> str:
        id = f"file-{len(self._files) + 1}"
        self._files[id] = content
        return id

    def _make_batch(self, path: str, body: bytes) -> Answer:
        asked = json.loads(body)
        is_inline = "requests" in asked
        if is_inline:
            if path not in self.script.batch_places:
                return _error(404, "Not found")
            if list(asked) != ["endpoint", "model", "requests"]:
                return _error(400, "endpoint and model must come before requests")
            if self.script.batch_variant and not asked["model"].endswith(":batch"):
                return _error(400, f"{asked['model']} takes no batch: use its variant :batch")
            model = asked["model"].removesuffix(":batch")
            requests = [(each["custom_id"], {"model": model, **each["body"]}) for each in asked["requests"]]
        else:
            lines = map(json.loads, self._files[asked["input_file_id"]].splitlines())
            requests = [(line["custom_id"], line["body"]) for line in lines if line["url"] == asked["endpoint"]]
        if (
            asked["endpoint"] != "/v1/chat/completions"
            or len({key for key, _ in requests}) != len(requests)
            or not requests
        ):
            return _error(400, "Invalid batch")
        number = len(self.log.batches) + sum(self.log.faults[kind] for kind in ("batch unmade", "batch busy"))
        fault = self.script.batch_faults[number] if number < len(self.script.batch_faults) else ""
        if fault:
            self.log.faults[f"batch {fault}"] += 1
        if fault == "busy":
            return Answer(503, b"{}", {"Retry-After": f"{self.script.retry_after:g}"})
        if fault == "unmade":
            return Answer(200, b"", trick="close")
        id = f"batch_{len(self._batches) + 1}"
        self.log.batches.append(len(requests))
        results = self._batch_results(requests, fault)
        self._batches[id] = {
            "id": id, "object": "batch", "endpoint": asked["endpoint"], "created_at": int(time.time()),
            "metadata": asked.get("metadata"), "requests": requests, "results": results, "fault": fault,
            "looks": self.script.batch_looks, "inline": is_inline,
        }  # fmt: skip
        if fault == "502":
            return Answer(502, b"<html><title>Bad gateway</title></html>", content_type="text/html")
        answer = _json(202 if is_inline else 200, {"id": id, "object": "batch", "status": "validating"})
        answer.trick = "close" if fault == "orphan" else ""
        return answer

    def _batch_results(self, requests: Sequence[tuple[str, Any]], fault: str) -> list[dict[str, Any]]:
        """What comes of each request, in any order; what is not done is said to have been in vain."""
        done = {"failed": 0, "empty": 0, "expired": len(requests) // 2, "cancelled": len(requests) // 2}
        results = []
        self._share = 0.5
        for number, (key, request) in enumerate(requests):
            if number >= done.get(fault, len(requests)):
                error = {"code": "batch_expired", "message": "This request could not be executed in time."}
                results.append({"custom_id": key, "response": None, "error": error})
                continue
            answer = self._batched(request)
            body = json.loads(answer.body) if answer.body[:1] == b"{" else None
            response = {"status_code": answer.status, "request_id": f"r{number}", "body": body}
            results.append({"id": f"x{number}", "custom_id": key, "response": response, "error": None})
        self._share = 1.0
        random.Random(len(requests)).shuffle(results)
        return results

    def _batched(self, request: dict[str, Any]) -> Answer:
        """The answer to one request of a batch: the same as if it was asked by itself."""
        body = json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        name = hashlib.sha256(body).hexdigest()[:16]
        if fault := self._fault(name, request):
            self.log.faults[f"in a batch: {fault}"] += 1
            self._attempts[name] += 1
            return self._failure(fault, name, request["messages"], request, "")
        self.log.answered[name] += 1
        self.log.batched += 1
        return self._success(name, request["messages"], request)

    def _get_batch(self, path: str) -> Answer:
        if "/files/" in path:
            content = self._files.get(path.split("/")[-2])
            return _error(404, "No such file") if content is None else Answer(200, content, content_type="text/plain")
        if path.endswith("/batches"):
            is_there = self.script.batch_list and (path.startswith("/v1/") or path in self.script.batch_places)
            shown = [self._shown(batch) for batch in reversed(self._batches.values())]
            data = [{key: value for key, value in batch.items() if key != "results"} for batch in shown]
            if not is_there:
                return _error(404, "Not found")
            listed = _json(200, {"object": "list", "data": data, "has_more": False})
            listed.headers["Date"] = email.utils.formatdate(usegmt=True)
            return listed
        batch = self._batches.get(path.rpartition("/")[2])
        if batch is None or batch["fault"] == "gone":
            return _error(404, "No such batch")
        if batch["inline"] and path.rpartition("/")[0] not in self.script.batch_places:
            return _error(404, "Not found")
        batch["looks"] -= 1
        answer = _json(200, self._shown(batch))
        if batch["looks"] > 0 and self.script.batch_wait is not None:
            answer.headers["Retry-After"] = f"{self.script.batch_wait:g}"
        return answer

    def _shown(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch as it is told now."""
        shown = {key: batch[key] for key in ("id", "object", "endpoint", "created_at", "metadata")}
        total = len(batch["requests"])
        if batch["looks"] > 0:
            done = total * (self.script.batch_looks - batch["looks"]) // max(1, self.script.batch_looks)
            counts = {"total": total, "completed": done, "failed": 0}
            return {**shown, "status": "in_progress", "request_counts": counts, "results": None}
        ended = {"failed": "failed", "expired": "expired", "empty": "expired", "cancelled": "cancelled"}
        shown["status"] = ended.get(batch["fault"], "completed")
        if shown["status"] == "failed":
            problem = {"code": "model_not_found", "message": "The provided model is not supported by the Batch API."}
            return {**shown, "error": problem, "errors": {"object": "list", "data": [problem]}, "results": None}
        good = [each for each in batch["results"] if (each["response"] or {}).get("status_code") == 200]
        bad = [each for each in batch["results"] if each not in good]
        shown["request_counts"] = {"total": total, "completed": len(good), "failed": len(bad)}
        if batch["inline"]:
            return {**shown, "results": None if batch["fault"] == "empty" else batch["results"]}
        for name, each in (("output_file_id", good), ("error_file_id", bad)):
            if each and name not in batch:
                batch[name] = self._keep_file("\n".join(map(json.dumps, each)).encode())
            shown[name] = batch.get(name)
        return shown

    def finished(self, answer: Answer, sent: bool) -> None:
        """Note that a chat request is done with, and whether its answer went out whole."""
        self.log.in_flight -= 1
        if answer.key and sent:
            self.log.answered[answer.key] += 1
            self._note("answered", answer.key)

    def _note(self, what: str, name: str) -> None:
        if self.script.journal:
            with Path(self.script.journal).open("a", encoding="utf-8") as file:
                file.write(f"{what} {name} {self.log.in_flight}\n")

    def _chat(self, body: bytes, key: str) -> Answer:
        script = self.script
        if refusal := self._refuse_key(key):
            return refusal
        try:
            request = json.loads(body)
            messages = request["messages"]
            model = request["model"]
        except (ValueError, KeyError, TypeError):
            return _error(400, "Bad request: no messages or no model", {"error_type": "invalid_request"})
        if script.models and model not in script.models:
            return _error(404, f"No endpoints found for {model}.", {"error_type": "not_found"})
        for stop in request.get("stop") or ():
            self.log.stop_strings[stop] += 1
        self.log.providers[json.dumps(request.get("provider"))] += 1
        if script.credit is not None and script.credit <= 0:
            return _error(402, "Insufficient credits", {"error_type": "payment_required"})
        if limited := self._limited():
            return limited
        if script.down[0] < self.log.requests <= script.down[1]:
            self.log.faults["down"] += 1
            return _error(503, "Service unavailable", {"error_type": "provider_unavailable"})
        name = hashlib.sha256(body).hexdigest()[:16]
        fault = self._fault(name, request)
        if fault:
            self.log.faults[fault] += 1
            self._attempts[name] += 1
            if fault not in SUCCEEDING:
                return self._failure(fault, name, messages, request, key)
        answer = self._success(name, messages, request)
        answer.key = name
        if fault:
            answer.delay, answer.trick = (script.slow_seconds, "") if fault == "slow" else (0, "drip")
        return answer

    def _fault(self, name: str, request: dict[str, Any]) -> str:
        """The kind of fault that this attempt of the request meets, or ``""``."""
        point = _fraction(f"{self.script.seed}:fault:{name}")
        for share in self.script.faults:
            if point < share.share:
                if not ONLY_WHERE.get(share.kind, lambda request: True)(request):
                    return ""
                return share.kind if self._attempts[name] < share.times else ""
            point -= share.share
        return ""

    def _limited(self) -> Answer | None:
        script = self.script
        if script.capacity and self.log.in_flight > script.capacity:
            self.log.faults["capacity"] += 1
            return self._rate_limit()
        if script.per_minute:
            now = time.monotonic()
            self._recent = [then for then in self._recent if now - then < 60]
            if len(self._recent) >= script.per_minute:
                self.log.faults["per_minute"] += 1
                return self._rate_limit()
            self._recent.append(now)
        return None

    def _rate_limit(self) -> Answer:
        answer = _error(429, "Rate limit exceeded", {"error_type": "rate_limit_exceeded"})
        reset = int((time.time() + self.script.retry_after) * 1000)
        answer.headers = {
            "Retry-After": f"{self.script.retry_after:g}",
            "X-RateLimit-Limit": "20",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": str(reset),
        }
        return answer

    def _refuse_key(self, key: str) -> Answer | None:
        if not self.script.key or key == self.script.key:
            return None
        echo = f": {key}" if self.script.echo_key else ""
        return _error(401, f"No auth credentials found or invalid key{echo}", {"error_type": "authentication"})

    def _failure(self, kind: str, name: str, messages: Any, request: Any, key: str) -> Answer:
        echo = f" (key {key})" if self.script.echo_key else ""
        retry = {"Retry-After": f"{self.script.retry_after:g}"}
        plain = {
            "402": (402, "Insufficient credits", {"error_type": "payment_required"}),
            "400": (400, f"Invalid parameter 'messages'{echo}", {"error_type": "invalid_request"}),
            "401": (401, f"Key disabled{echo}", {"error_type": "authentication"}),
            "404": (404, "No such model", {"error_type": "not_found"}),
            "408": (408, "Request timed out", {"error_type": "timeout"}),
            "413": (413, "Payload too large", {"error_type": "payload_too_large"}),
            "context": (
                400, "This endpoint's maximum context length is 4096.", {"error_type": "context_length_exceeded"},
            ),
            "moderation": (
                403, "Your input was flagged",
                {"reasons": ["harassment"], "flagged_input": "...", "provider_name": "P", "model_slug": "m"},
            ),
            "guardrail": (403, "Budget limit exceeded", {"limit_source": "openrouter_key_limit"}),
            "500": (500, f"Internal error{echo}", {"error_type": "server"}),
            "502": (502, "Provider returned error", {"error_type": "provider_unavailable", "provider_name": "P"}),
            "429plain": (429, "Provider returned error", {"error_type": "rate_limit_exceeded", "provider_name": "P"}),
        }  # fmt: skip
        if kind in plain:
            return _error(*plain[kind])
        if kind in PLAIN:
            return _json(*PLAIN[kind])
        if kind == "strict":
            extra = set(request) - {"model", "messages", "max_tokens", "stream"}
            forbidden = {"type": "extra_forbidden", "msg": "Extra inputs are not permitted", "input": None}
            return _json(422, {"detail": [{**forbidden, "loc": ["body", field]} for field in sorted(extra)]})
        if kind == "plain":
            return Answer(400, b"The lamp is not lit", content_type="text/plain")
        if kind in ("nomessage", "declined"):
            body = self._body(name, None, "stop", 10, 0, 0.0, request)
            body["choices"][0].pop("message") if kind == "nomessage" else body["choices"][0]["message"].update(
                refusal="I will not speak for Ann."
            )
            return _json(200, body)
        if kind in ("endless", "dripheaders", "dripping"):
            return Answer(200, b"", trick=kind)
        if kind == "bomb":
            return Answer(200, _bomb(), {"Content-Encoding": "gzip"})
        if kind == "429":
            return self._rate_limit()
        if kind == "402busy":
            answer = _error(402, "In-flight budget", {"limit_source": "openrouter_in_flight_budget"})
            answer.headers = retry
            return answer
        if kind == "503":
            answer = _error(503, "No provider available", {"error_type": "provider_overloaded"})
            answer.headers = retry
            return answer
        if kind == "soon":
            available = {"code": "no_capacity", "retryable": True, "retry_after": self.script.retry_after}
            return _json(503, {"error": {"code": 503, "message": "No provider is free", "availability": available}})
        if kind in ("html", "html200"):
            page = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>"
            return Answer(502 if kind == "html" else 200, page, content_type="text/html")
        if kind == "error200":
            return _json(200, _error_body(502, "Upstream failed", {"error_type": "provider_unavailable"}))
        if kind == "limit200":
            meta = {"error_type": "rate_limit_exceeded", "retry_after_seconds": self.script.retry_after}
            return _json(200, _error_body(429, "Upstream limit", meta))
        if kind == "choice":
            body = self._body(name, "I was abou", "error", 10, 3, 0.0, request)
            body["choices"][0]["error"] = {"code": 502, "message": f"Provider disconnected{echo}"}
            return _json(200, body)
        if kind == "reset":
            return Answer(200, b"", trick="reset")
        if kind in ("empty", "null", "reasoning", "filtered"):
            return self._empty(kind, name, messages, request)
        answer = self._success(name, messages, request)
        self.log.lost += json.loads(answer.body).get("usage", {}).get("cost") or 0.0
        if kind == "malformed":
            answer.body = answer.body[: len(answer.body) // 2] + b"\x00oops"
        else:
            answer.trick = kind
        return answer

    def _empty(self, kind: str, name: str, messages: Any, request: Any) -> Answer:
        prompt = _prompt_tokens(messages)
        made = {"empty": 1, "null": 0, "reasoning": 64, "filtered": 0}[kind]
        cost = self._cost(prompt, made) if made else 0.0
        finish = {"empty": "stop", "null": None, "reasoning": "length", "filtered": "content_filter"}[kind]
        cost *= self._share
        self._charge(cost)
        self.log.lost += cost
        body = self._body(name, "" if kind == "empty" else None, finish, prompt, made, cost, request)
        if kind == "reasoning":
            body["choices"][0]["message"]["reasoning"] = "Let me think about what she would say. Perhaps"
            if "completion_tokens" in body["usage"]:
                body["usage"]["completion_tokens_details"] = {"reasoning_tokens": made}
        return _json(200, body)

    def _success(self, name: str, messages: Any, request: Any) -> Answer:
        text = self._text(name, messages)
        finish = "stop"
        for stop in request.get("stop") or ():
            text = text.partition(stop)[0]
        words = re.findall(r"\s*\S+", text)
        most = int(request.get("max_tokens") or 10**6)
        if len(words) > most:
            text, finish = "".join(words[:most]), "length"
        prompt, made = _prompt_tokens(messages), min(len(words), most)
        cost = self._cost(prompt, made) * self._share
        if request.get("service_tier") == "flex" and self.script.tier == "flex":
            cost /= 2
        self._charge(cost)
        return self._dressed(self._style(name), self._body(name, text, finish, prompt, made, cost, request), most)

    def _dressed(self, style: str, body: dict[str, Any], most: int) -> Answer:
        """An answer in a style that is more than other words."""
        choice, usage = body["choices"][0], body["usage"]
        text = choice["message"]["content"]
        if style == "parts":
            thought = {"type": "thinking", "thinking": [{"type": "text", "text": "She would refuse."}]}
            choice["message"]["content"] = [thought, {"type": "text", "text": text}]
        elif style == "textchoice":
            choice["text"] = choice.pop("message")["content"]
        elif style == "surrogate":
            choice["message"]["content"] = f"\ud83d {text}"
        elif style == "giants":
            usage.update(prompt_tokens=2**63, completion_tokens=2**64, cost=1e308)
        elif style == "digits":
            usage.update(prompt_tokens=10**400, completion_tokens=10**400, cost=10**400)
        elif style == "cutname":
            choice["finish_reason"] = "MAX_TOKENS"
        elif style == "cutstop":
            usage["completion_tokens"] = most
        elif style == "long":
            choice["message"]["content"] = text + " and so on" * 500_000
        if style == "packed":
            return Answer(200, gzip.compress(json.dumps(body).encode()), {"Content-Encoding": "gzip"})
        if style in ("events", "lines"):
            return _streamed(body, text, style)
        return _json(200, body)

    def _text(self, name: str, messages: Any) -> str:
        begun = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
        asked = next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")
        if "Answer with one digit" in asked:  # a judge's question
            return str(int(10 * _fraction(f"{self.script.seed}:digit:{name}")))
        if "adjectives" in asked:
            text = ", ".join(_picks(name, ADJECTIVES, 8))
        elif "describe how" in asked:
            text = "{} {}. They {}.".format(*_pick(name, "d", TRAITS), _pick(name, "e", HABITS)[0])
            begun = "" if begun and not self.script.prefill else begun
            return text if begun else f"Alex is {text}"
        else:
            text = _sentence(name)
        style = self._style(name)
        if style == "bracketthink":
            return f"[THINK]She would say no.[/THINK]{text}"
        if style == "harmony":
            thoughts = "<|channel|>analysis<|message|>She would say no.<|end|>"
            return f"{thoughts}<|start|>assistant<|channel|>final<|message|>{text}"
        if style == "eot":
            return f"{text}<|eot_id|><|start_header_id|>user<|end_header_id|>"
        if style == "echo" and begun:
            return f'{begun}{text}"'
        if style == "newline":
            return f'\n\n"{text}"'
        if style == "think":
            return f'<think>\nShe would say something like "no".\n</think>\n\n{text}'
        if style == "rambling":
            return f'{text}"\n\nShe smiled and went on her way, thinking of "nothing" at all.'
        if style == "quoted" or (begun and not self.script.prefill):
            return f'"{text}"'
        return f'{text}"' if begun else text

    def _style(self, name: str) -> str:
        point = _fraction(f"{self.script.seed}:style:{name}")
        for share in self.script.styles:
            if point < share.share:
                return share.kind
            point -= share.share
        return ""

    def _body(
        self, name: str, text: str | None, finish: str | None, prompt: int, made: int, cost: float, request: Any
    ) -> dict[str, Any]:
        usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}
        if self.script.priced:
            usage["cost"] = cost
            if len(self._generations) < 100_000:
                self._generations[f"gen-{name}"] = cost
        message = {"role": "assistant", "content": text}
        tier = {"service_tier": self.script.tier} if request.get("service_tier") else {}
        return {
            "id": f"gen-{name}",
            "object": "chat.completion",
            "model": self.script.answers_as or request["model"],
            **tier,
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": usage,
        }

    def _cost(self, prompt: int, made: int) -> float:
        return prompt * self.script.prompt_price + made * self.script.completion_price

    def _charge(self, cost: float) -> None:
        self.log.charged += cost
        if self.script.credit is not None:
            self.script.credit -= cost

    def _model(self, name: str) -> dict[str, Any]:
        entry: dict[str, Any] = {"id": name, "object": "model"}
        for field_name in ("root", "canonical", "reasoning"):
            if value := getattr(self.script, field_name):
                entry["canonical_slug" if field_name == "canonical" else field_name] = value
        if self.script.priced:
            entry["context_length"] = 262144
            entry["pricing"] = {
                "prompt": f"{self.script.prompt_price:.12f}",
                "completion": f"{self.script.completion_price:.12f}",
            }
            entry["supported_parameters"] = ["max_tokens", "temperature", "seed"]
        return entry


class _Connection(asyncio.Protocol):
    """One HTTP/1.1 keep-alive connection, parsed by hand because that is several times as fast."""

    def __init__(self, server: Server, latency: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = latency
        self._transport: Any = None
        self._buffer = b""
        self._gone = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._server.log.connections += 1

    def connection_lost(self, error: Exception | None) -> None:
        self._gone = True

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._buffer[:end].decode("latin-1")
            lower = head.lower()
            at = lower.find("\r\ncontent-length:")
            length = int(head[at + 17 :].split("\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            at = lower.find("\r\nauthorization:")
            key = head[at + 16 :].split("\r\n", 1)[0].strip().removeprefix("Bearer ") if at >= 0 else ""
            at = lower.find("\r\nx-session-id:")
            session = head[at + 15 :].split("\r\n", 1)[0].strip() if at >= 0 else ""
            method, path, _ = head.split(" ", 2)
            if path.startswith("http://"):  # asked as a proxy
                path = "/" + path.split("/", 3)[3]
            self._handle(method, path, body, key, session)

    def _handle(self, method: str, path: str, body: bytes, key: str, session: str) -> None:
        if method == "GET":
            self._send(self._server.get(path, key))
            return
        chat = path.endswith("/chat/completions")
        answer = self._server.post(path, body, key, session)
        delay = answer.delay + (self._server.script.latency if chat else 0)
        if delay:
            self._loop.call_later(delay, self._finish, answer, chat)
        else:
            self._finish(answer, chat)

    def _finish(self, answer: Answer, chat: bool) -> None:
        if chat:  # noted first, so that whoever has the answer finds it in the log
            self._server.finished(answer, sent=not self._gone and answer.trick in ("", "drip"))
        if not self._gone:
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        if answer.trick == "silent":
            return
        reason = HTTPStatus(answer.status).phrase
        headers = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        start = f"HTTP/1.1 {answer.status} {reason}\r\nContent-Type: {answer.content_type}\r\n{headers}"
        size = len(answer.body)
        whole = f"{start}Content-Length: {size}\r\n\r\n".encode() + answer.body
        if not answer.trick:
            self._transport.write(whole)
        elif answer.trick == "cutoff":
            self._transport.write(whole[: -size // 2])
            self._transport.close()
        elif answer.trick == "chunkcut":
            chunked = f"{start}Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n".encode() + answer.body[: size // 2]
            self._transport.write(chunked)
            self._transport.close()
        elif answer.trick == "close":
            self._transport.close()
        elif answer.trick == "endless":
            self._transport.write(f"{start}Transfer-Encoding: chunked\r\n\r\n".encode())
            self._flood(b"10000\r\n" + b" " * 65536 + b"\r\n")
        elif answer.trick == "dripheaders":
            self._trickle(f"{start}X-Rest: ".encode() + b"x" * 10_000)
        elif answer.trick == "dripping":
            self._transport.write(f"{start}Connection: close\r\n\r\n".encode())
            self._trickle(b" " * 10_000)
        elif answer.trick == "reset":
            linger = struct.pack("ii", 1, 0)
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._transport.abort()
        else:
            self._transport.write(f"{start}Transfer-Encoding: chunked\r\n\r\n".encode())
            self._drip(answer.body, self._server.script.slow_seconds / max(1, size))

    def _flood(self, piece: bytes) -> None:
        """Send the same for ever, as fast as it is taken."""
        if self._gone:
            return
        while not self._transport.is_closing() and self._transport.get_write_buffer_size() < 2**18:
            self._transport.write(piece)
        self._loop.call_later(0.001, self._flood, piece)

    def _trickle(self, rest: bytes) -> None:
        """Send a byte now and then, for minutes."""
        if not self._gone and rest:
            self._transport.write(rest[:1])
            self._loop.call_later(0.02, self._trickle, rest[1:])

    def _drip(self, rest: bytes, pause: float) -> None:
        if self._gone:
            return
        if not rest:
            self._transport.write(b"0\r\n\r\n")
            return
        self._transport.write(b"1\r\n" + rest[:1] + b"\r\n")
        self._loop.call_later(pause, self._drip, rest[1:], pause)


@contextlib.contextmanager
def running(script: Script | None = None, port: int = 0) -> Iterator[Server]:
    """Serve from a thread of this process; yields the server, whose ``url`` ends in ``/api/v1``."""
    server = Server(script or Script())
    loop = asyncio.new_event_loop()
    ready = threading.Event()

    def serve() -> None:
        asyncio.set_event_loop(loop)
        listener = loop.run_until_complete(_listen(server, loop, port))
        ready.set()
        loop.run_forever()
        listener.close()
        loop.run_until_complete(asyncio.sleep(0))
        while coming := asyncio.all_tasks(loop):  # connections that are just on their way in
            loop.run_until_complete(asyncio.wait(coming))
        for transport in _TRANSPORTS.pop(id(loop)):
            transport.abort()
        for _ in range(2):  # what is aborted is closed in a later round
            loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=serve, name="stand-in", daemon=True)
    thread.start()
    if not ready.wait(10):
        raise RuntimeError("the stand-in server did not start")
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


_TRANSPORTS: dict[int, list[Any]] = {}


async def _listen(server: Server, loop: asyncio.AbstractEventLoop, port: int) -> asyncio.Server:
    kept = _TRANSPORTS.setdefault(id(loop), [])

    class Connection(_Connection):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            kept.append(transport)
            if len(kept) > 1000:
                kept[:] = [t for t in kept if not t.is_closing()]

    listener = await loop.create_server(lambda: Connection(server, loop), "127.0.0.1", port, backlog=1024)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/api/v1"
    return listener


def _json(status: int, data: object) -> Answer:
    return Answer(status, json.dumps(data).encode())


def _error_body(code: int, message: str, metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    error = {"code": code, "message": message}
    return {"error": {**error, "metadata": metadata} if metadata else error}


def _error(status: int, message: str, metadata: dict[str, Any] | None = None) -> Answer:
    return _json(status, _error_body(status, message, metadata))


def _streamed(body: dict[str, Any], text: str, style: str) -> Answer:
    """An answer in pieces of one word, as a stream."""
    frame = {"id": body["id"], "object": "chat.completion.chunk", "model": body["model"]}
    words = re.findall(r"\s*\S+", text)
    chunks = [{**frame, "choices": [{"index": 0, "delta": {"content": word}}]} for word in words]
    chunks.append({**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": body["usage"]})
    lines = [json.dumps(chunk) for chunk in chunks]
    if style == "lines":
        return Answer(200, "\n".join(lines).encode(), content_type="application/x-ndjson")
    events = "".join(f": alive\n\ndata: {line}\n\n" for line in [*lines, "[DONE]"])
    return Answer(200, events.encode(), content_type="text/event-stream")


@functools.cache
def _bomb() -> bytes:
    """16 MiB of blanks, packed."""
    return gzip.compress(b" " * 2**24)


def _prompt_tokens(messages: Any) -> int:
    return sum(4 + len(m["content"]) // 4 for m in messages)


def _fraction(text: str) -> float:
    """A number from 0 to 1 that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def _pick(name: str, salt: str, choices: Sequence[Any]) -> Any:
    return choices[int(_fraction(f"{salt}:{name}") * len(choices))]


def _picks(name: str, choices: Sequence[str], count: int) -> list[str]:
    return random.Random(name).sample(list(choices), count)


def _sentence(name: str) -> str:
    """A short line of speech; two different requests practically never get the same."""
    number = int(name, 16)
    parts = []
    for choices in (OPENINGS, WISHES, PLACES, TIMES, ENDINGS):
        number, at = divmod(number, len(choices))
        parts.append(choices[at])
    return "{} {} {} {}{}".format(*parts)


OPENINGS = [
    "Honestly,", "Well,", "Oh, come on,", "You know,", "All right,", "To be fair,", "Listen,", "I admit,",
    "Thanks, but", "Good point,", "Sure,", "Funny you say that,", "Between us,", "For once,", "Maybe so, but",
    "Of course,", "Hm,",
]  # fmt: skip
WISHES = [
    "I would rather talk it over", "we could invite everyone", "I want to hear what they think", "I need a quiet hour",
    "let's sing something together", "I can manage it alone", "we should ask your sister",
    "I'd love to tell that story",
    "we might just wait and see", "I have been looking forward to this", "let me make us some tea", "I keep my notes",
    "we can split the work", "I'd like to sit by the window", "let's go and say hello", "I shall write it all down",
    "we ought to thank them", "I could show you the photographs", "let us try the other door",
]  # fmt: skip
PLACES = [
    "at the station", "in the garden", "by the river", "over at the library", "in the kitchen", "on the porch",
    "downtown",
    "at the market", "behind the school", "near the bridge", "at my place", "in the little cafe", "on the roof",
    "at the workshop", "in the back room", "along the beach", "at the theatre", "under the old oak", "next door",
    "in the hallway", "at the clinic", "on the ferry", "in town",
]  # fmt: skip
TIMES = [
    "this evening", "before lunch", "on Sunday", "right now", "after the rain", "tomorrow morning", "once it is dark",
    "when the others come", "for an hour or two", "after work", "by Friday", "while there is time", "next week",
]  # fmt: skip
ENDINGS = [
    ".", "!", ", if you like.", ", and that is that.", ", don't you think?", ", for a change.", ", no hurry.",
    ", believe me.", ", with your help.", ", whatever they say.", ", just the two of us.",
]  # fmt: skip
ADJECTIVES = [
    "outgoing", "talkative", "calm", "balanced", "curious", "careful", "warm", "energetic", "patient", "practical",
    "thoughtful", "bold", "cheerful", "steady", "sociable", "precise", "gentle", "direct",
]  # fmt: skip
TRAITS = [
    ("lively and open,", "and enjoys the company of other people"),
    ("calm and even-tempered,", "and weighs things before deciding"),
    ("quick to speak,", "and fills a room with good cheer"),
    ("friendly but measured,", "and neither seeks nor avoids attention"),
]
HABITS = [
    ("listen as much as they talk",), ("speak up early and often",), ("choose plain words and keep promises",),
    ("ask before they answer",), ("laugh at small things",), ("let others go first",), ("come straight to the point",),
    ("remember names and faces",), ("like a quiet evening",), ("take their time",), ("try what is new",),
]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run as a program; prints the base URL and serves until ended."""
    parser = argparse.ArgumentParser(description="A misbehaving stand-in for OpenRouter.", epilog=_kinds())
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before an answer")
    parser.add_argument("--fault", action="append", default=[], metavar="KIND=SHARE[xTIMES]", help="see below")
    parser.add_argument("--style", action="append", default=[], metavar="KIND=SHARE", help="see below")
    parser.add_argument("--model", action="append", default=[], help="a model id to list; several times for several")
    parser.add_argument("--key", default="", help="the only key accepted")
    parser.add_argument("--credit", type=float, help="dollars left on the key")
    parser.add_argument("--prompt-price", type=float, default=Script.prompt_price, help="dollars a token")
    parser.add_argument("--completion-price", type=float, default=Script.completion_price, help="dollars a token")
    parser.add_argument("--listing", choices=LISTS, default="standard", help="how /models looks")
    parser.add_argument("--unpriced", action="store_true", help="tell no prices, as servers other than OpenRouter")
    parser.add_argument("--retry-after", type=float, default=1.0, help="seconds")
    parser.add_argument("--slow-seconds", type=float, default=5.0)
    parser.add_argument("--capacity", type=int, default=0, help="requests at a time above which comes a 429")
    parser.add_argument("--per-minute", type=int, default=0, help="requests a minute above which comes a 429")
    parser.add_argument("--down-after", type=float, default=0, help="fail everything after so many requests")
    parser.add_argument("--down-for", type=float, default=0, help="for so many requests; inf for ever")
    parser.add_argument("--no-prefill", action="store_true", help="answer anew instead of continuing a begun answer")
    parser.add_argument("--journal", default="", help="a file that gets a line for each request and answer")
    parser.add_argument("--batch-fault", action="append", default=[], choices=BATCH_FAULTS, help="of the next batch")
    parser.add_argument("--batch-looks", type=int, default=1, help="looks until a batch has ended")
    parser.add_argument("--no-batch-list", action="store_true", help="list no batches")
    given = parser.parse_args(arguments)
    script = Script(
        seed=given.seed,
        latency=given.latency,
        faults=[Share.parse(text) for text in given.fault],
        styles=[Share.parse(text) for text in given.style],
        models=given.model or Script.models,
        key=given.key,
        credit=given.credit,
        prompt_price=given.prompt_price,
        completion_price=given.completion_price,
        listing=given.listing,
        priced=not given.unpriced,
        retry_after=given.retry_after,
        slow_seconds=given.slow_seconds,
        capacity=given.capacity,
        per_minute=given.per_minute,
        down=(given.down_after, given.down_after + given.down_for) if given.down_for else (0, 0),
        prefill=not given.no_prefill,
        journal=given.journal,
        batch_faults=given.batch_fault,
        batch_looks=given.batch_looks,
        batch_list=not given.no_batch_list,
    )
    loop = asyncio.new_event_loop()
    server = Server(script)
    loop.run_until_complete(_listen(server, loop, given.port))
    print(f"listening on {server.url}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        loop.run_forever()


def _kinds() -> str:
    rows = [f"  {kind:12}{text}" for kinds in (FAULTS, STYLES) for kind, text in kinds.items()]
    return "faults, then styles:\n" + "\n".join(rows)


if __name__ == "__main__":
    main()
