"""Means over images and their bootstrap intervals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from experiments.estimates import bootstrap, estimate


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


def test_the_interval_knows_that_values_of_a_cluster_are_alike() -> None:
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(40), 25)
    values = rng.normal(size=40)[clusters]
    low, high = bootstrap(values, np.random.default_rng(1), 2000, clusters)
    alone = bootstrap(values, np.random.default_rng(1), 2000, np.arange(1000))
    assert low < values.mean() < high
    assert high - low > 3 * (alone[1] - alone[0])
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(40), rel=0.15)


def test_clusters_are_drawn_one_by_one() -> None:
    values, count = np.random.default_rng(2).normal(size=101), 101
    rng = np.random.default_rng(3)
    means = [values[rng.integers(0, count, count)].mean() for _ in range(300)]
    found = bootstrap(values, np.random.default_rng(3), 300, np.arange(count))
    assert found == tuple(np.quantile(means, [0.025, 0.975]))
