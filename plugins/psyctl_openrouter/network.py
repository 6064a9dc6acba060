"""Sorts what the network, TLS or a proxy did wrong into stable words."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from typing import Any

import requests
import urllib3.exceptions

CANNOT_CONNECT = "cannot connect"
CERTIFICATE = "certificate not accepted"
TIMED_OUT = "timed out"
LOST = "connection lost"
CUT_OFF = "answer cut off"
TOO_MUCH = "answer without an end"


def trouble_of(error: Exception, *, reading: bool = False) -> tuple[str, str, bool]:
    """What went wrong in one exchange.

    Args:
        error: What requests, urllib3 or the system raised.
        reading: Whether the answer's body was being read.

    Returns:
        One of the words above, what the system said about it, and whether the server may have seen the request.
    """
    chain = list(_chain(error))

    def met(*types: type[BaseException]) -> bool:
        return any(isinstance(link, types) for link in chain)

    detail = next((str(link.strerror) for link in chain if isinstance(link, OSError) and link.strerror), "")
    if type(error) is OSError:  # how requests says that the CA bundle it was told to use is not there
        return CERTIFICATE, str(error), False
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):  # a proxy's
        return CANNOT_CONNECT, str(error), False
    if met(ssl.SSLCertVerificationError):
        return CERTIFICATE, detail, False
    if met(
        requests.exceptions.ConnectTimeout,
        requests.exceptions.ProxyError,
        urllib3.exceptions.NewConnectionError,
        urllib3.exceptions.ConnectTimeoutError,
    ):
        return CANNOT_CONNECT, detail, False
    if met(requests.exceptions.Timeout, urllib3.exceptions.ReadTimeoutError, TimeoutError):
        return TIMED_OUT, "", True
    if reading and met(OSError, http.client.HTTPException, urllib3.exceptions.HTTPError):
        return CUT_OFF, "", True
    if met(OSError, http.client.HTTPException, urllib3.exceptions.HTTPError):
        return LOST, detail, True
    return LOST, type(error).__name__, True


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and those it was made from; requests and urllib3 keep them in different places."""
    links: list[Any] = [error]
    for link in links:  # grows while it is walked
        yield link
        inner = [*link.args, getattr(link, "reason", None), link.__cause__, link.__context__]
        links.extend(i for i in inner if isinstance(i, BaseException) and i not in links)
