"""Chooses next tokens: repetition penalty, then the likeliest token or one drawn with the request's own seed."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from psyctl_core.records import ChatRequest


class Chooser:
    """Chooses for rows that come and go; what a row gets does not depend on the rows beside it.

    Args:
        requests: What is asked; temperature and token limit are the first one's.
        prompts: Their token ids.
        penalty: Divides what has been read or written already (https://arxiv.org/abs/1909.05858); 1 is off.
        device: Where the logits are.
    """

    def __init__(
        self, requests: Sequence[ChatRequest], prompts: Sequence[list[int]], penalty: float, device: torch.device
    ) -> None:
        limit = requests[0].max_tokens
        self._temperature = requests[0].temperature
        self._penalty = penalty
        width = max(map(len, prompts)) + limit
        # Filled up with the prompt's own first token: what stands there twice is penalised once.
        seen = [[*prompt, *[prompt[0]] * (width - len(prompt))] for prompt in prompts]
        self._seen = torch.tensor(seen, device=device)
        self._lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        self._draws = torch.empty(0)
        if self._temperature > 0:
            draws = [torch.rand(limit, generator=torch.Generator().manual_seed(r.seed)) for r in requests]
            self._draws = torch.stack(draws).to(device)

    def __call__(self, logits: torch.Tensor, rows: list[int], steps: list[int]) -> torch.Tensor:
        """The next token of each row.

        Args:
            logits: Shape ``[rows, vocabulary]``, float32; changed in place.
            rows: Which prompts these are.
            steps: How many tokens each has got before.

        Returns:
            Token ids, shape ``[rows]``.
        """
        which = torch.tensor(rows, device=logits.device)
        step = torch.tensor(steps, device=logits.device)
        if self._penalty != 1:
            ids = self._seen[which]
            scores = logits.gather(1, ids)
            logits.scatter_(1, ids, torch.where(scores < 0, scores * self._penalty, scores / self._penalty))
        if self._temperature > 0:
            chosen = _draw(logits / self._temperature, self._draws[which, step])
        else:
            chosen = logits.argmax(-1)
        self._seen[which, self._lengths[which] + step] = chosen
        return chosen


def _draw(scores: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Tokens by inverting the cumulative distribution at ``draws`` from ``[0, 1)``."""
    sums = scores.softmax(-1).cumsum(-1)
    return torch.searchsorted(sums, draws[:, None] * sums[:, -1:], right=True).squeeze(1).clamp(max=sums.shape[1] - 1)
