"""The backend itself, imported only when chosen. It knows nothing of other machines."""

from __future__ import annotations

import hashlib
import os
import time
from itertools import islice

from psyctl_core import Completion, InferenceBackend


class Sleepy(InferenceBackend):
    """Answers with a line that the request alone decides.

    The log has a line a fact, with the time at its end: ``started PID`` and, with a digest of what was asked,
    ``asked PID DIGEST`` and ``answered PID DIGEST``. The last one is written once the answer was taken: whoever takes
    it has it then.
    """

    is_free = True

    def __init__(self, config, context):
        self._config = config
        self._log = os.open(config.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) if config.log else None

    def start(self, budget):
        """Say which process answers."""
        self._note("started")

    def generate(self, requests):
        """Take so many, sleep, answer them."""
        while batch := list(islice(requests, self._config.together)):
            digests = [_digest(request) for request in batch]
            for digest in digests:
                self._note("asked", digest)
            time.sleep(self._config.seconds)
            for request, digest in zip(batch, digests, strict=True):
                yield Completion(request.id, f"I have slept over {digest}, and I say yes.", prompt_tokens=150)
                self._note("answered", digest)

    def close(self):
        """Close the log."""
        if self._log is not None:
            os.close(self._log)

    def _note(self, what, digest=""):
        if self._log is not None:
            os.write(self._log, f"{what} {os.getpid()} {digest} {time.time():.3f}\n".encode())


def _digest(request):
    told = "\n".join(message.content for message in request.messages)
    return hashlib.sha256(told.encode()).hexdigest()[:16]
