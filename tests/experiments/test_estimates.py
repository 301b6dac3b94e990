"""Means over images and their bootstrap intervals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from experiments.estimates import estimate


def test_the_interval_is_that_of_the_binomial_share() -> None:
    right = (torch.arange(1000) < 300).double()
    found = estimate(right)
    half = 196 * (0.3 * 0.7 / 1000) ** 0.5
    assert found.mean == pytest.approx(30)
    assert found.low == pytest.approx(30 - half, abs=0.3)
    assert found.high == pytest.approx(30 + half, abs=0.3)
    assert estimate(right.flip(0)) == found


def test_it_resamples_images_whatever_their_values() -> None:
    rng = np.random.default_rng(1)
    values = torch.from_numpy(rng.normal(size=500))
    found = estimate(values)
    means = [100 * rng.choice(values.numpy(), 500).mean() for _ in range(4000)]
    low, high = np.quantile(means, [0.025, 0.975])
    assert (found.low, found.high) == (pytest.approx(low, abs=0.5), pytest.approx(high, abs=0.5))


def test_an_interval_stays_within_what_a_share_can_be() -> None:
    assert estimate(torch.ones(40)) == (100, 100, 100)
    right = torch.ones(40)
    right[0] = 0
    found = estimate(right)
    assert 80 < found.low < found.mean < found.high == 100
