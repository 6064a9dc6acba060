"""How fast a model will answer, before it has: from what the device multiplies in a moment."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

import torch

SIZE = {"cuda": 4096}
SIZE_ELSEWHERE = 1024

TOKENS_A_REQUEST = 200
"""Tokens that a request takes, prompt and answer, where nothing that prompts share is read twice."""

SHARE_OF_READING = 0.58
"""Of the time that answers take with many rows, what goes to prompts, near the device's peak (measured on a CPU)."""

ROWS_OF_EASE = 20
"""With fewer rows than this a step costs the same, so each row's share grows."""


def requests_a_second(model: Any, device: torch.device, rows: int) -> float:
    """About how many requests a second the model answers: right within a factor of two or so.

    Args:
        model: The loaded model.
        device: Where it computes.
        rows: Prompts computed together.
    """
    operations = 2.0 * sum(p.numel() for p in model.parameters()) * TOKENS_A_REQUEST
    reading = operations / _operations_a_second(device, model.dtype)
    stepping = reading / SHARE_OF_READING * (1 - SHARE_OF_READING) * max(1.0, ROWS_OF_EASE / rows)
    return float(1.0 / (reading + stepping))


@cache
def _operations_a_second(device: torch.device, dtype: torch.dtype) -> float:
    size = SIZE.get(device.type, SIZE_ELSEWHERE)
    one = torch.ones(size, size, device=device, dtype=dtype)
    seconds = []
    for _ in range(3):  # the first one pays for being the first
        began = time.perf_counter()
        float((one @ one)[0, 0])  # waits for the device
        seconds.append(time.perf_counter() - began)
    return float(2 * size**3 / min(seconds))
