"""Ways to make one direction of many pairs' differences, and figures about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

Chunks = Callable[[], Iterator[torch.Tensor]]
"""Gives the differences, positive minus neutral, anew at each call: parts of shape ``[pairs, width]``, in float32."""


def mean_of(chunks: Chunks) -> torch.Tensor:
    """The mean difference, shape ``[width]``; summed in float64."""
    total, count = _sum(chunks)
    return (total / max(1, count)).float()


def pca_of(chunks: Chunks) -> torch.Tensor:
    """The direction in which the differences vary most about nothing, not about their mean.

    As with representation engineering (https://arxiv.org/abs/2310.01405), whose differences have random signs, nothing
    is subtracted. Its sign and length are the mean difference's along it, since of itself it has none.
    """
    mean = mean_of(chunks).double()
    width, count = len(mean), sum(len(chunk) for chunk in chunks())
    if count <= width:  # then the pairs' products with each other are fewer than the numbers'
        rows = torch.cat(list(chunks())).double()
        first = rows.T @ torch.linalg.eigh(rows @ rows.T).eigenvectors[:, -1]
    else:
        products = torch.zeros(width, width, dtype=torch.float64)
        for chunk in chunks():
            products += chunk.double().T @ chunk.double()
        first = torch.linalg.eigh(products).eigenvectors[:, -1]
    return _along(first, mean)


def logistic_of(chunks: Chunks) -> torch.Tensor:
    """The weights that tell the two sides of a pair apart best.

    That is logistic regression for matched pairs: without an intercept, on differences whose label is always 1, so that
    what a whole scene does cancels. Differences are scaled so that each number is about 1; the weights are held small
    as scikit-learn's ``LogisticRegression`` does with ``C=1``. Length as with :func:`pca_of`.
    """
    mean = mean_of(chunks).double()
    squares = sum((float(chunk.double().square().sum()) for chunk in chunks()), 0.0)
    count = sum(len(chunk) for chunk in chunks())
    scale = (squares / (count * len(mean))) ** 0.5 or 1.0
    weights = torch.zeros_like(mean, requires_grad=True)
    steps = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        steps.zero_grad()
        total = weights.square().sum() / 2
        for chunk in chunks():
            total = total + torch.nn.functional.softplus(-(chunk.double() / scale) @ weights).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total.detach()

    steps.step(loss)  # type: ignore[no-untyped-call]
    return _along(weights.detach(), mean)


def _along(direction: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """The part of the mean that lies along a direction."""
    length = direction.norm()
    if length == 0:
        return torch.zeros_like(mean).float()
    unit = direction / length
    along: torch.Tensor = unit * (mean @ unit)
    return along.float()


METHODS: dict[str, Callable[[Chunks], torch.Tensor]] = {"mean": mean_of, "pca": pca_of, "logistic": logistic_of}


def coherence(chunks: Chunks) -> float | None:
    """The mean cosine of each pair's difference with the mean of the others; ``None`` below 3 pairs."""
    found = [cosine for part in cosines(chunks) for cosine in part.tolist()]
    return sum(found) / len(found) if len(found) >= 3 else None


def cosines(chunks: Chunks) -> Iterator[torch.Tensor]:
    """Each pair's cosine with the mean of the others, part by part."""
    total, _ = _sum(chunks)
    for chunk in chunks():
        yield torch.cosine_similarity(chunk.double(), total - chunk.double(), dim=1)


def separation(chunks: Chunks, direction: torch.Tensor) -> float | None:
    """The share of pairs whose positive side lies further along the direction, ties by half; ``None`` without pairs."""
    lengths = [chunk @ direction for chunk in chunks()]
    if not lengths:
        return None
    along = torch.cat(lengths)
    return float(((along > 0).float() + (along == 0).float() / 2).mean())


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    """The cosine of two directions."""
    return float(torch.cosine_similarity(one.double(), other.double(), dim=0))


def _sum(chunks: Chunks) -> tuple[torch.Tensor, int]:
    total, count = torch.zeros(()).double(), 0
    for chunk in chunks():
        total, count = total + chunk.sum(0, dtype=torch.float64), count + len(chunk)
    return total, count
