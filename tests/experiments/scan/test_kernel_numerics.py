"""Dropout masks and activations of the compiled trainer."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.scan.kernels import numerics
from experiments.scan.nets.dropout import dropout_mask, threshold


@numba.njit
def _mask_row(mask, seed, iteration, step, below, scale):
    numerics.dropout_row(mask, seed, iteration, step, below, scale)


@numba.njit
def _map(function_index, x, y):
    for i in range(x.shape[0]):
        y[i] = numerics.sigmoid(x[i]) if function_index == 0 else numerics.tanh(x[i])


@numba.njit
def _products(x, w, d, forward, backward, index):
    numerics.add_product(forward, x, w, index)
    numerics.add_dots(backward, w, d, index, numerics.active(x, index))


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    iteration=st.integers(0, 2**40),
    step=st.integers(0, 49),
    rate=st.sampled_from([0.0, 0.1, 0.5, 0.9]),
)
def test_compiled_masks_equal_numpy_masks(
    seed: int, iteration: int, step: int, rate: float
) -> None:
    expected = dropout_mask(seed, iteration, step + 1, 128, rate)[step]
    mask = np.empty(128)
    _mask_row(mask, np.uint64(seed), iteration, step, np.uint64(threshold(rate)), 1 / (1 - rate))
    np.testing.assert_array_equal(mask, expected)


def test_mask_values_frequency_and_independence_of_extent() -> None:
    mask = dropout_mask(0, 7, 1000, 128, 0.1)
    assert set(np.unique(mask)) == {0.0, 1 / 0.9}
    # Standard deviation of the frequency over 128000 draws: 0.0008.
    assert np.mean(mask == 0) == pytest.approx(0.1, abs=0.004)
    np.testing.assert_array_equal(mask[:3, :5], dropout_mask(0, 7, 3, 5, 0.1))
    assert np.all(dropout_mask(0, 7, 3, 5, 0.0) == 1)


def test_masks_of_other_coordinates_are_unrelated() -> None:
    base = dropout_mask(0, 7, 50, 128, 0.5) == 0
    for other in (dropout_mask(1, 7, 50, 128, 0.5), dropout_mask(0, 8, 50, 128, 0.5)):
        assert np.mean(base == (other == 0)) == pytest.approx(0.5, abs=0.03)
    assert np.mean(base[1:] == base[:-1]) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_impossible_rates_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="not in"):
        dropout_mask(0, 0, 1, 1, rate)


def test_activations_are_accurate_to_float32() -> None:
    x = np.concatenate([np.linspace(-80, 80, 100001), np.geomspace(1e-30, 1, 5000)])
    x = np.concatenate([x, -x]).astype(np.float32)
    y = np.empty_like(x)
    wide = x.astype(np.float64)
    _map(0, x, y)
    np.testing.assert_allclose(y, 1 / (1 + np.exp(-wide)), rtol=5e-7, atol=0)
    _map(1, x, y)
    np.testing.assert_allclose(y, np.tanh(wide), rtol=5e-7, atol=0)


def test_activations_saturate() -> None:
    y = np.empty(2, np.float32)
    x = np.array([-1000, 1000], np.float32)
    _map(0, x, y)
    np.testing.assert_allclose(y, [0, 1], atol=1e-30)
    _map(1, x, y)
    np.testing.assert_array_equal(y, [-1, 1])


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_products_equal_numpy_where_rows_are_skipped(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows) * (rng.random(rows) < 0.6)
    w, d = rng.normal(size=(rows, 5)), rng.normal(size=5)
    forward, backward = np.ones(5), np.zeros(rows)
    _products(x, w, d, forward, backward, np.zeros(rows + 1, np.int64))
    np.testing.assert_allclose(forward, 1 + x @ w, atol=1e-12)
    np.testing.assert_allclose(backward, (w @ d) * (x != 0), atol=1e-12)
