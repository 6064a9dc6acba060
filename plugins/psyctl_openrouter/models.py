"""Asks a server what it has and what a key may do, before anything is paid for."""

from __future__ import annotations

import difflib
import itertools
import logging
import random
import time
from collections.abc import Mapping
from typing import Any

from psyctl_core.errors import BackendError
from psyctl_core.figures import money
from psyctl_openrouter import network, storable
from psyctl_openrouter.client import Client, address, scrub
from psyctl_openrouter.outcome import LOADING, Service
from psyctl_openrouter.refusals import address_hint, proxy_hint, words_of
from psyctl_openrouter.replies import parsed, sort_reply
from psyctl_openrouter.retrying import LIMITED_TIMEOUT_FACTOR, RetryPolicy, backoff
from psyctl_openrouter.words import Problem, error_of

log = logging.getLogger("psyctl")

MAX_RETRIES = 3
"""Further tries before a run starts: somebody sits there and waits."""

TIMEOUT = 10.0
"""Seconds for such an answer: nothing is computed for it."""

_NAMES = ("id", "name", "model", "model_name", "slug")
_LISTS = ("data", "models", "items", "results", "model_list")

Models = dict[str, Mapping[str, Any]]
"""What a server lists, by name."""


class NotThereError(BackendError):
    """The server has nothing at that address."""


class UnreadableError(BackendError):
    """The server answers at that address, but not with what belongs there."""


class LoadingError(UnreadableError):
    """The server is loading its model."""


class RefusedError(BackendError):
    """The server does not let this key have it."""


class SilentError(BackendError):
    """The server does not answer in time."""


def list_models(client: Client, service: Service, policy: RetryPolicy, *, authorized: bool) -> Models:
    """What ``GET /models`` lists, in whichever form.

    Raises:
        BackendError: The server cannot be reached, refuses the key, or has no such list.
    """
    data = get_json(client, "/models", service, policy, authorized=authorized)
    models = models_in(data)
    if models is None:
        raise UnreadableError(f"{service.base_url}/models lists no models.", address_hint(service))
    return models


def models_in(data: Any) -> Models | None:
    """The models in a list of them, or ``None`` where it is not one.

    OpenAI's form is ``{"data": [{"id": ...}]}``; servers also send the bare list, Ollama's ``models``, names
    alone, or an object by name.
    """
    if isinstance(data, dict):
        found = [data[name] for name in _LISTS if isinstance(data.get(name), list | dict)]
        if not found:
            return {} if "data" in data and data["data"] is None else None  # Ollama without any
        data = found[0]
    if isinstance(data, dict):
        data = [{"id": name, **(entry if isinstance(entry, dict) else {})} for name, entry in data.items()]
    if not isinstance(data, list):
        return None
    models: Models = {}
    for entry in data:
        entry = {"id": entry} if isinstance(entry, str) else entry
        if isinstance(entry, dict) and (name := next((entry[n] for n in _NAMES if entry.get(n)), None)):
            models[storable.text(str(name))] = entry
    return models if models or not data else None


def see_that_it_answers(client: Client, service: Service, policy: RetryPolicy) -> None:
    """Make sure that a server is there, with whatever ``GET /models`` answers.

    Raises:
        BackendError: It cannot be reached.
    """
    try:
        list_models(client, service, policy, authorized=True)
    except (NotThereError, UnreadableError, RefusedError, SilentError) as error:
        log.info("%s The model is named, so the list is not needed.", error.message)


def find_model(models: Models, service: Service) -> Mapping[str, Any]:
    """The listed model that the service is to use; an empty entry for a known one in an unlisted variant.

    A name may end in ``:`` and a variant; of those only ``:free`` is a model of its own, others choose
    among providers and are not listed.

    Raises:
        BackendError: There is no such model; the message names similar ones.
    """
    if service.model in models:
        return models[service.model]
    base, _, variant = service.model.partition(":")
    if base in models and variant and variant != "free":
        return {}
    hint = f"{near(service.model, models)}{_see(service)}"
    raise BackendError(f"{service.name} has no model '{service.model}'.", hint)


def is_router(model: Mapping[str, Any], name: str) -> bool:
    """Whether a name stands for whichever model OpenRouter chooses for a request, as ``openrouter/auto`` does.

    Args:
        model: As it is listed: routers have the price -1, since it varies.
        name: As it was asked for.
    """
    pricing = model.get("pricing")
    price = storable.number(pricing.get("prompt")) if isinstance(pricing, dict) else None
    return name.startswith("openrouter/") and (price is None or price < 0)


