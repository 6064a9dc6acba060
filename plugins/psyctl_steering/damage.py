"""What a direction does to the model as such: how far it changes predictions of neutral text, and repetition."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from importlib.resources import files

import torch

from psyctl_core.local_models import LentModel
from psyctl_steering.passes import Passes, Text

WINDOW = 64
"""Tokens of a passage of neutral text."""

NEAR = 0.2
"""So near to the wanted damage, as a share of it, the last step to the dose is left to the law that was found."""

TRIES = 5


class Neutral:
    """Neutral text, read by a model whose layer is steered.

    The text is the package's own, in passages of :data:`WINDOW` tokens, and is steered throughout.
    """

    def __init__(self, lent: LentModel, passes: Passes) -> None:
        self._passes = passes
        self._texts = neutral_texts(lent)
        self._batches = passes.prepared([self._texts])
        self._base: dict[tuple[int, ...], tuple[torch.Tensor, torch.Tensor]] = {}
        width = lent.model.config.get_text_config().hidden_size
        for batch, logits, scale in passes.logits(self._batches, torch.zeros(1, width)):
            base = logits[0] - scale[0, ..., None]
            likely = base.exp()
            self._base[batch.numbers] = likely, -(likely * base).sum(-1)

    def costs(self, directions: torch.Tensor) -> tuple[list[float], list[float]]:
        """What each direction costs.

        Args:
            directions: Shape ``[directions, hidden]``, at full length.

        Returns:
            The divergence of the steered model's predictions from the model's own (Kullback-Leibler, nats per token),
            and the perplexity of the text.
        """
        divergence = torch.zeros(len(directions))
        surprise = torch.zeros(len(directions))
        done: dict[tuple[int, ...], int] = {}
        count = 0
        for batch, logits, scale in self._passes.logits(self._batches, directions):
            at = done.get(batch.numbers, 0)
            rows = slice(at, at + len(logits))
            done[batch.numbers] = rows.stop
            likely, entropy = self._base[batch.numbers]
            expected = torch.einsum("ntv,dntv->dnt", likely, logits)
            divergence[rows] += (scale - expected - entropy).sum((1, 2)).cpu()
            wanted = torch.tensor([[t[0] for t in self._texts[number].wanted] for number in batch.numbers])
            picked = logits.gather(-1, wanted.to(logits.device)[None, ..., None].expand(len(logits), -1, -1, -1))[
                ..., 0
            ]
            surprise[rows] += (scale - picked).sum((1, 2)).cpu()
            count += wanted.numel() if at == 0 else 0
        return (divergence / count).tolist(), (surprise / count).exp().tolist()

    def both_ways(self, directions: torch.Tensor) -> list[float]:
        """The divergence of each direction, the mean of adding and of subtracting it."""
        found, _ = self.costs(torch.cat([directions, -directions]))
        half = len(directions)
        return [(found[i] + found[half + i]) / 2 for i in range(half)]

    def doses(self, units: torch.Tensor, wanted: float, guess: float) -> list[float]:
        """How far along each direction the damage is as wanted.

        Args:
            units: Directions of length 1, shape ``[directions, hidden]``.
            wanted: Divergence in nats per token.
            guess: Where to begin, as a length.

        Returns:
            Lengths. The divergence grows about with their square; where that does not lead near in :data:`TRIES`
            tries, the nearest that was tried is returned.
        """
        lengths = [guess] * len(units)
        seen: list[list[tuple[float, float]]] = [[] for _ in units]
        left = list(range(len(units)))
        for _ in range(TRIES):
            at = torch.tensor([lengths[i] for i in left])[:, None]
            for i, found in zip(left, self.both_ways(units[left] * at), strict=True):
                seen[i].append((math.log(lengths[i]), math.log(max(found, 1e-9) / wanted)))
            for i in left:
                lengths[i] = math.exp(_next(seen[i]))
            left = [i for i in left if abs(seen[i][-1][1]) > NEAR]
            if not left:
                break
        for i in left:
            lengths[i] = math.exp(min(seen[i], key=lambda point: abs(point[1]))[0])
        return lengths


def neutral_texts(lent: LentModel) -> list[Text]:
    """The neutral text in passages as a model reads them."""
    whole = files("psyctl_steering").joinpath("neutral.txt").read_text(encoding="utf-8").replace("\n", " ")
    ids = lent.tokenizer(whole, add_special_tokens=False)["input_ids"]
    begin = [lent.tokenizer.bos_token_id] if lent.tokenizer.bos_token_id is not None else []
    passages = [ids[i : i + WINDOW] for i in range(0, len(ids) - WINDOW + 1, WINDOW)] or [ids]
    texts = []
    for passage in passages:
        tokens = [*begin, *passage]
        texts.append(Text(tuple(tokens[:-1]), 0, tuple((token,) for token in tokens[1:])))
    return texts


def repetition(texts: Sequence[str]) -> float:
    """Which share of the runs of three words was in the same text before."""
    total = again = 0
    for text in texts:
        words = re.findall(r"\w+", text.lower())
        runs = list(zip(words, words[1:], words[2:], strict=False))
        total += len(runs)
        again += len(runs) - len(set(runs))
    return again / total if total else 0.0


def _next(points: Sequence[tuple[float, float]]) -> float:
    """Where a straight line through the last two points is 0, in logarithms; with one point, of slope 2."""
    (length, excess), steep = points[-1], 2.0
    if len(points) > 1 and points[-2][0] != length:
        steep = min(4.0, max(0.5, (excess - points[-2][1]) / (length - points[-2][0])))
    return length - max(-2.0, min(2.0, excess / steep))
