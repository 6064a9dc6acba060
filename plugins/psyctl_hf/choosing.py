"""Chooses next tokens: repetition penalty, then the likeliest token or one drawn with the request's own seed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from psyctl_core.records import ChatRequest


class Chooser:
    """Chooses for rows that come and go; what a row gets does not depend on the rows beside it.

    Args:
        requests: What is asked; temperature and token limit are the first one's.
        prompts: Their token ids.
        penalty: Divides what has been read or written already (https://arxiv.org/abs/1909.05858); 1 is off.
        min_p: Tokens less likely than this share of the likeliest one's probability are never drawn
            (https://arxiv.org/abs/2407.01082); 0 is off.
        device: Where the logits are.
    """

    def __init__(
        self,
        requests: Sequence[ChatRequest],
        prompts: Sequence[list[int]],
        penalty: float,
        min_p: float,
        device: torch.device,
    ) -> None:
        self._limit = requests[0].max_tokens
        self._seeds: dict[int, int] = {}
        self._noise: dict[int, torch.Tensor] = {}
        self._most = 0
        self._temperature = requests[0].temperature
        self._penalty = penalty
        self._least = math.log(min_p) if min_p else -math.inf
        self._added = 0
        self._places: dict[int, int] = {}
        self._seen = torch.zeros(0, 1, dtype=torch.long, device=device)
        self._lengths = torch.zeros(0, dtype=torch.long, device=device)
        self.add(requests, prompts)

    def add(self, requests: Sequence[ChatRequest], prompts: Sequence[list[int]]) -> list[int]:
        """Take in more requests; the numbers that they are called by, which go on from those before."""
        numbers = list(range(self._added, self._added + len(prompts)))
        self._added += len(prompts)
        self._seeds.update((n, request.seed) for n, request in zip(numbers, requests, strict=True))
        kept = list(self._places.values())
        self._places = {n: place for place, n in enumerate([*self._places, *numbers])}
        width = max([self._seen.shape[1], *(len(prompt) + self._limit for prompt in prompts)])
        # Filled up with the prompt's own first token: what stands there twice is penalised once.
        fill = self._seen[kept, :1].expand(-1, width - self._seen.shape[1])
        new = [[*prompt, *[prompt[0]] * (width - len(prompt))] for prompt in prompts]
        self._seen = torch.cat([torch.cat([self._seen[kept], fill], 1), self._seen.new_tensor(new).view(-1, width)])
        self._lengths = torch.cat([self._lengths[kept], self._lengths.new_tensor([len(p) for p in prompts])])
        return numbers

    def forget(self, number: int) -> None:
        """Let go of a request that is answered."""
        del self._places[number], self._seeds[number]

    def __call__(self, logits: torch.Tensor, rows: list[int], steps: list[int]) -> torch.Tensor:
        """The next token of each row.

        Args:
            logits: Shape ``[rows, vocabulary]``, float32; changed in place.
            rows: Which requests these are, by their numbers.
            steps: How many tokens each has got before.

        Returns:
            Token ids, shape ``[rows]``.
        """
        which = torch.tensor([self._places[row] for row in rows], device=logits.device)
        step = torch.tensor(steps, device=logits.device)
        if self._penalty != 1:
            ids = self._seen[which]
            scores = logits.gather(1, ids)
            logits.scatter_(1, ids, torch.where(scores < 0, scores * self._penalty, scores / self._penalty))
        if self._temperature > 0:
            scores = logits / self._temperature
            unlikely = scores < scores.amax(-1, keepdim=True) + self._least
            chosen = (scores + self._noise_of(rows, steps, logits)).masked_fill_(unlikely, -math.inf).argmax(-1)
        else:
            chosen = logits.argmax(-1)
        self._seen[which, self._lengths[which] + step] = chosen
        return chosen

    def _noise_of(self, rows: list[int], steps: list[int], like: torch.Tensor) -> torch.Tensor:
        """Each row's own noise at its step, made again where it was let go, shape ``[rows, vocabulary]``."""
        for row in rows:
            noise = self._noise.pop(row, None)
            self._noise[row] = gumbel(self._seeds[row], like.shape[1]).to(like.device) if noise is None else noise
        self._most = max(self._most, len(rows))
        for row in list(self._noise)[: -self._most - SPARE]:  # those that were used longest ago
            del self._noise[row]
        # Drawing anew for every token would take longer than a small model does.
        return torch.stack([self._noise[row].roll(STRIDE * step) for row, step in zip(rows, steps, strict=True)])


SPARE = 32
"""Rows whose noise is kept beyond as many as were in use at a time."""

STRIDE = 7919
"""How far a row's noise moves for its next token: a prime number, so that no place comes back soon."""


def gumbel(seed: int, size: int) -> torch.Tensor:
    """Noise with which the largest of ``scores + noise`` is a draw from ``softmax(scores)``.

    The Gumbel-max trick (https://arxiv.org/abs/1611.00712, section 2). A draw by cumulative sums would be another one
    as soon as rounding, which depends on the rows beside, moved any of thousands of borders.
    """
    draws = torch.empty(size).exponential_(generator=torch.Generator().manual_seed(seed))
    return -draws.clamp(min=torch.finfo(torch.float32).tiny).log()