def only_model(models: Models, service: Service) -> str:
    """The one model that a server has.

    Raises:
        BackendError: It lists none or several.
    """
    if len(models) == 1:
        return next(iter(models))
    if not models:
        raise BackendError(
            f"{service.base_url} lists no model.", f"Load one there, or name one with {service.flag}-model."
        )
    raise BackendError(
        f"{service.base_url} has more than one model: {', '.join(list(models)[:10])}"
        f"{' and others' if len(models) > 10 else ''}.",
        f"Name one with {service.flag}-model.",
    )


def near(name: str, models: Models) -> str:
    """``Did you mean ...? `` with names like the one given, or nothing."""
    by_lower = {model.lower(): model for model in models}
    found = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)
    # A name given without its maker resembles no full one as a whole.
    tails = {model.lower().rpartition("/")[2]: model for model in models}
    tail = name.lower().rpartition("/")[2]
    found_tails = difflib.get_close_matches(tail, tails, n=3, cutoff=0.6)
    names = list(dict.fromkeys([*(by_lower[f] for f in found), *(tails[f] for f in found_tails)]))[:3]
    return f"Did you mean {' or '.join(names)}? " if names else ""


def check_key(client: Client, service: Service, policy: RetryPolicy) -> None:
    """Make sure with ``GET /key`` that the key is valid and has something left to spend.

    Raises:
        BackendError: It is not, or has not.
    """
    try:
        data = get_json(client, "/key", service, policy, authorized=True)
    except NotThereError:
        return  # a proxy of the API may lack this address
    key = data.get("data") if isinstance(data, dict) else None
    key = key if isinstance(key, dict) else {}
    left = storable.number(key.get("limit_remaining"))
    if left is None:
        return  # no limit
    if left <= 0:
        raise BackendError(
            f"The {service.name} key has nothing left to spend: its limit is used up.",
            "Raise the key's limit at https://openrouter.ai/settings/keys, then run the same command again.",
            later=True,
        )
    log.info("the %s key has %s left to spend", service.name, money(left))


def get_json(client: Client, path: str, service: Service, policy: RetryPolicy, *, authorized: bool) -> Any:
    """GET a JSON document, trying again as for an answer; a server that loads its model is waited for.

    Raises:
        BackendError: It cannot be had.
    """
    give_up_at = time.monotonic() + LIMITED_TIMEOUT_FACTOR * policy.outage_timeout
    for tries in itertools.count(1):
        # What a server says may repeat the key, so nothing of it is kept in the frame that raises.
        data, error, wait = _try_json(client, path, service, authorized=authorized)
        if error is None:
            return data
        if isinstance(error, LoadingError) and time.monotonic() < give_up_at:
            log.info("%s says that the model is loading: waiting", service.name)
        elif wait is None or wait > policy.ceiling or tries > min(policy.retries, MAX_RETRIES):
            raise error
        jitter = random.random()  # noqa: S311 - spreads load, hides nothing
        time.sleep((wait or 0.0) + min(backoff(tries, policy, jitter), 5.0))
    raise AssertionError


def _try_json(
    client: Client, path: str, service: Service, *, authorized: bool
) -> tuple[Any, BackendError | None, float | None]:
    """One try: the document, or an error; and where another try may help, seconds to wait."""
    url = address(service.base_url, path)
    reply = client.get(path, authorized=authorized, timeout=TIMEOUT)
    data = parsed(reply.body)
    problem = error_of(data)
    if reply.status == 200 and data is not None and not problem:
        return data, None, None
    hint = f"Check {service.flag}-base-url and whether the server is up, then try again.{proxy_hint(service)}"
    if reply.trouble == network.TIMED_OUT:
        return None, SilentError(f"{url} cannot be read: {reply.trouble}.", hint, later=True), None
    outcome = sort_reply(reply, service)
    if reply.status in (404, 405) and outcome.reason != LOADING:
        return None, NotThereError(f"There is nothing at {url}.", address_hint(service)), None
    if outcome.kind == "fatal":
        return None, RefusedError(outcome.message, outcome.hint, later=outcome.later), None
    if reply.trouble:
        said = f"{reply.trouble} ({scrub(reply.detail, service.key)})" if reply.detail else reply.trouble
        return None, BackendError(f"{url} cannot be read: {said}.", hint, later=True), 0.0
    if outcome.message and outcome.kind == "retry":  # a web page, or something else that is not the API
        return None, UnreadableError(f"{url} cannot be read: {outcome.message}", outcome.hint), None
    said = words_of(reply, problem or Problem(), service)
    passing = outcome.kind in ("retry", "limited")
    wait = (outcome.wait or 0.0) if passing else None
    kind = LoadingError if outcome.reason == LOADING else UnreadableError
    return None, kind(f"{url} cannot be read: {said}.", hint, later=passing), wait


def _see(service: Service) -> str:
    return "See https://openrouter.ai/models for all." if service.priced else f"See {service.base_url}/models."
