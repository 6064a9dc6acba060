"""Packs prompts that begin alike into one row, so that what they share is computed once and nothing is padded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Packed:
    """Several prompts in one row of tokens, as the tree of their common beginnings.

    Attributes:
        ids: Token ids, each shared beginning once, shape ``[tokens]``.
        positions: Each token's place in its prompt, shape ``[tokens]``.
        paths: For each prompt where its tokens lie in ``ids``, in order.
        reads: Where in ``ids`` logits are wanted: at each prompt's last token.
    """

    ids: list[int]
    positions: list[int]
    paths: list[list[int]]
    reads: list[int]


def pack(prompts: Sequence[Sequence[int]]) -> Packed:
    """Lay prompts out as a tree; prompts that begin alike must follow each other to share."""
    ids: list[int] = []
    positions: list[int] = []
    paths: list[list[int]] = []
    before: Sequence[int] = ()
    for prompt in prompts:
        shared = common(before, prompt)
        path = (paths[-1][:shared] if paths else []) + list(range(len(ids), len(ids) + len(prompt) - shared))
        ids.extend(prompt[shared:])
        positions.extend(range(shared, len(prompt)))
        paths.append(path)
        before = prompt
    return Packed(ids, positions, paths, [path[-1] for path in paths])


def common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two prompts begin with in common; the last token of neither is shared.

    Each prompt keeps a last token of its own because that is where its answer's first token is read.
    """
    most = max(0, min(len(first), len(second)) - 1)
    return next((i for i in range(most) if first[i] != second[i]), most)


def tree_mask(packed: Packed, dtype: torch.dtype) -> torch.Tensor:
    """What to add to attention scores so that a token sees only its own prompt up to itself.

    Returns:
        0 or the format's most negative number, shape ``[1, 1, tokens, tokens]``, on the CPU.
    """
    size = len(packed.ids)
    seen = torch.zeros(size, size, dtype=torch.bool)
    for path in packed.paths:
        rows = torch.tensor(path)
        # A shared beginning is written once for each prompt that has it, each time with the same values.
        seen[rows[:, None], rows[None, :]] = torch.ones(len(path), len(path), dtype=torch.bool).tril()
    return additive(seen, dtype)[None, None]


def additive(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A Boolean mask (True may be seen) as numbers to add to attention scores."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, torch.finfo(dtype).min)


def by_likeness(prompts: Sequence[Sequence[int]]) -> list[int]:
    """An order of the prompts in which those that share most stand together, the longest such group first.

    Two prompts belong together where they share more than half of the shorter one. Longest first shows at
    once whether memory is enough, and lets every later prompt fit where an earlier one was.
    """
    groups: list[list[int]] = []
    for i in sorted(range(len(prompts)), key=lambda i: (list(prompts[i]), i)):
        last = prompts[groups[-1][-1]] if groups else ()
        if groups and 2 * common(last, prompts[i]) > min(len(last), len(prompts[i])):
            groups[-1].append(i)
        else:
            groups.append([i])
    groups.sort(key=lambda group: (-max(len(prompts[i]) for i in group), group))
    return [i for group in groups for i in group]
