"""What is checked and estimated before anything is paid for, and how settings become flags."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest

from psyctl_core._plugins.flags import flags_of
from psyctl_core.budget import Budget
from psyctl_core.components import Component, Context
from psyctl_core.errors import BackendError, UsageError
from psyctl_core.options import settings
from psyctl_openrouter import DEFAULT_MODEL, OpenAIConfig, OpenRouterConfig, models, psyctl_inference_backends
from psyctl_openrouter.backend import OpenAIBackend, OpenRouterBackend
from psyctl_openrouter.models import near
from psyctl_openrouter.money import prices_of
from psyctl_openrouter.retrying import RetryPolicy

KEY = "sk-or-v1-0123456789abcdef0123456789abcdef"


def component(name) -> Component:
    return next(c for c in psyctl_inference_backends() if c.name == name)


def test_the_specified_flags_are_there():
    flags = {flag.spelling: flag for flag in flags_of(component("openrouter"))}
    assert {"--openrouter-api-key", "--openrouter-model", "--openrouter-max-workers"} <= flags.keys()
    assert DEFAULT_MODEL == "qwen/qwen3-next-80b-a3b-instruct"
    assert "OPENROUTER_API_KEY" in flags["--openrouter-api-key"].help
    assert flags["--openrouter-max-cost"].type is float
    assert {"--openai-base-url", "--openai-model", "--openai-max-workers"} <= {
        flag.spelling for flag in flags_of(component("openai"))
    }


def test_only_what_decides_the_answers_makes_another_run():
    decides = settings(OpenRouterConfig(), identity=True)
    assert set(decides) == {
        "model", "provider", "allow_fallbacks", "only", "ignore", "sort", "max_price", "quantizations",
        "data_collection", "zdr", "enforce_distillable_text", "require_parameters", "reasoning", "prefill", "base_url",
    }  # fmt: skip
    assert set(settings(OpenAIConfig(), identity=True)) == {"model", "reasoning", "prefill"}
    for config in (OpenRouterConfig(api_key=KEY), OpenAIConfig(api_key=KEY)):
        for identity in (True, False):
            assert KEY not in json.dumps(settings(config, identity=identity))
        assert KEY not in repr(config)


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    monkeypatch.setenv("OPENROUTER_BASE_URL", "http://localhost:1/api/v1")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:2/v1")
    assert OpenRouterConfig().api_key == KEY
    assert OpenRouterConfig().base_url == "http://localhost:1/api/v1"
    assert OpenAIConfig().base_url == "http://localhost:2/v1"


def test_looking_at_the_plugin_imports_nothing_heavy():
    code = (
        "import sys, psyctl_openrouter; print([m for m in ('requests', 'urllib3', 'http.client') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_workers": 0}, "0 workers"),
        ({"retries": -1}, "Trying again -1 times"),
        ({"timeout": 0.0}, "timeout of 0 s"),
        ({"timeout": float("nan")}, "timeout of nan s"),
        ({"patience": -1.0}, "patience of -1 s"),
        ({"max_cost": 0.0}, "budget of $0 pays for nothing"),
        ({"model": " "}, "No OpenRouter model"),
        ({"base_url": "openrouter.ai/api/v1"}, "not an http or https address"),
        ({"base_url": "ftp://openrouter.ai"}, "not an http or https address"),
        ({"base_url": "http://[::1"}, "not an http or https address"),
        ({"base_url": "https://me:secret@host/v1"}, "holds a user name or password"),
        ({"base_url": "https://host/v1?key=secret"}, "goes on after the path"),
    ],
)
def test_settings_that_make_no_sense_are_refused(fields, message):
    with pytest.raises(UsageError) as caught:
        OpenRouterBackend(OpenRouterConfig(**fields), Context())
    assert message in caught.value.message
    assert caught.value.hint
    assert "secret" not in str(caught.value)


def test_a_base_url_may_end_in_a_slash_or_name_the_endpoint(serve, connect, ask):
    server = serve()
    for url in (f"{server.url}/", f"{server.url}/chat/completions"):
        assert len(list(connect(server, base_url=url).generate(ask(1)))) == 1


def test_a_good_key_and_model_pass_unpaid(serve, connect):
    server = serve(key=KEY, credit=5.0)
    connect(server).start(Budget(None))
    assert server.log.requests == 0


def test_no_key_is_said_to_be_missing(serve, connect):
    with pytest.raises(UsageError, match="No OpenRouter key") as caught:
        connect(serve(), api_key="").start(Budget(None))
    assert "OPENROUTER_API_KEY" in caught.value.hint


@pytest.mark.parametrize(
    ("fields", "config", "message", "hint"),
    [
        ({"key": "sk-other"}, {}, "refused the API key", "--openrouter-api-key"),
        ({"credit": 0.0}, {}, "nothing left to spend", "Raise the key's limit"),
        (
            {},
            {"model": "qwen/qwen3-next-80b-instruct"},
            "has no model 'qwen/qwen3-next-80b-instruct'",
            "Did you mean qwen/qwen3-next-80b-a3b-instruct",
        ),
        ({}, {"model": f"{DEFAULT_MODEL}:free"}, "has no model", "Did you mean"),
    ],
)
def test_what_is_wrong_is_found_before_anything_is_paid(serve, connect, fields, config, message, hint):
    server = serve(**fields)
    with pytest.raises(BackendError) as caught:
        connect(server, **config).start(Budget(None))
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert server.log.requests == 0


def test_a_variant_of_a_listed_model_is_let_through(serve, connect):
    connect(serve(), model=f"{DEFAULT_MODEL}:nitro").start(Budget(None))


def test_similar_names_are_found_without_the_maker_and_in_any_case():
    listed = {name: {} for name in ("meta-llama/llama-3.1-405b-instruct", "qwen/qwen3-30b-a3b")}
    assert near("Llama-3.1-405B-instruct", listed) == "Did you mean meta-llama/llama-3.1-405b-instruct? "
    assert near("qwen3-30b", listed) == "Did you mean qwen/qwen3-30b-a3b? "
    assert near("zzz", listed) == ""


def test_a_dry_run_needs_no_key_and_asks_nothing(serve, connect, ask):
    server = serve(key=KEY)
    (example,) = ask(1)
    estimate = connect(server, api_key="").estimate(example, 1000)
    assert estimate.completion_tokens == 64_000
    assert 20_000 < estimate.prompt_tokens < 80_000
    price = estimate.prompt_tokens * server.script.prompt_price + 64_000 * server.script.completion_price
    assert estimate.cost == pytest.approx(price)
    assert server.log.requests == 0


def test_the_estimate_is_near_what_is_charged(serve, connect, ask):
    server = serve()
    backend = connect(server, max_workers=8)
    estimate = backend.estimate(ask(1)[0], 50)
    list(backend.generate(ask(50)))
    assert server.log.charged <= estimate.cost <= 10 * server.log.charged


def test_an_estimate_that_cannot_be_had_is_none(serve, connect, ask, caplog):
    quick = RetryPolicy(retries=0)
    assert connect(None, base_url="http://127.0.0.1:9/v1", policy=quick).estimate(ask(1)[0], 10) is None
    assert connect(serve(priced=False)).estimate(ask(1)[0], 10) is None
    assert "No estimate" in caplog.text
    with pytest.raises(BackendError, match="has no model"):
        connect(serve(), model="no/such").estimate(ask(1)[0], 10)


def test_a_wrong_address_is_said_to_be_wrong(serve, connect):
    wrong = serve().url.replace("/api/v1", "/api")
    for kind in ("openrouter", "openai"):
        with pytest.raises(BackendError, match=f"There is nothing at {wrong}/models") as caught:
            connect(None, kind=kind, base_url=wrong).start(Budget(None))
        assert f"--{kind}-base-url" in caught.value.hint


def test_openai_takes_the_only_model(serve, connect, ask):
    server = serve(models=["HuggingFaceTB/SmolLM2"], priced=False)
    backend = connect(server, kind="openai", max_workers=4)
    assert backend.identity() == {"model": "HuggingFaceTB/SmolLM2"}
    backend.start(Budget(None))
    answers = list(backend.generate(ask(10)))
    assert {a.finish_reason for a in answers} == {"stop"}
    assert {a.cost for a in answers} == {None}
    assert backend.estimate(ask(1)[0], 10).cost is None


def test_openai_asks_which_of_several_models(serve, connect):
    with pytest.raises(BackendError) as caught:
        connect(serve(models=["a/b", "c/d"], priced=False), kind="openai").identity()
    assert "more than one model: a/b, c/d." in caught.value.message
    assert "--openai-model" in caught.value.hint
    with pytest.raises(BackendError, match="lists no model"):
        connect(serve(models=[], priced=False), kind="openai").start(Budget(None))


def test_openai_does_not_look_for_a_named_model(serve, connect):
    backend = connect(serve(models=["llama3:latest"], priced=False), kind="openai", model="llama3")
    assert backend.identity() == {"model": "llama3"}
    backend.start(Budget(None))


@pytest.mark.parametrize("listing", ["standard", "bare", "names", "named", "object"])
def test_a_list_of_models_is_read_in_whichever_form(serve, connect, listing):
    server = serve(models=["HuggingFaceTB/SmolLM2"], priced=False, listing=listing)
    assert connect(server, kind="openai").identity() == {"model": "HuggingFaceTB/SmolLM2"}


@pytest.mark.parametrize("listing", ["401", "404", "html", "error200", "silent"])
def test_the_list_is_not_needed_where_the_model_is_named(serve, connect, ask, listing, monkeypatch):
    monkeypatch.setattr(models, "TIMEOUT", 0.1)
    server = serve(models=["a/b"], priced=False, listing=listing)
    backend = connect(server, kind="openai", model="a/b")
    backend.start(Budget(None))
    assert len(list(backend.generate(ask(2)))) == 2


@pytest.mark.parametrize(
    ("listing", "words"),
    [
        ("401", "refused the API key: You may not see the models"),
        ("html", "answers with a web page 'Sign in', not the API"),
        ("error200", "is not the API's address: Unexpected endpoint or method"),
        ("silent", "timed out"),
    ],
)
def test_a_list_that_is_needed_and_not_had_says_why(serve, connect, listing, words, monkeypatch):
    monkeypatch.setattr(models, "TIMEOUT", 0.1)
    with pytest.raises(BackendError, match=words) as caught:
        connect(serve(models=["a"], priced=False, listing=listing), kind="openai").start(Budget(None))
    assert "--openai-" in caught.value.hint


@pytest.mark.parametrize("listing", ["401", "html", "silent"])
def test_openrouter_goes_on_without_a_list_and_says_what_that_means_for_a_budget(
    serve, connect, ask, listing, monkeypatch, caplog
):
    monkeypatch.setattr(models, "TIMEOUT", 0.1)
    if listing == "401":
        listing = "403"
    backend = connect(serve(listing=listing))
    backend.start(Budget(0.01))
    assert "The price of qwen/qwen3-next-80b-a3b-instruct is not known" in caplog.text
    assert len(list(backend.generate(ask(2)))) == 2


def test_a_server_that_loads_its_model_is_waited_for(serve, connect, caplog):
    caplog.set_level("INFO", "psyctl")
    server = serve(models=["a"], priced=False, listing="loading")
    backend = connect(server, kind="openai", policy=RetryPolicy(first=0.01, ceiling=0.02))
    threading.Timer(0.15, lambda: setattr(server.script, "listing", "standard")).start()
    assert backend.identity() == {"model": "a"}
    assert "the model is loading: waiting" in caplog.text


@pytest.mark.parametrize("price", ["nan", "NaN", "inf", "1e400", "-1", "a lot", True, None, [], {}, 10**400, 1e9])
def test_a_price_that_cannot_be_read_is_unknown_and_a_budget_says_so_before_it_begins(
    serve, connect, monkeypatch, caplog, price
):
    for name in ("prompt", "completion"):
        pricing = {"prompt": "0.000001", "completion": "0.000001", name: price}
        assert prices_of({"pricing": pricing}) is None
    backend = connect(serve())
    monkeypatch.setattr(models, "find_model", lambda *_: {"pricing": pricing})
    backend.start(Budget(None))
    assert not caplog.records
    backend.start(Budget(1.0))
    assert "is not known: until a call tells what it cost" in caplog.text


def test_a_nan_price_does_not_disarm_the_budget(serve, connect, ask, monkeypatch):
    monkeypatch.setattr(models, "find_model", lambda *_: {"pricing": {"prompt": "nan", "completion": "nan"}})
    server = serve()
    backend = connect(server, max_workers=8)
    backend.start(Budget(0.0005))
    with pytest.raises(BackendError, match="budget"):
        list(backend.generate(ask(300)))
    assert server.log.charged <= 0.0005


def test_openai_says_that_it_cannot_keep_to_a_budget(serve, connect, caplog):
    connect(serve(models=["a"], priced=False), kind="openai").start(Budget(1.0))
    assert "tells no prices: the budget of $1 cannot be kept" in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "https://x.openai.azure.com/openai/deployments/gpt?api-version=2024-10-21",
        "https://x.openai.azure.com/openai/deployments/gpt/chat/completions?api-version=2024-10-21",
    ],
)
def test_azures_version_stays_behind_each_path_and_the_key_in_azures_header(connect, url):
    client = connect(None, kind="openai", base_url=url, api_key="sk-azure-key", model="gpt")._client
    base = "https://x.openai.azure.com/openai/deployments/gpt"
    assert client._chat.url == f"{base}/chat/completions?api-version=2024-10-21"
    assert client._plain.url == f"{base}/models?api-version=2024-10-21"
    assert client._chat.headers["api-key"] == "sk-azure-key"
    plain = connect(None, kind="openai", base_url="https://x.example/v1", api_key="sk-key", model="gpt")._client
    assert "api-key" not in plain._chat.headers


def test_a_proxy_that_catches_localhost_is_named(serve, connect, monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://me:secret@127.0.0.1:9")
    backend = connect(None, kind="openai", base_url="http://localhost:8000/v1", policy=RetryPolicy(retries=0))
    with pytest.raises(BackendError) as caught:
        backend.start(Budget(None))
    assert "through the proxy http://127.0.0.1:9: set NO_PROXY=localhost" in caught.value.hint
    assert "secret" not in str(caught.value)


def test_openai_sends_a_key_only_if_there_is_one(serve, connect, ask):
    server = serve(key="sk-local", models=["a"], priced=False)
    connect(server, kind="openai", api_key="sk-local").start(Budget(None))
    with pytest.raises(BackendError, match="refused the API key") as caught:
        connect(server, kind="openai").start(Budget(None))
    assert "--openai-api-key" in caught.value.hint


def test_openai_begins_answers_only_when_told(serve, connect, ask, monkeypatch):
    bodies = []
    for prefill in ("off", "on"):
        backend = connect(serve(models=["a"], priced=False), kind="openai", prefill=prefill)
        backend.start(Budget(None))
        send = backend._client.chat
        monkeypatch.setattr(
            backend._client, "chat", lambda body, send=send: bodies.append(json.loads(body)) or send(body)
        )
        list(backend.generate(ask(1)))
    plain, begun = bodies
    assert set(plain) == {"model", "messages", "max_tokens", "temperature", "seed", "stream"}
    assert begun["messages"][-1] == {"role": "assistant", "content": 'Ann: "'}
    assert begun["continue_final_message"] is True


def test_openai_that_is_not_running_is_said_so(connect):
    backend = connect(None, kind="openai", base_url="http://127.0.0.1:9/v1", policy=RetryPolicy(retries=0))
    with pytest.raises(BackendError, match=r"http://127.0.0.1:9/v1/models cannot be read: cannot connect") as caught:
        backend.start(Budget(None))
    assert "--openai-base-url" in caught.value.hint


def test_both_are_backends_of_the_contract(connect):
    from psyctl_core.components import InferenceBackend

    for made in (OpenRouterBackend(OpenRouterConfig(), Context()), OpenAIBackend(OpenAIConfig(), Context())):
        assert isinstance(made, InferenceBackend)
        assert made.block == 0
        made.close()
