"""Sees that several servers have the same model: at the start, and when one comes back."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from psyctl_core.errors import BackendError
from psyctl_core.figures import counted
from psyctl_openrouter.client import Client
from psyctl_openrouter.models import (
    MAX_RETRIES,
    LoadingError,
    Models,
    NotThereError,
    RefusedError,
    UnreadableError,
    list_models,
    only_model,
)
from psyctl_openrouter.outcome import Service
from psyctl_openrouter.retrying import LIMITED_TIMEOUT_FACTOR, RetryPolicy, backoff

log = logging.getLogger("psyctl")

MAX_AT_A_TIME = 32
"""Servers that are looked at side by side."""


@dataclass(slots=True)
class Endpoint:
    """Who answers at an address, and the connections to it."""

    client: Client
    service: Service


@dataclass(frozen=True, slots=True)
class Agreed:
    """What the servers were found to have.

    Attributes:
        model: The model that all have.
        absent: By place in the list, those that cannot be used now, with the reason.
        is_listed: Whether the servers that have a list name the model there.
        unlisted: The places of those that answer and have no list that can be read.
    """

    model: str
    absent: dict[int, str]
    is_listed: bool
    unlisted: frozenset[int]


def agree(endpoints: Sequence[Endpoint], model: str, policy: RetryPolicy) -> Agreed:
    """Ask all servers what they have.

    Args:
        endpoints: At least two.
        model: The one that the user names, or ``""`` for the only one that each has.
        policy: How long to wait while none can be used.

    Raises:
        BackendError: They have different models, or none of them can be used.
    """
    found = _found(endpoints, policy, needs_list=not model)
    lists = {place: got for place, got in enumerate(found) if not isinstance(got, BackendError)}
    unlisted = {place for place, got in enumerate(found) if _is_there(got) and model}
    absent = {
        place: got.message.rstrip(".")
        for place, got in enumerate(found)
        if isinstance(got, BackendError) and place not in unlisted
    }
    services = [endpoint.service for endpoint in endpoints]
    if not model:
        model = _only(lists, services)
    has = [place for place, listed in lists.items() if model in listed]
    lacks = [place for place in lists if place not in has]
    if has and lacks:
        raise BackendError(
            f"{services[lacks[0]].base_url} does not have '{model}', which {services[has[0]].base_url} has: "
            f"it lists {_some(lists[lacks[0]])}.",
            f"Load that model there, or leave the address out of {services[0].flag}-base-url.",
        )
    unseen = [services[place].base_url for place in sorted({*lacks, *unlisted})]
    if unseen:
        log.warning("Whether '%s' is the same model everywhere cannot be seen: %s do not list it.", model, _and(unseen))
    _compare_roots({place: lists[place] for place in has}, services, model)
    return Agreed(model, absent, bool(has), frozenset(unlisted))


def look(endpoint: Endpoint, place: int, agreed: Agreed, policy: RetryPolicy) -> str | None:
    """Whether a server that was out can be used again.

    Returns:
        ``None`` where it can, ``""`` where it is not there yet, or why it cannot, for the user.
    """
    got = _list_once(endpoint, policy)
    if isinstance(got, BackendError):
        return None if place in agreed.unlisted and _is_there(got) else ""
    if agreed.is_listed and agreed.model not in got:
        return f"it has another model now than '{agreed.model}': {_some(got)}."
    return None


def _found(endpoints: Sequence[Endpoint], policy: RetryPolicy, *, needs_list: bool) -> list[Models | BackendError]:
    """What each has, as soon as one of them can be used; servers that load their model are waited for."""
    give_up_at = time.monotonic() + LIMITED_TIMEOUT_FACTOR * policy.outage_timeout
    tries = 0
    while True:
        tries += 1
        found = _all_once(endpoints, policy)
        errors = [got for got in found if isinstance(got, BackendError)]
        if len(errors) < len(found) or (not needs_list and any(map(_is_there, errors))):
            return found
        if any(isinstance(error, LoadingError) for error in errors) and time.monotonic() < give_up_at:
            log.info("the servers say that the model is loading: waiting")
        elif tries > min(policy.retries, MAX_RETRIES):
            later = any(error.later for error in errors)
            message = f"None of {counted(len(found), 'server')} can be used: {errors[0].message}"
            raise BackendError(message, errors[0].hint, later=later)
        time.sleep(min(backoff(tries, policy, random.random()), 5.0))  # noqa: S311 - spreads load, hides nothing


def _all_once(endpoints: Sequence[Endpoint], policy: RetryPolicy) -> list[Models | BackendError]:
    with ThreadPoolExecutor(min(len(endpoints), MAX_AT_A_TIME)) as pool:
        try:
            return list(pool.map(lambda endpoint: _list_once(endpoint, policy), endpoints))
        except BaseException:  # Ctrl-C: the pool is left when its threads have ended
            pool.shutdown(wait=False, cancel_futures=True)
            for endpoint in endpoints:
                endpoint.client.abort()
            raise


def _list_once(endpoint: Endpoint, policy: RetryPolicy) -> Models | BackendError:
    once = replace(policy, retries=0, outage_timeout=0.0)
    try:
        return list_models(endpoint.client, endpoint.service, once, authorized=True)
    except BackendError as error:
        return error


def _is_there(got: object) -> bool:
    """Whether a server answers and only has no list for us."""
    return isinstance(got, NotThereError | UnreadableError | RefusedError) and not isinstance(got, LoadingError)


def _only(lists: dict[int, Models], services: Sequence[Service]) -> str:
    """The one model that every list has. Raises BackendError."""
    names = {place: only_model(listed, services[place]) for place, listed in lists.items()}
    if len(set(names.values())) > 1:
        each = [f"{services[place].base_url} has '{name}'" for place, name in names.items()]
        raise BackendError(
            f"The servers have different models: {_and(each)}.",
            f"Name those in {services[0].flag}-base-url that have the same one.",
        )
    return next(iter(names.values()))


def _compare_roots(lists: dict[int, Models], services: Sequence[Service], model: str) -> None:
    """Say where servers load a model of one name from different places, as vLLM tells in ``root``."""
    roots: dict[str, str] = {}
    for place, listed in lists.items():
        root = listed[model].get("root")
        if isinstance(root, str) and root:
            roots.setdefault(root, services[place].base_url)
    if len(roots) > 1:
        each = [f"{root} at {url}" for root, url in roots.items()]
        log.warning("'%s' is loaded from different places: %s. See that they are the same model.", model, _and(each))


def _some(models: Models) -> str:
    return _and([f"'{name}'" for name in models]) if models else "none"


def _and(texts: Sequence[str]) -> str:
    """At most five texts, with commas."""
    return ", ".join(texts[:5]) + (f" and {len(texts) - 5} more" if len(texts) > 5 else "")
