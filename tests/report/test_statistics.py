"""Statistics over seeds, against answers that are known."""

from __future__ import annotations

import itertools
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import trim_mean

from report import statistics as of_report
from report.cells import Interval
from report.statistics import (
    Outcomes,
    bootstrap_interval,
    count_outcomes,
    interquartile_mean,
    order_share,
    paired_differences,
)


def seeds(values: list[float]) -> dict[str, float]:
    """Seed to value, counted from zero."""
    return {str(seed): value for seed, value in enumerate(values)}


def test_the_interval_of_zeros_and_ones_is_that_of_the_binomial_distribution() -> None:
    # Means of resamples are counts of 100 draws with probability one half, divided by 100.
    interval = bootstrap_interval([0.0, 1.0] * 50)
    assert interval == pytest.approx(Interval(0.40, 0.60), abs=0.011)


def test_the_interval_of_many_values_is_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(1).normal(5.0, 2.0, 400).tolist()
    half = 1.96 * statistics.stdev(values) / 20
    mean = statistics.fmean(values)
    assert bootstrap_interval(values) == pytest.approx((mean - half, mean + half), abs=0.02)


def test_the_interval_is_the_same_for_the_same_values_in_any_order() -> None:
    values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0]
    interval = bootstrap_interval(values)
    assert interval is not None and interval.low < statistics.fmean(values) < interval.high
    for order in (values, values[::-1], sorted(values)):
        assert bootstrap_interval(order) == interval


def test_one_value_has_no_interval_and_equal_values_have_one_of_no_width() -> None:
    assert bootstrap_interval([]) is None
    assert bootstrap_interval([7.0]) is None
    assert bootstrap_interval([0.1] * 3) == Interval(0.1, 0.1)
    assert bootstrap_interval([1.0, 2.0]) == Interval(1.0, 2.0)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(-500, 500), min_size=2, max_size=8))
def test_the_interval_is_finite_and_within_the_values(values: list[float]) -> None:
    interval = bootstrap_interval(values)
    assert interval is not None
    assert min(values) - 1e-9 <= interval.low <= interval.high <= max(values) + 1e-9


@given(st.lists(st.floats(-500, 500), min_size=1, max_size=40))
def test_the_interquartile_mean_trims_a_quarter_at_each_end(values: list[float]) -> None:
    assert interquartile_mean(values) == pytest.approx(trim_mean(values, 0.25), abs=1e-9)


def test_the_interquartile_mean_is_known_for_few_seeds() -> None:
    assert interquartile_mean([9.0, 1.0, 2.0]) == 4.0
    assert interquartile_mean([100.0, 1.0, 2.0, -50.0]) == 1.5
    assert interquartile_mean([100.0, 1.0, 2.0, 3.0, -50.0]) == 2.0
    assert interquartile_mean([float(value**2) for value in range(16)]) == statistics.fmean(
        [float(value**2) for value in range(4, 12)]
    )


def test_differences_are_taken_over_the_seeds_that_have_both() -> None:
    first, second = {"0": 5.0, "2": 7.0, "1": 1.0}, {"1": 3.0, "2": 4.0, "9": 0.0}
    assert paired_differences(first, second) == {"2": 3.0, "1": -2.0}
    assert paired_differences(first, {}) == {}


def test_a_distance_equal_to_the_tolerance_is_a_tie() -> None:
    # In binary 0.8 - 0.3 is more than 0.5 and 248.6 - 248.1 less.
    differences = [0.8 - 0.3, -0.5, 248.6 - 248.1, 0.0, 0.51, 30.0, -0.6]
    assert count_outcomes(differences, 0.5) == Outcomes(wins=2, ties=4, losses=1)
    assert count_outcomes([1e-4, -1e-4], 0.0) == Outcomes(wins=1, ties=0, losses=1)
    assert count_outcomes([], 0.5) == Outcomes(0, 0, 0)


def test_an_order_that_all_seeds_show_has_the_share_one_and_its_reverse_zero() -> None:
    methods = [seeds([start + seed for seed in range(16)]) for start in (20.0, 10.0, 0.0)]
    assert order_share(methods, 5, 0.5) == 1.0
    assert order_share(methods[::-1], 5, 0.5) == 0.0
    # Ten apart is not enough where ten is a tie.
    assert order_share(methods, 5, 10.0) == 0.0


def test_the_share_of_pairs_is_counted_by_hand() -> None:
    # Means of the six pairs, first minus second: 1, 0.5, -1, 0.5, -1, -1.5.
    first, second = seeds([1.0, 1.0, 0.0, -3.0]), seeds([0.0, 0.0, 0.0, 0.0])
    assert order_share([first, second], 2, 0.0) == 3 / 6
    assert order_share([first, second], 2, 0.5) == 1 / 6


def test_all_subsets_of_five_of_sixteen_seeds_are_enumerated() -> None:
    draws = np.random.default_rng(0).normal(size=(3, 16))
    methods = [seeds(row.tolist()) for row in draws]
    subsets = list(itertools.combinations(range(16), 5))
    assert len(subsets) == 4368
    means = ([statistics.fmean(row[list(subset)]) for row in draws] for subset in subsets)
    expected = sum(a > b + 0.1 and b > c + 0.1 for a, b, c in means)
    share = order_share(methods, 5, 0.1)
    assert share is not None and 0 < expected < 4368
    assert share * 4368 == pytest.approx(expected)


def test_only_common_seeds_enter_an_order_and_too_few_give_none() -> None:
    first, second = seeds([2.0] * 5), seeds([1.0] * 5)
    assert order_share([first, second], 5, 0.0) == 1.0
    assert order_share([first, {**second, "9": 100.0}], 5, 0.0) == 1.0
    del second["3"]
    assert order_share([first, second], 5, 0.0) is None


def test_beyond_twenty_seeds_subsets_are_drawn_the_same_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = np.random.default_rng(2).normal(size=(2, 21))
    methods = [seeds(row.tolist()) for row in rows]
    drawn = order_share(methods, 5, 0.0)
    assert drawn is not None and drawn == order_share(methods, 5, 0.0)
    monkeypatch.setattr(of_report, "ENUMERATED_SEEDS", 21)
    assert drawn == pytest.approx(order_share(methods, 5, 0.0), abs=0.015)
