"""Directions that know nothing of the trait: what an effect is compared with."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize


def random_directions(count: int, width: int, seed: int) -> torch.Tensor:
    """Directions of length 1 drawn evenly from all there are, shape ``[count, width]``."""
    drawn = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    return normalize(drawn)


def shuffled_directions(count: int, differences: torch.Tensor, seed: int) -> torch.Tensor:
    """What mean differences would be had half of the pairs, drawn each time, their sides swapped.

    Exactly half, for what is left of the trait then is what chance leaves.

    Args:
        count: How many.
        differences: Each pair's positive minus neutral state, shape ``[pairs, width]``.
        seed: What decides which pairs.

    Returns:
        Directions of length 1, shape ``[count, width]``.
    """
    generator = torch.Generator().manual_seed(seed)
    pairs = len(differences)
    places = torch.stack([torch.randperm(pairs, generator=generator) for _ in range(count)])
    drawn = torch.where(places < pairs // 2, -1.0, 1.0) @ differences.float()
    return normalize(drawn)
