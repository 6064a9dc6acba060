"""Turns what ``huggingface_hub`` raises while something is published into one line, and the way out."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub import errors as hub_errors

from psyctl_core.errors import OutputError, PsyctlError
from psyctl_core.terminal import say

AGAIN = "Run the same command again: it sees what is there, and nothing is published by halves."


@contextlib.contextmanager
def explaining(repo: str) -> Iterator[None]:
    """Have errors explained, and what the Hub warns of said in a line each.

    Raises:
        OutputError: In place of what ``huggingface_hub`` raises.
    """
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield
    except PsyctlError:
        raise
    except Exception as error:
        raise explained(repo, error) from error
    for line in dict.fromkeys(str(each.message) for each in warned):
        say(f"The Hub warns: {' '.join(line.split())}", err=True)


def explained(repo: str, error: Exception) -> OutputError:
    """The user's words for an error met while publishing in that repository."""
    if isinstance(error, hub_errors.OfflineModeIsEnabled):
        return OutputError(
            f"'{repo}' cannot be reached: HF_HUB_OFFLINE forbids to ask the Hub.",
            "Unset HF_HUB_OFFLINE; --dry-run and dataset.card ask nobody.",
        )
    status = status_of(error)
    if isinstance(error, ValueError) and status in (None, 400):  # the card's metadata, in several lines
        said = " ".join(str(error).split())
        return OutputError(f"The Hub does not take '{repo}' so: {said}", "Mend what it names, such as the --license.")
    if status is not None:
        return _refused(repo, status, error)
    if isinstance(error, OSError) or any(kind.__name__ == "TransportError" for kind in type(error).__mro__):
        return OutputError(
            f"The Hub at {constants.ENDPOINT} cannot be reached: {_said(error)}", f"Check the network. {AGAIN}"
        )
    return OutputError(f"Publishing in '{repo}' failed: {type(error).__name__}: {_said(error)}", AGAIN)


def status_of(error: BaseException | None) -> int | None:
    """The HTTP status that an error, or one that led to it, is about."""
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
        error = error.__cause__ or error.__context__
    return None


def _refused(repo: str, status: int, error: Exception) -> OutputError:
    owner = repo.partition("/")[0]
    tokens = f"{constants.ENDPOINT}/settings/tokens"
    said = _said(error)
    if status == 401:
        return OutputError(
            "The Hub does not accept the token.",
            f"Make one with the right to write at {tokens}, and set HF_TOKEN to it.",
        )
    if status == 403:
        return OutputError(
            f"The token may not write to '{repo}': {said}",
            f"Take a token with the right to write, of an account that may write to {owner}: {tokens}.",
        )
    if status in (409, 412):
        return OutputError(f"Something else changed '{repo}' meanwhile: {said}", AGAIN)
    if status == 404:
        return OutputError(
            f"'{repo}' is not there, or not for this token: {said}", "Check the spelling, and whose token HF_TOKEN is."
        )
    if status == 429:
        return OutputError(f"The Hub is asked too often: {said}", f"Wait a while. {AGAIN}")
    if status >= 500:
        return OutputError(
            f"The Hub failed with status {status}: {said}", f"See https://status.huggingface.co. {AGAIN}"
        )
    return OutputError(f"The Hub refused '{repo}' with status {status}: {said}", "Mend what it names.")


def _said(error: Exception) -> str:
    """The server's own words on one line, or else the first line of the error."""
    text = getattr(error, "server_message", None) or str(error)
    line = next((" ".join(line.split()) for line in str(text).splitlines() if line.strip()), type(error).__name__)
    return line if line.endswith((".", "!", "?")) else f"{line}."


def has_token() -> bool:
    """Whether there is a token, in HF_TOKEN or from ``hf auth login``."""
    return bool(huggingface_hub.get_token())
