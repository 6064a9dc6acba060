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
from psyctl_openrouter.client import Client, scrub
from psyctl_openrouter.outcome import Service, error_of, parsed, sort_reply
from psyctl_openrouter.pace import Pace, backoff

log = logging.getLogger("psyctl")

MOST_RETRIES = 3
"""Further tries before a run starts: somebody sits there and waits."""


def list_models(client: Client, service: Service, pace: Pace, *, authorized: bool) -> dict[str, Mapping[str, Any]]:
    """What ``GET /models`` lists, by name.

    Raises:
        BackendError: The server cannot be reached, refuses the key, or has no such list.
    """
    data = get_json(client, "/models", service, pace, authorized=authorized)
    entries = data.get("data") if isinstance(data, dict) else None
    if not isinstance(entries, list):
        raise BackendError(
            f"{service.base_url}/models lists no models.", f"Check {service.flag}-base-url; it mostly ends in /v1."
        )
    return {str(entry["id"]): entry for entry in entries if isinstance(entry, dict) and entry.get("id")}


def find_model(models: Mapping[str, Mapping[str, Any]], service: Service) -> Mapping[str, Any]:
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


def only_model(models: Mapping[str, Mapping[str, Any]], service: Service) -> str:
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


def near(name: str, models: Mapping[str, Mapping[str, Any]]) -> str:
    """``Did you mean ...? `` with names like the one given, or nothing."""
    by_lower = {model.lower(): model for model in models}
    found = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)
    # A name given without its maker resembles no full one as a whole.
    tails = {model.lower().rpartition("/")[2]: model for model in models}
    tail = name.lower().rpartition("/")[2]
    found_tails = difflib.get_close_matches(tail, tails, n=3, cutoff=0.6)
    names = list(dict.fromkeys([*(by_lower[f] for f in found), *(tails[f] for f in found_tails)]))[:3]
    return f"Did you mean {' or '.join(names)}? " if names else ""


def check_key(client: Client, service: Service, pace: Pace) -> None:
    """Make sure with ``GET /key`` that the key is valid and has something left to spend.

    Raises:
        BackendError: It is not, or has not.
    """
    try:
        data = get_json(client, "/key", service, pace, authorized=True)
    except NotThereError:
        return  # a proxy of the API may lack this address
    key = data.get("data") if isinstance(data, dict) else None
    key = key if isinstance(key, dict) else {}
    left = key.get("limit_remaining")
    if not isinstance(left, int | float) or isinstance(left, bool):
        return  # no limit
    if left <= 0:
        raise BackendError(
            f"The {service.name} key has nothing left to spend: its limit is used up.",
            "Raise the key's limit at https://openrouter.ai/settings/keys, then run the same command again.",
        )
    log.info("the %s key has $%.4f left to spend", service.name, left)


class NotThereError(BackendError):
    """The server has nothing at that address."""


class UnreadableError(BackendError):
    """The server answers at that address, but not with what belongs there."""


def get_json(client: Client, path: str, service: Service, pace: Pace, *, authorized: bool) -> Any:
    """GET a JSON document, trying again as for an answer.

    Raises:
        BackendError: It cannot be had.
    """
    for tries in itertools.count(1):
        # What a server says may repeat the key, so nothing of it is kept in the frame that raises.
        data, error, wait = _try_json(client, path, service, authorized=authorized)
        if error is None:
            return data
        if wait is None or wait > pace.ceiling or tries > min(pace.retries, MOST_RETRIES):
            raise error
        time.sleep(wait + backoff(tries, pace, random.random()))  # noqa: S311 - spreads load, hides nothing
    raise AssertionError


def _try_json(
    client: Client, path: str, service: Service, *, authorized: bool
) -> tuple[Any, BackendError | None, float | None]:
    """One try: the document, or an error and, where another try may help, seconds to wait before."""
    url = f"{service.base_url}{path}"
    reply = client.get(path, authorized=authorized)
    data = parsed(reply.body)
    problem = error_of(data)
    if reply.status == 200 and data is not None and not problem:
        return data, None, None
    if reply.status in (404, 405):
        return None, NotThereError(f"There is nothing at {url}.", f"Check {service.flag}-base-url."), None
    outcome = sort_reply(reply, service)
    if outcome.kind == "fatal":
        return None, BackendError(outcome.message, outcome.hint), None
    if reply.trouble:
        said = f"{reply.trouble} ({reply.detail})" if reply.detail else reply.trouble
    elif problem and problem.message:
        said = problem.message
    else:
        said = f"HTTP {reply.status}" if reply.status != 200 else "no JSON"
    error = (BackendError if reply.trouble else UnreadableError)(
        f"{url} cannot be read: {scrub(said, service.key)}.",
        f"Check {service.flag}-base-url and whether the server is up, then try again.",
    )
    passing = outcome.kind in ("retry", "limited") and said != "no JSON"
    return None, error, (outcome.wait or 0.0) if passing else None


def _see(service: Service) -> str:
    return "See https://openrouter.ai/models for all." if service.priced else f"See {service.base_url}/models."
