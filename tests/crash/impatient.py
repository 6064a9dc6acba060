"""Imported in a process: its HTTP backends wait little after a first failure, for a stand-in server's are many."""

from __future__ import annotations

import functools
from typing import Any

import psyctl_openrouter.backend

FIRST_WAIT = 0.02
"""Seconds, at most."""

backend: Any = psyctl_openrouter.backend
backend.RetryPolicy = functools.partial(backend.RetryPolicy, first=FIRST_WAIT)
