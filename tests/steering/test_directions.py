"""Directions and figures, against the same computed plainly."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra 'hf' is not installed")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from psyctl_steering.directions import METHODS, coherence, cosine, separation  # noqa: E402


def rows_of(pairs: int, width: int, seed: int, shift: float = 1.0):
    """Differences with a direction in them: ``shift`` along the first number."""
    rows = torch.randn(pairs, width, generator=torch.Generator().manual_seed(seed))
    rows[:, 0] += shift
    return rows


def parts(rows, size: int):
    return lambda: iter(rows.split(size) if len(rows) else ())


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 9), st.integers(0, 99))
def test_parts_do_not_matter_to_any_method(pairs, width, size, seed):
    rows = rows_of(pairs, width, seed)
    for made in METHODS.values():
        assert torch.allclose(made(parts(rows, size)), made(parts(rows, pairs)), atol=1e-3)


@given(st.integers(2, 30), st.integers(2, 30), st.integers(0, 99))
def test_pca_is_the_first_singular_vector_towards_the_mean(pairs, width, seed):
    rows = rows_of(pairs, width, seed, shift=3.0)
    found, mean = METHODS["pca"](parts(rows, 7)), rows.mean(0)
    first = torch.linalg.svd(rows.double()).Vh[0].float()
    assert abs(cosine(found, first)) > 0.999
    assert torch.allclose(found, first * (first @ mean), atol=1e-3)
    assert found @ mean >= 0


@given(st.integers(4, 30), st.integers(2, 20), st.integers(0, 99))
def test_logistic_is_scikit_learns_on_differences_in_both_directions(pairs, width, seed):
    linear = pytest.importorskip("sklearn.linear_model", reason="the extra 'check' is not installed")
    rows = rows_of(pairs, width, seed)
    both = torch.cat([rows, -rows]) / rows.square().mean().sqrt()
    labels = [1] * pairs + [0] * pairs
    theirs = linear.LogisticRegression(C=0.5, fit_intercept=False, tol=1e-8, max_iter=1000).fit(both.numpy(), labels)
    assert cosine(METHODS["logistic"](parts(rows, 7)), torch.tensor(theirs.coef_[0])) > 0.999


def test_a_direction_without_a_mean_is_0_and_no_error():
    rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    for made in METHODS.values():
        assert made(parts(rows, 2)).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert all(made(parts(torch.zeros(4, 3), 2)).tolist() == [0, 0, 0] for made in METHODS.values())


def test_sums_are_exact_where_16_bits_lose_most():
    """1,024 differences of .05 beside numbers of 10: a sum in bfloat16 comes to a fraction of the truth."""
    rows = torch.full((1024, 4), 0.05) + torch.randn(1024, 4, generator=torch.Generator().manual_seed(0)) * 10
    rows -= rows.mean(0) - 0.05
    in_bfloat16 = torch.zeros(4, dtype=torch.bfloat16)
    for row in rows.bfloat16():
        in_bfloat16 += row
    assert (in_bfloat16.float() / 1024 - 0.05).abs().max() > 0.01
    assert METHODS["mean"](parts(rows, 100)).tolist() == pytest.approx([0.05] * 4, abs=1e-5)


@given(st.integers(3, 30), st.integers(2, 9), st.integers(1, 9), st.integers(0, 99))
def test_coherence_leaves_each_pair_out_of_what_it_is_compared_with(pairs, width, size, seed):
    rows = rows_of(pairs, width, seed)
    plain = [cosine(row, torch.cat([rows[:n], rows[n + 1 :]]).mean(0)) for n, row in enumerate(rows)]
    assert coherence(parts(rows, size)) == pytest.approx(sum(plain) / pairs, abs=1e-4)


def test_figures_that_cannot_be_had_are_none():
    assert coherence(parts(rows_of(2, 4, 0), 2)) is None
    assert separation(parts(torch.zeros(0, 4), 2), torch.ones(4)) is None


def test_separation_counts_ties_by_half():
    rows = torch.tensor([[1.0], [2.0], [-1.0], [0.0]])
    assert separation(parts(rows, 3), torch.ones(1)) == pytest.approx(0.625)
